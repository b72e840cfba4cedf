//! Answers of conversations that are not over yet.

use std::collections::HashMap;

use super::error::Result;
use super::pool::{Arg, Row};
use super::rows::{Shared, epoch, json, to_json};
use super::transcripts::{Packer, unpack};
use super::{Store, statements};
use crate::domain::{AttemptKey, Exchange, SweepId};

impl Store {
    /// Stores an answer of a conversation, from 0. One that is stored already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn add_exchange(&self, key: &AttemptKey, number: u32, exchange: &Exchange) -> Result<()> {
        let packed = Packer::default().pack(&exchange.transcript);
        let tries = to_json(&exchange.tries)?;
        let args = [
            Arg::Id(key.sweep.0),
            key.endpoint.as_str().into(),
            key.suite.as_str().into(),
            key.case.as_str().into(),
            i64::from(key.epoch).into(),
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

    /// The stored answers of a sweep's conversations that are not over, each conversation's in order.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database, or of a damaged row.
    pub async fn open_exchanges(&self, sweep: SweepId) -> Result<HashMap<AttemptKey, Vec<Exchange>>> {
        let (mut endpoints, mut suites, mut cases) = (Shared::new(), Shared::new(), Shared::new());
        let each = |row: &Row| {
            let key = AttemptKey {
                sweep,
                endpoint: endpoints.read(row, 0)?,
                suite: suites.read(row, 1)?,
                case: cases.read(row, 2)?,
                epoch: epoch(row, 3)?,
            };
            let exchange = Exchange {
                started_at_us: row.get(4)?,
                ttft_us: row.get(5)?,
                total_us: row.get(6)?,
                cost_nanousd: row.get(7)?,
                tries: json(row.get(8)?)?,
                transcript: unpack(row.get(9)?, row.get(10)?)?,
            };
            Ok((key, exchange))
        };
        let mut found: HashMap<AttemptKey, Vec<Exchange>> = HashMap::new();
        for (key, exchange) in self.pool.read(statements::EXCHANGES_OPEN, &[Arg::Id(sweep.0)], each).await? {
            found.entry(key).or_default().push(exchange);
        }
        Ok(found)
    }

    /// Deletes the answers of a sweep whose conversations are stored as attempts; how many. Those of conversations that were
    /// given up stay: they have been paid for.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn clear_exchanges(&self, sweep: SweepId) -> Result<u64> {
        let mut tx = self.pool.begin().await?;
        let deleted = tx.execute(statements::EXCHANGES_CLEAR, &[Arg::Id(sweep.0)]).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
