//! `[policy]`, and each model's own keys over it.

use std::time::Duration;

use crate::domain::policy::{CaseBudgets, Pool, Quarantine, RankBy, SuitePolicy, Undecided};
use crate::domain::{Capability, ModelId, Policy, SuiteName};

use super::keys::{CASES, Need, POLICY};
use super::reader::{Span, View};
use super::{NamedCapability, NamedSuite, durations};

/// Longest quarantine.
const QUARANTINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads `[policy]`.
pub(super) fn read_base(root: &View<'_>, named_suites: &mut Vec<NamedSuite>) -> Policy {
    let view = root.child("policy");
    let mut policy = Policy::default();
    apply(&view, &mut policy, named_suites);
    for (key, reason) in policy.problems() {
        view.reader.problem(&place(&view, key), problem_text(key, &reason), hint(key));
    }
    policy
}

/// Reads a policy from a table that holds its keys and nothing else.
pub(super) fn read_alone(view: &View<'_>) -> Policy {
    let mut policy = Policy::default();
    apply(view, &mut policy, &mut Vec::new());
    for (key, reason) in policy.problems() {
        view.reader.problem(&place(view, key), problem_text(key, &reason), hint(key));
    }
    policy
}

/// Reads a model's `policy` over the base. Problems that the base has already are not told again.
pub(super) fn read_model(
    model: &View<'_>,
    root: &View<'_>,
    base: &Policy,
    named_suites: &mut Vec<NamedSuite>,
) -> Policy {
    let view = model.child("policy");
    let mut policy = base.clone();
    apply(&view, &mut policy, named_suites);
    let of_base = base.problems();
    for (key, reason) in policy.problems().into_iter().filter(|p| !of_base.contains(p)) {
        let there = root.child("policy");
        let from_base = !has(&view, key) && has(&there, key);
        let hint = if from_base {
            format!("the key itself stands in line {}, in [policy]", view.reader.line(&place(&there, key)))
        } else {
            hint(key)
        };
        view.reader.problem(&place(&view, key), problem_text(key, &reason), hint);
    }
    policy
}

/// Where the file names capabilities: in `[policy]`, and in the models' own keys. Their names were read before.
pub(super) fn named_capabilities(root: &View<'_>) -> Vec<NamedCapability> {
    let of = |view: &View<'_>, model: Option<ModelId>| -> Vec<NamedCapability> {
        let tags = view.child("policy").texts("capabilities").unwrap_or_default().into_iter();
        let named = |(tag, span): (&str, Span)| {
            let (model, place) = (model.clone(), view.reader.place(&span));
            Some(NamedCapability { capability: Capability::new(tag).ok()?, model, place })
        };
        tags.filter_map(named).collect()
    };
    let models = root.children("model");
    let id = |view: &View<'_>| ModelId::new(view.text("id")?.0).ok();
    let own = models.iter().filter_map(|view| Some(of(view, Some(id(view)?)))).flatten();
    of(root, None).into_iter().chain(own).collect()
}

fn capability(view: &View<'_>, tag: &str, span: &Span) -> Option<Capability> {
    Capability::new(tag)
        .map_err(|e| {
            view.reader.problem(span, format!("capability `{tag}`: {e}"), "name a tag of cases, such as \"tools\"")
        })
        .ok()
}

/// A list that must hold more endpoints than there are could never change: every exclusion would freeze it. Only what
/// somebody chose is checked: the default means all endpoints of a smaller model.
pub(super) fn check_min_providers(view: &View<'_>, endpoints: usize, who: &str) {
    let chosen = |n: &u32| *n as usize > endpoints && endpoints > 0 && *n != Policy::default().min_providers;
    let Some(least) = view.count("min_providers").filter(chosen) else { return };
    view.reader.problem(
        &view.span_of("min_providers"),
        problem_text("min_providers", &format!("{least} endpoints can never be listed: {who} {endpoints}")),
        format!("at most {endpoints}; a smaller number lets bad endpoints leave the list"),
    );
}

/// What a key such as `cases.cap` is for, and its default.
fn hint(key: &str) -> String {
    let found = match key.split_once('.') {
        Some(("cases", below)) => CASES.key(below),
        Some((table, _)) => POLICY.key(table),
        None => POLICY.key(key),
    };
    match found.map(|key| (key.meaning, key.need)) {
        Some((meaning, Need::Default(default))) => format!("{meaning} By default {default}."),
        Some((meaning, _)) => meaning.to_owned(),
        None => String::new(),
    }
}

fn problem_text(key: &str, reason: &str) -> String {
    format!("impossible policy: {key}: {reason}")
}

