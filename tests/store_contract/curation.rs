//! The end of a sweep: whole or not at all.

use std::collections::BTreeMap;
use std::slice::from_ref;

use exactod::domain::{AllowlistMode, Capability, DecisionKind, ModelId, SweepId, SweepState};
use exactod::store::{
    Alarm, AlarmKey, CurationCommit, DecisionFilter, NewAllowlist, NewState, Store, StoreError, SweepEnd,
};

use crate::kit::{DAY, Database, SECOND, T0, attempts, decision, endpoint, id_at, model, step, sweep};

fn list(revision: u64) -> NewAllowlist {
    NewAllowlist {
        revision,
        issued_at_us: T0,
        expires_at_us: T0 + DAY,
        mode: AllowlistMode::Normal,
        document: format!("{{\"version\": {revision},  \"note\":\"ünï 🙂\\u0000\"}}\n"),
        etag: format!("\"r{revision}\""),
    }
}

fn alarm(n: u64, kind: &str) -> Alarm {
    Alarm {
        id: id_at(T0 + n as i64, n),
        key: AlarmKey { model: Some(model()), endpoint: None, capability: None, kind: kind.to_owned() },
        text: "the list is held".to_owned(),
        opened_at_us: T0,
        closed_at_us: None,
    }
}

async fn claimed(store: &Store, ordinal: u64) -> (SweepId, i64) {
    let id = sweep(store, ordinal).await;
    let fence = store.claim_sweep(id, "a", T0 + DAY, T0).await.unwrap().unwrap();
    (id, fence)
}

fn end((sweep, fence): (SweepId, i64), curation: CurationCommit) -> SweepEnd {
    let note = "complete".to_owned();
    SweepEnd { sweep, model: model(), fence, state: SweepState::Done, at_us: T0 + 60 * SECOND, note, curation }
}

fn everything(base: u64, n: u64, sweep: SweepId) -> CurationCommit {
    CurationCommit {
        state: Some(NewState { base, bytes: vec![n as u8, 0, 255], step: step(base) }),
        decisions: vec![decision(2 * n, Some(sweep)), decision(2 * n + 1, Some(sweep))],
        open: vec![alarm(n, "frozen")],
        close: vec![AlarmKey { model: Some(model()), endpoint: None, capability: None, kind: "budget".to_owned() }],
        allowlist: Some(list(n)),
        ..CurationCommit::default()
    }
}

pub async fn the_end_of_a_sweep_is_stored_whole(db: Database) {
    let store = db.store().await;
    store.set_alarms(&[alarm(50, "budget")], &[], T0).await.unwrap();
    let claim = claimed(&store, 1).await;
    store.append_attempts(attempts(claim.0, 0..4)).await.unwrap();
    store.commit_sweep_end(&end(claim, everything(0, 1, claim.0))).await.unwrap();

    let record = store.sweep(claim.0).await.unwrap().unwrap().record;
    assert_eq!((record.state, record.spent_nanousd), (SweepState::Done, 40));
    assert_eq!(record.finished_at_us, Some(T0 + 60 * SECOND));
    let state = store.state(&model()).await.unwrap().unwrap();
    assert_eq!((state.seq, state.sweep, state.bytes), (1, Some(claim.0), vec![1, 0, 255]));
    let decisions = store.decisions(Some(&model()), None, 10, None).await.unwrap().items;
    assert_eq!(decisions, [decision(3, Some(claim.0)), decision(2, Some(claim.0))]);
    let open: Vec<String> = store.open_alarms().await.unwrap().into_iter().map(|a| a.key.kind).collect();
    assert_eq!(open, ["frozen"]);
    let published = store.current_allowlists().await.unwrap();
    assert_eq!(published.len(), 1);
    assert_eq!((&published[0].list, published[0].sweep), (&list(1), Some(claim.0)), "byte for byte");
    assert!(store.check().await.unwrap().problems.is_empty());
}

/// Everything that a commit may leave.
async fn traces(store: &Store, sweep: SweepId) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        store.sweep(sweep).await.unwrap(),
        store.state(&model()).await.unwrap(),
        store.decisions(None, None, 100, None).await.unwrap(),
        store.open_alarms().await.unwrap(),
        store.current_allowlists().await.unwrap(),
    )
}

