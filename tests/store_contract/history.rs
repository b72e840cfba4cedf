//! What states were made from: written with them, kept for ever, and pruned so that a replay still finds a beginning.

use exactod::domain::{ModelId, SweepId, SweepState};
use exactod::store::{
    CHECKPOINT_EVERY_STEPS, CurationCommit, NewAllowlist, NewState, Retention, Store, StoreError, SweepEnd,
};

use crate::kit::{DAY, Database, SECOND, T0, attempts, decision, model, step, sweep};

/// A step outside sweeps, with a list of a revision or without one.
fn commit(base: u64, revision: Option<u64>) -> CurationCommit {
    let allowlist = revision.map(|revision| NewAllowlist {
        revision,
        issued_at_us: T0,
        expires_at_us: T0 + DAY,
        mode: exactod::domain::AllowlistMode::Normal,
        document: format!("{{\"version\":{revision}}}"),
        etag: String::new(),
    });
    CurationCommit {
        state: Some(NewState { base, bytes: vec![base as u8; 100], step: step(base) }),
        decisions: vec![decision(2 * base, None), decision(2 * base + 1, None)],
        allowlist,
        ..CurationCommit::default()
    }
}

/// Ends a new sweep of the model by a step on `base`.
async fn end_sweep(store: &Store, ordinal: u64, base: u64) -> SweepId {
    let id = sweep(store, ordinal).await;
    store.append_attempts(attempts(id, ordinal * 100..ordinal * 100 + 5)).await.unwrap();
    let fence = store.claim_sweep(id, "a", T0 + 100 * DAY, T0).await.unwrap().unwrap();
    let mut curation = commit(base, None);
    curation.decisions.clear();
    curation.state.as_mut().unwrap().step.kind = "sweep";
    let end = SweepEnd {
        sweep: id,
        model: model(),
        fence,
        state: SweepState::Done,
        at_us: T0 + ordinal as i64 * SECOND,
        note: String::new(),
        curation,
    };
    store.commit_sweep_end(&end).await.unwrap();
    id
}

pub async fn a_step_is_stored_with_its_state(db: Database) {
    let store = db.store().await;
    assert!(store.steps(&model(), 0, 10).await.unwrap().is_empty());
    store.commit_curation(&model(), T0 + 5, &commit(0, Some(3))).await.unwrap();
    store.commit_curation(&model(), T0 + 4, &commit(1, None)).await.unwrap();
    let found = store.steps(&model(), 0, 10).await.unwrap();
    assert_eq!(
        found.iter().map(|s| (s.seq, s.at_us, s.revision)).collect::<Vec<_>>(),
        [(1, T0 + 5, Some(3)), (2, T0 + 4, None)]
    );
    let first = &found[0];
    assert_eq!((first.kind.as_str(), first.rules, first.decisions), ("configured", 1, 2));
    assert_eq!((first.record.as_str(), first.sweep), ("{\"n\":0}", None));
    assert_eq!(first.state_digest.len(), 64);
    assert_ne!(first.state_digest, found[1].state_digest);
    assert_eq!(store.setting(&first.setting).await.unwrap(), "{}");
    assert!(matches!(store.setting("unheard-of").await, Err(StoreError::Corrupt(_))));
    assert_eq!(store.steps(&model(), 1, 10).await.unwrap(), found[1..]);
    assert_eq!(store.steps(&model(), 0, 1).await.unwrap(), found[..1]);
    assert_eq!(store.step(&model(), 2).await.unwrap().as_ref(), Some(&found[1]));
    assert_eq!(store.step_of_revision(&model(), 3).await.unwrap(), Some(1));
    assert_eq!(store.step_of_revision(&model(), 2).await.unwrap(), None);
    let made: Vec<_> = store.decisions_of_step(&model(), 2).await.unwrap();
    assert_eq!(made, [decision(2, None), decision(3, None)]);
    let heads = store.heads().await.unwrap();
    assert_eq!(heads.iter().map(|h| (h.model.clone(), h.seq)).collect::<Vec<_>>(), [(model(), 2)]);
    assert_eq!(store.check().await.unwrap().rows["settings"], 1, "one text per content");
}

pub async fn a_refused_step_leaves_no_history(db: Database) {
    let store = db.store().await;
    store.commit_curation(&model(), T0, &commit(0, Some(3))).await.unwrap();
    let before = store.steps(&model(), 0, 10).await.unwrap();
    for refused in [commit(0, None), commit(1, Some(3))] {
        assert!(store.commit_curation(&model(), T0, &refused).await.is_err());
        assert_eq!(store.steps(&model(), 0, 10).await.unwrap(), before);
    }
    let other = ModelId::new("lab/other").unwrap();
    assert!(store.steps(&other, 0, 10).await.unwrap().is_empty());
}

