//! A model's state as bytes: compact, versioned, checked, and exact.
//!
//! Layout: 4 bytes of magic, one of version, the fields in declared order, 8 bytes of checksum (FNV-1a). Counts are
//! LEB128; sums, which are mostly small whole numbers, are LEB128 of the reversed bits (2 bytes instead of 8). Capabilities
//! follow the endpoints, each a name and a state; a state without any has the same bytes as before there were capabilities.
//!
//! Which version writes a state is told by its [`Form`]: below 1 kB per endpoint and suite by version 4 (`compact`), with a
//! year's scores; by versions 2 and 3 in this file, with evidence as raw f64, 1 kB in the first weeks and 2 kB after a year.

use std::collections::BTreeMap;

use crate::domain::{Capability, EndpointId, Override, Standing, SuiteDigest, SuiteName, SweepId};
use crate::stats::bets::{K, Logs};

use super::clusters::{Cluster, Clusters};
use super::form::Form;
use super::prints::Prints;
use super::samples::{SampleTest, Sampling};
use super::state::{EndpointState, Freeze, ModelState, Ranking, SuiteEvidence, UsableEvidence};
use super::watch::{ContrastEvidence, Found, Sums, Watch};

mod bits;
mod compact;
mod sentences;

const MAGIC: &[u8; 4] = b"xcur";
/// Version 1 kept 32 clusters of cases; they are read as clusters with short keys.
///
/// Version 3 adds the change alarms of the endpoints that have any. A state without any is written as version 2 wrote it,
/// so that steps from before are made again to the last byte.
///
/// Version 4 holds the same and the own history of each suite in fewer bytes.
const VERSION: u8 = 4;
/// The last version in which evidence has double precision.
const VERSION_WIDE: u8 = 3;
/// The version of a state without change alarms.
const VERSION_WITHOUT_WATCH: u8 = 2;
/// Set in the byte of the version when capabilities follow.
const WITH_CAPABILITIES: u8 = 0x80;
/// Set in the byte of the version when sampled answers follow: the last part, so that a state without any has the same bytes
/// as before there were such.
const WITH_SAMPLES: u8 = 0x40;
const CHECKSUM_BYTES: usize = 8;

/// Longest text accepted, in bytes: sentences are far shorter.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Why bytes are not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not begin like a state.
    #[error("these bytes are not a curation state: restore the store from a backup, or reset the model's evidence")]
    Foreign,
    /// Written by another version.
    #[error("the curation state has version {0}, this program reads version {VERSION}: use the newer program")]
    Version(u8),
    /// The bytes are damaged or cut.
    #[error("the curation state is damaged ({0}): restore the store from a backup, or reset the model's evidence")]
    Damaged(&'static str),
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

// ---------------------------------------------------------------------------------------------------------- encode

/// Writes a state. Equal states give equal bytes.
#[must_use]
pub fn encode(state: &ModelState) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(256 + state.endpoints.len() * (1 + state.capabilities.len()) * 1024));
    out.0.extend_from_slice(MAGIC);
    let version = version_of(state);
    let with_samples = state.sampling != Sampling::default();
    let flag = |has: bool, flag: u8| if has { flag } else { 0 };
    out.0.push(version | flag(!state.capabilities.is_empty(), WITH_CAPABILITIES) | flag(with_samples, WITH_SAMPLES));
    out.model_by(version, state);
    if !state.capabilities.is_empty() {
        out.count(state.capabilities.len() as u64);
        for (capability, state) in &state.capabilities {
            out.text(capability.as_str());
            out.model_by(version, state);
        }
    }
    if with_samples {
        out.samples(state);
    }
    let sum = checksum(&out.0);
    out.0.extend_from_slice(&sum.to_le_bytes());
    out.0
}

fn version_of(state: &ModelState) -> u8 {
    if state.form >= Form::COMPACT {
        VERSION
    } else if has_watch(state) || state.capabilities.values().any(has_watch) {
        VERSION_WIDE
    } else {
        VERSION_WITHOUT_WATCH
    }
}

fn has_watch(state: &ModelState) -> bool {
    state.endpoints.values().any(|endpoint| endpoint.watch != Watch::default())
}

struct Writer(Vec<u8>);

