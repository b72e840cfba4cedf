//! Sweeps, fires, leases, money, suites.

use std::sync::Arc;

use exactod::domain::{
    Case, CaseId, ModelId, Suite, SuiteDigest, SuiteKind, SweepId, SweepState,
    suite::{Epochs, Sampling},
};
use exactod::store::{Created, DayBudget, Fire, Registered, Spend, StoreError, SweepEnd};

use crate::kit::{DAY, Database, SECOND, T0, attempts, model, plan, sweep};

fn fire(minute: i64) -> Fire {
    Fire { schedule: "six-hourly".to_owned(), fire_at_us: T0 + minute * 60 * SECOND, model: model() }
}

pub async fn a_fire_happens_once(db: Database) {
    let (one, other) = (db.store().await, db.store().await);
    let results =
        tokio::join!(async { one.create_sweep(&plan(&model(), 1), Some(&fire(0)), None).await.unwrap() }, async {
            other.create_sweep(&plan(&model(), 2), Some(&fire(0)), None).await.unwrap()
        });
    let created = [results.0, results.1].iter().filter(|r| **r == Created::Created).count();
    let already = [results.0, results.1].iter().filter(|r| **r == Created::AlreadyFired).count();
    assert_eq!((created, already), (1, 1));
    assert_eq!(one.running_sweeps(None).await.unwrap().len(), 1);
    assert!(!one.skip_fire(&fire(0), "overlaps").await.unwrap());
    assert!(one.skip_fire(&fire(1), "overlaps").await.unwrap());
    assert_eq!(one.last_fire("six-hourly", &model()).await.unwrap(), Some(fire(1).fire_at_us));
    assert_eq!(one.last_fire("hourly", &model()).await.unwrap(), None);
}

pub async fn an_ordinal_is_taken_once(db: Database) {
    let store = db.store().await;
    assert_eq!(store.next_ordinal(&model()).await.unwrap(), 1);
    sweep(&store, 1).await;
    assert_eq!(store.next_ordinal(&model()).await.unwrap(), 2);
    let mut again = plan(&model(), 1);
    again.id = plan(&model(), 7).id;
    assert_eq!(store.create_sweep(&again, Some(&fire(3)), None).await.unwrap(), Created::OrdinalTaken);
    assert_eq!(store.last_fire("six-hourly", &model()).await.unwrap(), None, "the fire must be free for the next try");
}

pub async fn a_plan_comes_back(db: Database) {
    let store = db.store().await;
    let id = sweep(&store, 1).await;
    let found = store.sweep(id).await.unwrap().unwrap();
    assert_eq!(found.plan, Some(plan(&model(), 1)));
    assert_eq!((found.record.state, found.record.ordinal, found.record.fence), (SweepState::Running, 1, 0));
    assert_eq!(store.running_sweeps(Some(&model())).await.unwrap(), vec![found]);
    assert!(store.running_sweeps(Some(&ModelId::new("lab/other").unwrap())).await.unwrap().is_empty());
    assert_eq!(store.sweep(SweepId(plan(&model(), 9).id.0)).await.unwrap(), None);
}

pub async fn a_lease_keeps_others_away(db: Database) {
    let store = db.store().await;
    let id = sweep(&store, 1).await;
    let first = store.claim_sweep(id, "a", T0 + 10, T0).await.unwrap().unwrap();
    assert_eq!(store.claim_sweep(id, "b", T0 + 20, T0 + 9).await.unwrap(), None);
    store.renew_lease(id, first, T0 + 30).await.unwrap();
    assert_eq!(store.claim_sweep(id, "b", T0 + 40, T0 + 10).await.unwrap(), None);
    let second = store.claim_sweep(id, "b", T0 + 40, T0 + 30).await.unwrap().unwrap();
    assert!(second > first);
    let again = store.claim_sweep(id, "b", T0 + 50, T0 + 31).await.unwrap().unwrap();
    assert!(again > second, "an owner that starts anew fences its former self off");
    store.release_sweep(id, second).await.unwrap();
    assert_eq!(store.claim_sweep(id, "c", T0 + 60, T0 + 32).await.unwrap(), None, "a stale release frees nothing");
    store.release_sweep(id, again).await.unwrap();
    assert!(store.claim_sweep(id, "c", T0 + 60, T0 + 32).await.unwrap().is_some());
}

pub async fn a_stale_owner_can_do_nothing(db: Database) {
    let store = db.store().await;
    let id = sweep(&store, 1).await;
    let stale = store.claim_sweep(id, "a", T0 + 10, T0).await.unwrap().unwrap();
    let fence = store.claim_sweep(id, "b", T0 + 20, T0 + 10).await.unwrap().unwrap();
    let mut end = SweepEnd {
        sweep: id,
        model: model(),
        fence: stale,
        state: SweepState::Done,
        at_us: T0 + 11,
        note: String::new(),
        curation: Default::default(),
    };
    assert!(
        matches!(store.renew_lease(id, stale, T0 + 99).await, Err(StoreError::StaleFence { held, .. }) if held == stale)
    );
    assert!(matches!(store.commit_sweep_end(&end).await, Err(StoreError::StaleFence { .. })));
    assert_eq!(store.sweep(id).await.unwrap().unwrap().record.state, SweepState::Running);
    end.fence = fence;
    store.commit_sweep_end(&end).await.unwrap();
    assert!(matches!(store.renew_lease(id, fence, T0 + 99).await, Err(StoreError::NotRunning(_))));
    assert_eq!(store.claim_sweep(id, "c", T0 + 99, T0 + 50).await.unwrap(), None);
}