pub async fn a_failing_piece_leaves_nothing(db: Database) {
    let store = db.store().await;
    let first = claimed(&store, 1).await;
    store.commit_sweep_end(&end(first, everything(0, 1, first.0))).await.unwrap();
    let second = claimed(&store, 2).await;
    let before = traces(&store, second.0).await;

    let mut repeated = everything(1, 2, second.0);
    repeated.decisions.push(decision(2, None));
    assert!(matches!(store.commit_sweep_end(&end(second, repeated)).await, Err(StoreError::Database(_))));
    assert_eq!(traces(&store, second.0).await, before, "a repeated decision");

    let mut old_list = everything(1, 2, second.0);
    old_list.allowlist = Some(list(1));
    let refused = store.commit_sweep_end(&end(second, old_list)).await;
    assert!(matches!(refused, Err(StoreError::StaleRevision { revision: 1, .. })), "{refused:?}");
    assert_eq!(traces(&store, second.0).await, before, "an old revision");

    let refused = store.commit_sweep_end(&end(second, everything(0, 2, second.0))).await;
    assert!(matches!(refused, Err(StoreError::StaleState { base: 0, .. })), "{refused:?}");
    assert_eq!(traces(&store, second.0).await, before, "an old state");

    store.commit_sweep_end(&end(second, everything(1, 2, second.0))).await.unwrap();
    assert_ne!(traces(&store, second.0).await, before);
}

pub async fn a_sweep_ends_once(db: Database) {
    let store = db.store().await;
    let claim = claimed(&store, 1).await;
    let end = end(claim, CurationCommit::default());
    let (one, other) = (store.clone(), db.store().await);
    let (a, b) = tokio::join!(one.commit_sweep_end(&end), other.commit_sweep_end(&end));
    let (good, bad) = if a.is_ok() { (a, b) } else { (b, a) };
    good.unwrap();
    assert!(matches!(bad, Err(StoreError::NotRunning(id)) if id == claim.0));
}

pub async fn two_ends_from_the_same_state_cannot_both_count(db: Database) {
    let store = db.store().await;
    let (first, second) = (claimed(&store, 1).await, claimed(&store, 2).await);
    let mut later = everything(0, 2, second.0);
    later.open.clear();
    let (one, other) = (end(first, everything(0, 1, first.0)), end(second, later));
    let (a, b) = tokio::join!(store.commit_sweep_end(&one), store.commit_sweep_end(&other));
    let refused = [&a, &b].into_iter().filter(|r| matches!(r, Err(StoreError::StaleState { .. }))).count();
    assert_eq!((refused, a.is_ok() ^ b.is_ok()), (1, true), "{a:?} {b:?}");
    assert_eq!(store.running_sweeps(None).await.unwrap().len(), 1);
}

pub async fn two_states_are_kept(db: Database) {
    let store = db.store().await;
    assert_eq!(store.state(&model()).await.unwrap(), None);
    for base in 0..4_u64 {
        let state = Some(NewState { base, bytes: vec![base as u8; 20_000], step: step(base) });
        let curation = CurationCommit { state, ..CurationCommit::default() };
        store.commit_curation(&model(), T0 + base as i64, &curation).await.unwrap();
    }
    let newest = store.state(&model()).await.unwrap().unwrap();
    assert_eq!((newest.seq, newest.sweep, newest.bytes), (4, None, vec![3; 20_000]));
    assert_eq!(store.state_before(&model(), 4).await.unwrap().unwrap().seq, 3);
    assert_eq!(store.check().await.unwrap().rows["states"], 2);
    let state = Some(NewState { base: 1, bytes: vec![], step: step(1) });
    let old = CurationCommit { state, ..CurationCommit::default() };
    let refused = store.commit_curation(&model(), T0, &old).await;
    assert!(matches!(refused, Err(StoreError::StaleState { base: 1, .. })), "a forgotten number is not free again");
}

