//! What only two answers show together: the same instance asked as a stream and plain must be answered in the same form
//! (defects, `pair`). Read from stored transcripts, so that it can be told as long as these are kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::domain::scorecard::PairCard;
use crate::domain::{
    CaseId, CaseInstance, Completion, EndpointId, Micros, ModelId, Scorecard, Suite, SuiteDigest, SuiteName, SweepId,
    ToolCall,
};
use crate::provider::read_answer;
use crate::report::share_interval;
use crate::scoring::json_equal;
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
    /// What is compared.
    wanted: Wanted,
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
            let wanted = Wanted { contents: pair.content, calls: has_settled_calls(&instance) };
            let half = Half { with: pair.with.clone(), wanted, usage: has_usage(&instance), instance };
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
                let found = differences(&before, &answer, usage, half.wanted);
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

/// Which calls are due does not depend on what is drawn: the temperature is 0, or a scorer knows the very calls.
fn has_settled_calls(instance: &CaseInstance) -> bool {
    let is_zero = instance.case.request.get("temperature").and_then(Value::as_f64) == Some(0.0);
    is_zero || instance.scorers.iter().any(|scorer| ["bfcl", "tool-calls"].contains(&scorer.kind.as_str()))
}

/// What of a pair is compared beside its form.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Text and calls.
    contents: bool,
    /// How many calls, and of which tools.
    calls: bool,
}

/// What must be the same however words were drawn: whether there are calls, of which kinds their arguments are, the finish
/// reason, whether there is reasoning, which usage is told. And what is wanted.
fn differences(a: &Completion, b: &Completion, usage: bool, wanted: Wanted) -> Vec<&'static str> {
    let reasons = |c: &Completion| c.reasoning.as_deref().is_some_and(|text| !text.trim().is_empty());
    let told = |c: &Completion| {
        [c.usage.tokens_in, c.usage.tokens_out, c.usage.tokens_reasoning.filter(|n| *n > 0)].map(|n| n.is_some())
    };
    let mut found = Vec::new();
    let mut differs = |kind, is: bool| found.extend(is.then_some(kind));
    let (calls_a, calls_b) = (Calls::of(a), Calls::of(b));
    differs("calls", a.tool_calls.is_empty() != b.tool_calls.is_empty() || wanted.calls && !calls_a.are_as(&calls_b));
    differs("arguments", !calls_a.agree_in_kind(&calls_b));
    differs("finish_reason", a.finish_reason != b.finish_reason);
    differs("reasoning", reasons(a) != reasons(b));
    differs("usage", usage && told(a) != told(b));
    differs("content", wanted.contents && !say_the_same(a, b));
    found
}

/// The same text and the same calls in the same order. Numbers are compared by value.
fn say_the_same(a: &Completion, b: &Completion) -> bool {
    let text = |c: &Completion| c.content.clone().unwrap_or_default();
    let same_call = |(a, b): (&ToolCall, &ToolCall)| {
        a.name == b.name
            && match (arguments(a), arguments(b)) {
                (Some(a), Some(b)) => json_equal(&a, &b),
                _ => a.arguments == b.arguments,
            }
    };
    text(a) == text(b)
        && a.tool_calls.len() == b.tool_calls.len()
        && a.tool_calls.iter().zip(&b.tool_calls).all(same_call)
}

/// What a call's arguments are; `None`: no JSON.
fn arguments(call: &ToolCall) -> Option<Value> {
    serde_json::from_str(call.arguments.as_deref().unwrap_or("")).ok()
}

/// The arguments of an answer's calls by tool: who calls several tools at once may draw their order.
struct Calls<'a>(BTreeMap<&'a str, Vec<Option<Value>>>);

impl<'a> Calls<'a> {
    fn of(completion: &'a Completion) -> Self {
        let mut by_tool: BTreeMap<&str, Vec<Option<Value>>> = BTreeMap::new();
        for call in &completion.tool_calls {
            by_tool.entry(&call.name).or_default().push(arguments(call));
        }
        Calls(by_tool)
    }

    /// The same tools are called, each as often.
    fn are_as(&self, other: &Calls<'_>) -> bool {
        let times = |(tool, calls): (&&'a str, &Vec<_>)| (*tool, calls.len());
        self.0.iter().map(times).eq(other.0.iter().map(|(tool, calls)| (*tool, calls.len())))
    }

    /// The arguments of each tool's calls, one after the other, are of the same kinds.
    fn agree_in_kind(&self, other: &Calls<'_>) -> bool {
        let same = self.0.iter().filter_map(|(tool, calls)| Some((calls, other.0.get(tool)?)));
        same.flat_map(|(calls, others)| calls.iter().zip(others)).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => same_kinds(a, b),
            (a, b) => a.is_none() == b.is_none(),
        })
    }
}

