//! Version 4: the same state in fewer bytes. Evidence has single precision, scores by case are Rice codes, sentences are
//! phrases, and what many endpoints share (margins, names of suites) is written once.

use std::collections::BTreeMap;

use super::bits::{BitReader, BitWriter, best_power};
use super::{DecodeError, Read, Reader, Writer, id, standing_code};
use crate::curation::clusters::{Cluster, Clusters};
use crate::curation::floor::FloorEvidence;
use crate::curation::form::Form;
use crate::curation::levels::{Level, Sum};
use crate::curation::prints::Prints;
use crate::curation::samples::Sampling;
use crate::curation::state::{EndpointState, Freeze, ModelState, Ranking, SuiteEvidence, UsableEvidence};
use crate::curation::watch::{ContrastEvidence, Sums, Watch};
use crate::domain::{EndpointId, Override, Standing, SuiteDigest, SuiteName, SweepId};
use crate::stats::bets::{K, Logs};

/// What is written once for a whole model.
struct Shared<'a> {
    suites: Vec<&'a str>,
    endpoints: Vec<&'a str>,
    /// Margins, by their bits.
    margins: Vec<u64>,
}

impl Shared<'_> {
    fn of(state: &ModelState) -> Shared<'_> {
        let endpoints = state.endpoints.values();
        let of_suites = endpoints.flat_map(|e| e.suites.values().flat_map(|s| [s.delta, s.delta_in]));
        let of_usable = state.endpoints.values().map(|e| e.usable.margin);
        let of_levels = state.levels.values().map(|level| level.margin);
        let mut margins: Vec<u64> = of_suites.chain(of_usable).chain(of_levels).map(f64::to_bits).collect();
        margins.sort_unstable();
        margins.dedup();
        let suites = state.suites.keys().map(SuiteName::as_str).collect();
        Shared { suites, endpoints: state.endpoints.keys().map(EndpointId::as_str).collect(), margins }
    }
}

// ---------------------------------------------------------------------------------------------------------- encode

impl Writer {
    /// All of a model but its capabilities.
    pub(super) fn compact_model(&mut self, state: &ModelState) {
        let ModelState {
            sweeps_folded,
            last_sweep,
            suites,
            endpoints,
            frozen,
            capabilities: _,
            form: _,
            levels,
            sampling: _,
        } = state;
        let shared = Shared::of(state);
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
        self.count(shared.margins.len() as u64);
        shared.margins.iter().for_each(|bits| self.0.extend_from_slice(&bits.to_le_bytes()));
        self.count(levels.len() as u64);
        for (name, level) in levels {
            self.name(name, &shared);
            self.level(level, &shared);
        }
        self.count(endpoints.len() as u64);
        endpoints.keys().for_each(|id| self.text(id.as_str()));
        endpoints.values().for_each(|endpoint| self.compact_endpoint(endpoint, &shared));
    }

    fn name(&mut self, name: &SuiteName, shared: &Shared<'_>) {
        match shared.suites.iter().position(|known| *known == name.as_str()) {
            Some(place) => self.count(place as u64 + 1),
            None => {
                self.count(0);
                self.text(name.as_str());
            }
        }
    }

    fn margin(&mut self, margin: f64, shared: &Shared<'_>) {
        let place = shared.margins.iter().position(|known| *known == margin.to_bits()).unwrap_or(0);
        self.count(place as u64);
    }

    fn level(&mut self, Level { margin, reference, r, since, found }: &Level, shared: &Shared<'_>) {
        self.margin(*margin, shared);
        for Sum { scores, cases } in [reference, since] {
            self.float(*scores);
            self.float(*cases);
        }
        self.singles(r);
        self.found(found.as_ref());
    }