pub async fn a_revision_never_goes_back(db: Database) {
    let store = db.store().await;
    let publish = async |model: &ModelId, revision| {
        let allowlist = Some(list(revision));
        store.commit_curation(model, T0, &CurationCommit { allowlist, ..CurationCommit::default() }).await
    };
    let other = ModelId::new("lab/a-other:free").unwrap();
    publish(&model(), 1).await.unwrap();
    publish(&model(), 5).await.unwrap();
    publish(&other, 2).await.unwrap();
    for old in [0, 1, 4, 5] {
        assert!(publish(&model(), old).await.is_err(), "revision {old}");
    }
    let current = store.current_allowlists().await.unwrap();
    assert_eq!(current.iter().map(|c| c.list.revision).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(store.allowlist(&model(), None).await.unwrap().unwrap().list, list(5));
    assert_eq!(store.allowlist(&model(), Some(1)).await.unwrap().unwrap().list, list(1));
    assert_eq!(store.allowlist(&model(), Some(4)).await.unwrap(), None);
}

pub async fn an_alarm_is_open_once(db: Database) {
    let store = db.store().await;
    let first = alarm(1, "provenance");
    let mut of_endpoint = alarm(2, "provenance");
    of_endpoint.key.endpoint = Some(endpoint(1));
    let mut of_all = alarm(3, "provenance");
    of_all.key.model = None;
    let opened = store.set_alarms(&[first.clone(), of_endpoint.clone(), of_all.clone()], &[], T0).await.unwrap();
    assert_eq!(opened, [first.id, of_endpoint.id, of_all.id]);
    let again = Alarm { text: "again".to_owned(), ..alarm(4, "provenance") };
    assert!(store.set_alarms(from_ref(&again), &[], T0 + 1).await.unwrap().is_empty());
    let renewed = Alarm { text: "again".to_owned(), ..first.clone() };
    assert_eq!(store.open_alarms().await.unwrap(), [renewed, of_endpoint, of_all], "it says what holds");

    let reopened = store.set_alarms(from_ref(&again), from_ref(&first.key), T0 + 2).await.unwrap();
    assert_eq!(reopened, [again.id], "closed and opened anew in one call");
    let listed = store.alarms(Some(&model()), 10, None).await.unwrap().items;
    assert_eq!(listed.iter().map(|a| a.closed_at_us).collect::<Vec<_>>(), [None, None, Some(T0 + 2)]);
    store.set_alarms(&[], &[first.key.clone(), again.key], T0 + 3).await.unwrap();
    assert_eq!(store.open_alarms().await.unwrap().len(), 2);
}

pub async fn decisions_are_listed_newest_first(db: Database) {
    let store = db.store().await;
    let curation = CurationCommit { decisions: (0..6).map(|n| decision(n, None)).collect(), ..Default::default() };
    store.commit_curation(&model(), T0, &curation).await.unwrap();
    let first = store.decisions(Some(&model()), None, 4, None).await.unwrap();
    assert_eq!(first.items, [5, 4, 3, 2].map(|n| decision(n, None)));
    let rest = store.decisions(None, None, 4, first.next.as_deref()).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![decision(1, None), decision(0, None)], None));
    let of_one = store.decisions(Some(&model()), Some(&endpoint(1)), 10, None).await.unwrap();
    assert_eq!(of_one.items.len(), 3);
}

fn capability(name: &str) -> Capability {
    Capability::new(name).unwrap()
}

/// A step that publishes a list of the model and one of each capability.
fn publishing(base: u64, own: Option<u64>, of: &[(&str, u64)]) -> CurationCommit {
    CurationCommit {
        state: Some(NewState { base, bytes: vec![], step: step(base) }),
        allowlist: own.map(list),
        capabilities: of.iter().map(|(name, revision)| (capability(name), list(*revision))).collect(),
        ..CurationCommit::default()
    }
}

