//! The way in: bytes of a body, in pieces of any size, become counted observations and a reply.

use serde_json::{Value, json};

use super::calls::{COMPILATIONS_PER_BODY, Schemas};
use super::directory::Directory;
use super::intake::{BATCH_RECORDS, Intake, Names};
use super::litellm;
use super::native::{self, RECORD_BYTES_MAX};
use super::observation::{Observation, Refusal, TimeWindow};
use super::otlp;
use super::records::{Piece, Records};

/// Most refused records that a reply names; the rest is counted.
pub const ERRORS_MAX: usize = 100;

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// exactod's own records.
    Native,
    /// LiteLLM's logging payloads.
    LiteLlm,
}

/// A refused record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineError {
    /// Its line in NDJSON, its place in an array; from 1.
    pub line: u64,
    /// Why.
    pub why: Refusal,
}

/// What became of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// Records counted, unattributed ones included.
    pub accepted: u64,
    /// Records that had come before.
    pub duplicate: u64,
    /// Records refused.
    pub rejected: u64,
    /// Of the accepted: those whose endpoint is not known.
    pub unattributed: u64,
    /// The first of the refused.
    pub errors: Vec<LineError>,
    /// There was no room for some records: send the body again later, those that were counted are not counted twice.
    pub is_full: bool,
}

impl Reply {
    /// As sent.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let error = |e: &LineError| match e.why.field {
            None => json!({"line": e.line, "code": e.why.code}),
            Some(field) => json!({"line": e.line, "code": e.why.code, "field": field}),
        };
        json!({
            "accepted": self.accepted, "duplicate": self.duplicate, "rejected": self.rejected,
            "unattributed": self.unattributed, "errors": self.errors.iter().map(error).collect::<Vec<_>>(),
        })
    }
}

/// Takes one body.
pub struct Door<'a> {
    intake: &'a Intake,
    directory: &'a Directory,
    source: &'a str,
    window: TimeWindow,
    format: Format,
    records: Option<Records>,
    batch: Vec<Observation>,
    names: Names,
    schemas: Schemas<'a>,
    reply: Reply,
}

impl<'a> Door<'a> {
    /// For a body of a source.
    #[must_use]
    pub fn new(
        intake: &'a Intake,
        directory: &'a Directory,
        source: &'a str,
        (format, window): (Format, TimeWindow),
    ) -> Self {
        Door {
            intake,
            directory,
            source,
            window,
            format,
            records: Some(Records::new(RECORD_BYTES_MAX)),
            batch: Vec::with_capacity(BATCH_RECORDS),
            names: Names::default(),
            schemas: Schemas { schemas: intake.schemas(), compilations: COMPILATIONS_PER_BODY },
            reply: Reply::default(),
        }
    }

    /// Takes further bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // Taken out, so that what is found may be handed to `self`.
        if let Some(mut records) = self.records.take() {
            records.push(bytes, |line, piece| self.piece(line, piece));
            self.records = Some(records);
        }
    }

    /// Takes a whole body of traces. The lines of the reply count its spans.
    ///
    /// # Errors
    /// [`Refusal`]: the body cannot be read; nothing was taken.
    pub fn push_traces(&mut self, body: &[u8], is_json: bool) -> Result<(), Refusal> {
        for (span, line) in otlp::spans(body, is_json)?.iter().zip(1..) {
            let read = otlp::read(span, (self.directory, &self.window), &mut self.names, &mut self.schemas);
            self.settle_one(line, read);
        }
        Ok(())
    }

    /// There was no room for some records: the rest need not be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.reply.is_full
    }

    /// The end of the body.
    #[must_use]
    pub fn end(mut self) -> Reply {
        if let Some(records) = self.records.take() {
            records.end(|line, piece| self.piece(line, piece));
        }
        self.close()
    }

    /// The body broke off: what was complete before is counted, what began is not.
    #[must_use]
    pub fn broken_off(self) -> Reply {
        self.close()
    }

    fn close(mut self) -> Reply {
        self.settle();
        self.intake.note(self.source, self.reply.rejected, &self.names);
        self.reply
    }

    fn piece(&mut self, line: u64, piece: Piece<'_>) {
        let read = match piece {
            Piece::Record(bytes) => self.read(bytes),
            Piece::TooLong => Err(Refusal::of("too_long")),
            Piece::Broken => Err(Refusal::of("not_json")),
            Piece::CutOff => Err(Refusal::of("cut_off")),
        };
        self.settle_one(line, read);
    }

    fn settle_one(&mut self, line: u64, read: Result<Observation, Refusal>) {
        match read {
            Ok(observation) => {
                self.batch.push(observation);
                if self.batch.len() >= BATCH_RECORDS {
                    self.settle();
                }
            }
            Err(why) => {
                self.reply.rejected += 1;
                if self.reply.errors.len() < ERRORS_MAX {
                    self.reply.errors.push(LineError { line, why });
                }
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Observation, Refusal> {
        match self.format {
            Format::Native => native::read(bytes, (self.directory, &self.window), &mut self.names),
            Format::LiteLlm => litellm::read(bytes, (self.directory, &self.window), &mut self.names, &mut self.schemas),
        }
    }

    fn settle(&mut self) {
        let taken = self.intake.take(self.source, &self.batch, self.window.now_us);
        self.batch.clear();
        self.reply.accepted += taken.accepted;
        self.reply.duplicate += taken.duplicate;
        self.reply.unattributed += taken.unattributed;
        self.reply.is_full |= taken.refused > 0;
    }
}
