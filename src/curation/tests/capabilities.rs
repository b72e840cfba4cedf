//! Lists per capability: the same machinery over the tagged cases, beside the model's own list and never in its way.

use std::collections::BTreeMap;

use super::replays::{Chronicle, tags};
use super::world::*;
use crate::curation::{Act, AlarmKind, ModelState, Occasion, Stepped, SuiteEvidence, budgets, encode, participants};
use crate::domain::policy::{RankBy, SuitePolicy};
use crate::domain::{
    Allowlist, AllowlistMode, Capability, DecisionKind, EndpointId, Outcome, Override, Policy, Standing, Verb,
};

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn tools() -> Capability {
    Capability::new("tools").unwrap()
}

/// Decides within a few sweeps, and takes a tenth of failures for nothing.
fn wide() -> Policy {
    Policy {
        margin: 0.4,
        admission_margin: Some(0.3),
        alpha: 0.2,
        exclude_after_sweeps: 20.0,
        readmit_after_sweeps: 4.0,
        suspect_at: 5.0,
        burst_at: 3.0,
        min_providers: 1,
        ..Policy::default()
    }
}

/// `tools` is carried by the first two of the twenty cases of suite `one`.
fn chronicle() -> Chronicle {
    let mut c = Chronicle::new(&IDS);
    c.policy = wide();
    c.tags = BTreeMap::from([(tools(), [(suite("one"), vec![case(0), case(1)])].into())]);
    c.configure();
    c
}

/// Everybody passes but the named one, which fails the cases of `tools`.
fn fails_tools(who: &'static str) -> impl Fn(&Ask<'_>, &mut Dice) -> Outcome {
    move |ask, _| scored(ask.endpoint != who || ask.suite != "one" || ask.case > 1)
}

fn state(c: &Chronicle) -> &ModelState {
    &c.base.state.capabilities[&tools()]
}

fn list(c: &Chronicle) -> &Allowlist {
    &c.base.lists[&tools()]
}

fn listed(list: &Allowlist) -> Vec<&str> {
    list.providers.iter().map(|p| p.id.as_str()).collect()
}

fn standing(c: &Chronicle, id: &str) -> Standing {
    state(c).endpoints[&endpoint(id)].standing
}

