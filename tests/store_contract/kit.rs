//! Databases and nouns for the contracts.

use bytes::Bytes;
use exactod::domain::{
    Attempt, AttemptId, AttemptKey, BudgetedEndpoint, CaseId, Decision, DecisionKind, EndpointId, Fault, Judgement,
    Micros, ModelId, Standing, SuiteDigest, SuiteName, SuitePlan, SweepId, SweepKind, SweepPlan, Transcript, Try,
    Usage,
};
use exactod::store::{Created, NewStep, Store, StoreOptions};
use sqlx::{Connection, PgConnection, SqliteConnection};
use uuid::{NoContext, Timestamp, Uuid};

/// A time that all contracts start from.
pub const T0: Micros = 1_790_000_000_000_000;
pub const SECOND: Micros = 1_000_000;
pub const DAY: Micros = 86_400 * SECOND;

/// A fresh database of either kind, migrated.
pub struct Database {
    pub url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    pub async fn sqlite() -> Self {
        let database = Self::empty_sqlite();
        database.store().await.close().await;
        database
    }

    pub fn empty_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Database { url: format!("sqlite://{}", folder.path().join("store.db").display()), _folder: Some(folder) }
    }

    pub async fn postgres() -> Self {
        Database { url: crate::postgres::migrated_database().await, _folder: None }
    }

    /// Another database of the same kind, without tables.
    pub async fn empty(&self) -> Self {
        if self.is_sqlite() {
            Self::empty_sqlite()
        } else {
            Database { url: crate::postgres::empty_database().await, _folder: None }
        }
    }

    pub fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite")
    }

    pub fn path(&self) -> &str {
        self.url.strip_prefix("sqlite://").unwrap()
    }

    pub async fn store(&self) -> Store {
        Store::open_migrated(&self.url, &StoreOptions::default()).await.unwrap()
    }

    /// Runs SQL behind the store's back.
    pub async fn raw(&self, sql: &'static str) {
        if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&format!("{}?mode=rwc", self.url)).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        } else {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
    }
}

impl Database {
    /// Whether the database itself takes SQL behind the store's back.
    pub async fn takes(&self, sql: &'static str) -> bool {
        if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.is_ok()
        } else {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.is_ok()
        }
    }
}

/// An id of version 7 made at a time; `n` tells ids of the same time apart and orders them.
pub fn id_at(at_us: Micros, n: u64) -> Uuid {
    let seconds = (at_us / SECOND) as u64;
    let nanos = (at_us % SECOND) as u32 * 1000;
    let base = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos)).as_u128();
    // Version 7: 48 bits of time, version, 12 bits, variant, 62 bits; `n` replaces the random bits.
    let time_and_version = base & !((1_u128 << 76) - 1);
    Uuid::from_u128(time_and_version | (0b10 << 62) | u128::from(n))
}

pub fn model() -> ModelId {
    ModelId::new("lab/model").unwrap()
}

pub fn endpoint(n: usize) -> EndpointId {
    EndpointId::new(&format!("prov{n}/fp8")).unwrap()
}

pub fn suite() -> SuiteName {
    SuiteName::new("tool-use").unwrap()
}

pub fn plan(model: &ModelId, ordinal: u64) -> SweepPlan {
    let at_us = T0 + ordinal as i64 * SECOND;
    SweepPlan {
        id: SweepId(id_at(at_us, ordinal)),
        model: model.clone(),
        kind: SweepKind::Scheduled,
        ordinal,
        seed: "00112233445566778899aabbccddeeff".to_owned(),
        planned_at_us: at_us,
        anchors: vec![endpoint(0)],
        suites: vec![SuitePlan {
            suite: suite(),
            digest: SuiteDigest::new("abc").unwrap(),
            cases: vec![CaseId::new("case-1").unwrap()],
            epochs: 1,
            endpoints: vec![BudgetedEndpoint { id: endpoint(0), cases: 1 }],
            stable: None,
        }],
        reserved_nanousd: 1_000,
        gives_evidence: true,
        capabilities: Default::default(),
        aside: Vec::new(),
        probes: Vec::new(),
        goes_on: None,
        samples: None,
        upstreams: Default::default(),
    }
}

/// A running sweep of the model.
pub async fn sweep(store: &Store, ordinal: u64) -> SweepId {
    let plan = plan(&model(), ordinal);
    assert_eq!(store.create_sweep(&plan, None, None).await.unwrap(), Created::Created);
    plan.id
}

/// The `n`th attempt of a sweep: passes, except every third, which fails. Ten endpoints share the cases.
pub fn attempt(sweep: SweepId, n: u64) -> Attempt {
    let at_us = T0 + n as i64 * SECOND;
    let judgement = if n % 3 == 2 {
        Judgement::fail(Fault::SchemaMismatch, 0.0, "tool_calls:extra_argument", "the argument `x` is not known")
    } else {
        Judgement::pass(1.0)
    };
    Attempt {
        id: AttemptId(id_at(at_us, n)),
        key: AttemptKey {
            sweep,
            endpoint: endpoint(n as usize % 10),
            suite: suite(),
            case: CaseId::new(&format!("case-{}", n / 10)).unwrap(),
            epoch: 0,
        },
        judgement,
        tries: vec![Try {
            started_at_us: at_us,
            took_us: 700,
            status: Some(200),
            fault: None,
            detail: String::new(),
            retry_after_us: None,
        }],
        started_at_us: at_us,
        ttft_us: Some(300),
        total_us: 700,
        usage: Usage { tokens_in: Some(210), tokens_out: Some(30), tokens_reasoning: None },
        cost_nanousd: 10,
        finish_reason: Some("tool_calls".to_owned()),
        draw: None,
        observed: (n % 3 == 1).then_some(-0.1 - f64::from(n as u32)),
        sampled: (n % 5 == 2).then(|| format!("answer {n}")),
        transcript: Some(Transcript {
            request: Bytes::from(format!(r#"{{"model":"m","messages":[{{"role":"user","content":"question {n}"}}]}}"#)),
            response: Bytes::from(format!(r#"{{"choices":[{{"message":{{"content":"answer {n}"}}}}]}}"#)),
            headers: "content-type: application/json\n".to_owned(),
        }),
    }
}

pub fn attempts(sweep: SweepId, range: std::ops::Range<u64>) -> Vec<Attempt> {
    range.map(|n| attempt(sweep, n)).collect()
}

pub fn decision(n: u64, sweep: Option<SweepId>) -> Decision {
    Decision {
        id: id_at(T0 + n as i64 * SECOND, n),
        model: model(),
        endpoint: endpoint(n as usize % 2),
        capability: None,
        sweep,
        at_us: T0 + n as i64 * SECOND,
        kind: DecisionKind::Transition,
        from: Standing::Unknown,
        to: Standing::Admitted,
        suite: Some(suite()),
        reason: "not worse than the anchors by more than 2 points (\"99 of 100\")".to_owned(),
        evidence: serde_json::json!({"e": 120.5, "anchors": ["prov0"]}),
    }
}

/// What the state after `base` was made from.
pub fn step(base: u64) -> NewStep {
    NewStep {
        kind: "configured",
        mark_us: T0 + base as i64,
        rules: 1,
        setting: "abc".to_owned(),
        setting_json: "{}".to_owned(),
        record: format!("{{\"n\":{base}}}"),
    }
}
