//! What was counted and is not stored yet, behind one lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cell::{Cell, Stratum, WIDTHS_S};
use super::directory::{Directory, ModelNames, Place, PlaceId};
use super::observation::Observation;
use super::recent::Recent;
use super::watch::{Alarm, EVIDENCE_AGE_MAX_US, Watches};
use crate::domain::Micros;
use crate::scoring::ArgumentSchemas;

/// Observations that are taken under one lock.
pub const BATCH_RECORDS: usize = 512;
/// Most spans held at once, about 1.5 kB each; beyond it records are refused until some are stored.
pub const CELLS_MAX: usize = 50_000;
/// Most names that meant no endpoint, kept for whoever mends the configuration.
pub const NAMES_KEPT_MAX: usize = 64;
/// Most sources told apart; further ones share a name. Sources are tokens, so the configuration bounds them.
pub const SOURCES_MAX: usize = 256;
/// The name that further sources share.
const FURTHER_SOURCES: &str = "(others)";
/// How long a span is held after its end, in microseconds: late records find it.
const GRACE_US: i64 = 2 * 60 * 1_000_000;

/// A span of time of one endpoint and stratum, to be stored in place of what was stored under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where the answers came from.
    pub place: Place,
    /// Which of them.
    pub stratum: Stratum,
    /// Width of the span in seconds.
    pub width_s: u32,
    /// Its beginning.
    pub start_us: Micros,
    /// Tells apart what several processes, or one after another, counted of the same span: the sum is what happened.
    pub part: i64,
    /// The counts, [`Cell::encode`]d.
    pub bytes: Vec<u8>,
    key: SpanKey,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Counted.
    pub accepted: u64,
    /// Had come before.
    pub duplicate: u64,
    /// Counted, of an endpoint that is not known.
    pub unattributed: u64,
    /// Not counted, for want of room.
    pub refused: u64,
}

/// How a source fares, since the process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceView {
    /// Its name: that of its token.
    pub name: String,
    /// Records counted.
    pub accepted: u64,
    /// Records that had come before.
    pub duplicate: u64,
    /// Records refused.
    pub rejected: u64,
    /// Of the counted: without a known endpoint.
    pub unattributed: u64,
    /// Ids remembered.
    pub ids: usize,
    /// When it reported last.
    pub last_us: Micros,
}

/// Names that meant no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unattributed {
    /// The model's, as reported.
    pub model: String,
    /// The endpoint's, as reported; empty: none.
    pub provider: String,
    /// Records.
    pub records: u64,
}

/// Names that meant no endpoint, with how often they came; bounded.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeMap<(String, String), u64>);

impl Names {
    pub fn note(&mut self, model: &str, provider: &str) {
        self.add(model, provider, 1);
    }

    fn add(&mut self, model: &str, provider: &str, n: u64) {
        let key = (model.to_owned(), provider.to_owned());
        if self.0.len() < NAMES_KEPT_MAX || self.0.contains_key(&key) {
            *self.0.entry(key).or_default() += n;
        }
    }
}

#[derive(Debug, Default)]
struct Source {
    number: u32,
    recent: Recent,
    accepted: u64,
    duplicate: u64,
    rejected: u64,
    unattributed: u64,
    last_us: Micros,
}

type MinuteKey = (PlaceId, Stratum, i64);
/// Place, stratum, width and start in seconds.
type SpanKey = (PlaceId, Stratum, u32, i64);

#[derive(Debug)]
struct Span {
    cell: Cell,
    part: i64,
    dirty: bool,
}

#[derive(Debug, Default)]
struct Inner {
    places: Vec<Place>,
    /// The number of a place, and that of its model's unattributed answers.
    numbers: BTreeMap<Place, PlaceId>,
    models: Vec<u32>,
    sources: BTreeMap<String, Source>,
    /// Counted since the last harvest, by minute.
    fresh: HashMap<MinuteKey, Cell>,
    spans: HashMap<SpanKey, Span>,
    /// A span that begins anew is another part: parts are numbered by the harvest that first gave them out, so that
    /// the same records in the same order are the same parts.
    first_part: u64,
    cells_max: usize,
    harvests: u64,
    names: Names,
    watches: Watches,
}

