//! The end of a sweep: outcomes become evidence, evidence becomes at most one transition per endpoint (statistics, 7).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::policy::Undecided;
use crate::domain::{DecisionKind, EndpointId, Micros, OutcomeRow, Policy, Standing, SuiteName, SweepPlan};
use crate::stats::bets::{Bets, K, Logs, Side, add_scaled, runs};
use crate::stats::detector::close_batch;
use crate::stats::num::ln;

use super::budgets::spend_tokens;
use super::decision::{AlarmKind, AlarmNote, NewDecision};
use super::explain::{Context, decision_evidence, decision_sentence};
use super::form::Form;
use super::levels;
use super::outcomes::{SuiteTally, Tallied, Tally, tally};
use super::prints;
use super::reading::{Reading, read};
use super::state::{EndpointState, Freeze, ModelState, SuiteEvidence, UsableEvidence, histogram_key};
use super::sync::{adopt_suites, align_margins};
use super::transitions::{Move, Rule, due};

/// Share of an endpoint's attempts without provenance above which it stays where it is (interfaces, 5).
pub const PROVENANCE_SHARE_MAX: f64 = 0.2;

/// Fewest endpoints that make a common alarm.
pub const COMMON_ALARM_MIN: usize = 2;

/// A finished sweep.
#[derive(Debug, Clone, Copy)]
pub struct SweepRecord<'a> {
    /// What was planned, with the anchors as frozen and the digests of the suites.
    pub plan: &'a SweepPlan,
    /// What came of it, in any order. Rows outside the plan are left out.
    pub rows: &'a [OutcomeRow],
    /// When it ended.
    pub ended_at_us: Micros,
    /// Sweeps a year by the schedule in force, to translate guarantees per sweep; `None`: they are stated per sweep.
    pub sweeps_per_year: Option<f64>,
}

/// What a fold gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The state after it.
    pub state: ModelState,
    /// The decisions, by endpoint id.
    pub decisions: Vec<NewDecision>,
    /// Every alarm that holds after it, except that of a held list (see [`super::frozen_alarm`]).
    pub alarms: Vec<AlarmNote>,
}

/// Folds a finished sweep into the state. Folding the same sweep again changes nothing.
///
/// A plan that gives no evidence moves the ranking estimates only.
#[must_use]
pub fn fold_sweep(state: &ModelState, policy: &Policy, record: &SweepRecord<'_>) -> Folded {
    if state.last_sweep == Some(record.plan.id) {
        return Folded { state: state.clone(), decisions: Vec::new(), alarms: standing_alarms(state) };
    }
    let mut fold = Fold::begin(state, policy, record);
    fold.gather();
    if record.plan.gives_evidence {
        fold.decide();
    }
    fold.finish()
}

struct Fold<'a> {
    policy: &'a Policy,
    record: &'a SweepRecord<'a>,
    state: ModelState,
    tallies: BTreeMap<EndpointId, Tally>,
    /// Mean scores of the Admitted by case, by suite.
    levels: BTreeMap<SuiteName, Vec<f64>>,
    /// Readings of the endpoints from before the sweep.
    before: BTreeMap<EndpointId, Reading>,
    /// Nobody knows yet who is good: the anchors of this sweep were taken on trust.
    cold: bool,
    decisions: Vec<NewDecision>,
    alarms: Vec<AlarmNote>,
    /// Endpoints whose fingerprint changed with this sweep.
    changed: Vec<EndpointId>,
}

impl<'a> Fold<'a> {
    fn begin(state: &ModelState, policy: &'a Policy, record: &'a SweepRecord<'a>) -> Self {
        let mut state = state.clone();
        let mut decisions = Vec::new();
        let digests = record.plan.suites.iter().map(|s| (s.suite.clone(), s.digest.clone())).collect();
        decisions.extend(adopt_suites(&mut state, &digests, record.ended_at_us));
        if record.plan.gives_evidence {
            decisions.extend(align_margins(&mut state, policy, record.ended_at_us));
        }
        for decision in &mut decisions {
            decision.sweep = Some(record.plan.id);
        }
        let Tallied { endpoints: tallies, levels } = tally(&state, policy, record.plan, record.rows);
        let before = state.endpoints.iter().map(|(id, e)| (id.clone(), read(&state, policy, e))).collect();
        let cold = state.is_cold();
        let (alarms, changed) = (Vec::new(), Vec::new());
        Fold { policy, record, state, tallies, levels, before, cold, decisions, alarms, changed }
    }

