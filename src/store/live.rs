//! Counts of live traffic, by series and span of time. What the bytes hold is not looked at here.

use super::error::Result;
use super::pool::{Arg, Row, Tx};
use super::rows::count;
use super::{Store, statements};
use crate::domain::Micros;
use crate::domain::canonical::sha256_parts;

/// An endpoint and a stratum of its answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LiveSeries {
    /// The model; empty: not known.
    pub model: String,
    /// The endpoint; empty: not known.
    pub endpoint: String,
    /// The stratum's name.
    pub stratum: String,
}

/// What was counted of a series in a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCell {
    /// The series.
    pub series: LiveSeries,
    /// Width of the span, in seconds: 60, 3600 or 86400.
    pub width_s: u32,
    /// Its beginning.
    pub start_us: Micros,
    /// Tells apart who counted.
    pub part: i64,
    /// The counts.
    pub bytes: Vec<u8>,
}

/// Rows deleted in one transaction.
const PRUNE_SPAN_US: i64 = 86_400 * 1_000_000;

impl LiveSeries {
    /// Its number: the beginning of a hash, without a sign.
    fn id(&self) -> i64 {
        let hash = sha256_parts(&[self.model.as_bytes(), self.endpoint.as_bytes(), self.stratum.as_bytes()]);
        let first = [hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]];
        i64::from_le_bytes(first) & i64::MAX
    }
}

impl Store {
    /// Keeps cells in place of what was kept under the same keys, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database; nothing was written then.
    pub async fn put_live(&self, cells: &[LiveCell]) -> Result<()> {
        if cells.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        let mut known = std::collections::HashSet::new();
        for cell in cells {
            let id = cell.series.id();
            if known.insert(id) {
                add_series(&mut tx, id, &cell.series).await?;
            }
            let args = [
                id.into(),
                i64::from(cell.width_s).into(),
                cell.start_us.into(),
                cell.part.into(),
                Arg::Bytes(&cell.bytes),
            ];
            tx.execute(statements::LIVE_PUT, &args).await?;
        }
        tx.commit().await
    }

    /// The cells of a model, or of one of its endpoints, with spans of a width that begin in `[from_us, to_us)`: by
    /// endpoint, stratum and time.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database, or of a damaged row.
    pub async fn live(
        &self,
        (model, endpoint): (&str, Option<&str>),
        width_s: u32,
        (from_us, to_us): (Micros, Micros),
    ) -> Result<Vec<LiveCell>> {
        let args = [model.into(), Arg::Text(endpoint), i64::from(width_s).into(), from_us.into(), to_us.into()];
        self.pool.read(statements::LIVE_READ, &args, |row| read(row, width_s)).await
    }

    /// Deletes what began before a time, a day at a time.
    pub(super) async fn prune_live(&self, before_us: Micros) -> Result<u64> {
        let mut deleted = 0;
        let series = self.pool.read(statements::LIVE_IDS, &[], |row| row.get::<i64>(0)).await?;
        for id in series {
            for width_s in [60_i64, 3_600, 86_400] {
                let first = [id.into(), width_s.into()];
                loop {
                    let oldest = self.pool.read_one(statements::LIVE_OLDEST, &first, |row| row.get::<Option<i64>>(0));
                    let Some(oldest) = oldest.await?.flatten().filter(|at| *at < before_us) else { break };
                    let until = before_us.min(oldest.saturating_add(PRUNE_SPAN_US));
                    let mut tx = self.pool.begin().await?;
                    deleted += tx.execute(statements::LIVE_PRUNE, &[id.into(), width_s.into(), until.into()]).await?;
                    tx.commit().await?;
                }
            }
        }
        Ok(deleted)
    }
}

async fn add_series(tx: &mut Tx, id: i64, series: &LiveSeries) -> Result<()> {
    let LiveSeries { model, endpoint, stratum } = series;
    let args = [id.into(), model.as_str().into(), endpoint.as_str().into(), stratum.as_str().into()];
    tx.execute(statements::LIVE_SERIES_ADD, &args).await?;
    Ok(())
}

fn read(row: &Row, width_s: u32) -> Result<LiveCell> {
    let series = LiveSeries { model: row.get(0)?, endpoint: row.get(1)?, stratum: row.get(2)? };
    count(row, 3)?;
    Ok(LiveCell { series, width_s, start_us: row.get(3)?, part: row.get(4)?, bytes: row.get(5)? })
}
