//! Quarantine: an overlay on the list that ends by itself, admits nobody and never empties the list.

use std::collections::BTreeMap;

use super::replays::Chronicle;
use super::world::*;
use crate::curation::{Act, Refused, Stepped};
use crate::domain::live::{LiveEvidence, SourceEvidence};
use crate::domain::{Capability, DecisionKind, Outcome, Override, Policy, Standing, Verb};

const HOUR_US: i64 = 3_600_000_000;

fn against(log_r: f64) -> LiveEvidence {
    LiveEvidence {
        requests: "tools".to_owned(),
        answers: 12,
        bad: 11,
        since_us: 1_700_000_000_000_000,
        own_rate: 0.012,
        peer_rate: 0.02,
        margin: 0.1,
        log_r,
        log_threshold: 14.25,
        sources: BTreeMap::from([("eu".to_owned(), SourceEvidence { answers: 12, bad: 11, log_r })]),
    }
}

fn set_aside(c: &mut Chronicle, id: &str, hours: i64) -> Result<Stepped, Refused> {
    let act =
        Act::Quarantined { endpoint: endpoint(id), for_us: hours * HOUR_US + HOUR_US / 2, evidence: against(17.0) };
    c.take(act, None)
}

fn release(c: &mut Chronicle, id: &str) -> Stepped {
    c.take(Act::Released { endpoint: endpoint(id), why: "cleared".to_owned() }, None).unwrap()
}

fn chronicle() -> Chronicle {
    let mut c = Chronicle::new(&["a", "b", "c", "d"]);
    c.policy = Policy { min_providers: 2, alpha: 0.3, ..Policy::default() };
    c.policy.quarantine.enabled = true;
    c.configure();
    c
}

fn all_well(_: &Ask<'_>, _: &mut Dice) -> Outcome {
    scored(true)
}

#[test]
fn an_endpoint_leaves_the_list_keeps_its_standing_and_comes_back() {
    let mut c = chronicle();
    c.sweep(all_well);
    assert_eq!(c.listed().len(), 4);
    let before = c.base.state.clone();
    let made = set_aside(&mut c, "c", 30).unwrap();
    assert_eq!(c.listed(), ["a", "b", "d"]);
    assert_eq!(c.base.state, before, "no standing and no evidence has changed");
    let [decision] = made.decisions.as_slice() else { panic!("{:?}", made.decisions) };
    assert_eq!((decision.kind, decision.from, decision.to), (DecisionKind::Quarantine, decision.from, decision.from));
    for part in ["11 of 12 live answers to requests with tools", "reported by eu (11 of 12)", "1.2% before", "2.0%"] {
        assert!(decision.reason.contains(part), "{}", decision.reason);
    }
    assert_eq!(decision.evidence["live"]["sources"]["eu"]["bad"], 11);
    let told = c.list().excluded.iter().find(|e| e.id == endpoint("c")).unwrap();
    assert_eq!(told.reason, decision.reason);
    // Whatever happens meanwhile, it stays off.
    c.sweep(all_well);
    c.order(Verb::Note, Some("a")).unwrap();
    c.take(Act::Refresh, None).unwrap();
    assert_eq!(c.listed(), ["a", "b", "d"]);
    release(&mut c, "c");
    assert_eq!(c.listed().len(), 4);
    c.check_replay();
}

#[test]
fn it_ends_by_itself_at_the_next_step_after_its_time() {
    let mut c = chronicle();
    set_aside(&mut c, "b", 2).unwrap();
    c.take(Act::Refresh, None).unwrap();
    assert!(!c.listed().contains(&"b"));
    c.take(Act::Refresh, None).unwrap();
    assert!(!c.listed().contains(&"b"), "two hours and a half have not passed");
    c.take(Act::Refresh, None).unwrap();
    assert!(c.listed().contains(&"b") && c.list().excluded.is_empty());
    c.check_replay();
}

#[test]
fn the_list_never_falls_below_min_providers() {
    let mut c = chronicle();
    set_aside(&mut c, "a", 99).unwrap();
    set_aside(&mut c, "b", 99).unwrap();
    let refused = set_aside(&mut c, "c", 99).unwrap_err();
    assert!(refused.to_string().contains("below `min_providers`"), "{refused}");
    assert_eq!(c.listed(), ["c", "d"]);
    // Another endpoint goes by an operator's order: the one that was set aside last comes back.
    c.order(Verb::Ban, Some("c")).unwrap();
    assert_eq!(c.listed(), ["d", "b"], "who comes back stands behind who stayed");
    c.order(Verb::Ban, Some("d")).unwrap();
    assert_eq!(c.listed(), ["b", "a"]);
    c.check_replay();
}

#[test]
fn who_may_not_be_set_aside_is_not() {
    let mut c = chronicle();
    c.order(Verb::Pin, Some("a")).unwrap();
    c.order(Verb::Ban, Some("b")).unwrap();
    for id in ["a", "b"] {
        assert!(matches!(set_aside(&mut c, id, 9), Err(Refused::NotSetAside(_))), "{id}");
    }
    assert_eq!(set_aside(&mut c, "nobody", 9), Err(Refused::UnknownEndpoint(endpoint("nobody"))));
    for log_r in [14.2, f64::NAN, f64::NEG_INFINITY] {
        let weak = Act::Quarantined { endpoint: endpoint("c"), for_us: HOUR_US, evidence: against(log_r) };
        assert!(matches!(c.take(weak, None), Err(Refused::NotSetAside(_))), "{log_r}");
    }
    set_aside(&mut c, "c", 9).unwrap();
    let again = set_aside(&mut c, "c", 9).unwrap_err().to_string();
    assert!(again.contains("not listed"), "{again}");
    // A pin puts it back at once.
    c.order(Verb::Pin, Some("c")).unwrap();
    assert!(c.listed().contains(&"c"));
    assert_eq!(c.base.state.endpoints[&endpoint("c")].override_, Some(Override::Pinned));
    c.policy.quarantine.enabled = false;
    c.overlay.clear();
    assert!(matches!(set_aside(&mut c, "d", 9), Err(Refused::NotSetAside(_))));
    c.check_replay();
}

#[test]
fn lists_of_capabilities_do_without_it_as_well() {
    let mut c = Chronicle::new(&["a", "b", "c"]);
    let tools = Capability::new("tools").unwrap();
    c.policy.quarantine.enabled = true;
    c.policy.min_providers = 1;
    c.tags = BTreeMap::from([(tools.clone(), [(suite("one"), vec![case(0), case(1)])].into())]);
    c.configure();
    set_aside(&mut c, "b", 9).unwrap();
    let listed: Vec<&str> = c.base.lists[&tools].providers.iter().map(|p| p.id.as_str()).collect();
    assert_eq!((listed, c.listed()), (vec!["a", "c"], vec!["a", "c"]));
    assert_eq!(c.base.state.endpoints[&endpoint("b")].standing, Standing::Unknown);
    c.check_replay();
}