    /// Adds the sweep's outcomes to the evidence of every configured endpoint. Decides nothing.
    fn gather(&mut self) {
        let as_evidence = self.record.plan.gives_evidence;
        for (id, endpoint) in self.state.endpoints.iter_mut().filter(|(_, e)| e.configured) {
            let Some(tally) = self.tallies.get(id) else { continue };
            let decided = matches!(endpoint.standing, Standing::Admitted | Standing::Suspect);
            let suspicious = self.before.get(id).is_some_and(|r| r.log_r_ex >= ln(self.policy.burst_at))
                || endpoint.watch.asks_for_more();
            if as_evidence && decided && suspicious {
                spend_tokens(endpoint, self.policy, tally.planned, self.record.ended_at_us);
            }
            for (name, suite) in &tally.suites {
                let evidence =
                    endpoint.suites.entry(name.clone()).or_insert_with(|| SuiteEvidence::new(name, self.policy));
                if suite.asked > 0 {
                    evidence.ranking.take(suite.sum, suite.asked);
                }
                if as_evidence {
                    // While those who should be compared with are out, there is no effort that could be in vain.
                    if tally.anchors.is_empty() || suite.is_compared() {
                        evidence.cases += suite.asked;
                        evidence.missing += suite.lost;
                    }
                    add_suite(evidence, suite, self.cold, self.policy.graded);
                }
            }
            if as_evidence {
                add_usable(&mut endpoint.usable, tally);
                let contrasts = tally.suites.iter().map(|(name, s)| (name, &s.hold_out, s.repeated, &s.linked));
                endpoint.watch.take(contrasts);
                let left = &mut endpoint.watch.prints.cases_left;
                *left = left.saturating_sub(tally.asked);
            }
        }
        if as_evidence && !self.record.plan.probes.is_empty() {
            let SweepRecord { plan, rows, ended_at_us, .. } = self.record;
            self.changed = prints::take(&mut self.state, plan, rows, *ended_at_us);
        }
        if as_evidence && self.state.form >= Form::COMPACT {
            prints::forget_unasked(&mut self.state, self.policy);
            // Prompts that were asked for before the policy changed say nothing any more.
            let differs =
                |id: &EndpointId| self.state.endpoints.get(id).is_some_and(|e| e.watch.prints.text().is_some());
            self.changed.retain(differs);
            levels::take(&mut self.state, self.policy, &self.levels);
        }
    }

    /// Runs the guards, then at most one transition per endpoint.
    fn decide(&mut self) {
        self.provenance_alarms();
        if self.state.frozen.is_some() {
            return;
        }
        let mut moves = self.moves_due();
        if let Some(freeze) = self.common_alarm(&moves) {
            let held: Vec<NewDecision> =
                moves.iter().map(|(id, step)| self.decision(id, step, Some(&freeze.reason))).collect();
            self.decisions.extend(held);
            self.state.frozen = Some(freeze);
            return;
        }
        self.spare_reference(&mut moves);
        for (id, step) in &moves {
            let decision = self.decision(id, step, None);
            self.apply(id, step, &decision.reason);
            self.decisions.push(decision);
        }
    }

    fn moves_due(&self) -> BTreeMap<EndpointId, Move> {
        let untraceable: BTreeSet<&EndpointId> = self.alarms.iter().filter_map(|a| a.endpoint.as_ref()).collect();
        self.state
            .endpoints
            .iter()
            .filter(|(id, e)| e.configured && !untraceable.contains(id))
            .filter(|(id, _)| self.tallies.get(*id).is_some_and(|t| t.asked > 0))
            .filter_map(|(id, endpoint)| {
                let reading = read(&self.state, self.policy, endpoint);
                let step = due(endpoint.standing, &reading, self.policy, !self.cold);
                // T11: a changed fingerprint keeps an endpoint Suspect for a while, and makes it so if nothing else does.
                let lasts = |step: &Move| step.rule == Rule::Cleared && endpoint.watch.prints.cases_left > 0;
                let step = step.filter(|step| !lasts(step)).or_else(|| self.print_changed(id, endpoint))?;
                // A reference is Admitted by designation: suspicion is not for it.
                let soft = matches!(step.rule, Rule::Suspected | Rule::Cleared | Rule::Changed);
                (!(soft && endpoint.designated)).then(|| (id.clone(), step))
            })
            .collect()
    }

    fn print_changed(&self, id: &EndpointId, endpoint: &EndpointState) -> Option<Move> {
        // What was found while a guard held everything is due when it ends.
        let prints = &endpoint.watch.prints;
        let is_held = || self.state.form >= Form::COMPACT && prints.cases_left > 0 && prints.text().is_some();
        let is_due = self.changed.contains(id) || is_held();
        (endpoint.standing == Standing::Admitted && is_due).then(|| Move {
            rule: Rule::Changed,
            to: Standing::Suspect,
            suite: None,
            log_value: endpoint.watch.prints.greedy_found.map_or(f64::NEG_INFINITY, |found| found.log_r),
            threshold: prints::GREEDY_AT,
        })
    }

