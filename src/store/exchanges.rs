//! Exchanges of attempts: answers that are kept until their attempt is stored, and votes that stay beside it.

use super::error::{Result, StoreError};
use super::pool::{Arg, Row};
use super::rows::{Shared, epoch, json, to_json};
use super::transcripts::unpack;
use super::{Store, statements};
use crate::domain::{AttemptKey, Exchange, Exchanges, Part, SweepId};

impl Store {
    /// Keeps an exchange. One that is kept already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] of the database; nothing was written then.
    pub async fn add_exchange(&self, exchange: &Exchange) -> Result<()> {
        let packed = self.packer.pack(&exchange.transcript);
        let tries = to_json(&exchange.tries)?;
        let (key, (scorer, number)) = (&exchange.key, exchange.part.place());
        let args = [
            Arg::Id(key.sweep.0),
            key.endpoint.as_str().into(),
            key.suite.as_str().into(),
            key.case.as_str().into(),
            i64::from(key.epoch).into(),
            exchange.part.role().into(),
            i64::from(scorer).into(),
            i64::from(number).into(),
            exchange.started_at_us.into(),
            Arg::Int(exchange.ttft_us),
            exchange.total_us.into(),
            exchange.cost_nanousd.into(),
            tries.as_str().into(),
            packed.codec.into(),
            Arg::Bytes(&packed.bytes),
        ];
        let mut tx = self.pool.begin().await?;
        tx.execute(statements::EXCHANGE_ADD, &args).await?;
        tx.commit().await
    }

    /// The exchanges of a sweep's attempts that are not stored: what was paid for, so that a sweep that is resumed goes on
    /// from it.
    ///
    /// # Errors
    /// [`StoreError`] of the database, or of a damaged row.
    pub async fn open_exchanges(&self, sweep: SweepId) -> Result<Exchanges> {
        let (mut endpoints, mut suites, mut cases) = (Shared::new(), Shared::new(), Shared::new());
        let each = |row: &Row| {
            let key = AttemptKey {
                sweep,
                endpoint: endpoints.read(row, 10)?,
                suite: suites.read(row, 11)?,
                case: cases.read(row, 12)?,
                epoch: epoch(row, 13)?,
            };
            read(key, row)
        };
        let mut found = Exchanges::new();
        for exchange in self.pool.read(statements::EXCHANGES_OPEN, &[Arg::Id(sweep.0)], each).await? {
            found.entry(exchange.key.clone()).or_default().insert(exchange.part, exchange);
        }
        Ok(found)
    }

    /// The votes on an attempt's answer, by scorer and number.
    ///
    /// # Errors
    /// [`StoreError`] of the database, or of a damaged row.
    pub async fn votes(&self, key: &AttemptKey) -> Result<Vec<Exchange>> {
        let args = [
            Arg::Id(key.sweep.0),
            key.endpoint.as_str().into(),
            key.suite.as_str().into(),
            key.case.as_str().into(),
            i64::from(key.epoch).into(),
        ];
        let each = |row: &Row| read(key.clone(), row);
        self.pool.read(statements::VOTES_OF_ATTEMPT, &args, each).await
    }

    /// Deletes the answers of a sweep that stand in stored attempts as well; how many. Votes stay beside their attempt, and so
    /// does all that was given up: it has been paid for.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn clear_exchanges(&self, sweep: SweepId) -> Result<u64> {
        let mut tx = self.pool.begin().await?;
        let deleted = tx.execute(statements::EXCHANGES_CLEAR, &[Arg::Id(sweep.0)]).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}

/// Reads what every statement gives first.
fn read(key: AttemptKey, row: &Row) -> Result<Exchange> {
    let (role, scorer, number): (&str, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let place = u32::try_from(scorer).ok().zip(u32::try_from(number).ok());
    let no_part = || StoreError::Corrupt(format!("{role:?} {scorer} {number} is no part of an attempt"));
    let part = place.and_then(|place| Part::of(role, place)).ok_or_else(no_part)?;
    Ok(Exchange {
        key,
        part,
        started_at_us: row.get(3)?,
        ttft_us: row.get(4)?,
        total_us: row.get(5)?,
        cost_nanousd: row.get(6)?,
        tries: json(row.get(7)?)?,
        transcript: unpack(row.get(8)?, row.get(9)?)?,
    })
}
