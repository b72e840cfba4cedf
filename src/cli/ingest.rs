//! `ingest`: live traffic from a file into the store.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::args::{Cli, IngestArgs, RecordFormat};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::daemon::live;
use crate::live::{CELLS_MAX, Door, Format, Intake, Packing, Reply, TimeWindow};
use crate::store::Store;

/// Bytes read from the file in one go.
const BUFFER_BYTES: usize = 256 << 10;
/// Every span is over: nothing depends on when the file is taken, so that taking it again counts nothing twice.
const ALL_OVER: i64 = i64::MAX;

/// Runs it. Exit code 0 when every record was taken, 1 when some were refused.
pub async fn run(cli: &Cli, args: &IngestArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let clock = setup::clock();
    let store = setup::existing_store(&config).await?;
    let now_us = clock.now_us();
    let back_us = micros(config.store.retention.observations);
    let intake = Intake::new(first_part(&args.file)?);
    let directory = live::directory(&intake, &config.models);
    let window = TimeWindow { now_us, back_us, ahead_us: TimeWindow::AHEAD_US };
    let mut door = Door::new(&intake, &directory, &args.source, (format(args.format), window));
    let taken = take(&mut door, (&store, &intake), &args.file).await;
    let reply = door.end();
    let written = live::store(&store, &intake, ALL_OVER).await;
    let unattributed = intake.unattributed();
    store.close().await;
    taken?;
    written.map_err(CliError::failed)?;
    if cli.json {
        output::json(&reply.to_json())?;
    } else {
        tell(&reply)?;
        for name in &unattributed {
            output::note(&format!(
                "{} records name the model {:?} and the endpoint {:?}, which are not configured",
                name.records, name.model, name.provider
            ));
        }
    }
    Ok(if reply.rejected == 0 { Exit::Yes } else { Exit::No })
}

/// Reads the file in portions, each written before the next is read.
async fn take(door: &mut Door<'_>, (store, intake): (&Store, &Intake), file: &Path) -> Result<(), CliError> {
    let failed = |what: &dyn std::fmt::Display| CliError::Failed(format!("failed to read {}: {what}", file.display()));
    let mut input = open(file)?;
    let packing = Packing::of_bytes(input.fill_buf().map_err(|e| failed(&e))?);
    let mut unpacked = packing.reader(input).map_err(|e| failed(&e))?;
    let mut piece = vec![0; BUFFER_BYTES];
    loop {
        let n = fill(&mut unpacked, &mut piece).map_err(|e| failed(&e))?;
        if n == 0 {
            return Ok(());
        }
        door.push(&piece[..n]);
        if intake.held() >= CELLS_MAX / 2 {
            live::store(store, intake, ALL_OVER).await.map_err(CliError::failed)?;
        }
    }
}

/// Reads until the piece is full or the file ends: pieces are the same whenever the file is read.
fn fill(from: &mut impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < into.len() {
        match from.read(&mut into[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

fn open(file: &Path) -> Result<BufReader<File>, CliError> {
    let opened = File::open(file).map_err(|e| CliError::Usage(format!("failed to open {}: {e}", file.display())))?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, opened))
}

/// By what the file holds: the same file is counted once, however often it is taken.
fn first_part(file: &Path) -> Result<u64, CliError> {
    let mut input = open(file)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; BUFFER_BYTES];
    loop {
        let n = input.read(&mut piece).map_err(|e| CliError::failed(format!("{}: {e}", file.display())))?;
        if n == 0 {
            return Ok(live::number(&[&hash.finalize()]));
        }
        hash.update(&piece[..n]);
    }
}

fn format(format: RecordFormat) -> Format {
    match format {
        RecordFormat::Native => Format::Native,
        RecordFormat::Litellm => Format::LiteLlm,
    }
}

fn tell(reply: &Reply) -> Result<(), CliError> {
    let Reply { accepted, duplicate, rejected, unattributed, errors, .. } = reply;
    output::line(&format!(
        "{accepted} records counted ({unattributed} of no known endpoint), {duplicate} had come before, {rejected} refused"
    ))?;
    for error in errors {
        let field = error.why.field.map(|field| format!(" ({field})")).unwrap_or_default();
        output::note(&format!("record {}: {}{field}", error.line, error.why.code));
    }
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
