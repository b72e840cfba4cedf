//! Live traffic in the daemon: what was counted is written down every few seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::warn;

use super::sweeper::{Signals, Sweeper};
use crate::config::ModelConfig;
use crate::domain::canonical::sha256_parts;
use crate::live::{Directory, Intake, ModelNames, Row};
use crate::store::{LiveCell, LiveSeries, Store, StoreError};

/// How often what was counted is written: so much is lost when the machine fails.
pub const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Spans written in one transaction: short enough that a writer beside it hardly notices.
const WRITE_CELLS: usize = 1_000;

/// Where a process begins to number what it counts: another place for every process, and for every service in one.
pub(super) fn first_part(owner: &str, now_us: i64) -> u64 {
    static SERVICES: AtomicU64 = AtomicU64::new(0);
    let service = SERVICES.fetch_add(1, Ordering::Relaxed);
    number(&[owner.as_bytes(), &now_us.to_le_bytes(), &service.to_le_bytes()])
}

/// A number from a hash of texts.
#[must_use]
pub fn number(parts: &[&[u8]]) -> u64 {
    let hash = sha256_parts(parts);
    u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

/// The task that writes.
#[derive(Clone)]
pub(super) struct LiveWriter {
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) signals: Signals,
}

impl LiveWriter {
    /// Runs until stopped. What is left then is written by [`write`] when the service is closed.
    pub(super) async fn run(self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => {}
                () = self.signals.stop.cancelled() => return,
            }
            write(&self.sweeper).await;
        }
    }
}

/// Writes what was counted. What cannot be written stays in memory and is tried again; while that fails memory fills up to
/// its limit, and then sources are told to wait.
pub(super) async fn write(sweeper: &Sweeper) {
    let written = store(&sweeper.store, &sweeper.intake, sweeper.clock.now_us()).await;
    if let Err(error) = &written {
        warn!(%error, "failed to write live traffic; trying again");
    }
    sweeper.metrics.live_written(written.ok(), sweeper.intake.held());
}

/// Writes all that an intake holds and the store does not, and forgets what is over by then; the number of spans.
///
/// # Errors
/// [`StoreError`] of the database; what was not written is held on.
pub async fn store(store: &Store, intake: &Intake, now_us: i64) -> Result<usize, StoreError> {
    let rows = intake.harvest();
    for (at, part) in rows.chunks(WRITE_CELLS).enumerate() {
        let cells: Vec<LiveCell> = part.iter().map(cell).collect();
        if let Err(error) = store.put_live(&cells).await {
            intake.put_back(&rows[at * WRITE_CELLS..]);
            return Err(error);
        }
    }
    intake.forget_over(now_us);
    Ok(rows.len())
}

fn cell(row: &Row) -> LiveCell {
    let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
    LiveCell {
        series: LiveSeries {
            model: text(row.place.model.as_ref().map(|id| id.as_str())),
            endpoint: text(row.place.endpoint.as_ref().map(|id| id.as_str())),
            stratum: row.stratum.name(),
        },
        width_s: row.width_s,
        start_us: row.start_us,
        part: row.part,
        bytes: row.bytes.clone(),
    }
}

/// The names by which gateways may tell the endpoints of these models.
#[must_use]
pub fn directory(intake: &Intake, models: &[ModelConfig]) -> Directory {
    let names = |model: &ModelConfig| -> Vec<String> {
        let aliases = model.aliases.iter().map(|alias| alias.as_str().to_owned());
        aliases.chain([model.public_name.clone()]).chain(model.slugs.values().cloned()).collect()
    };
    let named: Vec<Vec<String>> = models.iter().map(names).collect();
    let entries: Vec<ModelNames<'_>> = (models.iter().zip(&named))
        .map(|(model, names)| ModelNames {
            id: &model.id,
            names: names.iter().map(String::as_str).collect(),
            endpoints: model.endpoints.iter().zip(model.providers.iter().map(|p| p.base_url.as_str())).collect(),
        })
        .collect();
    intake.directory(&entries)
}
