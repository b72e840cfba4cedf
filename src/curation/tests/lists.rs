//! The document: who is listed, in which order, and when it is issued anew.

use std::collections::BTreeMap;

use super::world::*;
use crate::curation::allowlist::{CLOCK_TOLERANCE_US, VALIDITY_US};
use crate::curation::state::Freeze;
use crate::curation::{AlarmKind, Draft, Figures, allowlist, frozen_alarm, render};
use crate::domain::policy::{RankBy, Undecided};
use crate::domain::{Allowlist, AllowlistMode, Endpoint, EndpointId, ModelId, Override, Price, ProviderId, Standing};
use Standing::{Admitted, Excluded, Provisional, Suspect, Unknown};

pub fn configured(world: &World) -> Vec<Endpoint> {
    let one = |id: &EndpointId| Endpoint {
        id: id.clone(),
        model: ModelId::new("lab/m").unwrap(),
        provider: ProviderId::new("p").unwrap(),
        upstream_model: "m".to_owned(),
        tag: None,
        price: None,
        slugs: BTreeMap::from([("litellm".to_owned(), id.to_string())]),
        served_by: None,
    };
    world.endpoints.iter().map(one).collect()
}

fn draft(world: &World, prev: Option<&Allowlist>) -> Option<Draft> {
    allowlist(&world.state, &world.policy, &configured(world), prev, world.now_us, &BTreeMap::new())
}

fn list(world: &World, prev: Option<&Allowlist>) -> Allowlist {
    draft(world, prev).expect("a new document").allowlist
}

fn world_of(standings: &[(&str, Standing)]) -> World {
    let ids: Vec<&str> = standings.iter().map(|(id, _)| *id).collect();
    let mut world = World::new(&ids, &[("tool-use", 200)]);
    standings.iter().for_each(|(id, standing)| world.stand(id, *standing));
    world
}

fn tiers(list: &Allowlist) -> Vec<(&str, &str, u32)> {
    list.providers.iter().map(|p| (p.id.as_str(), p.tier.as_str(), p.weight)).collect()
}

#[test]
fn before_any_admission_everybody_not_excluded_is_listed() {
    let world = world_of(&[("a", Unknown), ("b", Unknown), ("c", Excluded)]);
    let list = list(&world, None);
    assert_eq!((list.mode, list.version), (AllowlistMode::Bootstrap, 1));
    assert_eq!(tiers(&list), [("a", "unknown", 100), ("b", "unknown", 100)]);
    assert_eq!(list.excluded[0].id, endpoint("c"));
}

#[test]
fn a_designated_reference_leads_the_bootstrap_list_without_ending_it() {
    let mut world = world_of(&[("a", Unknown), ("b", Unknown)]);
    world.sync(Some("b"));
    let list = list(&world, None);
    assert_eq!(list.mode, AllowlistMode::Bootstrap);
    assert_eq!(tiers(&list), [("b", "admitted", 100), ("a", "unknown", 25)]);
}

#[test]
fn tiers_in_order_with_their_weights() {
    let world = world_of(&[
        ("p", Provisional),
        ("s", Suspect),
        ("x", Excluded),
        ("u", Unknown),
        ("a", Admitted),
        ("b", Admitted),
    ]);
    let list = list(&world, None);
    assert_eq!(list.mode, AllowlistMode::Normal);
    let want = [("a", "admitted", 100), ("b", "admitted", 100), ("s", "suspect", 50), ("p", "provisional", 25)];
    assert_eq!(tiers(&list), want);
    assert_eq!(list.providers.iter().map(|p| p.rank).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(list.excluded.len(), 1, "Unknown is neither listed nor excluded");
    assert_eq!(list.providers[0].slugs["litellm"], "a");
}

#[test]
fn undecided_endpoints_are_left_out_where_the_policy_says_so() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("p", Provisional), ("q", Provisional)]);
    world.policy.undecided = Undecided::Exclude;
    world.state.endpoints.get_mut(&endpoint("q")).unwrap().listed_through_change = true;
    let listed: Vec<_> = list(&world, None).providers.into_iter().map(|p| p.id).collect();
    assert_eq!(listed, ["a", "b", "q"].map(endpoint), "but a version change alone delists nobody");
}