pub async fn a_capability_has_lists_and_revisions_of_its_own(db: Database) {
    let store = db.store().await;
    let other = ModelId::new("lab/a-other:free").unwrap();
    for (model, commit) in [
        (&model(), publishing(0, Some(7), &[("tools", 1)])),
        (&model(), publishing(1, None, &[("streaming", 1), ("tools", 2)])),
        (&model(), publishing(2, Some(8), &[])),
        (&other, publishing(0, Some(1), &[("tools", 5)])),
    ] {
        store.commit_curation(model, T0, &commit).await.unwrap();
    }
    let revisions = |found: Vec<exactod::store::StoredAllowlist>| -> BTreeMap<String, u64> {
        let name = |c: &Option<Capability>| c.as_ref().map_or("own".to_owned(), ToString::to_string);
        found
            .into_iter()
            .map(|found| (format!("{} {}", found.model, name(&found.capability)), found.list.revision))
            .collect()
    };
    let expected = |of: &[(&str, u64)]| of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<BTreeMap<_, _>>();
    let current = store.current_allowlists().await.unwrap();
    assert!(current.is_sorted_by_key(|l| (l.model.clone(), l.capability.clone())), "a model's own goes first");
    let all = [
        ("lab/a-other:free own", 1),
        ("lab/a-other:free tools", 5),
        ("lab/model own", 8),
        ("lab/model streaming", 1),
        ("lab/model tools", 2),
    ];
    assert_eq!(revisions(current), expected(&all));

    // The model's own list is found as before, whatever its capabilities publish.
    assert_eq!(store.allowlist(&model(), None).await.unwrap().unwrap().list, list(8));
    assert_eq!(store.allowlist(&model(), Some(2)).await.unwrap(), None);
    let tools = store.capability_list(&model(), &capability("tools")).await.unwrap().unwrap();
    assert_eq!((tools.list, tools.capability), (list(2), Some(capability("tools"))));
    assert_eq!(store.capability_list(&model(), &capability("json")).await.unwrap(), None);

    let at = async |step| revisions(store.capability_lists(&model(), step).await.unwrap());
    assert_eq!(at(Some(1)).await, expected(&[("lab/model tools", 1)]));
    assert_eq!(at(Some(2)).await, expected(&[("lab/model streaming", 1), ("lab/model tools", 2)]));
    assert_eq!(at(None).await, at(Some(2)).await);
    let of_step = async |seq| revisions(store.capability_lists_of_step(&model(), seq).await.unwrap());
    assert_eq!(of_step(1).await, expected(&[("lab/model tools", 1)]));
    assert!(of_step(3).await.is_empty());

    // A revision that is not later than the capability's own is refused, and nothing of the step is written.
    let refused = store.commit_curation(&model(), T0, &publishing(3, Some(9), &[("tools", 2)])).await;
    assert!(matches!(refused, Err(StoreError::StaleRevision { revision: 2, .. })), "{refused:?}");
    assert_eq!(store.allowlist(&model(), None).await.unwrap().unwrap().list, list(8));
}

pub async fn a_capability_has_alarms_and_decisions_of_its_own(db: Database) {
    let store = db.store().await;
    let own = alarm(1, "frozen");
    let mut of_tools = alarm(2, "frozen");
    of_tools.key.capability = Some(capability("tools"));
    let opened = store.set_alarms(&[own.clone(), of_tools.clone()], &[], T0).await.unwrap();
    assert_eq!(opened, [own.id, of_tools.id], "the same kind is open on both lists");
    store.set_alarms(&[], from_ref(&own.key), T0 + 1).await.unwrap();
    assert_eq!(store.open_alarms().await.unwrap(), [of_tools.clone()]);
    let listed = store.alarms(Some(&model()), 10, None).await.unwrap().items;
    assert_eq!(listed.iter().map(|a| a.key.capability.clone()).collect::<Vec<_>>(), [Some(capability("tools")), None]);

    let mut told = decision(1, None);
    told.capability = Some(capability("tools"));
    let decisions = vec![decision(0, None), told.clone()];
    let commit = CurationCommit { decisions: decisions.clone(), ..publishing(0, None, &[]) };
    store.commit_curation(&model(), T0, &commit).await.unwrap();
    assert_eq!(store.decisions_of_step(&model(), 1).await.unwrap(), decisions);
    assert_eq!(store.decisions(None, None, 1, None).await.unwrap().items, from_ref(&told));
    let like = async |filter: DecisionFilter| store.decisions_like(&filter, 10, None).await.unwrap().items;
    let of_tools = DecisionFilter { capability: Some(capability("tools")), ..DecisionFilter::default() };
    assert_eq!(like(of_tools.clone()).await, from_ref(&told));
    assert_eq!(like(DecisionFilter { model: Some(model()), ..of_tools.clone() }).await, [told]);
    assert!(like(DecisionFilter { endpoint: Some(endpoint(0)), ..of_tools }).await.is_empty());
    let of_kind = |kind| DecisionFilter { kind: Some(kind), model: Some(model()), ..DecisionFilter::default() };
    assert_eq!(like(of_kind(DecisionKind::Transition)).await.len(), 2);
    assert!(like(of_kind(DecisionKind::Held)).await.is_empty());
}
