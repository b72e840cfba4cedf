//! The history of curation: settings, steps and checkpoints. Opaque here: what they mean, `curation` knows.

use super::curation::{decision, signed};
use super::error::{Result, StoreError};
use super::pool::{Arg, Row, Tx};
use super::rows::{count, count_option, parsed, parsed_option};
use super::{Store, statements};
use crate::domain::canonical::sha256_hex;
use crate::domain::{Decision, Micros, ModelId, Revision, SweepId};

/// Every so many steps the state is kept as a checkpoint: the most steps that a replay loses at the horizon of pruned
/// attempts. With a few steps a day and some 10 kB each that is little.
pub const CHECKPOINT_EVERY_STEPS: u64 = 32;

/// What a state was made from, to be stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStep {
    /// What kind of step.
    pub kind: &'static str,
    /// Grows with every step of the model.
    pub mark_us: Micros,
    /// Version of the rules that made it.
    pub rules: u32,
    /// Digest of the setting.
    pub setting: String,
    /// The setting, stored once per digest.
    pub setting_json: String,
    /// What happened, with what else was read.
    pub record: String,
}

/// A stored step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStep {
    /// Its number among the model's steps, from 1: that of the state.
    pub seq: u64,
    /// What the clock said.
    pub at_us: Micros,
    /// Its mark.
    pub mark_us: Micros,
    /// What kind of step.
    pub kind: String,
    /// Version of the rules that made it.
    pub rules: u32,
    /// Digest of the setting.
    pub setting: String,
    /// The sweep that ended.
    pub sweep: Option<SweepId>,
    /// What happened.
    pub record: String,
    /// How many decisions it made.
    pub decisions: u64,
    /// The revision that it published.
    pub revision: Option<Revision>,
    /// SHA-256 of the state's bytes, in hexadecimal.
    pub state_digest: String,
}

/// A state from which a replay can begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The step that made it.
    pub seq: u64,
    /// What the clock said.
    pub at_us: Micros,
    /// The newest revision at that time.
    pub revision: Option<Revision>,
    /// The state, opaque here.
    pub bytes: Vec<u8>,
}

/// The newest step of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The model.
    pub model: ModelId,
    /// Its newest state's number.
    pub seq: u64,
}

impl Store {
    /// The steps of a model after a number, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn steps(&self, model: &ModelId, after: u64, limit: usize) -> Result<Vec<StoredStep>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = [model.as_str().into(), signed(after).into(), limit.into()];
        self.pool.read(statements::HISTORY_AFTER, &args, stored_step).await
    }

    /// One step.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn step(&self, model: &ModelId, seq: u64) -> Result<Option<StoredStep>> {
        let args = [model.as_str().into(), signed(seq).into()];
        self.pool.read_one(statements::HISTORY_GET, &args, stored_step).await
    }

    /// Whether a step after another one is of a kind.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn has_step_of_kind(&self, model: &ModelId, after: u64, kind: &str) -> Result<bool> {
        let args = [model.as_str().into(), signed(after).into(), kind.into()];
        let found = self.pool.read_one(statements::HISTORY_OF_KIND, &args, |row| count(row, 0)).await?;
        Ok(found.is_some())
    }

    /// The step that published a revision.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn step_of_revision(&self, model: &ModelId, revision: Revision) -> Result<Option<u64>> {
        let args = [model.as_str().into(), signed(revision).into()];
        self.pool.read_one(statements::HISTORY_OF_REVISION, &args, |row| count(row, 0)).await
    }

    /// A setting.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is missing, or those of the database.
    pub async fn setting(&self, digest: &str) -> Result<String> {
        let found = self.pool.read_one(statements::SETTING_GET, &[digest.into()], |row| row.get::<String>(0)).await?;
        found.ok_or_else(|| StoreError::Corrupt(format!("setting {digest} is missing")))
    }

    /// The decisions of a step, in order.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn decisions_of_step(&self, model: &ModelId, seq: u64) -> Result<Vec<Decision>> {
        let args = [model.as_str().into(), signed(seq).into()];
        self.pool.read(statements::DECISIONS_OF_STEP, &args, decision).await
    }

    /// Numbers of the steps that have a checkpoint, in order.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn checkpoints(&self, model: &ModelId) -> Result<Vec<u64>> {
        self.pool.read(statements::CHECKPOINTS_LIST, &[model.as_str().into()], |row| count(row, 0)).await
    }

    /// One checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn checkpoint(&self, model: &ModelId, seq: u64) -> Result<Option<Checkpoint>> {
        let args = [model.as_str().into(), signed(seq).into()];
        let read = |row: &Row| {
            Ok(Checkpoint {
                seq: count(row, 0)?,
                at_us: row.get(1)?,
                revision: count_option(row, 2)?,
                bytes: row.get(3)?,
            })
        };
        self.pool.read_one(statements::CHECKPOINT_GET, &args, read).await
    }

    /// The last step that cannot be made again: its sweep's plan and attempts were pruned, or other rules made it; 0
    /// when there is none.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn replay_horizon(&self, model: &ModelId, rules: u32) -> Result<u64> {
        let args = [model.as_str().into(), i64::from(rules).into()];
        let found = self.pool.read_one(statements::HISTORY_HORIZON, &args, |row| count(row, 0)).await?;
        Ok(found.unwrap_or_default())
    }

    /// The newest state's number of every model that has one: cheap enough to be asked every second.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn heads(&self) -> Result<Vec<Head>> {
        let head = |row: &Row| Ok(Head { model: parsed(row, 0)?, seq: count(row, 1)? });
        self.pool.read(statements::STATE_HEADS, &[], head).await
    }
}

