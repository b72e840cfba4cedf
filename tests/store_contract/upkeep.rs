//! Schema, check, prune.

use exactod::domain::{Attempt, Part, SweepId, SweepKind, SweepPlan, SweepState};
use exactod::store::{
    Created, Fire, Pruned, Retention, SCHEMA_VERSION, Schema, Store, StoreError, StoreOptions, SweepEnd, SweepRecord,
};

use crate::kit::{DAY, Database, SECOND, T0, attempt, attempts, model, sweep};

pub async fn every_statement_prepares(db: Database) {
    let store = db.store().await;
    let statements = store.statements();
    assert!(statements.len() > 50);
    for statement in statements {
        store.prepare(statement).await.unwrap_or_else(|error| panic!("{error}\n{statement}"));
    }
}

pub async fn migrating_again_changes_nothing(db: Database) {
    let empty = db.empty().await;
    let store = Store::open(&empty.url, &StoreOptions::default()).await.unwrap();
    assert_eq!(store.schema().await.unwrap(), Schema { found: 0, known: SCHEMA_VERSION });
    assert!(!store.check().await.unwrap().problems.is_empty(), "an empty database must be migrated first");
    let done = Schema { found: SCHEMA_VERSION, known: SCHEMA_VERSION };
    assert_eq!(store.migrate().await.unwrap(), done);
    let layout = store.layout().await.unwrap();
    assert_eq!(store.migrate().await.unwrap(), done);
    assert_eq!(store.layout().await.unwrap(), layout);
}

pub async fn two_daemons_may_migrate_at_once(db: Database) {
    let empty = db.empty().await;
    let options = StoreOptions::default();
    let (one, other) = tokio::join!(Store::open(&empty.url, &options), Store::open(&empty.url, &options));
    let (one, other) = (one.unwrap(), other.unwrap());
    let (a, b) = tokio::join!(one.migrate(), other.migrate());
    assert_eq!((a.unwrap().found, b.unwrap().found), (SCHEMA_VERSION, SCHEMA_VERSION));
}

pub async fn a_newer_schema_is_refused(db: Database) {
    let store = db.store().await;
    db.raw(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9000, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let error = Store::open(&db.url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::NewerVersion { found: 9000, known: SCHEMA_VERSION, .. }), "{error}");
    assert!(error.to_string().contains("update exactod"), "{error}");
    assert!(matches!(store.migrate().await, Err(StoreError::NewerVersion { found: 9000, .. })));
}

pub async fn an_altered_migration_is_refused(db: Database) {
    let store = db.store().await;
    db.raw("UPDATE _sqlx_migrations SET checksum = substr(checksum, 2)").await;
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(&error, StoreError::Migration(_)), "{error}");
}

pub async fn foreign_tables_are_refused(db: Database) {
    let empty = db.empty().await;
    empty.raw("CREATE TABLE sweeps (chimney TEXT)").await;
    let error = Store::open(&empty.url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { .. }), "{error}");
    let other = db.empty().await;
    other.raw("CREATE TABLE _sqlx_migrations (version BIGINT); CREATE TABLE meta (key TEXT, value TEXT)").await;
    let error = Store::open(&other.url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { .. }), "{error}");
}

pub async fn check_finds_nothing_wrong(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    store.append_attempts(attempts(sweep, 0..12)).await.unwrap();
    let report = store.check().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.schema, report.schema_known), (SCHEMA_VERSION, SCHEMA_VERSION));
    assert_eq!((report.rows["attempts"], report.rows["sweeps"], report.rows["allowlists"]), (12, 1, 0));
    assert!(report.database.starts_with(if db.is_sqlite() { "SQLite 3." } else { "PostgreSQL " }));
    assert!(report.size_bytes > 10_000);
}

pub async fn check_finds_orphans(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    store.append_attempts(attempts(sweep, 0..3)).await.unwrap();
    db.raw(if db.is_sqlite() {
        "PRAGMA foreign_keys = OFF; DELETE FROM attempts WHERE id IN (SELECT MIN(id) FROM attempts); \
         UPDATE sweeps SET plan = NULL"
    } else {
        "SET session_replication_role = replica; DELETE FROM attempts WHERE id IN (SELECT MIN(id) FROM attempts); \
         UPDATE sweeps SET plan = NULL"
    })
    .await;
    let problems = store.check().await.unwrap().problems.join("\n");
    assert!(problems.contains("1 transcripts belong to no attempt"), "{problems}");
    assert!(problems.contains("1 running sweeps have no plan"), "{problems}");
}

