//! The page as made last: however many people look, it is made once a second, and its scorecards take a bounded share
//! of one core.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template as _;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::view::{Figures, PageView};
use crate::api::limits::{CARDS_AGE_MIN, CARDS_AGE_PER_COST, PAGE_AGE_MIN, SINCE_DEFAULT};
use crate::api::params::micros;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::domain::{ModelId, Scorecard};

/// Keeps the changing part of the page.
#[derive(Default)]
pub struct PageCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    made: Option<(Instant, Bytes)>,
    cards: BTreeMap<ModelId, Cards>,
}

struct Cards {
    at: Instant,
    cost: Duration,
    cards: Vec<Scorecard>,
}

impl PageCache {
    /// The changing part of the page, at most a second old. One request makes it, the others wait for that.
    pub async fn fragment(&self, state: &ApiState) -> Result<Bytes, Problem> {
        let mut kept = self.0.lock().await;
        if let Some((at, html)) = &kept.made
            && at.elapsed() < PAGE_AGE_MIN
        {
            return Ok(html.clone());
        }
        let setup = state.setup.load_full();
        kept.cards.retain(|model, _| setup.model(model.as_str()).is_some());
        let mut figures = BTreeMap::new();
        for model in &setup.models {
            figures.insert(model.id.clone(), figures_of(state, &model.id, &mut kept.cards).await?);
        }
        let alarms = state.store.open_alarms().await?;
        let acks = state.store.acks().await?;
        let view =
            PageView::new(state.clock.now_us(), &setup, &state.board, &state.progress, &figures, (&alarms, &acks));
        let html = view.render().map_err(|error| Problem::internal("rendering the page", &error))?;
        let html = Bytes::from(html);
        kept.made = Some((Instant::now(), html.clone()));
        Ok(html)
    }
}

/// How long scorecards are kept that took so long to compute: that bounds their share of a core.
fn kept_for(cost: Duration) -> Duration {
    CARDS_AGE_MIN.max(cost.saturating_mul(CARDS_AGE_PER_COST))
}

/// What the store and the daemon know of a model. Failures of the daemon's parts leave gaps, they do not take the page.
async fn figures_of(
    state: &ApiState,
    model: &ModelId,
    cards: &mut BTreeMap<ModelId, Cards>,
) -> Result<Figures, Problem> {
    let standings = state.standings.of(model.clone(), None).await;
    let cards = cards_of(state, model, cards).await;
    let decisions = state.store.decisions(Some(model), None, crate::api::limits::PAGE_DECISIONS, None).await?.items;
    for error in [standings.as_ref().err(), cards.as_ref().err()].into_iter().flatten() {
        warn!(%model, error, "the page lacks figures");
    }
    let incomplete = standings.is_err() || cards.is_err();
    Ok(Figures { standings: standings.unwrap_or_default(), cards: cards.unwrap_or_default(), decisions, incomplete })
}

async fn cards_of(
    state: &ApiState,
    model: &ModelId,
    kept: &mut BTreeMap<ModelId, Cards>,
) -> Result<Vec<Scorecard>, String> {
    if let Some(known) = kept.get(model)
        && known.at.elapsed() < kept_for(known.cost)
    {
        return Ok(known.cards.clone());
    }
    let now_us = state.clock.now_us();
    let begun = Instant::now();
    let cards = state.scorecards.of(model.clone(), now_us - micros(SINCE_DEFAULT), now_us).await?;
    kept.insert(model.clone(), Cards { at: Instant::now(), cost: begun.elapsed(), cards: cards.clone() });
    Ok(cards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dear_scorecards_are_kept_longer() {
        assert_eq!(kept_for(Duration::ZERO), CARDS_AGE_MIN);
        let cost = Duration::from_secs(3);
        let share = cost.as_secs_f64() / (cost + kept_for(cost)).as_secs_f64();
        assert!(share < 0.05, "{share}");
        assert_eq!(kept_for(Duration::MAX), Duration::MAX);
    }
}
