//! Operators' orders: what they change, what they leave, and what they say.

use super::replays::Chronicle;
use super::world::*;
use crate::curation::state::Freeze;
use crate::curation::{AlarmKind, Refused};
use crate::domain::{AllowlistMode, DecisionKind, Override, Standing, Verb};

fn chronicle(standings: &[(&str, Standing)]) -> Chronicle {
    let ids: Vec<&str> = standings.iter().map(|(id, _)| *id).collect();
    let mut c = Chronicle::new(&ids);
    c.configure();
    for (id, standing) in standings {
        let state = c.base.state.endpoints.get_mut(&endpoint(id)).unwrap();
        state.standing = *standing;
        state.ever_admitted |= *standing == Standing::Admitted;
    }
    c.base.state.sweeps_folded = 1;
    c.configure();
    c
}

use Standing::{Admitted, Excluded, Provisional, Suspect, Unknown};

#[test]
fn a_pinned_endpoint_is_listed_whatever_its_standing_and_goes_on_being_measured() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted), ("c", Excluded)]);
    assert_eq!(c.listed(), ["a", "b"]);
    let made = c.order(Verb::Pin, Some("c")).unwrap();
    assert_eq!(c.listed(), ["a", "b", "c"]);
    let decision = &made.decisions[0];
    assert_eq!((decision.kind, decision.from, decision.to), (DecisionKind::Operator, Excluded, Excluded));
    insta::assert_snapshot!(decision.reason, @r#"operator ann: pinned: listed whatever its standing (Excluded); its evidence goes on ("because")"#);
    insta::assert_snapshot!(decision.evidence, @r#"{"verb":"pin","by":"ann","note":"because","override":{"before":null,"after":"Pinned"},"listed":{"before":false,"after":true},"mode":"normal"}"#);
    let before = c.base.state.endpoints[&endpoint("c")].clone();
    c.sweep(|_, _| PASS);
    let after = &c.base.state.endpoints[&endpoint("c")];
    assert!(after.suites[&suite("one")].cases > before.suites.get(&suite("one")).map_or(0, |e| e.cases));
    assert_eq!(c.order(Verb::Pin, Some("c")), Err(Refused::AlreadySo("c is pinned".to_owned())));
    c.order(Verb::Unpin, Some("c")).unwrap();
    assert_eq!(c.listed(), ["a", "b"]);
}

#[test]
fn a_banned_endpoint_is_neither_listed_nor_asked_and_comes_back_as_it_stood() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted), ("c", Admitted)]);
    c.order(Verb::Ban, Some("b")).unwrap();
    assert_eq!(c.listed(), ["a", "c"]);
    assert_eq!(c.list().excluded[0].reason, "banned by an operator");
    let (plan, _) = c.planned(|_, _| PASS);
    assert!(plan.suites.iter().all(|s| s.endpoints.iter().all(|e| e.id != endpoint("b"))));
    assert_eq!(c.order(Verb::Unpin, Some("b")), Err(Refused::AlreadySo("b is not pinned".to_owned())));
    let made = c.order(Verb::Unban, Some("b")).unwrap();
    assert_eq!((made.decisions[0].to, c.listed().len()), (Admitted, 3));
}

#[test]
fn a_pin_takes_the_place_of_a_ban() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted), ("c", Admitted)]);
    c.order(Verb::Ban, Some("b")).unwrap();
    let made = c.order(Verb::Pin, Some("b")).unwrap();
    assert_eq!(made.decisions[0].evidence["override"]["before"], "Banned");
    assert_eq!(c.base.state.endpoints[&endpoint("b")].override_, Some(Override::Pinned));
    assert_eq!(c.listed().len(), 3);
}

#[test]
fn a_ban_that_would_leave_too_few_holds_the_list_and_says_so() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted), ("c", Excluded)]);
    let made = c.order(Verb::Ban, Some("b")).unwrap();
    assert_eq!(
        (c.list().mode, c.listed()),
        (AllowlistMode::Frozen, vec!["a", "c"]),
        "the ban outweighs a bad standing"
    );
    assert!(made.alarms.iter().any(|a| a.kind == AlarmKind::Frozen));
    insta::assert_snapshot!(made.decisions[0].reason, @r#"operator ann: banned: neither listed nor asked, whatever its standing (Admitted) ("because"); the list is held: the standings would leave fewer endpoints than min_providers; the last good list stays"#);
}