pub async fn pruning_keeps_what_it_should(db: Database) {
    let store = db.store().await;
    let (done, running) = (sweep(&store, 1).await, sweep(&store, 2).await);
    store.append_attempts(attempts(done, 0..30)).await.unwrap();
    store.append_attempts(attempts(running, 30..32)).await.unwrap();
    let mut old = attempts(running, 32..33);
    old[0].id = exactod::domain::AttemptId(crate::kit::id_at(T0 - SECOND, 1));
    store.append_attempts(old).await.unwrap();
    let fence = store.claim_sweep(done, "a", T0 + 10, T0).await.unwrap().unwrap();
    let end = SweepEnd {
        sweep: done,
        model: model(),
        fence,
        state: SweepState::Done,
        at_us: T0 + 5,
        note: String::new(),
        curation: Default::default(),
    };
    store.commit_sweep_end(&end).await.unwrap();

    assert_eq!(store.prune(&Retention::default()).await.unwrap(), Pruned::default());
    let retention = Retention {
        transcripts_before_us: Some(T0 + 20 * SECOND),
        attempts_before_us: Some(T0 + 10 * SECOND),
        ..Retention::default()
    };
    let pruned = store.prune(&retention).await.unwrap();
    assert_eq!(pruned, Pruned { transcripts: 11, attempts: 10, plans: 1, observations: 0 });
    assert_eq!(store.prune(&retention).await.unwrap(), Pruned::default());
    let kept = store.attempt(attempt(done, 15).id).await.unwrap().unwrap();
    assert_eq!(kept.attempt.transcript, None);
    let whole = store.attempt(attempt(done, 25).id).await.unwrap().unwrap();
    assert!(whole.attempt.transcript.is_some());
    assert_eq!(store.done_keys(running).await.unwrap().len(), 3, "a running sweep keeps its attempts");
    assert_eq!(store.sweep(done).await.unwrap().unwrap().plan, None);
    assert!(store.sweep(running).await.unwrap().unwrap().plan.is_some());
    let report = store.check().await.unwrap();
    assert_eq!((report.problems, report.rows["transcripts"]), (vec![], 12));
}

pub async fn facts_are_kept(db: Database) {
    let store = db.store().await;
    assert_eq!(store.fact("application").await.unwrap().as_deref(), Some("exactod"));
    assert_eq!(store.fact("instance").await.unwrap(), None);
    store.set_fact("instance", "one").await.unwrap();
    store.set_fact("instance", "two").await.unwrap();
    assert_eq!(db.store().await.fact("instance").await.unwrap().as_deref(), Some("two"));
}

