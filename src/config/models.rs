//! `[[model]]` and `[[model.endpoint]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::diagnostics::nearest;
use crate::domain::{Endpoint, EndpointId, ModelId, Policy, Price, Provider, ProviderId};

use super::providers::{self, Providers};
use super::reader::{Span, View};
use super::{ModelConfig, NamedSuite, policy};

/// What is appended to the last part of a model's id to make its public name.
const PUBLIC_SUFFIX: &str = ":exacto";

/// The models that are right.
pub(super) struct Models {
    pub(super) good: Vec<ModelConfig>,
    /// Ids that could not be taken, as they are written, with the aliases of their models.
    pub(super) refused: Vec<String>,
    /// Whether the ids of all models are known: in `good`, or refused.
    pub(super) complete: bool,
}

/// Reads every `[[model]]`.
pub(super) fn read(
    root: &View<'_>,
    base: &Policy,
    providers: &Providers,
    named_suites: &mut Vec<NamedSuite>,
) -> Models {
    let mut out = Models { good: Vec::new(), refused: Vec::new(), complete: true };
    // Every id, alias and public name in the file with its line.
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    // Ids first: an alias that takes a later model's id is the mistake, not that id.
    let views = root.children("model");
    let mut most = 0;
    let ids: Vec<Option<ModelId>> = views.iter().map(|v| name(v, v.text("id"), "model id", &mut lines)).collect();
    for (view, id) in views.iter().zip(ids) {
        let aliases = view.texts("aliases").unwrap_or_default();
        let aliases = aliases.into_iter().filter_map(|a| name(view, Some(a), "alias", &mut lines)).collect();
        let public_name = public_name(view, id.as_ref(), &mut lines);
        let policy = policy::read_model(view, root, base, named_suites);
        let placeholder = ModelId::new("model").ok();
        // Endpoints are read even when the model's own id is wrong: all problems at once.
        let Some(model) = id.clone().or(placeholder) else { continue };
        let (endpoints, ids) = endpoints(view, &model, providers);
        most = most.max(ids.len());
        policy::check_min_providers(&view.child("policy"), ids.len(), "this model has");
        let reference = reference(view, &ids);
        let (endpoints, providers): (Vec<_>, Vec<_>) = endpoints.into_iter().unzip();
        match id {
            Some(id) => {
                let slugs = slugs(view);
                out.good.push(ModelConfig { public_name, id, aliases, slugs, reference, policy, endpoints, providers })
            }
            None => match view.text("id") {
                Some((text, _)) => {
                    let aliases = view.texts("aliases").unwrap_or_default();
                    out.refused
                        .extend([text].into_iter().chain(aliases.iter().map(|(alias, _)| *alias)).map(str::to_owned));
                }
                None => out.complete = false,
            },
        }
    }
    if !views.is_empty() {
        policy::check_min_providers(&root.child("policy"), most, "no model has more than");
    }
    out
}

/// The name for routers: as written, or the last part of the id and [`PUBLIC_SUFFIX`].
fn public_name(view: &View<'_>, id: Option<&ModelId>, lines: &mut BTreeMap<String, usize>) -> String {
    if let Some((text, span)) = view.text("public_name") {
        name(view, Some((text, span)), "public name", lines);
        return text.to_owned();
    }
    let id = id.map_or("", ModelId::as_str);
    let made = format!("{}{PUBLIC_SUFFIX}", id.rsplit('/').next().unwrap_or(id));
    let span = view.span_of("id");
    match lines.get(&made) {
        Some(line) if !id.is_empty() => view.reader.problem(
            &span,
            format!("the public name of this model would be `{made}`, which is taken in line {line}"),
            "give one of them a `public_name` of its own",
        ),
        _ => {
            lines.insert(made.clone(), view.reader.line(&span));
        }
    }
    made
}

/// A name of a model, unique among all names of all models.
fn name(
    view: &View<'_>,
    text: Option<(&str, Span)>,
    what: &str,
    lines: &mut BTreeMap<String, usize>,
) -> Option<ModelId> {
    let (text, span) = text?;
    if let Some(line) = lines.get(text) {
        view.reader.problem(
            &span,
            format!("duplicate {what} `{text}`"),
            format!("the first stands in line {line}; ids, aliases and public names are unique over all models"),
        );
        return None;
    }
    lines.insert(text.to_owned(), view.reader.line(&span));
    ModelId::new(text)
        .map_err(|e| view.reader.problem(&span, format!("{what}: {e}"), "such as moonshotai/kimi-k2-0905"))
        .ok()
}

