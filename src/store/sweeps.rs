//! Sweeps and fires: planned once, claimed by one owner at a time, finished once.

use super::error::{Result, StoreError};
use super::pool::{Arg, Row, Tx};
use super::rows::{count, json, parsed, to_json};
use super::{Page, Store, listing, statements};
use crate::domain::{EndpointId, Micros, ModelId, SweepId, SweepKind, SweepPlan, SweepState};

/// One tick of a schedule for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fire {
    /// Name of the schedule.
    pub schedule: String,
    /// The tick's time, before jitter.
    pub fire_at_us: Micros,
    /// The model.
    pub model: ModelId,
}

/// What became of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The sweep is stored and running.
    Created,
    /// Another daemon, or this one before, has seen this fire; nothing was written.
    AlreadyFired,
    /// The sweep's id or its ordinal within the model is taken; nothing was written: plan again.
    OrdinalTaken,
    /// The reservation does not fit into what is left of the budget; nothing was written.
    OverBudget {
        /// What is left, in billionths of a US dollar.
        left_nanousd: i64,
    },
}

/// A cap on money, checked in the transaction that reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayBudget {
    /// Start of the day.
    pub since_us: Micros,
    /// The cap, in billionths of a US dollar.
    pub cap_nanousd: i64,
}

/// Money spent and held, in billionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spend {
    /// Cost of all attempts since a time.
    pub spent_nanousd: i64,
    /// What running sweeps may still spend of their reservations.
    pub reserved_nanousd: i64,
}

/// A stored sweep without its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRecord {
    /// Its id.
    pub id: SweepId,
    /// The model.
    pub model: ModelId,
    /// Place among the model's sweeps, from 1.
    pub ordinal: u64,
    /// Who asked.
    pub kind: SweepKind,
    /// Where it is.
    pub state: SweepState,
    /// When the plan was made.
    pub planned_at_us: Micros,
    /// When it ended.
    pub finished_at_us: Option<Micros>,
    /// Reserved before the first call, in billionths of a US dollar.
    pub reserved_nanousd: i64,
    /// Spent in the end, in billionths of a US dollar; 0 while it runs.
    pub spent_nanousd: i64,
    /// Who works on it.
    pub lease_owner: Option<String>,
    /// Until when, unless renewed.
    pub lease_until_us: Option<Micros>,
    /// Number of the last claim.
    pub fence: i64,
    /// How it ended, in words; may be empty.
    pub note: String,
}

/// A stored sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSweep {
    /// All but the plan.
    pub record: SweepRecord,
    /// The plan; `None` once pruned with its attempts.
    pub plan: Option<SweepPlan>,
}

/// Stored attempts of a sweep, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Passed.
    pub pass: u64,
    /// Failed.
    pub fail: u64,
    /// Without a score.
    pub unscored: u64,
}

fn kind(text: &str) -> Result<SweepKind> {
    SweepKind::ALL
        .into_iter()
        .find(|k| k.name() == text)
        .ok_or_else(|| StoreError::Corrupt(format!("a sweep of kind {text:?} is stored")))
}

fn state(text: &str) -> Result<SweepState> {
    [SweepState::Running, SweepState::Done, SweepState::Closed]
        .into_iter()
        .find(|s| s.name() == text)
        .ok_or_else(|| StoreError::Corrupt(format!("a sweep in state {text:?} is stored")))
}

fn record(row: &Row) -> Result<SweepRecord> {
    Ok(SweepRecord {
        id: parsed(row, 0)?,
        model: parsed(row, 1)?,
        ordinal: count(row, 2)?,
        kind: kind(row.get(3)?)?,
        state: state(row.get(4)?)?,
        planned_at_us: row.get(5)?,
        finished_at_us: row.get(6)?,
        reserved_nanousd: row.get(7)?,
        spent_nanousd: row.get(8)?,
        lease_owner: row.get(9)?,
        lease_until_us: row.get(10)?,
        fence: row.get(11)?,
        note: row.get(12)?,
    })
}

fn stored(row: &Row) -> Result<StoredSweep> {
    let plan = row.get::<Option<&str>>(13)?.map(json).transpose()?;
    Ok(StoredSweep { record: record(row)?, plan })
}

impl Store {
    /// Stores a planned sweep as running, with the fire that asked for it, within a budget: all in one transaction, so
    /// that any number of daemons may try.
    ///
    /// # Errors
    /// [`StoreError`] of the database. What is no error but no sweep either is told by [`Created`].
    pub async fn create_sweep(
        &self,
        plan: &SweepPlan,
        fire: Option<&Fire>,
        budget: Option<&DayBudget>,
    ) -> Result<Created> {
        self.create_noted_sweep(plan, "", fire, budget).await
    }