/// Sweeps with what hangs on them come through the upgrade, which replaces a column of theirs: one that was running under
/// a lease goes on, and kinds stay checked.
pub async fn sweeps_of_version_2_go_on_after_the_upgrade(db: Database) {
    let empty = db.empty().await;
    let store = Store::open(&empty.url, &StoreOptions::default()).await.unwrap();
    store.migrate_to(2).await.unwrap();
    // These tables were the same in version 2, but for columns that are there while they are filled.
    empty
        .raw(
            "ALTER TABLE attempts ADD COLUMN observed DOUBLE PRECISION; ALTER TABLE attempts ADD COLUMN sampled TEXT; \
             ALTER TABLE attempts ADD COLUMN scorers TEXT",
        )
        .await;
    let (done, running) = (sweep(&store, 1).await, sweep(&store, 2).await);
    // Nothing was sampled then.
    let then = |sweep, ordinals| -> Vec<_> {
        attempts(sweep, ordinals).into_iter().map(|attempt| Attempt { sampled: None, ..attempt }).collect()
    };
    store.append_attempts(then(done, 0..6)).await.unwrap();
    store.append_attempts(then(running, 6..9)).await.unwrap();
    let fire = |n: i64| Fire { schedule: "daily".to_owned(), fire_at_us: T0 + n, model: model() };
    let fired = crate::kit::plan(&model(), 3);
    assert_eq!(store.create_sweep(&fired, Some(&fire(1)), None).await.unwrap(), Created::Created);
    assert!(store.skip_fire(&fire(2), "budget").await.unwrap());
    let fence = store.claim_sweep(running, "a", T0 + DAY, T0).await.unwrap().unwrap();
    empty
        .raw(
            "UPDATE sweeps SET kind = 'full' WHERE ordinal = 1; UPDATE sweeps SET kind = 'manual' WHERE ordinal = 3; \
             UPDATE sweeps SET state = 'done', finished_at_us = 9, note = 'whole', spent_nanousd = 5 WHERE ordinal = 1",
        )
        .await;
    empty
        .raw(if empty.is_sqlite() {
            "INSERT INTO states (model, seq, sweep, at_us, bytes) VALUES ('lab/model', 4, NULL, 7, x'00ff'); \
             INSERT INTO checkpoints (model, seq, at_us, revision, bytes) VALUES ('lab/model', 3, 6, NULL, x'00fe')"
        } else {
            "INSERT INTO states (model, seq, sweep, at_us, bytes) VALUES ('lab/model', 4, NULL, 7, '\\x00ff'); \
             INSERT INTO checkpoints (model, seq, at_us, revision, bytes) VALUES ('lab/model', 3, 6, NULL, '\\x00fe')"
        })
        .await;
    let before = (store.sweep(done).await.unwrap(), store.attempt(attempt(done, 2).id).await.unwrap());
    empty
        .raw(
            "ALTER TABLE attempts DROP COLUMN observed; ALTER TABLE attempts DROP COLUMN sampled; \
             ALTER TABLE attempts DROP COLUMN scorers",
        )
        .await;

    assert_eq!(store.migrate().await.unwrap().found, SCHEMA_VERSION);
    assert_eq!((store.sweep(done).await.unwrap(), store.attempt(attempt(done, 2).id).await.unwrap()), before);
    let kinds: Vec<_> = store.newest_sweeps(&model(), 9).await.unwrap().into_iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [SweepKind::Manual, SweepKind::Scheduled, SweepKind::Full]);
    let found = store.sweep(running).await.unwrap().unwrap();
    assert_eq!((found.record.lease_owner.as_deref(), found.record.fence), (Some("a"), fence));
    assert_eq!(found.plan.map(|plan| plan.id), Some(running));
    assert_eq!(store.done_keys(running).await.unwrap().len(), 3);
    store.renew_lease(running, fence, T0 + 2 * DAY).await.unwrap();
    assert_eq!(store.claim_sweep(running, "b", T0 + DAY, T0).await.unwrap(), None, "the lease holds");
    assert_eq!(store.last_fire("daily", &model()).await.unwrap(), Some(T0 + 2));
    assert_eq!(
        store.create_sweep(&crate::kit::plan(&model(), 4), Some(&fire(1)), None).await.unwrap(),
        Created::AlreadyFired
    );
    assert_eq!(store.state(&model()).await.unwrap().unwrap().bytes, [0, 0xff]);
    assert_eq!(store.checkpoint(&model(), 3).await.unwrap().unwrap().bytes, [0, 0xfe]);

    assert!(empty.takes("UPDATE sweeps SET kind = 'onboarding' WHERE ordinal = 3").await);
    assert!(!empty.takes("UPDATE sweeps SET kind = 'now and then' WHERE ordinal = 3").await);
    let report = store.check().await.unwrap();
    assert_eq!((report.problems, report.rows["transcripts"], report.rows["attempts"]), (vec![], 9, 9));
}

/// A clock that was set back gives later sweeps smaller ids and times: their places tell which are the newest.
pub async fn the_newest_sweeps_are_those_of_the_last_places(db: Database) {
    let store = db.store().await;
    for (ordinal, at_us) in [(1, T0), (2, T0 + DAY), (3, T0 - DAY)] {
        let plan = crate::kit::plan(&model(), ordinal);
        let plan = SweepPlan { id: SweepId(crate::kit::id_at(at_us, ordinal)), planned_at_us: at_us, ..plan };
        assert_eq!(store.create_sweep(&plan, None, None).await.unwrap(), Created::Created);
    }
    let places = |all: Vec<SweepRecord>| all.into_iter().map(|s| s.ordinal).collect::<Vec<_>>();
    assert_eq!(places(store.newest_sweeps(&model(), 2).await.unwrap()), [3, 2]);
    for n in [1, 5, 9] {
        store.skip_fire(&Fire { schedule: "daily".to_owned(), fire_at_us: n, model: model() }, "").await.unwrap();
    }
    assert_eq!(store.last_fire_until("daily", &model(), 5).await.unwrap(), Some(5));
    assert_eq!(store.last_fire_until("daily", &model(), 0).await.unwrap(), None);
}