#[test]
fn operators_override_the_evidence() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("x", Excluded), ("y", Admitted)]);
    world.state.endpoints.get_mut(&endpoint("x")).unwrap().override_ = Some(Override::Pinned);
    world.state.endpoints.get_mut(&endpoint("y")).unwrap().override_ = Some(Override::Banned);
    let list = list(&world, None);
    assert_eq!(list.providers.iter().find(|p| p.id == endpoint("x")).unwrap().tier, "pinned");
    assert_eq!(list.excluded.iter().map(|e| e.reason.as_str()).collect::<Vec<_>>(), ["banned by an operator"]);
}

#[test]
fn a_transition_that_would_empty_the_list_changes_the_standing_and_not_the_list() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("c", Excluded)]);
    let good = list(&world, None);
    world.stand("b", Excluded);
    world.now_us += 1;
    let held = list(&world, Some(&good));
    assert_eq!(held.mode, AllowlistMode::Frozen);
    let ids = |l: &Allowlist| l.providers.iter().map(|p| p.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&held), ids(&good));
    assert_eq!(held.excluded.len(), 1, "who is held is not told off as well");
    assert_eq!(frozen_alarm(&world.state, &held).unwrap().kind, AlarmKind::Frozen);
    assert!(frozen_alarm(&world.state, &good).is_none());
    assert!(draft(&world, Some(&held)).is_none(), "held once, not at every sweep");
    world.stand("c", Admitted);
    let back = list(&world, Some(&held));
    assert_eq!((back.mode, ids(&back)), (AllowlistMode::Normal, vec![endpoint("a"), endpoint("c")]));
}

#[test]
fn the_first_admission_alone_does_not_shrink_the_list_and_a_proven_failure_leaves_it() {
    let mut world = world_of(&[("a", Unknown), ("b", Unknown), ("c", Unknown), ("d", Unknown)]);
    let bootstrap = list(&world, None);
    world.stand("a", Admitted);
    world.stand("d", Excluded);
    let held = list(&world, Some(&bootstrap));
    assert_eq!(held.mode, AllowlistMode::Frozen);
    assert_eq!(held.providers.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn without_a_last_good_list_the_best_of_the_rest_fill_up() {
    let world = world_of(&[("a", Excluded), ("b", Excluded), ("c", Excluded)]);
    let list = list(&world, None);
    assert_eq!((list.mode, list.providers.len()), (AllowlistMode::Frozen, 2));
}

#[test]
fn while_a_common_alarm_holds_the_list_stands_word_for_word() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("c", Suspect)]);
    let good = list(&world, None);
    world.state.frozen = Some(Freeze { since_us: START_US, reason: "suite changed".to_owned() });
    world.sweep(|ask, _| scored(ask.endpoint == "c")); // turns the ranking round
    let held = list(&world, Some(&good));
    assert_eq!((held.mode, &held.providers), (AllowlistMode::Frozen, &good.providers));
    assert!(frozen_alarm(&world.state, &held).unwrap().message.contains("suite changed"));
}

#[test]
fn nothing_is_issued_without_a_change_until_half_of_the_validity_has_passed() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted)]);
    let first = list(&world, None);
    assert_eq!((first.issued_at.as_str(), first.expires_at.as_str()), ("2026-01-31T12:00:00Z", "2026-02-01T12:00:00Z"));
    for passed in [0, 1, VALIDITY_US / 2 - 1, -CLOCK_TOLERANCE_US] {
        world.now_us = START_US + passed;
        assert!(draft(&world, Some(&first)).is_none(), "after {passed} us");
    }
    world.now_us = START_US + VALIDITY_US / 2;
    let renewed = draft(&world, Some(&first)).unwrap();
    assert!(!renewed.changed);
    assert_eq!(renewed.allowlist.version, 2);
    // A document of the future would be valid for too long: the clock has gone back since it was issued.
    world.now_us = START_US - DAY_US;
    let renewed = draft(&world, Some(&first)).unwrap().allowlist;
    assert_eq!((renewed.version, renewed.issued_at.as_str()), (2, "2026-01-30T12:00:00Z"));
}