    fn apply(&mut self, id: &EndpointId, step: &Move, reason: &str) {
        let now_us = self.record.ended_at_us;
        let Some(endpoint) = self.state.endpoints.get_mut(id) else { return };
        endpoint.standing = step.to;
        endpoint.since_us = now_us;
        endpoint.since_sweep = self.record.plan.ordinal;
        endpoint.ever_admitted |= step.to == Standing::Admitted;
        endpoint.listed_through_change = false;
        if step.to != Standing::Suspect {
            endpoint.watch.prints.cases_left = 0;
        }
        reason.clone_into(&mut endpoint.last_reason);
        if step.rule.resets() {
            endpoint.reset(now_us);
        }
    }

    fn finish(mut self) -> Folded {
        self.state.last_sweep = Some(self.record.plan.id);
        let ranked = self.tallies.values().any(|t| t.answered > 0);
        // A look at a few cases, or at one endpoint, does not end the cold start.
        let counts = self.state.sweeps_folded > 0 || self.state.is_ranked(self.policy.cases.standard);
        self.state.sweeps_folded += u64::from(self.record.plan.gives_evidence && ranked && counts);
        self.alarms.extend(standing_alarms(&self.state));
        self.state.settle();
        Folded { state: self.state, decisions: self.decisions, alarms: self.alarms }
    }

    fn decision(&self, id: &EndpointId, step: &Move, held: Option<&str>) -> NewDecision {
        let endpoint = &self.state.endpoints[id];
        let context = Context {
            state: &self.state,
            policy: self.policy,
            anchors: self.tallies.get(id).map_or(&self.record.plan.anchors, |t| &t.anchors),
            ordinal: self.record.plan.ordinal,
            sweeps_per_year: self.record.sweeps_per_year,
        };
        let sentence = decision_sentence(&context, endpoint, step);
        let (kind, to, reason) = match held {
            None => (DecisionKind::Transition, step.to, sentence),
            Some(why) => (DecisionKind::Held, endpoint.standing, format!("held ({why}): {sentence}")),
        };
        NewDecision {
            endpoint: id.clone(),
            sweep: Some(self.record.plan.id),
            at_us: self.record.ended_at_us,
            kind,
            from: endpoint.standing,
            to,
            suite: step.suite.clone(),
            reason,
            evidence: decision_evidence(&context, endpoint, step),
        }
    }

    // ---------------------------------------------------------------------------------------------------- guards

    fn provenance_alarms(&mut self) {
        for (id, tally) in &self.tallies {
            let share = tally.provenance as f64 / tally.rows.max(1) as f64;
            if share > PROVENANCE_SHARE_MAX {
                self.alarms.push(AlarmNote {
                    kind: AlarmKind::Provenance,
                    endpoint: Some(id.clone()),
                    message: format!(
                        "{} of {} attempts of {id} cannot be attributed to it: it stays where it is; check that the \
                         provider serves this endpoint itself, without cache or fallback",
                        tally.provenance, tally.rows
                    ),
                });
            }
        }
    }

    /// Statistics, 7.4: more than half of the Admitted alarm newly in one sweep, and at least two.
    fn common_alarm(&self, moves: &BTreeMap<EndpointId, Move>) -> Option<Freeze> {
        let listed = |e: &EndpointState| matches!(e.standing, Standing::Admitted | Standing::Suspect);
        let (suspect, exclude) = (ln(self.policy.suspect_at), ln(self.policy.exclude_after_sweeps));
        let alarms_newly = |id: &EndpointId, endpoint: &EndpointState| {
            let (Some(before), now) = (self.before.get(id), read(&self.state, self.policy, endpoint)) else {
                return false;
            };
            let crosses = |was: f64, is: f64, threshold: f64| was < threshold && is >= threshold;
            crosses(before.log_r_ex, now.log_r_ex, suspect)
                || crosses(before.log_r_ex, now.log_r_ex, exclude)
                || crosses(before.usable_log_r, now.usable_log_r, exclude)
        };
        let admitted: Vec<_> = self.state.endpoints.iter().filter(|(_, e)| e.is_in_service() && listed(e)).collect();
        let alarmed = admitted.iter().filter(|(id, e)| alarms_newly(id, e)).count();
        (alarmed >= COMMON_ALARM_MIN && 2 * alarmed > admitted.len()).then(|| Freeze {
            since_us: self.record.ended_at_us,
            reason: format!(
                "suite, grader or reference changed: {alarmed} of {} Admitted endpoints alarmed in sweep {}; \
                 {} transitions held",
                admitted.len(),
                self.record.plan.ordinal,
                moves.len()
            ),
        })
    }