    fn compact_endpoint(&mut self, endpoint: &EndpointState, shared: &Shared<'_>) {
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
            watch: Watch { hold_out, linked, prints },
        } = endpoint;
        let with_prints = *prints != Prints::default();
        let with_linked = *linked != ContrastEvidence::default();
        let override_code = match override_ {
            None => 0,
            Some(Override::Pinned) => 1,
            Some(Override::Banned) => 2,
        };
        self.0.push(standing_code(*standing) | override_code << OVERRIDE_AT);
        let flags = [*designated, *configured, *ever_admitted, *listed_through_change, with_prints, with_linked];
        self.0.push(flags.iter().enumerate().fold(0, |bits, (i, flag)| bits | u8::from(*flag) << i));
        self.time(*since_us);
        self.count(*since_sweep);
        self.difference(*evidence_since_us, *since_us);
        self.difference(*tokens_at_us, *since_us);
        self.sum(*tokens_spent);
        self.sentence(last_reason, &shared.endpoints);
        self.compact_usable(usable, shared);
        self.count(suites.len() as u64);
        for (name, evidence) in suites {
            self.name(name, shared);
            self.compact_suite(evidence, shared);
        }
        if with_prints {
            self.compact_prints(prints);
        }
        if with_linked {
            self.compact_contrast(linked);
        }
        self.count(hold_out.len() as u64);
        for (name, evidence) in hold_out {
            self.name(name, shared);
            self.compact_contrast(evidence);
        }
    }

    fn compact_usable(&mut self, usable: &UsableEvidence, shared: &Shared<'_>) {
        let UsableEvidence { margin, acc, r, histogram, asked, answered, anchor_sum } = usable;
        self.margin(*margin, shared);
        self.singles(acc);
        self.singles(r);
        self.compact_histogram(histogram);
        self.count(*asked);
        self.count(*answered);
        self.sum(*anchor_sum);
    }

    fn compact_suite(&mut self, evidence: &SuiteEvidence, shared: &Shared<'_>) {
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
            floor,
        } = evidence;
        self.margin(*delta, shared);
        self.margin(*delta_in, shared);
        [acc_ex, acc_ad, r_ex, r_ad].into_iter().for_each(|logs| self.singles(logs));
        self.single(ranking.sum);
        self.single(ranking.count);
        self.compact_histogram(histogram);
        [*cases, *batches, *missing].into_iter().for_each(|n| self.count(n));
        self.compact_clusters(clusters);
        self.sum(*anchor_sum);
        self.option(floor.as_ref(), |out, FloorEvidence { floor, acc_below, acc_above, r_below, r_above }| {
            out.float(*floor);
            [acc_below, acc_above, r_below, r_above].into_iter().for_each(|logs| out.singles(logs));
        });
    }

    fn compact_prints(&mut self, prints: &Prints) {
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
        self.singles(greedy);
        agreed.iter().for_each(|n| self.float(*n));
        self.found(greedy_found.as_ref());
        self.count(*cases_left);
    }

    fn compact_contrast(&mut self, evidence: &ContrastEvidence) {
        let ContrastEvidence { r, found, repeated, first, second } = evidence;
        self.found(found.as_ref());
        self.count(u64::from(*repeated));
        self.singles(r);
        for Sums { count, own, anchors, squares } in [first, second] {
            [*count, *own, *anchors, *squares].into_iter().for_each(|v| self.single(v));
        }
    }

    fn singles(&mut self, logs: &Logs) {
        logs.iter().for_each(|v| self.single(*v));
    }

    /// A whole number that is mostly near 0: 0, -1, 1, -2 and so on are 0, 1, 2, 3.
    fn signed(&mut self, value: i64) {
        self.count((value << 1 ^ value >> 63) as u64);
    }

    fn difference(&mut self, at_us: i64, since_us: i64) {
        self.signed(at_us.wrapping_sub(since_us));
    }

    /// Keys as differences from the one before.
    fn compact_histogram(&mut self, histogram: &BTreeMap<i32, u64>) {
        self.count(histogram.len() as u64);
        let mut last = 0;
        for (key, count) in histogram {
            self.signed(i64::from(*key) - last);
            self.count(*count);
            last = i64::from(*key);
        }
    }

    /// Differences of the keys, attempts above the least of all clusters, and failures; where scores are graded their
    /// sums follow instead.
    fn compact_clusters(&mut self, clusters: &Clusters) {
        let cells: Vec<(u16, Cluster)> = clusters.cells().collect();
        self.0.push(clusters.bits());
        self.count(cells.len() as u64);
        let Some(least) = cells.iter().map(|(_, cluster)| cluster.count).min() else { return };
        let mut last = 0;
        let steps = cells.iter().map(|(key, _)| u64::from(*key - std::mem::replace(&mut last, *key))).collect();
        let counts = cells.iter().map(|(_, cluster)| cluster.count - least).collect();
        let failures: Option<Vec<u64>> = cells.iter().map(|(_, cluster)| whole_failures(*cluster)).collect();
        self.count(least << 1 | u64::from(failures.is_none()));
        let columns: Vec<Vec<u64>> = [steps, counts].into_iter().chain(failures.clone()).collect();
        let powers: Vec<u8> = columns.iter().map(|column| best_power(column)).collect();
        self.0.extend_from_slice(&powers);
        let mut bits = BitWriter::default();
        for (column, power) in columns.iter().zip(powers) {
            column.iter().for_each(|value| bits.rice(*value, power));
        }
        bits.end(self);
        if failures.is_none() {
            cells.iter().for_each(|(_, cluster)| self.sum(cluster.sum));
        }
    }
}

/// Where the override stands in the byte of the standing.
const OVERRIDE_AT: u8 = 4;

