//! What only two answers show together: the same instance asked as a stream and plain must be answered in the same form
//! (defects, `pair`). Read from stored transcripts, so that it can be told as long as these are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::domain::scorecard::PairCard;
use crate::domain::{
    CaseId, CaseInstance, Completion, EndpointId, Micros, ModelId, Scorecard, Suite, SuiteDigest, SuiteName, SweepId,
};
use crate::provider::read_answer;
use crate::report::share_interval;
use crate::store::{ANSWERS_PAGE_ROWS, AnswerRow, Store, StoreError};
use crate::suites::Drawer;

/// Answers of a suite that are read for one scorecard, the newest: more tell nothing that these do not.
const ANSWERS_MAX: usize = 20_000;

/// Differences of paired answers, by endpoint and suite.
pub type PairCards = BTreeMap<(EndpointId, SuiteName), PairCard>;

/// One instance at one endpoint: both of a pair share it.
type Place = (EndpointId, SweepId, CaseId, u32);

/// How the two cases of a pair are asked.
struct Half {
    /// The case that the pair is named by.
    with: CaseId,
    /// Text and calls are compared as well.
    contents: bool,
    /// Usage is asked for.
    usage: bool,
    /// The case without parameters: only how it was asked is of interest.
    instance: CaseInstance,
}

/// The pairs of a model's suites that were asked in `[from_us, to_us)`, of those whose figures `cards` tell.
///
/// # Errors
/// [`StoreError`] of the database.
pub async fn pair_cards(
    store: &Store,
    model: &ModelId,
    (suites, cards): (impl Iterator<Item = &Arc<Suite>>, &[Scorecard]),
    window: (Micros, Micros),
) -> Result<PairCards, StoreError> {
    let mut out = PairCards::new();
    let is_told = |suite: &Suite| cards.iter().any(|card| card.suites.iter().any(|told| told.suite == suite.name));
    for suite in suites.filter(|suite| is_told(suite)) {
        let Some(halves) = halves(suite) else { continue };
        for (endpoint, card) in of_suite(store, model, (&suite.name, Arc::new(halves)), window).await? {
            out.insert((endpoint, suite.name.clone()), card);
        }
    }
    Ok(out)
}

/// Puts the pairs where their suites are told of.
pub fn add_to(cards: &mut [Scorecard], mut pairs: PairCards) {
    for card in cards {
        for suite in &mut card.suites {
            suite.pairs = pairs.remove(&(card.endpoint.clone(), suite.suite.clone()));
        }
    }
}

/// The cases of pairs by id; `None` for a suite without.
fn halves(suite: &Arc<Suite>) -> Option<HashMap<CaseId, Half>> {
    let pairs: Vec<_> = suite.cases.iter().filter_map(|case| Some((&case.id, case.pair.as_ref()?))).collect();
    if pairs.is_empty() {
        return None;
    }
    let drawer = Drawer::new(Arc::clone(suite)).ok()?;
    let mut out = HashMap::new();
    for (id, pair) in pairs {
        for case in [id, &pair.with] {
            let Ok(instance) = drawer.draw(case, "", 0) else { continue };
            let half = Half { with: pair.with.clone(), contents: pair.content, usage: has_usage(&instance), instance };
            out.insert(case.clone(), half);
        }
    }
    Some(out)
}