    /// Interfaces, 6.2: evidence against the designated reference is an alarm; it falls only where the policy says so
    /// and enough others are listed.
    fn spare_reference(&mut self, moves: &mut BTreeMap<EndpointId, Move>) {
        let Some((id, step)) = moves.iter().find(|(id, step)| {
            step.to == Standing::Excluded && self.state.endpoints.get(*id).is_some_and(|e| e.designated)
        }) else {
            return;
        };
        let (id, step) = (id.clone(), step.clone());
        let stays_listed = |other: &EndpointId, e: &EndpointState| match moves.get(other).map_or(e.standing, |m| m.to) {
            Standing::Admitted | Standing::Suspect => true,
            Standing::Provisional => self.policy.undecided == Undecided::Include,
            Standing::Unknown | Standing::Excluded => false,
        };
        let others = self.state.endpoints.iter().filter(|(o, e)| **o != id && e.is_in_service() && stays_listed(o, e));
        let enough = others.count() >= self.policy.min_providers as usize;
        if enough && self.policy.reference_may_fall {
            return;
        }
        moves.remove(&id);
        let why = if enough {
            "the reference stays: reference_may_fall is false"
        } else {
            "the reference stays: the list would fall below min_providers"
        };
        self.alarms.push(AlarmNote {
            kind: AlarmKind::Reference,
            endpoint: Some(id.clone()),
            message: format!("the evidence speaks against the designated reference {id}: check it, or name another"),
        });
        if self.crossed_now(&id, &step) {
            let decision = self.decision(&id, &step, Some(why));
            self.decisions.push(decision);
        }
    }

    /// The threshold was not yet reached before this sweep.
    fn crossed_now(&self, id: &EndpointId, step: &Move) -> bool {
        let was = self.before.get(id).map(|r| match step.rule {
            rule if rule.is_usable() => r.usable_log_r,
            rule if rule.is_floor() => r.floor_log_r,
            _ => r.log_r_ex,
        });
        was.is_none_or(|was| was < ln(step.threshold))
    }
}

/// Alarms that hold until something else ends them.
pub(super) fn standing_alarms(state: &ModelState) -> Vec<AlarmNote> {
    let common = state.frozen.as_ref().map(|freeze| AlarmNote {
        kind: AlarmKind::Common,
        endpoint: None,
        message: format!(
            "{}: no standing and no list changes until an operator acknowledges or the suite's version changes",
            freeze.reason
        ),
    });
    common.into_iter().chain(levels::alarms(state)).chain(super::watch::alarms(state)).collect()
}

/// Closes the batch of one suite. Without any compared attempt there is no batch: the clock of the detector, which
/// counts batches, stands still.
fn add_suite(evidence: &mut SuiteEvidence, tally: &SuiteTally, cold: bool, graded: bool) {
    if let Some(floor) = &mut evidence.floor {
        floor.take(&tally.scores, tally.lost);
    }
    evidence.clusters.merge(&tally.clusters);
    evidence.anchor_sum += tally.anchor_sum;
    let scored = runs(&mut tally.scored.clone());
    for (d, count) in &scored {
        *evidence.histogram.entry(histogram_key(*d, graded)).or_default() += count;
    }
    if !tally.is_compared() {
        return;
    }
    evidence.batches += 1;
    let against = Bets::new(Side::Exclude, evidence.delta).run_increments(&scored);
    close(&mut evidence.acc_ex, &mut evidence.r_ex, &against);
    if !cold {
        let favour = Bets::new(Side::Admit, evidence.delta_in);
        let in_favour = if tally.missing.is_empty() {
            favour.run_increments(&scored)
        } else {
            favour.batch_increments(&mut tally.scored.iter().chain(&tally.missing).copied().collect::<Vec<f64>>())
        };
        close(&mut evidence.acc_ad, &mut evidence.r_ad, &in_favour);
    }
}

fn add_usable(usable: &mut UsableEvidence, tally: &Tally) {
    usable.asked += tally.asked;
    usable.answered += tally.answered;
    usable.anchor_sum += tally.usable_anchor_sum;
    let runs = runs(&mut tally.usable.clone());
    for (d, count) in &runs {
        *usable.histogram.entry(histogram_key(*d, false)).or_default() += count;
    }
    if !runs.is_empty() {
        let increments = Bets::new(Side::Exclude, usable.margin).run_increments(&runs);
        close(&mut usable.acc, &mut usable.r, &increments);
    }
}

fn close(acc: &mut [f64; K], r: &mut [f64; K], increments: &Logs) {
    add_scaled(acc, increments, 1.0);
    close_batch(r, increments);
}