/// Takes observations and gives out what is to be stored.
#[derive(Debug)]
pub struct Intake {
    inner: Mutex<Inner>,
    schemas: ArgumentSchemas,
}

impl Intake {
    /// `first_part`: another number for every process and every file, so that nobody overwrites what others counted.
    #[must_use]
    pub fn new(first_part: u64) -> Intake {
        Intake::with_room(first_part, CELLS_MAX)
    }

    /// As [`Intake::new`], with room for other than [`CELLS_MAX`] spans.
    #[must_use]
    pub fn with_room(first_part: u64, cells_max: usize) -> Intake {
        let nowhere = Place { model: None, endpoint: None };
        let inner = Mutex::new(Inner {
            places: vec![nowhere.clone()],
            numbers: BTreeMap::from([(nowhere, PlaceId::NOWHERE)]),
            models: vec![PlaceId::NOWHERE.0],
            first_part,
            cells_max,
            ..Inner::default()
        });
        Intake { inner, schemas: ArgumentSchemas::default() }
    }

    /// Schemas of tools that were compiled lately.
    pub(super) fn schemas(&self) -> &ArgumentSchemas {
        &self.schemas
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of a configuration.
    #[must_use]
    pub fn directory(&self, models: &[ModelNames<'_>]) -> Directory {
        let mut inner = self.lock();
        Directory::new(models, |place| inner.number(place))
    }

    /// The place of a number.
    #[must_use]
    pub fn place(&self, id: PlaceId) -> Option<Place> {
        self.lock().places.get(id.0 as usize).cloned()
    }

    /// Takes a batch of a source.
    #[must_use]
    pub fn take(&self, source: &str, batch: &[Observation], now_us: Micros) -> Taken {
        self.lock().take(source, batch, now_us)
    }

    /// Notes what else became of a source's body.
    pub(super) fn note(&self, source: &str, rejected: u64, names: &Names) {
        let mut inner = self.lock();
        inner.source(source).rejected += rejected;
        for ((model, provider), n) in &names.0 {
            inner.names.add(model, provider, *n);
        }
    }

    /// What is to be stored. What cannot be is given back by [`Intake::put_back`].
    #[must_use]
    pub fn harvest(&self) -> Vec<Row> {
        self.lock().harvest()
    }

    /// Forgets spans that are stored and over: what comes late is another part.
    pub fn forget_over(&self, now_us: Micros) {
        self.lock().forget_over(now_us);
    }

    /// These rows could not be stored: the next harvest gives them out again.
    pub fn put_back(&self, rows: &[Row]) {
        let mut inner = self.lock();
        for row in rows {
            if let Some(span) = inner.spans.get_mut(&row.key) {
                span.dirty = true;
            }
        }
    }

    /// How the sources fare, by name.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceView> {
        let inner = self.lock();
        let view = |(name, source): (&String, &Source)| SourceView {
            name: name.clone(),
            accepted: source.accepted,
            duplicate: source.duplicate,
            rejected: source.rejected,
            unattributed: source.unattributed,
            ids: source.recent.len(),
            last_us: source.last_us,
        };
        inner.sources.iter().map(view).collect()
    }

    /// Names that meant no endpoint, the most frequent first.
    #[must_use]
    pub fn unattributed(&self) -> Vec<Unattributed> {
        let inner = self.lock();
        let one = |((model, provider), records): (&(String, String), &u64)| Unattributed {
            model: model.clone(),
            provider: provider.clone(),
            records: *records,
        };
        let mut all: Vec<Unattributed> = inner.names.0.iter().map(one).collect();
        all.sort_by_key(|name| std::cmp::Reverse(name.records));
        all
    }

    /// Endpoints that fail more often than they may.
    #[must_use]
    pub fn alarms(&self, now_us: Micros) -> Vec<Alarm> {
        let inner = self.lock();
        let name = |number: u32| {
            let found = inner.sources.iter().find(|(_, source)| source.number == number);
            found.map_or_else(String::new, |(name, _)| name.clone())
        };
        inner.watches.alarms(now_us, name)
    }

    /// Forgets what was seen against an endpoint: it has had its consequence.
    pub fn restart(&self, place: PlaceId, now_us: Micros) {
        self.lock().watches.restart(place, now_us);
    }

    /// Spans that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().held()
    }
}

