//! `[[judge]]`.

use std::sync::Arc;

use crate::domain::jury::JudgeId;
use crate::domain::{Price, Provider};

use super::models::{known_provider, price, with_own};
use super::providers::{self, Providers};
use super::reader::View;

/// A model that judges answers.
#[derive(Debug, Clone)]
pub struct JudgeConfig {
    /// By which scorers name it.
    pub id: JudgeId,
    /// What it costs; `None`: free.
    pub price: Option<Price>,
    /// Who serves it.
    pub provider: Arc<Provider>,
}

/// Reads every `[[judge]]`.
pub(super) fn read(root: &View<'_>, providers: &Providers) -> Vec<JudgeConfig> {
    let mut out: Vec<JudgeConfig> = Vec::new();
    for view in root.children("judge") {
        let provider = view.text("provider").and_then(|(text, span)| known_provider(&view, text, &span, providers));
        let model = view.text("model").map(|(text, _)| text.to_owned());
        let tag = view.text("tag").map(|(tag, _)| tag.to_owned());
        let (price, extra_body) = (price(&view), providers::extra_body(&view));
        let reached = provider.as_ref().and_then(|id| providers.good.iter().find(|p| p.id == *id));
        let (Some(provider), Some(model), Some(reached)) = (provider, model, reached) else { continue };
        let id = JudgeId { provider, model, tag };
        if out.iter().any(|judge| judge.id == id) {
            let span = view.span_of("model");
            view.reader.problem(&span, format!("the judge {id} stands here twice"), "tell them apart with `tag`");
            continue;
        }
        out.push(JudgeConfig { id, price, provider: with_own(reached, Default::default(), extra_body) });
    }
    out
}