impl Writer {
    fn count(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn time(&mut self, at_us: i64) {
        self.0.extend_from_slice(&at_us.to_le_bytes());
    }

    fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// A value that has single precision.
    fn single(&mut self, value: f64) {
        self.0.extend_from_slice(&(value as f32).to_bits().to_le_bytes());
    }

    fn sum(&mut self, value: f64) {
        self.count(value.to_bits().reverse_bits());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn logs(&mut self, logs: &Logs) {
        logs.iter().for_each(|v| self.float(*v));
    }

    fn histogram(&mut self, histogram: &BTreeMap<i32, u64>) {
        self.count(histogram.len() as u64);
        for (key, count) in histogram {
            self.0.extend_from_slice(&key.to_le_bytes());
            self.count(*count);
        }
    }

    fn model_by(&mut self, version: u8, state: &ModelState) {
        if version > VERSION_WIDE { self.compact_model(state) } else { self.model(state, version == VERSION_WIDE) }
    }

    /// All but its capabilities. Forms before the compact one have no own history.
    fn model(&mut self, state: &ModelState, with_watch: bool) {
        let ModelState { sweeps_folded, last_sweep, suites, endpoints, frozen, .. } = state;
        self.count(*sweeps_folded);
        self.option(last_sweep.as_ref(), |out, id| out.0.extend_from_slice(id.0.as_bytes()));
        self.count(suites.len() as u64);
        for (name, digest) in suites {
            self.text(name.as_str());
            self.text(digest.as_str());
        }
        self.option(frozen.as_ref(), |out, Freeze { since_us, reason }| {
            out.time(*since_us);
            out.text(reason);
        });
        self.count(endpoints.len() as u64);
        for (id, endpoint) in endpoints {
            self.text(id.as_str());
            self.endpoint(endpoint);
        }
        if !with_watch {
            return;
        }
        let watched = || endpoints.iter().filter(|(_, endpoint)| endpoint.watch != Watch::default());
        self.count(watched().count() as u64);
        for (id, endpoint) in watched() {
            self.text(id.as_str());
            self.watch(&endpoint.watch);
        }
    }

    fn endpoint(&mut self, endpoint: &EndpointState) {
        let EndpointState {
            standing,
            since_us,
            since_sweep,
            evidence_since_us,
            override_,
            designated,
            configured,
            ever_admitted,
            listed_through_change,
            last_reason,
            suites,
            usable,
            tokens_spent,
            tokens_at_us,
            watch: _,
        } = endpoint;
        self.0.push(standing_code(*standing));
        self.0.push(match override_ {
            None => 0,
            Some(Override::Pinned) => 1,
            Some(Override::Banned) => 2,
        });
        let flags = [*designated, *configured, *ever_admitted, *listed_through_change];
        self.0.push(flags.iter().enumerate().fold(0, |bits, (i, flag)| bits | u8::from(*flag) << i));
        self.time(*since_us);
        self.count(*since_sweep);
        self.time(*evidence_since_us);
        self.text(last_reason);
        self.float(*tokens_spent);
        self.time(*tokens_at_us);
        self.usable(usable);
        self.count(suites.len() as u64);
        for (name, evidence) in suites {
            self.text(name.as_str());
            self.suite(evidence);
        }
    }

    fn prints(&mut self, prints: &Prints) {
        let Prints {
            asked_at_us,
            no_tokens,
            tokens_p,
            tokens_differ,
            greedy,
            agreed,
            greedy_found,
            cases_left,
            samples: _,
        } = prints;
        self.time(*asked_at_us);
        self.0.push(u8::from(*no_tokens) | u8::from(*tokens_differ) << 1);
        self.option(tokens_p.as_ref(), |out, p| out.float(*p));
        self.logs(greedy);
        agreed.iter().for_each(|n| self.float(*n));
        self.found(greedy_found.as_ref());
        self.count(*cases_left);
    }

    /// The model's round, and what the last one said of its endpoints.
    fn samples(&mut self, state: &ModelState) {
        let Sampling { began_at_us, from, asked } = state.sampling;
        self.time(began_at_us);
        self.count(from);
        self.count(u64::from(asked));
        let tests = || state.endpoints.iter().filter_map(|(id, e)| Some((id, e.watch.prints.samples?)));
        self.count(tests().count() as u64);
        for (id, SampleTest { mmd2, p, answers, differs }) in tests() {
            self.text(id.as_str());
            self.float(mmd2);
            self.float(p);
            self.count(answers);
            self.0.push(u8::from(differs));
        }
    }

    fn found(&mut self, found: Option<&Found>) {
        self.option(found, |out, Found { log_r, quiet }| {
            out.float(*log_r);
            out.count(u64::from(*quiet));
        });
    }

    fn watch(&mut self, Watch { hold_out, linked, prints }: &Watch) {
        self.prints(prints);
        self.contrast(linked);
        self.count(hold_out.len() as u64);
        for (name, evidence) in hold_out {
            self.text(name.as_str());
            self.contrast(evidence);
        }
    }

    fn contrast(&mut self, evidence: &ContrastEvidence) {
        let ContrastEvidence { r, found, repeated, first, second } = evidence;
        self.found(found.as_ref());
        self.count(u64::from(*repeated));
        self.logs(r);
        for Sums { count, own, anchors, squares } in [first, second] {
            [*count, *own, *anchors, *squares].into_iter().for_each(|v| self.single(v));
        }
    }

    fn usable(&mut self, usable: &UsableEvidence) {
        let UsableEvidence { margin, acc, r, histogram, asked, answered, anchor_sum } = usable;
        self.float(*margin);
        self.logs(acc);
        self.logs(r);
        self.histogram(histogram);
        self.count(*asked);
        self.count(*answered);
        self.sum(*anchor_sum);
    }

    fn suite(&mut self, evidence: &SuiteEvidence) {
        let SuiteEvidence {
            delta,
            delta_in,
            acc_ex,
            acc_ad,
            r_ex,
            r_ad,
            ranking,
            histogram,
            cases,
            batches,
            missing,
            clusters,
            anchor_sum,
            floor: _,
        } = evidence;
        self.float(*delta);
        self.float(*delta_in);
        [acc_ex, acc_ad, r_ex, r_ad].into_iter().for_each(|logs| self.logs(logs));
        self.float(ranking.sum);
        self.float(ranking.count);
        self.histogram(histogram);
        [*cases, *batches, *missing].into_iter().for_each(|n| self.count(n));
        self.clusters(clusters);
        self.sum(*anchor_sum);
    }

    /// Keys as differences; a cluster in which all passed needs its count alone.
    fn clusters(&mut self, clusters: &Clusters) {
        self.0.push(clusters.bits());
        self.count(clusters.cells().len() as u64);
        let mut last = 0;
        for (key, Cluster { sum, count }) in clusters.cells() {
            self.count(u64::from(key - last));
            last = key;
            let all_passed = sum.to_bits() == (count as f64).to_bits();
            self.count(count << 1 | u64::from(!all_passed));
            if !all_passed {
                self.sum(sum);
            }
        }
    }
}

fn standing_code(standing: Standing) -> u8 {
    match standing {
        Standing::Unknown => 0,
        Standing::Admitted => 1,
        Standing::Suspect => 2,
        Standing::Excluded => 3,
        Standing::Provisional => 4,
    }
}

// ---------------------------------------------------------------------------------------------------------- decode

/// Reads a state.
///
/// # Errors
/// [`DecodeError`] when the bytes are foreign, of another version, cut or damaged.
pub fn decode(bytes: &[u8]) -> Result<ModelState, DecodeError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Foreign)?;
    let mark = *rest.first().ok_or(DecodeError::Foreign)?;
    let version = mark & !(WITH_CAPABILITIES | WITH_SAMPLES);
    if !(1..=VERSION).contains(&version) {
        return Err(DecodeError::Version(version));
    }
    let (body, sum) = rest
        .split_last_chunk::<CHECKSUM_BYTES>()
        .filter(|(body, _)| !body.is_empty())
        .ok_or(DecodeError::Damaged("cut short"))?;
    if checksum(&bytes[..bytes.len() - CHECKSUM_BYTES]) != u64::from_le_bytes(*sum) {
        return Err(DecodeError::Damaged("wrong checksum"));
    }
    let mut reader = Reader(&body[1..], version);
    let mut state = reader.model_by()?;
    if mark & WITH_CAPABILITIES != 0 {
        state.capabilities = reader.map(|r| {
            let name = id(Capability::new(r.text()?))?;
            Ok((name, r.model_by()?))
        })?;
    }
    if mark & WITH_SAMPLES != 0 {
        reader.samples(&mut state)?;
    }
    if reader.0.is_empty() { Ok(state) } else { Err(DecodeError::Damaged("bytes left over")) }
}