    /// As [`Store::create_sweep`], with a note for its record: it stays unless the sweep's end brings another.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn create_noted_sweep(
        &self,
        plan: &SweepPlan,
        note: &str,
        fire: Option<&Fire>,
        budget: Option<&DayBudget>,
    ) -> Result<Created> {
        let text = to_json(plan)?;
        let mut tx = self.pool.begin().await?;
        tx.exclude_others().await?;
        let ordinal = i64::try_from(plan.ordinal).map_err(|_| StoreError::Corrupt("an ordinal is too large".into()))?;
        let args: [Arg<'_>; 8] = [
            Arg::Id(plan.id.0),
            plan.model.as_str().into(),
            ordinal.into(),
            plan.kind.name().into(),
            text.as_str().into(),
            plan.planned_at_us.into(),
            plan.reserved_nanousd.into(),
            note.into(),
        ];
        if let Some(fire) = fire
            && !add_fire(&mut tx, fire, Some(plan.id), "").await?
        {
            tx.rollback().await?;
            return Ok(Created::AlreadyFired);
        }
        if let Some(budget) = budget {
            let spend = spend_since(&mut tx, budget.since_us).await?;
            let left = budget.cap_nanousd.saturating_sub(spend.spent_nanousd).saturating_sub(spend.reserved_nanousd);
            if plan.reserved_nanousd > left {
                tx.rollback().await?;
                return Ok(Created::OverBudget { left_nanousd: left });
            }
        }
        if tx.execute(statements::SWEEP_ADD, &args).await? == 0 {
            tx.rollback().await?;
            return Ok(Created::OrdinalTaken);
        }
        tx.commit().await?;
        Ok(Created::Created)
    }

    /// Notes a fire that leads to no sweep (missed, overlapping), and why. `false`: it was already noted.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn skip_fire(&self, fire: &Fire, note: &str) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        let fresh = add_fire(&mut tx, fire, None, note).await?;
        tx.commit().await?;
        Ok(fresh)
    }

    /// Time of the latest fire of a schedule for a model.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn last_fire(&self, schedule: &str, model: &ModelId) -> Result<Option<Micros>> {
        self.pool.read_one(statements::FIRE_LAST, &[schedule.into(), model.as_str().into()], |row| row.get(0)).await
    }

    /// Time of the latest fire of a schedule for a model up to a time.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn last_fire_until(&self, schedule: &str, model: &ModelId, until_us: Micros) -> Result<Option<Micros>> {
        let args = [schedule.into(), model.as_str().into(), until_us.into()];
        self.pool.read_one(statements::FIRE_LAST_UNTIL, &args, |row| row.get(0)).await
    }

    /// A model's sweeps, those begun last first whatever the clock said: by their place, not by their time.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn newest_sweeps(&self, model: &ModelId, limit: usize) -> Result<Vec<SweepRecord>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.pool.read(statements::SWEEPS_NEWEST, &[model.as_str().into(), limit.into()], record).await
    }

    /// The next free place among a model's sweeps, from 1.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn next_ordinal(&self, model: &ModelId) -> Result<u64> {
        let found =
            self.pool.read_one(statements::SWEEP_NEXT_ORDINAL, &[model.as_str().into()], |row| count(row, 0)).await?;
        Ok(found.unwrap_or(1))
    }

    /// Claims a running sweep for an owner until a time. Gives the fencing number that later writes must show, or
    /// `None` when the sweep is not running or another owner's lease still holds. An owner may claim again what it
    /// holds; the numbers given before are stale then.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn claim_sweep(
        &self,
        sweep: SweepId,
        owner: &str,
        until_us: Micros,
        now_us: Micros,
    ) -> Result<Option<i64>> {
        let args = [Arg::Id(sweep.0), owner.into(), until_us.into(), now_us.into()];
        let mut tx = self.pool.begin().await?;
        let fence = tx.read_one(statements::SWEEP_CLAIM, &args, |row| row.get(0)).await?;
        tx.commit().await?;
        Ok(fence)
    }

    /// Prolongs a lease.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`] when another owner has claimed the sweep since, [`StoreError::NotRunning`] when it
    /// has ended; both mean: stop working on it.
    pub async fn renew_lease(&self, sweep: SweepId, fence: i64, until_us: Micros) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        if tx.execute(statements::SWEEP_RENEW, &[Arg::Id(sweep.0), fence.into(), until_us.into()]).await? == 0 {
            return Err(why_not_ours(&mut tx, sweep, fence).await?);
        }
        tx.commit().await
    }

    /// Gives a running sweep back, so that another owner need not wait for the lease to end. Nothing happens when the
    /// fence is stale.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn release_sweep(&self, sweep: SweepId, fence: i64) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        tx.execute(statements::SWEEP_RELEASE, &[Arg::Id(sweep.0), fence.into()]).await?;
        tx.commit().await
    }

    /// Sweeps that are not finished, oldest first; of one model or of all.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn running_sweeps(&self, model: Option<&ModelId>) -> Result<Vec<StoredSweep>> {
        self.pool.read(statements::SWEEPS_RUNNING, &[Arg::Text(model.map(ModelId::as_str))], stored).await
    }

    /// One sweep with its plan.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn sweep(&self, sweep: SweepId) -> Result<Option<StoredSweep>> {
        self.pool.read_one(statements::SWEEP_GET, &[Arg::Id(sweep.0)], stored).await
    }

    /// Sweeps newest first, of one model and state or of all; `limit` up to
    /// [`PAGE_ITEMS_MAX`](super::PAGE_ITEMS_MAX), `cursor` from the page before.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], or those of the database.
    pub async fn sweeps(
        &self,
        model: Option<&ModelId>,
        state: Option<SweepState>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<SweepRecord>> {
        let (after, rows) = (listing::cursor(cursor)?, listing::rows(limit));
        let args = [
            after.as_str().into(),
            Arg::Text(model.map(ModelId::as_str)),
            Arg::Text(state.map(SweepState::name)),
            rows.into(),
        ];
        let found = self.pool.read(statements::SWEEPS_LIST, &args, record).await?;
        Ok(Page::of(found, limit, |sweep| sweep.id.to_string()))
    }

    /// How many attempts of a sweep are stored, by endpoint, sorted by its id.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn progress(&self, sweep: SweepId) -> Result<Vec<Progress>> {
        let counted = |row: &Row| Ok((parsed::<EndpointId>(row, 0)?, row.get::<String>(1)?, count(row, 2)?));
        let mut by_endpoint: std::collections::BTreeMap<EndpointId, Progress> = std::collections::BTreeMap::new();
        for (endpoint, verdict, n) in self.pool.read(statements::SWEEP_PROGRESS, &[Arg::Id(sweep.0)], counted).await? {
            let progress =
                by_endpoint.entry(endpoint.clone()).or_insert(Progress { endpoint, pass: 0, fail: 0, unscored: 0 });
            match verdict.as_str() {
                "pass" => progress.pass = n,
                "fail" => progress.fail = n,
                _ => progress.unscored = n,
            }
        }
        Ok(by_endpoint.into_values().collect())
    }

    /// Money spent since a time, and what running sweeps hold reserved.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn spend_since(&self, since_us: Micros) -> Result<Spend> {
        let spent = self.pool.read_one(statements::SPENT_SINCE, &[since_us.into()], |row| row.get::<i64>(0)).await?;
        let open = self.pool.read(statements::RESERVATIONS, &[], left_of_reservation).await?;
        Ok(Spend { spent_nanousd: spent.unwrap_or_default(), reserved_nanousd: total(&open) })
    }
}