#[test]
fn when_everybody_is_banned_the_last_list_stays_and_is_called_frozen() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted)]);
    c.order(Verb::Ban, Some("a")).unwrap();
    let made = c.order(Verb::Ban, Some("b")).unwrap();
    assert_eq!((c.list().mode, c.listed()), (AllowlistMode::Frozen, vec!["b"]), "never empty");
    assert!(made.decisions[0].reason.contains("every endpoint is banned"), "{}", made.decisions[0].reason);
    assert!(made.alarms.iter().any(|a| a.kind == AlarmKind::Frozen));
    // It stays so, and the alarm with it, until somebody is back.
    let made = c.configure();
    assert!(made.draft.is_none() && made.alarms.iter().any(|a| a.kind == AlarmKind::Frozen));
    let made = c.order(Verb::Unban, Some("a")).unwrap();
    assert_eq!((c.list().mode, c.listed()), (AllowlistMode::Normal, vec!["a"]));
    assert!(made.alarms.is_empty());
}

#[test]
fn a_reset_forgets_the_evidence_and_changes_no_listing() {
    let all = [("a", Admitted), ("b", Suspect), ("c", Provisional), ("d", Excluded), ("e", Unknown)];
    for (id, becomes, listed) in [
        ("a", Provisional, true),
        ("b", Provisional, true),
        ("c", Provisional, true),
        ("d", Unknown, false),
        ("e", Unknown, false),
    ] {
        let mut c = chronicle(&all);
        c.sweep(|_, _| PASS);
        let was = c.listed().contains(&id);
        assert_eq!(was, listed, "{id}");
        let made = c.order(Verb::Reset, Some(id)).unwrap();
        let state = &made.state.endpoints[&endpoint(id)];
        assert_eq!((state.standing, state.effort([suite("one")].iter())), (becomes, 0), "{id}");
        assert_eq!(c.listed().contains(&id), listed, "{id}");
        assert_eq!(made.decisions[0].to, becomes);
    }
}

#[test]
fn a_note_changes_nothing_but_the_log() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted)]);
    let (state, list) = (c.base.state.clone(), c.list().clone());
    let made = c.order(Verb::Note, Some("a")).unwrap();
    assert_eq!((&c.base.state, c.list()), (&state, &list));
    assert_eq!(made.decisions[0].reason, "operator ann: because");
    assert_eq!(c.order(Verb::Note, Some("nobody")), Err(Refused::UnknownEndpoint(endpoint("nobody"))));
}

#[test]
fn an_acknowledgement_ends_the_hold_and_keeps_the_evidence() {
    let mut c = chronicle(&[("a", Admitted), ("b", Admitted)]);
    assert_eq!(c.order(Verb::Ack, None), Err(Refused::NothingHeld));
    c.base.state.frozen = Some(Freeze { since_us: START_US, reason: "suite changed".to_owned() });
    let made = c.configure();
    assert_eq!(c.list().mode, AllowlistMode::Frozen);
    assert_eq!(made.alarms.iter().map(|a| a.kind).collect::<Vec<_>>(), [AlarmKind::Frozen, AlarmKind::Common]);
    // What an operator pins is listed even while the list is held.
    c.order(Verb::Pin, Some("a")).unwrap();
    let made = c.order(Verb::Ack, None).unwrap();
    assert_eq!((c.list().mode, made.decisions.len()), (AllowlistMode::Normal, 2));
    assert!(made.alarms.is_empty() && made.governs.contains(&AlarmKind::Common));
    insta::assert_snapshot!(made.decisions[1].reason, @r#"operator ann: common alarm acknowledged: the evidence is kept and rules again from the next sweep on ("because")"#);
}

#[test]
fn an_order_may_come_before_the_first_sweep() {
    let mut c = Chronicle::new(&["a", "b", "c"]);
    let made = c.order(Verb::Ban, Some("b")).unwrap();
    assert_eq!(made.decisions.iter().filter(|d| d.kind == DecisionKind::Entered).count(), 3);
    assert_eq!((c.listed(), c.list().mode), (vec!["a", "c"], AllowlistMode::Bootstrap));
    c.check_replay();
}