pub async fn checkpoints_are_kept_from_time_to_time(db: Database) {
    let store = db.store().await;
    for base in 0..2 * CHECKPOINT_EVERY_STEPS + 3 {
        let revision = (base % 10 == 0).then_some(base + 1);
        let curation = CurationCommit { decisions: vec![], ..commit(base, revision) };
        store.commit_curation(&model(), T0 + base as i64, &curation).await.unwrap();
    }
    assert_eq!(store.checkpoints(&model()).await.unwrap(), [CHECKPOINT_EVERY_STEPS, 2 * CHECKPOINT_EVERY_STEPS]);
    let kept = store.checkpoint(&model(), CHECKPOINT_EVERY_STEPS).await.unwrap().unwrap();
    let base = CHECKPOINT_EVERY_STEPS - 1;
    assert_eq!((kept.at_us, kept.revision, kept.bytes), (T0 + base as i64, Some(31), vec![base as u8; 100]));
    assert_eq!(store.checkpoint(&model(), 5).await.unwrap(), None);
}

pub async fn what_other_rules_made_leaves_a_checkpoint(db: Database) {
    let store = db.store().await;
    store.commit_curation(&model(), T0, &commit(0, Some(1))).await.unwrap();
    let mut newer = commit(1, None);
    newer.state.as_mut().unwrap().step.rules = 2;
    store.commit_curation(&model(), T0 + 1, &newer).await.unwrap();
    assert_eq!(store.checkpoints(&model()).await.unwrap(), [1], "the state before the first step of the new rules");
    assert_eq!(store.replay_horizon(&model(), 2).await.unwrap(), 1);
    assert_eq!(store.replay_horizon(&model(), 1).await.unwrap(), 2);
}

pub async fn a_store_from_before_the_history_begins_it_with_a_checkpoint(db: Database) {
    let store = db.store().await;
    db.raw(if db.is_sqlite() {
        "INSERT INTO states (model, seq, sweep, at_us, bytes) VALUES ('lab/model', 40, NULL, 7, x'0102'); \
         INSERT INTO allowlists (model, revision, issued_at_us, expires_at_us, mode, document, etag, sweep) \
         VALUES ('lab/model', 12, 0, 0, 'normal', '{}', '', NULL)"
    } else {
        "INSERT INTO states (model, seq, sweep, at_us, bytes) VALUES ('lab/model', 40, NULL, 7, '\\x0102'); \
         INSERT INTO allowlists (model, revision, issued_at_us, expires_at_us, mode, document, etag, sweep) \
         VALUES ('lab/model', 12, 0, 0, 'normal', '{}', '', NULL)"
    })
    .await;
    store.commit_curation(&model(), T0, &commit(40, Some(13))).await.unwrap();
    let kept = store.checkpoint(&model(), 40).await.unwrap().unwrap();
    assert_eq!((kept.at_us, kept.revision, kept.bytes), (7, Some(12), vec![1, 2]));
    store.commit_curation(&model(), T0, &CurationCommit { decisions: vec![], ..commit(41, None) }).await.unwrap();
    assert_eq!(store.checkpoints(&model()).await.unwrap(), [40], "the rest can be made again from there");
}

pub async fn pruned_attempts_leave_a_checkpoint_at_the_horizon(db: Database) {
    let store = db.store().await;
    for n in 0..4 {
        end_sweep(&store, n + 1, n).await;
    }
    assert_eq!(store.replay_horizon(&model(), 1).await.unwrap(), 0);
    assert!(store.checkpoints(&model()).await.unwrap().is_empty());
    // Sweeps are planned a second apart: two of them go, and what follows from the others can still be made again,
    // but not from a state in between: the newest becomes the beginning.
    let retention = Retention {
        transcripts_before_us: None,
        attempts_before_us: Some(T0 + 2 * SECOND + SECOND / 2),
        ..Retention::default()
    };
    assert_eq!(store.prune(&retention).await.unwrap().plans, 2);
    assert_eq!(store.replay_horizon(&model(), 1).await.unwrap(), 2);
    assert_eq!(store.checkpoints(&model()).await.unwrap(), [4]);
    end_sweep(&store, 5, 4).await;
    let retention = Retention {
        transcripts_before_us: None,
        attempts_before_us: Some(T0 + 3 * SECOND + SECOND / 2),
        ..Retention::default()
    };
    store.prune(&retention).await.unwrap();
    assert_eq!(store.checkpoints(&model()).await.unwrap(), [4], "one behind the horizon does");
    let retention =
        Retention { transcripts_before_us: None, attempts_before_us: Some(T0 + DAY), ..Retention::default() };
    store.prune(&retention).await.unwrap();
    assert_eq!(
        (store.checkpoints(&model()).await.unwrap(), store.steps(&model(), 0, 9).await.unwrap().len()),
        (vec![5], 5)
    );
}