/// Pairs, those that differ, and how.
type Differing = (u64, u64, BTreeMap<&'static str, u64>);

/// Pairs as they are read.
#[derive(Default)]
struct Comparison {
    /// The first of each pair that was read.
    open: HashMap<Place, (CaseId, Completion)>,
    counts: BTreeMap<EndpointId, Differing>,
}

impl Comparison {
    fn take(&mut self, row: &AnswerRow, halves: &HashMap<CaseId, Half>) {
        let Some(half) = halves.get(&row.case) else { return };
        let Ok(transcript) = row.transcript() else { return };
        let Ok(answer) = read_answer(&transcript.response, &half.instance) else { return };
        let place = (row.endpoint.clone(), row.sweep, half.with.clone(), row.epoch);
        match self.open.remove(&place) {
            Some((other, before)) if other != row.case => {
                // Both ways of asking must ask for usage.
                let usage = half.usage && halves.get(&other).is_some_and(|other| other.usage);
                let found = differences(&before, &answer, usage, half.contents);
                let (compared, differing, kinds) = self.counts.entry(row.endpoint.clone()).or_default();
                *compared += 1;
                *differing += u64::from(!found.is_empty());
                found.into_iter().for_each(|kind| *kinds.entry(kind).or_default() += 1);
            }
            _ => _ = self.open.insert(place, (row.case.clone(), answer)),
        }
    }
}

async fn of_suite(
    store: &Store,
    model: &ModelId,
    (suite, halves): (&SuiteName, Arc<HashMap<CaseId, Half>>),
    window: (Micros, Micros),
) -> Result<BTreeMap<EndpointId, PairCard>, StoreError> {
    let mut comparison = Comparison::default();
    let mut versions = Newest { suite, newest: None, known: HashMap::new() };
    let mut after: Option<AnswerRow> = None;
    for _ in 0..ANSWERS_MAX / ANSWERS_PAGE_ROWS {
        let page = store.answers(model, suite, window, after.as_ref()).await?;
        let is_last = page.len() < ANSWERS_PAGE_ROWS;
        after = page.last().cloned();
        let mut counted = Vec::with_capacity(page.len());
        for row in page {
            if versions.has(store, row.sweep).await? {
                counted.push(row);
            }
        }
        let halves = Arc::clone(&halves);
        // Unpacking and reading may take long.
        let work = tokio::task::spawn_blocking(move || {
            counted.iter().for_each(|row| comparison.take(row, &halves));
            comparison
        });
        comparison = work.await.map_err(|e| StoreError::Corrupt(format!("comparing answers failed: {e}")))?;
        if is_last {
            break;
        }
    }
    let card = |(endpoint, (pairs, differing, kinds)): (EndpointId, Differing)| {
        let kinds = kinds.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
        (endpoint, PairCard { pairs, differing, interval: share_interval(differing, pairs), kinds })
    };
    Ok(comparison.counts.into_iter().map(card).collect())
}

/// Which sweeps asked the newest version of a suite: that of the first that is looked at.
struct Newest<'a> {
    suite: &'a SuiteName,
    newest: Option<Option<SuiteDigest>>,
    known: HashMap<SweepId, bool>,
}

impl Newest<'_> {
    async fn has(&mut self, store: &Store, sweep: SweepId) -> Result<bool, StoreError> {
        if let Some(known) = self.known.get(&sweep) {
            return Ok(*known);
        }
        let plan = store.sweep(sweep).await?.and_then(|stored| stored.plan);
        let digest = plan.and_then(|plan| {
            let mut parts = plan.suites.into_iter().chain(plan.aside);
            parts.find(|part| part.suite == *self.suite).map(|part| part.digest)
        });
        let is_newest = *self.newest.get_or_insert_with(|| digest.clone()) == digest;
        self.known.insert(sweep, is_newest);
        Ok(is_newest)
    }
}

/// A case asks for usage.
fn has_usage(instance: &CaseInstance) -> bool {
    let asked = instance.case.request.get("stream_options").and_then(|options| options.get("include_usage"));
    asked.and_then(Value::as_bool) != Some(false)
}

/// What must be the same however words were drawn: whether there are calls, the finish reason, whether there is reasoning,
/// which usage is told. `contents`: text and calls as well.
fn differences(a: &Completion, b: &Completion, usage: bool, contents: bool) -> Vec<&'static str> {
    let reasons = |c: &Completion| c.reasoning.as_deref().is_some_and(|text| !text.trim().is_empty());
    let told = |c: &Completion| {
        [c.usage.tokens_in, c.usage.tokens_out, c.usage.tokens_reasoning.filter(|n| *n > 0)].map(|n| n.is_some())
    };
    let said = |c: &Completion| {
        let parsed = |text: &Option<String>| serde_json::from_str::<Value>(text.as_deref().unwrap_or("")).ok();
        let calls: Vec<_> = c.tool_calls.iter().map(|call| (call.name.clone(), parsed(&call.arguments))).collect();
        (c.content.clone().unwrap_or_default(), calls)
    };
    let mut found = Vec::new();
    let mut differs = |kind, is: bool| found.extend(is.then_some(kind));
    differs("calls", a.tool_calls.is_empty() != b.tool_calls.is_empty());
    differs("finish_reason", a.finish_reason != b.finish_reason);
    differs("reasoning", reasons(a) != reasons(b));
    differs("usage", usage && told(a) != told(b));
    differs("content", contents && said(a) != said(b));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::shipped;

    #[test]
    fn usage_is_compared_only_where_both_ways_of_asking_ask_for_it() {
        let suite = shipped().unwrap().into_iter().find(|suite| suite.name.as_str() == "wire-contract").unwrap();
        let halves = halves(&suite).unwrap();
        let of = |id: &str| &halves[&CaseId::new(id).unwrap()];
        let plain = halves.iter().find(|(id, half)| half.with.as_str() == "usage-unasked-stream" && **id != half.with);
        assert!(!of("usage-unasked-stream").usage && plain.unwrap().1.usage, "either may be read first");
        assert!(halves.values().filter(|half| half.usage).count() > 40);
        assert_eq!(halves.len(), suite.cases.len());
    }
}