/// Whether a table holds a key such as `cases.cap`.
fn has(view: &View<'_>, key: &str) -> bool {
    match key.split_once('.') {
        Some((table, key)) => view.child(table).has(key),
        None => view.has(key),
    }
}

/// The place of a key such as `cases.cap`, or of the nearest table around it.
fn place(view: &View<'_>, key: &str) -> Span {
    match key.split_once('.') {
        Some((table, key)) => view.child(table).span_of(key),
        None => view.span_of(key),
    }
}

/// Sets what is there.
fn apply(view: &View<'_>, policy: &mut Policy, named_suites: &mut Vec<NamedSuite>) {
    let Policy {
        margin,
        admission_margin,
        alpha,
        exclude_after_sweeps,
        readmit_after_sweeps,
        suspect_at,
        burst_at,
        pool,
        anchors,
        cases,
        usable_margin,
        min_providers,
        undecided,
        rank_by,
        graded,
        capabilities,
        reference_may_fall,
        fingerprint_us,
        fingerprint_samples_us,
        quarantine,
        suites,
    } = policy;
    for (key, slot) in [
        ("margin", margin),
        ("alpha", alpha),
        ("exclude_after_sweeps", exclude_after_sweeps),
        ("readmit_after_sweeps", readmit_after_sweeps),
        ("suspect_at", suspect_at),
        ("burst_at", burst_at),
        ("usable_margin", usable_margin),
    ] {
        set(slot, view.number(key));
    }
    set(admission_margin, view.number("admission_margin").map(Some));
    set(pool, view.text("pool").and_then(|(word, _)| pool_of(word)));
    set(anchors, view.count("anchors"));
    set(min_providers, view.count("min_providers"));
    set(graded, view.flag("graded"));
    set(reference_may_fall, view.flag("reference_may_fall"));
    set(undecided, view.text("undecided").and_then(|(word, _)| undecided_of(word)));
    set(rank_by, view.text("rank_by").and_then(|(word, _)| rank_of(word)));
    for (key, slot) in [("fingerprint", fingerprint_us), ("fingerprint_samples", fingerprint_samples_us)] {
        let every = view.duration(key).map(|d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        set(slot, every.map(|us| Some(us).filter(|us| *us > 0)));
    }
    apply_cases(&view.child("cases"), cases);
    if let Some(tags) = view.texts("capabilities") {
        *capabilities = tags.into_iter().filter_map(|(tag, span)| capability(view, tag, &span)).collect();
    }
    apply_quarantine(view, quarantine);
    for (name, span, below) in view.named_children("suites") {
        match SuiteName::new(name) {
            Err(e) => view.reader.problem(&span, e.to_string(), ""),
            Ok(name) => {
                let SuitePolicy { margin, weight, floor } = suites.entry(name.clone()).or_default();
                set(margin, below.number("margin").map(Some));
                set(weight, below.number("weight").map(Some));
                set(floor, below.number("floor").map(Some));
                named_suites.push(NamedSuite { name, place: view.reader.place(&span) });
            }
        }
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn apply_cases(view: &View<'_>, cases: &mut CaseBudgets) {
    let CaseBudgets { standard, burst, unknown, cap, weekly_burst } = cases;
    for (key, slot) in
        [("standard", standard), ("burst", burst), ("unknown", unknown), ("cap", cap), ("weekly_burst", weekly_burst)]
    {
        set(slot, view.count(key));
    }
}

fn apply_quarantine(view: &View<'_>, quarantine: &mut Quarantine) {
    let below = view.child("quarantine");
    let for_ = below.duration("for");
    if for_.is_some_and(|d| d > QUARANTINE_MAX) {
        let message = "`for` is longer than a quarantine may last: the endpoint is evaluated meanwhile";
        view.reader.problem(&below.span_of("for"), message, "at most \"24h\"");
    }
    set(&mut quarantine.enabled, below.flag("enabled"));
    set(&mut quarantine.for_, for_.map(|d: Duration| durations::show(d)));
}

fn undecided_of(word: &str) -> Option<Undecided> {
    match word {
        "include" => Some(Undecided::Include),
        "exclude" => Some(Undecided::Exclude),
        _ => None,
    }
}

fn pool_of(word: &str) -> Option<Pool> {
    match word {
        "wide" => Some(Pool::Wide),
        "anchors" => Some(Pool::Anchors),
        _ => None,
    }
}

fn rank_of(word: &str) -> Option<RankBy> {
    match word {
        "quality" => Some(RankBy::Quality),
        "price" => Some(RankBy::Price),
        "latency" => Some(RankBy::Latency),
        "throughput" => Some(RankBy::Throughput),
        _ => None,
    }
}