/// Values under the same keys are of one kind, `1` and `1.0` of the same. A key may be left out or be null on one side:
/// what is optional may be drawn either way.
fn same_kinds(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, value)| b.get(key).is_none_or(|other| same_kinds(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.iter().zip(b).all(|(a, b)| same_kinds(a, b)),
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
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

    /// An answer with these calls.
    fn calling(calls: &[(&str, &str)]) -> Completion {
        let calls: Vec<Value> = calls
            .iter()
            .map(|(name, arguments)| serde_json::json!({"function": {"name": name, "arguments": arguments}}))
            .collect();
        crate::provider::completion_from_message(&serde_json::json!({"role": "assistant", "tool_calls": calls}))
    }

    #[test]
    fn calls_are_compared_as_far_as_sampling_leaves_them_alone() {
        let [nothing, settled, all] =
            [(false, false), (true, false), (true, true)].map(|(calls, contents)| Wanted { contents, calls });
        let found =
            |a: &[(&str, &str)], b: &[(&str, &str)], wanted| differences(&calling(a), &calling(b), true, wanted);
        let three = [("tide", r#"{"harbour": "Porto", "days": 3}"#)];
        // A type that only one way of asking keeps is no matter of sampling.
        let text = [("tide", r#"{"harbour": "Porto", "days": "3"}"#)];
        assert_eq!(found(&three, &text, nothing), ["arguments"]);
        assert_eq!(found(&three, &text, all), ["arguments", "content"]);
        assert_eq!(found(&three, &[("tide", r#"{"harbour": "Porto", "days":"#)], nothing), ["arguments"]);
        let nested = |n: &str| format!(r#"{{"holds": [{{"tonnes": {n}}}]}}"#);
        assert_eq!(found(&[("load", &nested("1.5"))], &[("load", &nested("\"1.5\""))], nothing), ["arguments"]);
        // Other values, an optional key, null in its place: drawn, unless nothing is.
        for other in
            [r#"{"harbour": "Lisbon", "days": 4}"#, r#"{"harbour": "Porto"}"#, r#"{"harbour": null, "days": 3}"#]
        {
            assert_eq!(found(&three, &[("tide", other)], settled), [""; 0], "{other}");
            assert_eq!(found(&three, &[("tide", other)], all), ["content"], "{other}");
        }
        // The same to whoever reads it (defects, section 13).
        let benign = [("tide", r#"{"days":3.0,"harbour":"Porto"}"#)];
        assert_eq!(found(&three, &benign, all), [""; 0]);
        let twice = [three[0], ("clock", "{}")];
        let turned = [("clock", "{}"), three[0]];
        assert_eq!(found(&twice, &turned, settled), [""; 0], "whose order may be drawn");
        assert_eq!(found(&twice, &turned, all), ["content"]);
        // How many, and of which tools.
        assert_eq!(found(&twice, &three, nothing), [""; 0]);
        assert_eq!(found(&twice, &three, settled), ["calls"]);
        assert_eq!(found(&three, &[("tides", three[0].1)], settled), ["calls"]);
        assert_eq!(found(&three, &[], nothing), ["calls", "finish_reason"]);
    }

    #[test]
    fn calls_are_settled_where_nothing_is_drawn_or_a_scorer_knows_them() {
        let suites = shipped().unwrap();
        let suite = suites.iter().find(|suite| suite.name.as_str() == "wire-contract").unwrap();
        let drawer = Drawer::new(Arc::clone(suite)).unwrap();
        let mut instance = drawer.draw(&CaseId::new("call-stream").unwrap(), "", 0).unwrap();
        assert!(has_settled_calls(&instance));
        let mut case = (*instance.case).clone();
        let mut request = (*case.request).clone();
        request.insert("temperature".to_owned(), serde_json::json!(0.7));
        case.request = Arc::new(request);
        instance.case = Arc::new(case);
        assert!(!has_settled_calls(&instance), "judged by the wire alone, and drawn");
        let options = serde_json::Map::new();
        instance.scorers = Arc::new([crate::domain::ScorerSpec { kind: "tool-calls".to_owned(), options }]);
        assert!(has_settled_calls(&instance));
    }
}