impl Inner {
    fn number(&mut self, place: Place) -> PlaceId {
        if let Some(number) = self.numbers.get(&place) {
            return *number;
        }
        let model = match &place.endpoint {
            None => None,
            Some(_) => Some(self.number(Place { model: place.model.clone(), endpoint: None }).0),
        };
        // Places are those of configurations: far fewer than 2^32.
        let number = PlaceId(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        self.places.push(place.clone());
        self.models.push(model.unwrap_or(number.0));
        self.numbers.insert(place, number);
        number
    }

    fn held(&self) -> usize {
        self.fresh.len() + self.spans.len()
    }

    fn source(&mut self, name: &str) -> &mut Source {
        let known = self.sources.contains_key(name) || self.sources.len() < SOURCES_MAX;
        let name = if known { name } else { FURTHER_SOURCES };
        if !self.sources.contains_key(name) {
            let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
            self.sources.insert(name.to_owned(), Source { number, ..Source::default() });
        }
        self.sources.entry(name.to_owned()).or_default()
    }

    fn take(&mut self, source: &str, batch: &[Observation], now_us: Micros) -> Taken {
        let mut taken = Taken::default();
        let room = self.cells_max.saturating_sub(self.held());
        let (before, mut own) = (self.fresh.len(), std::mem::take(self.source(source)));
        for seen in batch {
            if !own.recent.insert(seen.id, now_us) {
                taken.duplicate += 1;
                continue;
            }
            let key = (seen.place, seen.stratum, seen.at_us.div_euclid(60_000_000) * 60);
            if self.fresh.len() - before >= room && !self.fresh.contains_key(&key) {
                own.recent.forget(seen.id);
                taken.refused += 1;
                continue;
            }
            self.fresh.entry(key).or_default().observe(seen);
            taken.accepted += 1;
            let place = self.places.get(seen.place.0 as usize);
            if place.is_none_or(|place| place.endpoint.is_none()) {
                taken.unattributed += 1;
            } else if now_us.saturating_sub(seen.at_us) <= EVIDENCE_AGE_MAX_US {
                let model = self.models[seen.place.0 as usize];
                self.watches.observe((model, own.number), seen, now_us);
            }
        }
        own.accepted += taken.accepted;
        own.duplicate += taken.duplicate;
        own.unattributed += taken.unattributed;
        own.last_us = now_us;
        *self.source(source) = own;
        taken
    }

    fn harvest(&mut self) -> Vec<Row> {
        self.harvests = self.harvests.wrapping_add(1);
        // BIGINT has a sign.
        let part = i64::try_from(self.first_part.wrapping_add(self.harvests) & (u64::MAX >> 1)).unwrap_or_default();
        for ((place, stratum, start_s), cell) in self.fresh.drain() {
            for width_s in WIDTHS_S {
                let start_s = start_s - start_s.rem_euclid(i64::from(width_s));
                let span = self.spans.entry((place, stratum, width_s, start_s));
                let span = span.or_insert_with(|| Span { cell: Cell::default(), part, dirty: false });
                span.cell.merge(&cell);
                span.dirty = true;
            }
        }
        let mut rows = Vec::new();
        for (key, span) in self.spans.iter_mut().filter(|(_, span)| span.dirty) {
            let (place, stratum, width_s, start_s) = *key;
            span.dirty = false;
            rows.push(Row {
                place: self.places[place.0 as usize].clone(),
                stratum,
                width_s,
                start_us: start_s * 1_000_000,
                part: span.part,
                bytes: span.cell.encode(),
                key: *key,
            });
        }
        rows
    }

    fn forget_over(&mut self, now_us: Micros) {
        let over = |(_, _, width_s, start_s): &SpanKey| {
            (start_s + i64::from(*width_s)).saturating_mul(1_000_000).saturating_add(GRACE_US) < now_us
        };
        self.spans.retain(|key, span| span.dirty || !over(key));
    }
}