/// What a program of version 2 has left is there after the upgrade, and its lists know the steps that published them.
pub async fn a_database_of_version_2_is_upgraded(db: Database) {
    let empty = db.empty().await;
    let store = Store::open(&empty.url, &StoreOptions::default()).await.unwrap();
    assert_eq!(store.migrate_to(2).await.unwrap().found, 2);
    empty
        .raw(
            "INSERT INTO settings (digest, json) VALUES ('abc', '{}'); \
             INSERT INTO history (model, seq, at_us, mark_us, kind, rules, setting, sweep, record, decisions, revision, \
             state_digest) VALUES ('lab/model', 4, 7, 7, 'configured', 2, 'abc', NULL, '{}', 1, 12, 'd'); \
             INSERT INTO allowlists (model, revision, issued_at_us, expires_at_us, mode, document, etag, sweep) \
             VALUES ('lab/model', 12, 5, 6, 'normal', '{\"n\": 12}', 'e', NULL), \
             ('lab/model', 3, 1, 2, 'bootstrap', '{}', 'e', NULL); \
             INSERT INTO decisions (id, model, endpoint, sweep, at_us, kind, from_standing, to_standing, suite, reason, \
             evidence, seq) VALUES ('01940000-0000-7000-8000-000000000000', 'lab/model', 'prov0/fp8', NULL, 7, \
             'transition', 'Unknown', 'Admitted', NULL, 'because', '{}', 4); \
             INSERT INTO alarms (id, model, endpoint, kind, text, opened_at_us, closed_at_us) \
             VALUES ('01940000-0000-7000-8000-000000000001', 'lab/model', '', 'frozen', 'held', 1, NULL)",
        )
        .await;
    assert_eq!(store.migrate().await.unwrap(), Schema { found: SCHEMA_VERSION, known: SCHEMA_VERSION });
    let list = store.allowlist(&model(), None).await.unwrap().unwrap();
    assert_eq!((list.list.revision, list.list.document.as_str(), list.capability), (12, "{\"n\": 12}", None));
    assert_eq!(store.allowlist(&model(), Some(3)).await.unwrap().unwrap().list.issued_at_us, 1);
    assert_eq!(store.current_allowlists().await.unwrap().len(), 1);
    assert_eq!(store.step_of_revision(&model(), 12).await.unwrap(), Some(4));
    assert!(store.capability_lists(&model(), None).await.unwrap().is_empty());
    let decisions = store.decisions_of_step(&model(), 4).await.unwrap();
    assert_eq!(decisions.iter().map(|d| d.capability.clone()).collect::<Vec<_>>(), [None]);
    let open = store.open_alarms().await.unwrap();
    assert_eq!(open.iter().map(|a| (a.key.capability.clone(), a.text.as_str())).collect::<Vec<_>>(), [(None, "held")]);
    assert_eq!(store.set_alarms(&open, &[], 9).await.unwrap(), Vec::<uuid::Uuid>::new(), "it is open already");
}

/// A sweep that ends a round and has its plan finds the answers of the whole round, however long ago that began.
pub async fn pruning_leaves_a_round_of_sampled_answers_whole(db: Database) {
    let store = db.store().await;
    let done = sweep(&store, 1).await;
    let mut all = attempts(done, 0..4);
    for attempt in &mut all[..2] {
        attempt.key.suite = exactod::domain::SuiteName::new("fingerprint-samples").unwrap();
    }
    store.append_attempts(all).await.unwrap();
    db.raw("UPDATE sweeps SET state = 'done', finished_at_us = 9").await;
    let at = |days: i64| Retention {
        transcripts_before_us: None,
        attempts_before_us: Some(T0 + days * DAY),
        ..Retention::default()
    };
    assert_eq!(store.prune(&at(1)).await.unwrap(), Pruned { transcripts: 0, attempts: 2, plans: 1, observations: 0 });
    assert_eq!(store.done_keys(done).await.unwrap().len(), 2);
    assert_eq!(store.prune(&at(27)).await.unwrap().attempts, 0);
    assert_eq!(store.prune(&at(29)).await.unwrap().attempts, 2);
}

/// The register tells what a version consisted of, by its digest.
pub async fn a_version_is_found_by_its_digest(db: Database) {
    let store = db.store().await;
    let suite = exactod::suites::shipped().unwrap().remove(0);
    assert_eq!(store.case_hashes(&suite.name, &suite.digest).await.unwrap(), None);
    store.register_suite(&suite, T0).await.unwrap();
    let hashes = store.case_hashes(&suite.name, &suite.digest).await.unwrap().unwrap();
    assert_eq!(hashes.len(), suite.cases.len());
    assert_eq!(hashes[suite.cases[0].id.as_str()], suite.cases[0].hash);
}