async fn spend_since(tx: &mut Tx, since_us: Micros) -> Result<Spend> {
    let spent = tx.read_one(statements::SPENT_SINCE, &[since_us.into()], |row| row.get::<i64>(0)).await?;
    let open = tx.read(statements::RESERVATIONS, &[], left_of_reservation).await?;
    Ok(Spend { spent_nanousd: spent.unwrap_or_default(), reserved_nanousd: total(&open) })
}

fn left_of_reservation(row: &Row) -> Result<i64> {
    Ok(row.get::<i64>(0)?.saturating_sub(row.get::<i64>(1)?).max(0))
}

fn total(amounts: &[i64]) -> i64 {
    amounts.iter().fold(0, |sum, amount| sum.saturating_add(*amount))
}

async fn add_fire(tx: &mut Tx, fire: &Fire, sweep: Option<SweepId>, note: &str) -> Result<bool> {
    let sweep = sweep.map(|id| id.to_string());
    let args = [
        fire.schedule.as_str().into(),
        fire.fire_at_us.into(),
        fire.model.as_str().into(),
        Arg::Text(sweep.as_deref()),
        note.into(),
    ];
    Ok(tx.execute(statements::FIRE_ADD, &args).await? == 1)
}

/// Why a write that showed its fence changed no row.
pub(super) async fn why_not_ours(tx: &mut Tx, sweep: SweepId, held: i64) -> Result<StoreError> {
    let get = |row: &Row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?));
    let found = tx.read_one(statements::SWEEP_FENCE, &[Arg::Id(sweep.0)], get).await?;
    Ok(match found {
        Some((fence, state)) if state == "running" && fence != held => StoreError::StaleFence { sweep, held },
        _ => StoreError::NotRunning(sweep),
    })
}
