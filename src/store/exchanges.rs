//! What attempts asked besides their case: kept as soon as it is there.

use super::error::Result;
use super::pool::{Arg, Row};
use super::rows::{epoch, json, parsed, to_json};
use super::transcripts::unpack;
use super::{Store, statements};
use crate::domain::jury::Exchange;
use crate::domain::{AttemptKey, SweepId};

impl Store {
    /// Keeps an exchange. One that is kept already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database; nothing was written then.
    pub async fn add_exchange(&self, exchange: &Exchange) -> Result<()> {
        let packed = self.packer.pack(&exchange.transcript);
        let tries = to_json(&exchange.tries)?;
        let key = &exchange.key;
        let mut tx = self.pool.begin().await?;
        let args = [
            Arg::Id(key.sweep.0),
            key.endpoint.as_str().into(),
            key.suite.as_str().into(),
            key.case.as_str().into(),
            i64::from(key.epoch).into(),
            exchange.part.as_str().into(),
            tries.as_str().into(),
            exchange.started_at_us.into(),
            Arg::Int(exchange.ttft_us),
            exchange.total_us.into(),
            exchange.cost_nanousd.into(),
            packed.codec.into(),
            Arg::Bytes(&packed.bytes),
        ];
        tx.execute(statements::EXCHANGE_ADD, &args).await?;
        tx.commit().await
    }

    /// The exchanges of a sweep's attempts that are not stored yet: what an earlier run has paid for.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn open_exchanges(&self, sweep: SweepId) -> Result<Vec<Exchange>> {
        let each = |row: &Row| exchange(sweep, row);
        self.pool.read(statements::EXCHANGES_OF_SWEEP, &[Arg::Id(sweep.0)], each).await
    }

    /// What an attempt asked besides its case, sorted by part.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn exchanges(&self, key: &AttemptKey) -> Result<Vec<Exchange>> {
        let args = [
            Arg::Id(key.sweep.0),
            key.endpoint.as_str().into(),
            key.suite.as_str().into(),
            key.case.as_str().into(),
            i64::from(key.epoch).into(),
        ];
        let each = |row: &Row| exchange(key.sweep, row);
        self.pool.read(statements::EXCHANGES_OF_ATTEMPT, &args, each).await
    }

    /// Forgets the answers that were kept until their attempts are stored: those of a sweep that is complete.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn forget_answers(&self, sweep: SweepId) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        tx.execute(statements::EXCHANGES_FORGET, &[Arg::Id(sweep.0)]).await?;
        tx.commit().await
    }
}

fn exchange(sweep: SweepId, row: &Row) -> Result<Exchange> {
    Ok(Exchange {
        key: AttemptKey {
            sweep,
            endpoint: parsed(row, 0)?,
            suite: parsed(row, 1)?,
            case: parsed(row, 2)?,
            epoch: epoch(row, 3)?,
        },
        part: row.get(4)?,
        tries: json(row.get::<&str>(5)?)?,
        started_at_us: row.get(6)?,
        ttft_us: row.get(7)?,
        total_us: row.get(8)?,
        cost_nanousd: row.get(9)?,
        transcript: unpack(row.get(10)?, row.get(11)?)?,
    })
}
