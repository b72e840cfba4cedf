//! What only two answers show together: the same instance asked as a stream and plain must be answered in the same form
//! (defects, `pair`). Read from stored transcripts, so that it can be told as long as these are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::domain::scorecard::PairCard;
use crate::domain::{
    CaseId, CaseInstance, Completion, EndpointId, Micros, ModelId, Scorecard, Suite, SuiteName, SweepId,
};
use crate::provider::read_answer;
use crate::report::share_interval;
use crate::store::{AttemptFilter, Store, StoreError};
use crate::suites::Drawer;

/// Attempts read at once.
const PAGE: usize = 500;

/// Differences of paired answers, by endpoint and suite.
pub type PairCards = BTreeMap<(EndpointId, SuiteName), PairCard>;

/// One instance at one endpoint: both of a pair share it.
type Place = (EndpointId, SweepId, CaseId, u32);

/// The pairs of a model's suites that were asked in `[from_us, to_us)`.
///
/// # Errors
/// [`StoreError`] of the database.
pub async fn pair_cards(
    store: &Store,
    model: &ModelId,
    suites: impl Iterator<Item = &Arc<Suite>>,
    (from_us, to_us): (Micros, Micros),
) -> Result<PairCards, StoreError> {
    let mut out = PairCards::new();
    for suite in suites.filter(|suite| suite.cases.iter().any(|case| case.pair.is_some())) {
        let Ok(drawer) = Drawer::new(Arc::clone(suite)) else { continue };
        for (endpoint, card) in of_suite(store, model, &drawer, (from_us, to_us)).await? {
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

async fn of_suite(
    store: &Store,
    model: &ModelId,
    drawer: &Drawer,
    (from_us, to_us): (Micros, Micros),
) -> Result<BTreeMap<EndpointId, PairCard>, StoreError> {
    let suite = drawer.suite();
    // Both cases of a pair, by id: the one that the pair is named by, and whether contents are compared.
    let mut pairs: HashMap<&CaseId, (&CaseId, bool)> = HashMap::new();
    for case in &suite.cases {
        if let Some(pair) = &case.pair {
            pairs.insert(&case.id, (&pair.with, pair.content));
            pairs.insert(&pair.with, (&pair.with, pair.content));
        }
    }
    let filter = AttemptFilter {
        model: Some(model.clone()),
        suite: Some(suite.name.clone()),
        since_us: Some(from_us),
        ..AttemptFilter::default()
    };
    let mut open: HashMap<Place, (CaseId, Completion)> = HashMap::new();
    let mut counts: BTreeMap<EndpointId, (u64, u64, BTreeMap<&'static str, u64>)> = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = store.attempts(&filter, PAGE, cursor.as_deref()).await?;
        for stored in page.items.into_iter().filter(|stored| stored.attempt.started_at_us < to_us) {
            let attempt = stored.attempt;
            let Some((with, contents)) = pairs.get(&attempt.key.case).copied() else { continue };
            // Without parameters: only how it was asked is of interest.
            let Ok(instance) = drawer.draw(&attempt.key.case, "", 0) else { continue };
            let Some(transcript) = store.transcript(attempt.id).await? else { continue };
            let Ok(answer) = read_answer(&transcript.response, &instance) else { continue };
            let place = (attempt.key.endpoint.clone(), attempt.key.sweep, with.clone(), attempt.key.epoch);
            match open.remove(&place) {
                Some((other, before)) if other != attempt.key.case => {
                    let found = differences(&before, &answer, has_usage(&instance), contents);
                    let (compared, differing, kinds) = counts.entry(attempt.key.endpoint).or_default();
                    *compared += 1;
                    *differing += u64::from(!found.is_empty());
                    found.into_iter().for_each(|kind| *kinds.entry(kind).or_default() += 1);
                }
                _ => _ = open.insert(place, (attempt.key.case, answer)),
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let card = |(endpoint, (pairs, differing, kinds)): (EndpointId, (u64, u64, BTreeMap<&'static str, u64>))| {
        let kinds = kinds.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
        (endpoint, PairCard { pairs, differing, interval: share_interval(differing, pairs), kinds })
    };
    Ok(counts.into_iter().map(card).collect())
}

/// Both ways of asking ask for usage.
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