#[test]
fn no_endpoint_no_document() {
    let mut world = world_of(&[("a", Admitted)]);
    world.state.endpoints.get_mut(&endpoint("a")).unwrap().override_ = Some(Override::Banned);
    assert!(draft(&world, None).is_none(), "an empty list is never published");
    assert!(allowlist(&world.state, &world.policy, &[], None, 0, &BTreeMap::new()).is_none());
}

#[test]
fn noise_between_sweeps_changes_no_byte() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("c", Admitted)]);
    world.every_us = HOUR_US;
    let mut current = list(&world, None);
    let mut issued = 0;
    for _ in 0..8 {
        world.sweep(|_, dice| scored(dice.unit() < 0.97));
        if let Some(draft) = draft(&world, Some(&current)) {
            issued += 1;
            current = draft.allowlist;
        }
    }
    assert_eq!((issued, current.version), (0, 1));
}

#[test]
fn a_clearly_better_endpoint_overtakes() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("c", Admitted)]);
    world.decide_nothing();
    let before = list(&world, None);
    for _ in 0..40 {
        world.sweep(|ask, _| scored(ask.endpoint != "a" || ask.case % 20 != 0));
    }
    let after = list(&world, Some(&before));
    assert_eq!(after.providers.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
}

#[test]
fn the_operator_chooses_what_orders_a_tier() {
    let mut world = world_of(&[("a", Admitted), ("b", Admitted), ("c", Admitted), ("s", Suspect)]);
    let mut endpoints = configured(&world);
    for (endpoint, price) in endpoints.iter_mut().zip([Some(4.0), Some(1.0), None, Some(0.1)]) {
        endpoint.price = price.map(|p| Price { input_per_mtok: p, output_per_mtok: p });
    }
    let figure = |latency: f64, speed: f64| Figures { latency_us: Some(latency), tokens_per_second: Some(speed) };
    let figures: BTreeMap<EndpointId, Figures> = BTreeMap::from([
        (endpoint("a"), figure(3e5, 100.0)),
        (endpoint("b"), figure(9e5, 40.0)),
        (endpoint("c"), figure(2.9e5, 50.0)),
    ]);
    let mut order = |rank_by: RankBy, prev: Option<&Allowlist>| {
        world.policy.rank_by = rank_by;
        let list = allowlist(&world.state, &world.policy, &endpoints, prev, START_US, &figures)?.allowlist;
        let text: Vec<String> = list.providers.iter().map(|p| format!("{}:{}", p.id, p.weight)).collect();
        Some((text.join(" "), list))
    };
    assert_eq!(order(RankBy::Price, None).unwrap().0, "b:100 a:25 c:50 s:50");
    let (by_latency, list) = order(RankBy::Latency, None).unwrap();
    assert_eq!(by_latency, "c:100 a:95 b:30 s:25", "without the figure half of the weight");
    assert_eq!(order(RankBy::Throughput, None).unwrap().0, "a:100 c:50 b:40 s:25");
    // 3 % faster is noise: the order in force stays.
    let mut swapped = list.clone();
    swapped.providers.swap(0, 1);
    swapped.providers[0].rank = 1;
    swapped.providers[1].rank = 2;
    assert!(order(RankBy::Latency, Some(&swapped)).is_none());
}

#[test]
fn the_bytes_are_those_of_the_document_type() {
    let world = world_of(&[("a", Admitted), ("b", Suspect), ("c", Excluded)]);
    let list = list(&world, None);
    let bytes = render(&list);
    assert_eq!(bytes, serde_json::to_string(&list).unwrap());
    assert_eq!(serde_json::from_str::<Allowlist>(&bytes).unwrap(), list);
    assert!(
        bytes.starts_with(r#"{"schema":"exacto.allowlist/v1","model":"lab/m","version":1,"issued_at":"#),
        "{bytes}"
    );
}