fn reference(view: &View<'_>, ids: &BTreeMap<String, usize>) -> Option<EndpointId> {
    let (text, span) = view.text("reference")?;
    if ids.contains_key(text) {
        return EndpointId::new(text).ok();
    }
    let hint = match nearest(text, ids.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("endpoints of this model: {}", ids.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    view.reader.problem(&span, format!("`reference` names no endpoint: `{text}`"), hint);
    None
}

type Reached = (Endpoint, Arc<Provider>);

/// The endpoints that are right, and the ids of all with their lines.
fn endpoints(model_view: &View<'_>, model: &ModelId, providers: &Providers) -> (Vec<Reached>, BTreeMap<String, usize>) {
    let mut ids = BTreeMap::new();
    let mut out = Vec::new();
    for view in model_view.children("endpoint") {
        let provider = view.text("provider").and_then(|(text, span)| known_provider(&view, text, &span, providers));
        let tag = view.text("tag").map(|(tag, _)| tag.to_owned());
        let id = endpoint_id(&view, tag.as_deref(), &mut ids);
        let upstream_model = view.text("upstream_model").map_or_else(|| model.to_string(), |(t, _)| t.to_owned());
        let slugs = slugs(&view);
        let price = price(&view);
        let served_by = view.text("served_by").map(|(name, _)| name.to_owned());
        let (headers, extra_body) = (providers::headers(&view), providers::extra_body(&view));
        let reached = provider.as_ref().and_then(|id| providers.good.iter().find(|p| p.id == *id));
        if let (Some(id), Some(provider), Some(reached)) = (id, provider, reached) {
            let reached = with_own(reached, headers, extra_body);
            let model = model.clone();
            out.push((Endpoint { id, model, provider, upstream_model, tag, price, slugs, served_by }, reached));
        }
    }
    (out, ids)
}

pub(super) fn known_provider(view: &View<'_>, text: &str, span: &Span, providers: &Providers) -> Option<ProviderId> {
    if providers.lines.contains_key(text) {
        return ProviderId::new(text).ok();
    }
    let known = providers.lines.keys().map(String::as_str);
    let hint = match nearest(text, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("configured providers: {}", known.collect::<Vec<_>>().join(", ")),
    };
    view.reader.problem(span, format!("unknown provider `{text}`"), hint);
    None
}

fn endpoint_id(view: &View<'_>, tag: Option<&str>, ids: &mut BTreeMap<String, usize>) -> Option<EndpointId> {
    let own = view.text("id");
    let provider = view.text("provider");
    let (text, span) = match (&own, provider, tag) {
        (Some((id, span)), _, _) => ((*id).to_owned(), span.clone()),
        (None, Some((provider, _)), Some(tag)) => (format!("{provider}/{tag}"), view.span_of("tag")),
        (None, Some((provider, span)), None) => (provider.to_owned(), span),
        (None, None, _) => return None,
    };
    if let Some(line) = ids.get(&text) {
        view.reader.problem(
            &span,
            format!("duplicate endpoint id `{text}` in this model"),
            format!("the first stands in line {line}; tell them apart with `tag` or `id`"),
        );
        return None;
    }
    ids.insert(text.clone(), view.reader.line(&span));
    EndpointId::new(&text)
        .map_err(|e| view.reader.problem(&span, format!("endpoint id `{text}`: {e}"), "such as groq or groq-fp8"))
        .ok()
}

/// Names in gateways.
fn slugs(view: &View<'_>) -> BTreeMap<String, String> {
    let slugs = view.entries("slugs").into_iter();
    slugs.filter_map(|(k, _, v)| Some((k.to_owned(), v.get_ref().as_str()?.to_owned()))).collect()
}

pub(super) fn price(view: &View<'_>) -> Option<Price> {
    let view = view.has("price").then(|| view.child("price"))?;
    Some(Price { input_per_mtok: view.number("input_per_mtok")?, output_per_mtok: view.number("output_per_mtok")? })
}

/// The provider with an endpoint's own headers and body keys over its own.
pub(super) fn with_own(
    provider: &Arc<Provider>,
    headers: BTreeMap<String, SecretString>,
    extra_body: Map<String, Value>,
) -> Arc<Provider> {
    if headers.is_empty() && extra_body.is_empty() {
        return provider.clone();
    }
    let mut own = Provider::clone(provider);
    own.headers.extend(headers);
    let mut body = Map::clone(&own.extra_body);
    body.extend(extra_body);
    own.extra_body = Arc::new(body);
    Arc::new(own)
}