pub async fn a_reservation_must_fit_the_budget(db: Database) {
    let store = db.store().await;
    let budget = DayBudget { since_us: T0, cap_nanousd: 1_500 };
    assert_eq!(store.create_sweep(&plan(&model(), 1), None, Some(&budget)).await.unwrap(), Created::Created);
    let refused = store.create_sweep(&plan(&model(), 2), Some(&fire(0)), Some(&budget)).await.unwrap();
    assert_eq!(refused, Created::OverBudget { left_nanousd: 500 });
    assert_eq!(store.last_fire("six-hourly", &model()).await.unwrap(), None);
    let wide = DayBudget { cap_nanousd: 2_000, ..budget };
    let other = ModelId::new("lab/other").unwrap();
    let outcomes =
        tokio::join!(async { store.create_sweep(&plan(&model(), 3), None, Some(&wide)).await.unwrap() }, async {
            let mut second = plan(&other, 4);
            second.id = plan(&model(), 5).id;
            store.create_sweep(&second, None, Some(&wide)).await.unwrap()
        });
    let created = [outcomes.0, outcomes.1].iter().filter(|r| **r == Created::Created).count();
    assert_eq!(created, 1, "two daemons must not reserve the same money: {outcomes:?}");
}

pub async fn money_is_summed_from_attempts(db: Database) {
    let store = db.store().await;
    let (first, second) = (sweep(&store, 1).await, sweep(&store, 2).await);
    store.append_attempts(attempts(first, 0..20)).await.unwrap();
    store.append_attempts(attempts(second, 20..25)).await.unwrap();
    let spend = store.spend_since(T0 + 10 * SECOND).await.unwrap();
    assert_eq!(spend, Spend { spent_nanousd: 150, reserved_nanousd: 800 + 950 });
    let fence = store.claim_sweep(first, "a", T0 + DAY, T0).await.unwrap().unwrap();
    let end = SweepEnd {
        sweep: first,
        model: model(),
        fence,
        state: SweepState::Closed,
        at_us: T0 + DAY,
        note: "too old".to_owned(),
        curation: Default::default(),
    };
    store.commit_sweep_end(&end).await.unwrap();
    assert_eq!(store.spend_since(T0).await.unwrap(), Spend { spent_nanousd: 250, reserved_nanousd: 950 });
    let record = store.sweep(first).await.unwrap().unwrap().record;
    assert_eq!((record.spent_nanousd, record.note.as_str(), record.lease_owner), (200, "too old", None));
    assert_eq!(store.spend_since(T0 + DAY).await.unwrap().spent_nanousd, 0);
}

pub async fn sweeps_are_listed_newest_first(db: Database) {
    let store = db.store().await;
    for ordinal in 1..=5 {
        sweep(&store, ordinal).await;
    }
    let first = store.sweeps(Some(&model()), None, 2, None).await.unwrap();
    assert_eq!(first.items.iter().map(|s| s.ordinal).collect::<Vec<_>>(), [5, 4]);
    let second = store.sweeps(None, Some(SweepState::Running), 3, first.next.as_deref()).await.unwrap();
    assert_eq!(second.items.iter().map(|s| s.ordinal).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(second.next, None);
    assert!(store.sweeps(None, Some(SweepState::Done), 3, None).await.unwrap().items.is_empty());
}

fn suite_of(digest: &str, cases: &[(&str, &str)]) -> Suite {
    let case = |(id, hash): &(&str, &str)| {
        Arc::new(Case {
            id: CaseId::new(id).unwrap(),
            category: None,
            tags: vec![],
            messages: Vec::new().into(),
            tools: None,
            response_format: None,
            request: std::sync::Arc::default(),
            expected: None,
            scorers: std::sync::Arc::default(),
            metadata: None,
            params: Arc::default(),
            derive: Arc::default(),
            fixed: true,
            world: None,
            files: Default::default(),
            reference: None,
            counterexample: None,
            answers: None,
            pair: None,
            hash: (*hash).to_owned(),
        })
    };
    Suite {
        name: crate::kit::suite(),
        kind: vec![SuiteKind::ToolUse],
        revision: "2026.1".to_owned(),
        license: None,
        digest: SuiteDigest::new(digest).unwrap(),
        epochs: Epochs::default(),
        sampling: Sampling::default(),
        fixed_share: 0.2,
        by_default: true,
        cases: cases.iter().map(case).collect(),
        excluded: vec![],
        broken: vec![],
        metrics: vec![],
    }
}

pub async fn a_label_stands_for_one_content(db: Database) {
    let store = db.store().await;
    let first = suite_of("aa", &[("same", "1"), ("edited", "2"), ("gone", "3")]);
    assert_eq!(store.register_suite(&first, T0).await.unwrap(), Registered::New);
    assert_eq!(store.register_suite(&first, T0 + 1).await.unwrap(), Registered::Known);
    let edited = suite_of("bb", &[("same", "1"), ("edited", "9"), ("new", "4")]);
    let conflict = Registered::Conflict {
        changed: vec!["edited".to_owned()],
        added: vec!["new".to_owned()],
        removed: vec!["gone".to_owned()],
    };
    assert_eq!(store.register_suite(&edited, T0 + 2).await.unwrap(), conflict);
    assert_eq!(store.register_suite(&edited, T0 + 3).await.unwrap(), conflict, "a refused label changes nothing");
    let relabelled = Suite { revision: "2026.2".to_owned(), ..edited };
    assert_eq!(store.register_suite(&relabelled, T0 + 4).await.unwrap(), Registered::New);
}