/// The bytes left, and the version they were written by.
struct Reader<'a>(&'a [u8], u8);

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(DecodeError::Damaged("cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Damaged("cut short"))?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn count(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Damaged("a count without end"))
    }

    fn small(&mut self) -> Read<u32> {
        u32::try_from(self.count()?).map_err(|_| DecodeError::Damaged("an impossible count"))
    }

    fn time(&mut self) -> Read<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn float(&mut self) -> Read<f64> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    fn single(&mut self) -> Read<f64> {
        Ok(f64::from(f32::from_bits(u32::from_le_bytes(self.array()?))))
    }

    fn sum(&mut self) -> Read<f64> {
        Ok(f64::from_bits(self.count()?.reverse_bits()))
    }

    fn text(&mut self) -> Read<&'a str> {
        let length = self.count()?;
        if length > TEXT_BYTES_MAX {
            return Err(DecodeError::Damaged("a text without end"));
        }
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Damaged("text is not UTF-8"))
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeError::Damaged("an unknown mark")),
        }
    }

    fn map<A: Ord, B>(&mut self, mut read: impl FnMut(&mut Self) -> Read<(A, B)>) -> Read<BTreeMap<A, B>> {
        (0..self.count()?).map(|_| read(self)).collect()
    }

    fn logs(&mut self) -> Read<Logs> {
        let mut logs = [0.0; K];
        for v in &mut logs {
            *v = self.float()?;
        }
        Ok(logs)
    }

    fn histogram(&mut self) -> Read<BTreeMap<i32, u64>> {
        self.map(|r| Ok((i32::from_le_bytes(r.array()?), r.count()?)))
    }

    fn model_by(&mut self) -> Read<ModelState> {
        if self.1 > VERSION_WIDE { self.compact_model() } else { self.model() }
    }

    fn model(&mut self) -> Read<ModelState> {
        let sweeps_folded = self.count()?;
        let last_sweep = self.option(|r| Ok(SweepId(uuid::Uuid::from_bytes(r.array()?))))?;
        let suites = self.map(|r| {
            let name = id(SuiteName::new(r.text()?))?;
            Ok((name, id(SuiteDigest::new(r.text()?))?))
        })?;
        let frozen = self.option(|r| Ok(Freeze { since_us: r.time()?, reason: r.text()?.to_owned() }))?;
        let mut endpoints = self.map(|r| {
            let name = id(EndpointId::new(r.text()?))?;
            Ok((name, r.endpoint()?))
        })?;
        if self.1 > VERSION_WITHOUT_WATCH {
            for _ in 0..self.count()? {
                let name = id(EndpointId::new(self.text()?))?;
                let watch = self.watch()?;
                endpoints.get_mut(&name).ok_or(DecodeError::Damaged("an alarm of nobody"))?.watch = watch;
            }
        }
        Ok(ModelState {
            sweeps_folded,
            last_sweep,
            suites,
            endpoints,
            frozen,
            form: Form::FIRST,
            ..ModelState::default()
        })
    }

    fn endpoint(&mut self) -> Read<EndpointState> {
        let code = self.byte()?;
        let standing = Standing::ALL
            .into_iter()
            .find(|s| standing_code(*s) == code)
            .ok_or(DecodeError::Damaged("an unknown standing"))?;
        let override_ = match self.byte()? {
            0 => None,
            1 => Some(Override::Pinned),
            2 => Some(Override::Banned),
            _ => return Err(DecodeError::Damaged("an unknown override")),
        };
        let flags = self.byte()?;
        let flag = |i: u8| flags & (1 << i) != 0;
        Ok(EndpointState {
            standing,
            override_,
            designated: flag(0),
            configured: flag(1),
            ever_admitted: flag(2),
            listed_through_change: flag(3),
            since_us: self.time()?,
            since_sweep: self.count()?,
            evidence_since_us: self.time()?,
            last_reason: self.text()?.to_owned(),
            tokens_spent: self.float()?,
            tokens_at_us: self.time()?,
            usable: self.usable()?,
            watch: Watch::default(),
            suites: self.map(|r| {
                let name = id(SuiteName::new(r.text()?))?;
                Ok((name, r.suite()?))
            })?,
        })
    }

    fn watch(&mut self) -> Read<Watch> {
        let prints = self.prints()?;
        let linked = self.contrast()?;
        let hold_out = self.map(|r| {
            let name = id(SuiteName::new(r.text()?))?;
            Ok((name, r.contrast()?))
        })?;
        Ok(Watch { hold_out, linked, prints })
    }

    fn prints(&mut self) -> Read<Prints> {
        let asked_at_us = self.time()?;
        let flags = self.byte()?;
        Ok(Prints {
            asked_at_us,
            no_tokens: flags & 1 != 0,
            tokens_differ: flags & 2 != 0,
            tokens_p: self.option(Reader::float)?,
            greedy: self.logs()?,
            agreed: [self.float()?, self.float()?, self.float()?],
            greedy_found: self.found()?,
            cases_left: self.count()?,
            samples: None,
        })
    }

    fn samples(&mut self, state: &mut ModelState) -> Read<()> {
        state.sampling = Sampling { began_at_us: self.time()?, from: self.count()?, asked: self.small()? };
        for _ in 0..self.count()? {
            let name = id(EndpointId::new(self.text()?))?;
            let (mmd2, p, answers) = (self.float()?, self.float()?, self.count()?);
            let test = SampleTest { mmd2, p, answers, differs: self.byte()? != 0 };
            let endpoint = state.endpoints.get_mut(&name).ok_or(DecodeError::Damaged("sampled answers of nobody"))?;
            endpoint.watch.prints.samples = Some(test);
        }
        Ok(())
    }

    fn found(&mut self) -> Read<Option<Found>> {
        self.option(|r| Ok(Found { log_r: r.float()?, quiet: r.small()? }))
    }

    fn contrast(&mut self) -> Read<ContrastEvidence> {
        let found = self.found()?;
        let repeated = self.small()?;
        let r = self.logs()?;
        let mut sums = || -> Read<Sums> {
            Ok(Sums { count: self.single()?, own: self.single()?, anchors: self.single()?, squares: self.single()? })
        };
        let (first, second) = (sums()?, sums()?);
        Ok(ContrastEvidence { r, found, repeated, first, second })
    }

    fn usable(&mut self) -> Read<UsableEvidence> {
        Ok(UsableEvidence {
            margin: self.float()?,
            acc: self.logs()?,
            r: self.logs()?,
            histogram: self.histogram()?,
            asked: self.count()?,
            answered: self.count()?,
            anchor_sum: self.sum()?,
        })
    }

    fn suite(&mut self) -> Read<SuiteEvidence> {
        Ok(SuiteEvidence {
            delta: self.float()?,
            delta_in: self.float()?,
            acc_ex: self.logs()?,
            acc_ad: self.logs()?,
            r_ex: self.logs()?,
            r_ad: self.logs()?,
            ranking: Ranking { sum: self.float()?, count: self.float()? },
            histogram: self.histogram()?,
            cases: self.count()?,
            batches: self.count()?,
            missing: self.count()?,
            clusters: if self.1 == 1 { self.clusters_of_version_1()? } else { self.clusters()? },
            anchor_sum: self.sum()?,
            floor: None,
        })
    }

    fn clusters_of_version_1(&mut self) -> Read<Clusters> {
        let mut clusters = [Cluster::default(); 32];
        for cluster in &mut clusters {
            *cluster = Cluster { sum: self.sum()?, count: self.count()? };
        }
        Ok(Clusters::from_version_1(clusters))
    }

    fn clusters(&mut self) -> Read<Clusters> {
        let bits = self.byte()?;
        let mut last = 0u64;
        let cells: BTreeMap<u16, Cluster> = self.map(|r| {
            last = last.saturating_add(r.count()?);
            let key = u16::try_from(last).map_err(|_| DecodeError::Damaged("an impossible cluster"))?;
            let head = r.count()?;
            let count = head >> 1;
            let sum = if head & 1 == 0 { count as f64 } else { r.sum()? };
            Ok((key, Cluster { sum, count }))
        })?;
        Clusters::from_parts(bits, cells.into_iter().collect()).ok_or(DecodeError::Damaged("impossible clusters"))
    }
}

fn id<T, E>(parsed: Result<T, E>) -> Read<T> {
    parsed.map_err(|_| DecodeError::Damaged("an impossible id"))
}