/// Answers of conversations that were stored before votes had a place beside them are found after the upgrade.
pub async fn conversations_of_version_9_go_on_after_the_upgrade(db: Database) {
    let empty = db.empty().await;
    let store = Store::open(&empty.url, &StoreOptions::default()).await.unwrap();
    store.migrate_to(9).await.unwrap();
    let sweep = sweep(&store, 1).await;
    let key = attempt(sweep, 0).key;
    // Two steps of the attempt 0, each with an empty transcript.
    empty
        .raw(if empty.is_sqlite() {
            "INSERT INTO exchanges (sweep, endpoint, suite, case_id, epoch, number, started_at_us, ttft_us, total_us, \
             cost_nanousd, tries, codec, bytes) SELECT s.id, 'prov0/fp8', 'tool-use', 'case-0', 0, n.number, \
             s.planned_at_us, NULL, 9, n.cost, '[]', 0, x'000000000000000000000000' FROM sweeps s, \
             (SELECT 10 AS number, 7 AS cost UNION ALL SELECT 2, 5) n"
        } else {
            "INSERT INTO exchanges (sweep, endpoint, suite, case_id, epoch, number, started_at_us, ttft_us, total_us, \
             cost_nanousd, tries, codec, bytes) SELECT s.id, 'prov0/fp8', 'tool-use', 'case-0', 0, n.number, \
             s.planned_at_us, NULL, 9, n.cost, '[]', 0, '\\x000000000000000000000000' FROM sweeps s, \
             (SELECT 10 AS number, 7 AS cost UNION ALL SELECT 2, 5) n"
        })
        .await;
    assert_eq!(store.migrate().await.unwrap().found, SCHEMA_VERSION);
    let open = store.open_exchanges(sweep).await.unwrap();
    let found: Vec<_> = open[&key].iter().map(|(part, exchange)| (*part, exchange.cost_nanousd)).collect();
    assert_eq!(found, [(Part::Step(2), 5), (Part::Step(10), 7)]);
    assert_eq!(store.spend_since(T0).await.unwrap().spent_nanousd, 12);
    let vote = crate::attempts::exchange(&attempt(sweep, 0), Part::Vote { scorer: 0, vote: 2 }, 1);
    store.add_exchange(&vote).await.unwrap();
    assert_eq!(store.votes(&key).await.unwrap(), [vote]);
    assert!(!empty.takes("UPDATE exchanges SET role = 'guess'").await);
    assert_eq!(store.check().await.unwrap().rows["exchanges"], 3);
}

pub async fn votes_are_pruned_with_what_they_are_about(db: Database) {
    let store = db.store().await;
    let (one, two, running) = (sweep(&store, 1).await, sweep(&store, 2).await, sweep(&store, 3).await);
    let asked = [(one, 0), (two, 1), (running, 2)].map(|(sweep, n)| attempt(sweep, n));
    let voted = || asked.iter().map(|a| crate::attempts::exchange(a, Part::Vote { scorer: 0, vote: 0 }, 1));
    for (vote, attempt) in voted().zip(&asked) {
        store.add_exchange(&vote).await.unwrap();
        store.append_attempts(vec![attempt.clone()]).await.unwrap();
    }
    db.raw("UPDATE sweeps SET state = 'done', finished_at_us = 9 WHERE ordinal < 3").await;
    let left = async || {
        let mut left = Vec::new();
        for attempt in &asked {
            left.push(store.votes(&attempt.key).await.unwrap().len());
        }
        left
    };
    store
        .prune(&Retention {
            transcripts_before_us: Some(T0 - DAY),
            attempts_before_us: Some(T0 - DAY),
            ..Retention::default()
        })
        .await
        .unwrap();
    assert_eq!(left().await, [1, 1, 1]);
    store
        .prune(&Retention { transcripts_before_us: None, attempts_before_us: Some(T0 + DAY), ..Retention::default() })
        .await
        .unwrap();
    assert_eq!(left().await, [0, 0, 1], "they go with their attempts");
    store.add_exchange(&voted().next().unwrap()).await.unwrap();
    store
        .prune(&Retention { transcripts_before_us: Some(T0 + DAY), attempts_before_us: None, ..Retention::default() })
        .await
        .unwrap();
    assert_eq!(left().await, [0, 0, 1], "and with the transcripts, unless their sweep is running");
}