/// Keeps the state that a step builds on when it cannot be made again: it has no history, or other rules made it.
pub(super) async fn keep_base(tx: &mut Tx, model: &ModelId, base: u64, rules: u32) -> Result<()> {
    let args = [model.as_str().into(), signed(base).into(), i64::from(rules).into()];
    tx.execute(statements::CHECKPOINT_OF_BASE, &args).await?;
    Ok(())
}

/// Writes a step's row.
pub(super) async fn write_step(
    tx: &mut Tx,
    (model, seq): (&ModelId, u64),
    sweep: Option<&str>,
    at_us: Micros,
    (step, bytes): (&NewStep, &[u8]),
    (decisions, revision): (usize, Option<Revision>),
) -> Result<()> {
    let setting = [step.setting.as_str().into(), step.setting_json.as_str().into()];
    tx.execute(statements::SETTING_ADD, &setting).await?;
    let digest = sha256_hex(bytes);
    let args = [
        model.as_str().into(),
        signed(seq).into(),
        at_us.into(),
        step.mark_us.into(),
        step.kind.into(),
        i64::from(step.rules).into(),
        step.setting.as_str().into(),
        Arg::Text(sweep),
        step.record.as_str().into(),
        i64::try_from(decisions).unwrap_or(i64::MAX).into(),
        Arg::Int(revision.map(signed)),
        digest.as_str().into(),
    ];
    tx.execute(statements::HISTORY_ADD, &args).await?;
    Ok(())
}

/// Keeps a checkpoint of the newest state from time to time; the last thing that a step writes.
pub(super) async fn keep_from_time_to_time(tx: &mut Tx, model: &ModelId, seq: u64) -> Result<()> {
    if seq.is_multiple_of(CHECKPOINT_EVERY_STEPS) {
        tx.execute(statements::CHECKPOINT_ADD, &[model.as_str().into(), signed(seq).into()]).await?;
    }
    Ok(())
}

/// Moves the checkpoints to the horizon after plans were pruned: one at least lies behind it, none before it.
pub(super) async fn move_to_horizon(tx: &mut Tx) -> Result<()> {
    tx.execute(statements::CHECKPOINT_AT_HORIZON, &[]).await?;
    tx.execute(statements::CHECKPOINTS_FORGET, &[]).await?;
    Ok(())
}

fn stored_step(row: &Row) -> Result<StoredStep> {
    Ok(StoredStep {
        seq: count(row, 0)?,
        at_us: row.get(1)?,
        mark_us: row.get(2)?,
        kind: row.get(3)?,
        rules: u32::try_from(row.get::<i64>(4)?).unwrap_or(u32::MAX),
        setting: row.get(5)?,
        sweep: parsed_option(row, 6)?,
        record: row.get(7)?,
        decisions: count(row, 8)?,
        revision: count_option(row, 9)?,
        state_digest: row.get(10)?,
    })
}