fn sweeps(
    c: &mut Chronicle,
    most: usize,
    answer: impl Fn(&Ask<'_>, &mut Dice) -> Outcome,
    done: impl Fn(&Chronicle) -> bool,
) {
    for _ in 0..most {
        c.sweep(&answer);
        if done(c) {
            return;
        }
    }
    panic!(
        "not within {most} sweeps: {:?}",
        state(c).endpoints.iter().map(|(id, e)| (id, e.standing)).collect::<Vec<_>>()
    );
}

fn decided(c: &Chronicle) -> bool {
    let all = |state: &ModelState| state.endpoints.values().all(|e| e.standing.is_decided());
    all(&c.base.state) && all(state(c))
}

#[test]
fn a_floor_holds_on_the_list_of_a_capability_too() {
    let mut c = chronicle();
    sweeps(&mut c, 60, |_, _| PASS, decided);
    let floor = SuitePolicy { floor: Some(0.8), ..SuitePolicy::default() };
    c.policy.suites = BTreeMap::from([(suite("one"), floor)]);
    c.configure();
    // All are as bad as one another in what the list is about, and well above the floor in the whole suite.
    let bad = |ask: &Ask<'_>, dice: &mut Dice| scored(ask.suite != "one" || ask.case > 1 || dice.unit() < 0.1);
    sweeps(&mut c, 200, bad, |c| IDS.iter().all(|id| standing(c, id) == Standing::Excluded));
    assert!(IDS.iter().all(|id| c.base.state.endpoints[&endpoint(id)].standing == Standing::Admitted));
    assert_eq!((list(&c).mode, list(&c).providers.is_empty()), (AllowlistMode::Frozen, false), "held, never empty");
    c.check_replay();
}

#[test]
fn who_fails_the_tagged_cases_alone_leaves_that_list_alone() {
    let mut c = chronicle();
    sweeps(&mut c, 60, fails_tools("d"), decided);
    assert_eq!(c.listed().len(), 4, "a tenth of one suite is nothing to the model's own list");
    let list = list(&c);
    assert_eq!((list.mode, list.providers.len()), (AllowlistMode::Normal, 3));
    assert!(!listed(list).contains(&"d"));
    let reason = &list.excluded[0].reason;
    assert!(reason.starts_with("capability tools: excluded: one success 0.0%"), "{reason}");
    let evidence = &state(&c).endpoints[&endpoint("a")].suites;
    assert!(!evidence.contains_key(&suite("two")), "no case of `two` carries the tag");
    c.check_replay();
    c.check_own_list();
}

#[test]
fn its_decisions_name_it_and_follow_those_of_the_model() {
    let mut c = chronicle();
    let mut log = Vec::new();
    for _ in 0..60 {
        log.extend(c.sweep(fails_tools("d")).decisions);
    }
    let of_tools: Vec<_> = log.iter().filter(|d| d.capability == Some(tools())).collect();
    assert!(of_tools.iter().all(|d| d.reason.starts_with("capability tools: ")), "{of_tools:?}");
    assert!(of_tools.iter().any(|d| d.endpoint == endpoint("d") && d.to == Standing::Excluded));
    assert!(of_tools.iter().all(|d| !matches!(d.kind, DecisionKind::Entered | DecisionKind::Left)), "told once");
    assert!(log.iter().any(|d| d.capability.is_none() && d.to == Standing::Admitted));
}

#[test]
fn pins_and_bans_hold_on_every_list_and_a_reset_resets_every_evidence() {
    let mut c = chronicle();
    sweeps(&mut c, 60, fails_tools("d"), decided);
    let made = c.order(Verb::Pin, Some("d")).unwrap();
    assert!(listed(list(&c)).contains(&"d"));
    assert_eq!(made.decisions.len(), 1, "one order, one decision");
    let told = &made.decisions[0].evidence["capabilities"]["tools"]["listed"];
    assert_eq!(told.to_string(), r#"{"before":false,"after":true}"#);
    c.order(Verb::Ban, Some("a")).unwrap();
    assert!(!listed(list(&c)).contains(&"a") && !c.listed().contains(&"a"));
    c.order(Verb::Unban, Some("a")).unwrap();
    c.order(Verb::Unpin, Some("d")).unwrap();
    assert!(!listed(list(&c)).contains(&"d") && listed(list(&c)).contains(&"a"));

    let made = c.order(Verb::Reset, Some("d")).unwrap();
    let capabilities: Vec<_> = made.decisions.iter().map(|d| (d.capability.clone(), d.from, d.to)).collect();
    assert_eq!(
        capabilities,
        [(None, Standing::Admitted, Standing::Provisional), (Some(tools()), Standing::Excluded, Standing::Unknown)]
    );
    assert_eq!(state(&c).endpoints[&endpoint("d")].suites[&suite("one")].cases, 0);
    c.check_replay();
    c.check_own_list();
}

#[test]
fn a_capability_that_is_new_begins_with_the_overrides_that_hold() {
    let mut c = chronicle();
    c.tags.clear();
    c.configure();
    c.order(Verb::Ban, Some("b")).unwrap();
    c.tags = tags(1);
    let made = c.configure();
    assert!(made.decisions.is_empty(), "nothing that the log has not told: {:?}", made.decisions);
    assert_eq!(state(&c).endpoints[&endpoint("b")].override_, Some(Override::Banned));
    assert_eq!(listed(list(&c)), ["a", "c", "d"]);
    c.check_replay();
}

#[test]
fn a_common_alarm_holds_its_own_list_and_one_acknowledgement_ends_all_holds() {
    let mut c = chronicle();
    sweeps(&mut c, 60, |_, _| PASS, decided);
    // Three of four fail what they passed: suite or grader changed, for all that the capability can tell.
    let breaks = |ask: &Ask<'_>, _: &mut Dice| scored(ask.endpoint == "a" || ask.suite != "one" || ask.case > 1);
    let mut held: Option<Stepped> = None;
    for _ in 0..20 {
        let made = c.sweep(breaks);
        if state(&c).frozen.is_some() {
            held = Some(made);
            break;
        }
    }
    let made = held.expect("it is held within 20 sweeps");
    assert!(c.base.state.frozen.is_none(), "the model's own list is not");
    let kinds: Vec<&str> = made.capabilities[&tools()].alarms.iter().map(|a| a.kind.name()).collect();
    assert_eq!(kinds, ["common", "frozen"]);
    assert!(made.capabilities[&tools()].alarms.iter().all(|a| a.message.starts_with("capability tools: ")));
    assert!(made.alarms.is_empty());
    assert_eq!((list(&c).mode, list(&c).providers.len()), (AllowlistMode::Frozen, 4));
    let made = c.order(Verb::Ack, None).unwrap();
    assert!(made.decisions.iter().all(|d| d.capability == Some(tools())) && made.decisions.len() == 4);
    assert!(state(&c).frozen.is_none());
    assert!(c.order(Verb::Ack, None).is_err(), "nothing is held any more");
    c.check_replay();
    c.check_own_list();
}

#[test]
fn other_tags_are_another_version_of_the_capability_alone() {
    let mut c = chronicle();
    sweeps(&mut c, 60, fails_tools("d"), decided);
    let cases = |c: &Chronicle| c.base.state.endpoints[&endpoint("a")].suites[&suite("one")].cases;
    let before = cases(&c);
    c.tags = BTreeMap::from([(tools(), [(suite("one"), vec![case(0), case(1), case(2)])].into())]);
    let made = c.configure();
    assert!(made.decisions.iter().all(|d| d.capability == Some(tools()) && d.kind == DecisionKind::VersionChange));
    assert_eq!(
        (made.decisions.len(), standing(&c, "a"), standing(&c, "d")),
        (4, Standing::Provisional, Standing::Unknown)
    );
    assert_eq!(cases(&c), before);
    assert!(listed(list(&c)).contains(&"a") && !listed(list(&c)).contains(&"d"), "listing does not change by itself");
    c.check_replay();
}

#[test]
fn a_capability_that_is_not_asked_for_loses_its_evidence_and_its_revisions_go_on() {
    let mut c = chronicle();
    sweeps(&mut c, 60, fails_tools("d"), decided);
    let version = list(&c).version;
    let wanted = std::mem::take(&mut c.tags);
    c.configure();
    assert!(c.base.state.capabilities.is_empty());
    c.tags = wanted;
    c.configure();
    assert_eq!((list(&c).version, list(&c).mode), (version + 1, AllowlistMode::Bootstrap));
    assert_eq!(standing(&c, "d"), Standing::Unknown);
    c.check_replay();
}

#[test]
fn a_sweep_that_began_without_the_capability_is_no_evidence_for_it() {
    let mut c = chronicle();
    let wanted = std::mem::take(&mut c.tags);
    c.configure();
    let began = c.planned(|_, _| PASS);
    c.tags = wanted;
    c.end(began);
    assert!(state(&c).endpoints[&endpoint("a")].suites.is_empty(), "no anchors were frozen for it");
    c.sweep(|_, _| PASS);
    assert_eq!(state(&c).endpoints[&endpoint("a")].suites[&suite("one")].cases, 2);
    c.check_replay();
}

#[test]
fn a_restored_store_goes_on_above_its_revisions_too() {
    let mut c = chronicle();
    let seen = BTreeMap::from([(tools(), 31)]);
    c.take(Act::Restored { seq: 41, revision: 17, capabilities: seen, overtaken: false }, None).unwrap();
    assert_eq!((c.list().version, list(&c).version), (18, 32));
    // One that the restored state has not heard of goes on above what was seen as well.
    let mut c = Chronicle::new(&IDS);
    c.configure();
    c.tags = tags(1);
    let seen = BTreeMap::from([(tools(), 31)]);
    c.take(Act::Restored { seq: 41, revision: 17, capabilities: seen, overtaken: false }, None).unwrap();
    assert_eq!(list(&c).version, 32);
    c.check_replay();
}

#[test]
fn each_list_is_ranked_and_renewed_by_itself() {
    let mut c = chronicle();
    c.policy.rank_by = RankBy::Quality;
    sweeps(&mut c, 60, fails_tools("d"), decided);
    let (own, of_tools) = (c.list().version, list(&c).version);
    c.clock_us += 13 * HOUR_US;
    c.take(Act::Refresh, None).unwrap();
    assert_eq!((c.list().version, list(&c).version), (own + 1, of_tools + 1), "half of the validity has passed");
    assert!(c.take(Act::Refresh, None).unwrap().capabilities[&tools()].draft.is_none());
}

// ------------------------------------------------------------------------------------------------------------ budgets

const LATER: Occasion = Occasion { now_us: START_US, first_of_utc_day: false, back_to_back: false };

/// A model of one endpoint beside others, that stands so on its own list and so on that of `tools`, after `asked` tagged
/// cases: what it is asked of a suite with tagged cases and of one without.
fn asked(own: Standing, of_tools: Standing, asked: u64) -> (Option<u32>, Option<u32>) {
    let mut world = World::new(&["x", "y"], &[("one", 200), ("two", 200)]);
    for id in ["x", "y"] {
        world.stand(id, if id == "x" { own } else { Standing::Admitted });
    }
    let mut capability = world.state.clone();
    capability.suites.retain(|name, _| *name == suite("one"));
    let endpoint_of = |state: &mut ModelState, standing| {
        let x = state.endpoints.get_mut(&endpoint("x")).unwrap();
        x.standing = standing;
        x.suites.insert(
            suite("one"),
            SuiteEvidence { cases: asked, ..SuiteEvidence::new(&suite("one"), &Policy::default()) },
        );
    };
    endpoint_of(&mut capability, of_tools);
    world.state.capabilities.insert(tools(), capability);
    let order: Vec<EndpointId> = world.endpoints.clone();
    let sizes = BTreeMap::from([(suite("one"), 200), (suite("two"), 200)]);
    let shares = budgets(&world.state, &world.policy, &order, &sizes, LATER);
    let of = |name: &str| shares[&suite(name)].iter().find(|s| s.id == endpoint("x")).map(|s| s.cases);
    let takes_part = participants(&world.state, &world.policy, &order, LATER).contains(&endpoint("x"));
    assert_eq!(takes_part, of("one").is_some() || of("two").is_some());
    (of("one"), of("two"))
}

#[test]
fn the_list_that_needs_most_of_an_endpoint_is_heard() {
    use Standing::{Admitted, Excluded, Unknown};
    assert_eq!(asked(Admitted, Admitted, 0), (Some(25), Some(25)));
    assert_eq!(asked(Admitted, Unknown, 0), (Some(100), Some(25)), "only in the suites that judge the capability");
    assert_eq!(asked(Admitted, Unknown, 2499), (Some(100), Some(25)));
    assert_eq!(asked(Admitted, Unknown, 2500), (Some(25), Some(25)), "the cap counts tagged cases");
    assert_eq!(asked(Admitted, Excluded, 0), (Some(25), Some(25)));
    assert_eq!(asked(Excluded, Admitted, 0), (Some(25), None), "listed there, so it is watched");
    assert_eq!(asked(Excluded, Excluded, 0), (None, None));
}

// -------------------------------------------------------------------------------------------------------------- state

#[test]
fn a_state_without_capabilities_has_the_bytes_that_it_had_before() {
    let mut c = chronicle();
    c.sweep(fails_tools("d"));
    let with = encode(&c.base.state);
    let own = encode(&ModelState { capabilities: BTreeMap::new(), ..c.base.state.clone() });
    assert_eq!((own[4] & 0x80, with[4]), (0, own[4] | 0x80), "a mark on the version that it had");
    // The bytes up to the checksum are the same; the capabilities follow.
    let body = own.len() - 8;
    assert_eq!(own[5..body], with[5..body]);
}

#[test]
fn an_endpoint_takes_less_than_a_kilobyte_per_suite_on_each_list() {
    let ids: Vec<String> = (0..30).map(|i| format!("provider-{i:02}/fp8")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut c = Chronicle::new(&ids);
    c.policy = wide();
    c.tags = tags(3);
    c.tags.remove(&tools());
    c.configure();
    for _ in 0..40 {
        c.sweep(|ask, dice| scored(ask.endpoint != "provider-07/fp8" && dice.unit() < 0.95));
    }
    let own = encode(&ModelState { capabilities: BTreeMap::new(), ..c.base.state.clone() }).len();
    // `streaming` is judged by both suites.
    let per_suite = (encode(&c.base.state).len() - own) / (2 * ids.len());
    assert!(per_suite <= 1000, "{per_suite} bytes per endpoint and suite");
}

#[test]
fn another_upstream_model_restarts_the_endpoint_alone_and_on_every_list() {
    let mut c = chronicle();
    sweeps(&mut c, 60, fails_tools("d"), decided);
    c.sweep(fails_tools("d"));
    let cases_of = |state: &ModelState, id: &str| state.endpoints[&endpoint(id)].suites[&suite("one")].cases;
    let before = [cases_of(&c.base.state, "b"), cases_of(state(&c), "b")];
    c.upstream.insert(endpoint("a"), "m-next".to_owned());
    // A renewal of the list looks at the setting too: nothing may be lost between two steps.
    let made = c.take(Act::Refresh, None).unwrap();
    let told: Vec<_> =
        made.decisions.iter().map(|d| (&d.endpoint, d.capability.clone(), d.kind, d.from, d.to)).collect();
    let (a, change) = (endpoint("a"), DecisionKind::VersionChange);
    assert_eq!(
        told,
        [
            (&a, None, change, Standing::Admitted, Standing::Provisional),
            (&a, Some(tools()), change, Standing::Admitted, Standing::Provisional)
        ]
    );
    assert!(made.decisions[0].reason.contains("-> m-next at "), "{}", made.decisions[0].reason);
    for (state, before) in [&c.base.state, state(&c)].into_iter().zip(before) {
        assert_eq!((cases_of(state, "a"), state.endpoints[&endpoint("a")].listed_through_change), (0, true));
        assert_eq!((cases_of(state, "b"), state.endpoints[&endpoint("b")].standing), (before, Standing::Admitted));
        assert!(before > 0);
    }
    assert!(c.listed().contains(&"a") && listed(list(&c)).contains(&"a"), "listing does not change by itself");
    assert!(c.configure().decisions.is_empty(), "told once");
    // An endpoint that is bad on a list is asked again as one that is new.
    c.upstream.insert(endpoint("d"), "m-next".to_owned());
    let made = c.configure();
    assert_eq!((made.decisions.len(), standing(&c, "d")), (2, Standing::Unknown));
    c.check_replay();
    c.check_own_list();
}

#[test]
fn a_new_list_leaves_out_who_is_excluded_on_the_own_one_unless_the_floor_needs_it() {
    let mut c = chronicle();
    let wanted = std::mem::take(&mut c.tags);
    c.configure();
    for _ in 0..60 {
        c.sweep(|ask, _| scored(ask.endpoint != "d"));
    }
    assert_eq!(c.listed().len(), 3, "d is known to be bad");
    c.tags = wanted;
    c.configure();
    assert_eq!((list(&c).mode, listed(list(&c))), (AllowlistMode::Bootstrap, vec!["a", "b", "c"]));
    let out = &list(&c).excluded[0];
    assert!(out.id == endpoint("d") && out.reason.starts_with("on the model's own list excluded: "), "{}", out.reason);
    assert_eq!(standing(&c, "d"), Standing::Unknown, "the capability has heard nothing of it yet");
    c.policy.min_providers = 4;
    c.configure();
    assert_eq!(list(&c).providers.len(), 4, "better it than too few");
    c.order(Verb::Pin, Some("d")).unwrap();
    assert!(listed(list(&c)).contains(&"d"), "an order is an order");
    c.check_replay();
    c.check_own_list();
}

#[test]
fn a_sweep_that_says_nothing_ends_no_alarm_that_only_evidence_ends() {
    let mut c = chronicle();
    let made = c.sweep(|_, _| PASS);
    let governs = |made: &Stepped| {
        let has = |kinds: &[AlarmKind]| kinds.contains(&AlarmKind::Reference) && kinds.contains(&AlarmKind::Provenance);
        (has(made.governs), has(made.capabilities[&tools()].governs))
    };
    assert_eq!(governs(&made), (true, true));
    let (mut plan, rows) = c.planned(|_, _| PASS);
    plan.gives_evidence = false;
    let made = c.end((plan, rows));
    assert_eq!(governs(&made), (false, false));
    // The capability came after the sweep's beginning: the sweep looks at the model alone.
    let (mut plan, rows) = c.planned(|_, _| PASS);
    plan.capabilities.clear();
    let made = c.end((plan, rows));
    assert_eq!(governs(&made), (true, false));
    c.check_replay();
}