/// Most failures of a cluster that are written as such.
const FAILURES_MAX: f64 = 4e9;

/// Attempts minus the sum of scores, where that is a whole number that gives the sum back.
fn whole_failures(cluster: Cluster) -> Option<u64> {
    let failures = cluster.count as f64 - cluster.sum;
    let whole = (0.0..FAILURES_MAX).contains(&failures) && failures.fract() == 0.0;
    let gives_back = (cluster.count as f64 - failures).to_bits() == cluster.sum.to_bits();
    (whole && gives_back).then_some(failures as u64)
}

// ---------------------------------------------------------------------------------------------------------- decode

impl Reader<'_> {
    pub(super) fn compact_model(&mut self) -> Read<ModelState> {
        let sweeps_folded = self.count()?;
        let last_sweep = self.option(|r| Ok(SweepId(uuid::Uuid::from_bytes(r.array()?))))?;
        let suites: BTreeMap<SuiteName, SuiteDigest> = self.map(|r| {
            let name = id(SuiteName::new(r.text()?))?;
            Ok((name, id(SuiteDigest::new(r.text()?))?))
        })?;
        let frozen = self.option(|r| Ok(Freeze { since_us: r.time()?, reason: r.text()?.to_owned() }))?;
        let margins = (0..self.count()?).map(|_| Ok(u64::from_le_bytes(self.array()?))).collect::<Read<Vec<u64>>>()?;
        let mut shared =
            Shared { suites: suites.keys().map(SuiteName::as_str).collect(), endpoints: Vec::new(), margins };
        let levels = self.map(|r| Ok((r.name(&shared)?, r.level(&shared)?)))?;
        let names = (0..self.count()?).map(|_| id(EndpointId::new(self.text()?))).collect::<Read<Vec<EndpointId>>>()?;
        shared.endpoints = names.iter().map(EndpointId::as_str).collect();
        let endpoints: BTreeMap<EndpointId, EndpointState> =
            names.iter().map(|name| Ok((name.clone(), self.compact_endpoint(&shared)?))).collect::<Read<_>>()?;
        let (form, capabilities) = (Form::COMPACT, BTreeMap::new());
        Ok(ModelState {
            sweeps_folded,
            last_sweep,
            suites,
            endpoints,
            frozen,
            capabilities,
            form,
            levels,
            sampling: Sampling::default(),
        })
    }

    fn name(&mut self, shared: &Shared<'_>) -> Read<SuiteName> {
        match self.count()? {
            0 => id(SuiteName::new(self.text()?)),
            place => {
                let name = usize::try_from(place - 1).ok().and_then(|place| shared.suites.get(place));
                id(SuiteName::new(name.ok_or(DecodeError::Damaged("an unknown suite"))?))
            }
        }
    }

    fn margin(&mut self, shared: &Shared<'_>) -> Read<f64> {
        let margin = usize::try_from(self.count()?).ok().and_then(|place| shared.margins.get(place));
        margin.map(|bits| f64::from_bits(*bits)).ok_or(DecodeError::Damaged("an unknown margin"))
    }

    fn level(&mut self, shared: &Shared<'_>) -> Read<Level> {
        let margin = self.margin(shared)?;
        let reference = Sum { scores: self.float()?, cases: self.float()? };
        let since = Sum { scores: self.float()?, cases: self.float()? };
        Ok(Level { margin, reference, since, r: self.singles()?, found: self.found()? })
    }

    fn compact_endpoint(&mut self, shared: &Shared<'_>) -> Read<EndpointState> {
        let head = self.byte()?;
        let standing = Standing::ALL.into_iter().find(|s| standing_code(*s) == head & ((1 << OVERRIDE_AT) - 1));
        let standing = standing.ok_or(DecodeError::Damaged("an unknown standing"))?;
        let override_ = match head >> OVERRIDE_AT {
            0 => None,
            1 => Some(Override::Pinned),
            2 => Some(Override::Banned),
            _ => return Err(DecodeError::Damaged("an unknown override")),
        };
        let flags = self.byte()?;
        let flag = |i: u8| flags & (1 << i) != 0;
        let since_us = self.time()?;
        let mut out = EndpointState {
            standing,
            override_,
            designated: flag(0),
            configured: flag(1),
            ever_admitted: flag(2),
            listed_through_change: flag(3),
            since_us,
            since_sweep: self.count()?,
            evidence_since_us: since_us.wrapping_add(self.signed()?),
            tokens_at_us: since_us.wrapping_add(self.signed()?),
            tokens_spent: self.sum()?,
            last_reason: self.sentence(&shared.endpoints)?,
            usable: self.compact_usable(shared)?,
            suites: self.map(|r| Ok((r.name(shared)?, r.compact_suite(shared)?)))?,
            watch: Watch::default(),
        };
        if flag(4) {
            out.watch.prints = self.compact_prints()?;
        }
        if flag(5) {
            out.watch.linked = self.compact_contrast()?;
        }
        out.watch.hold_out = self.map(|r| Ok((r.name(shared)?, r.compact_contrast()?)))?;
        Ok(out)
    }

    fn compact_usable(&mut self, shared: &Shared<'_>) -> Read<UsableEvidence> {
        Ok(UsableEvidence {
            margin: self.margin(shared)?,
            acc: self.singles()?,
            r: self.singles()?,
            histogram: self.compact_histogram()?,
            asked: self.count()?,
            answered: self.count()?,
            anchor_sum: self.sum()?,
        })
    }

    fn compact_suite(&mut self, shared: &Shared<'_>) -> Read<SuiteEvidence> {
        Ok(SuiteEvidence {
            delta: self.margin(shared)?,
            delta_in: self.margin(shared)?,
            acc_ex: self.singles()?,
            acc_ad: self.singles()?,
            r_ex: self.singles()?,
            r_ad: self.singles()?,
            ranking: Ranking { sum: self.single()?, count: self.single()? },
            histogram: self.compact_histogram()?,
            cases: self.count()?,
            batches: self.count()?,
            missing: self.count()?,
            clusters: self.compact_clusters()?,
            anchor_sum: self.sum()?,
            floor: self.option(|r| {
                Ok(FloorEvidence {
                    floor: r.float()?,
                    acc_below: r.singles()?,
                    acc_above: r.singles()?,
                    r_below: r.singles()?,
                    r_above: r.singles()?,
                })
            })?,
        })
    }

    fn compact_prints(&mut self) -> Read<Prints> {
        let asked_at_us = self.time()?;
        let flags = self.byte()?;
        Ok(Prints {
            asked_at_us,
            no_tokens: flags & 1 != 0,
            tokens_differ: flags & 2 != 0,
            tokens_p: self.option(Reader::float)?,
            greedy: self.singles()?,
            agreed: [self.float()?, self.float()?, self.float()?],
            greedy_found: self.found()?,
            cases_left: self.count()?,
            // Written behind all models.
            samples: None,
        })
    }

    fn compact_contrast(&mut self) -> Read<ContrastEvidence> {
        let found = self.found()?;
        let repeated = self.small()?;
        let r = self.singles()?;
        let mut sums = || -> Read<Sums> {
            Ok(Sums { count: self.single()?, own: self.single()?, anchors: self.single()?, squares: self.single()? })
        };
        let (first, second) = (sums()?, sums()?);
        Ok(ContrastEvidence { r, found, repeated, first, second })
    }

    fn singles(&mut self) -> Read<Logs> {
        let mut logs = [0.0; K];
        for v in &mut logs {
            *v = self.single()?;
        }
        Ok(logs)
    }

    fn signed(&mut self) -> Read<i64> {
        let value = self.count()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn compact_histogram(&mut self) -> Read<BTreeMap<i32, u64>> {
        let mut last = 0i64;
        self.map(|r| {
            last = last.saturating_add(r.signed()?);
            let key = i32::try_from(last).map_err(|_| DecodeError::Damaged("an impossible difference"))?;
            Ok((key, r.count()?))
        })
    }

    fn compact_clusters(&mut self) -> Read<Clusters> {
        const IMPOSSIBLE: DecodeError = DecodeError::Damaged("impossible clusters");
        let key_bits = self.byte()?;
        let length = self.count()?;
        if length == 0 {
            return Clusters::from_parts(key_bits, Vec::new()).ok_or(IMPOSSIBLE);
        }
        let head = self.count()?;
        let (least, graded) = (head >> 1, head & 1 == 1);
        let powers = self.take(if graded { 2 } else { 3 })?;
        let mut bits = BitReader::new(self);
        let mut columns: Vec<Vec<u64>> = Vec::with_capacity(powers.len());
        for power in powers {
            columns.push((0..length).map(|_| bits.rice(*power)).collect::<Read<_>>()?);
        }
        let mut key = 0u64;
        let mut cells = Vec::new();
        for place in 0..columns[0].len() {
            key = key.saturating_add(columns[0][place]);
            let count = columns[1][place].saturating_add(least);
            let sum = match columns.get(2) {
                Some(failures) => count as f64 - failures[place] as f64,
                None => self.sum()?,
            };
            cells.push((u16::try_from(key).map_err(|_| IMPOSSIBLE)?, Cluster { sum, count }));
        }
        Clusters::from_parts(key_bits, cells).ok_or(IMPOSSIBLE)
    }
}
