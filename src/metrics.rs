//! Prometheus metrics. Names are `exactod_<noun>_<unit>`; labels `model`, `endpoint`, `suite` (interfaces, section 7).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::{Attempt, Capability, EndpointId, ModelId, Standing};

/// Labels of one model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelLabels {
    /// The model.
    pub model: String,
}

/// Labels of one capability of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CapabilityLabels {
    /// The model.
    pub model: String,
    /// The capability.
    pub capability: String,
}

/// Labels of one endpoint on one suite.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SuiteLabels {
    /// The model.
    pub model: String,
    /// The endpoint.
    pub endpoint: String,
    /// The suite.
    pub suite: String,
}

/// [`SuiteLabels`] and a word: a verdict or a Fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WordLabels {
    /// The model.
    pub model: String,
    /// The endpoint.
    pub endpoint: String,
    /// The suite.
    pub suite: String,
    /// Verdict kind or Fault name.
    pub kind: String,
}

/// A model, an endpoint and a standing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StandingLabels {
    /// The model.
    pub model: String,
    /// The endpoint.
    pub endpoint: String,
    /// The standing.
    pub standing: String,
}

/// A model and a word: a sweep's state or kind, or an alarm kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModelWordLabels {
    /// The model.
    pub model: String,
    /// Sweep state, sweep kind or alarm kind.
    pub kind: String,
}

/// One route and status of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// Route template.
    pub route: String,
    /// HTTP status.
    pub status: u16,
}

/// A source of live traffic and what became of its records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabels {
    /// The name of the source's token.
    pub source: String,
    /// `accepted`, `duplicate`, `rejected` or `unattributed` (among the accepted).
    pub result: String,
}

/// A word alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WordLabel {
    /// `ok` or `refused`; of an agent-check `up`, `drain` or `unknown`.
    pub result: String,
}

type DurationHistogram = Family<SuiteLabels, Histogram, fn() -> Histogram>;

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    attempts: Family<WordLabels, Counter>,
    faults: Family<WordLabels, Counter>,
    retries: Family<SuiteLabels, Counter>,
    duration: DurationHistogram,
    first_token: DurationHistogram,
    tokens_in: Family<SuiteLabels, Counter>,
    tokens_out: Family<SuiteLabels, Counter>,
    spend: Family<SuiteLabels, Counter<f64, AtomicU64>>,
    /// Sweeps ended, by state.
    pub sweeps: Family<ModelWordLabels, Counter>,
    /// Sweeps begun, by who asked.
    pub sweeps_begun: Family<ModelWordLabels, Counter>,
    onboarding: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    sweep_attempts_done: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    sweep_attempts_planned: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    allowlist_version: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    allowlist_providers: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    allowlist_expiry: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    capability_version: Family<CapabilityLabels, Gauge<i64, AtomicI64>>,
    capability_providers: Family<CapabilityLabels, Gauge<i64, AtomicI64>>,
    capability_expiry: Family<CapabilityLabels, Gauge<i64, AtomicI64>>,
    standing: Family<StandingLabels, Gauge<i64, AtomicI64>>,
    /// Decisions made, by standing after.
    pub decisions: Family<StandingLabels, Counter>,
    alarms: Family<ModelWordLabels, Gauge<i64, AtomicI64>>,
    watchers: Gauge<i64, AtomicI64>,
    store_pending: Gauge<i64, AtomicI64>,
    store_write_failures: Counter,
    /// Config reloads by result.
    pub config_reloads: Family<WordLabel, Counter>,
    /// Agent-checks answered, by what was said: `up`, `drain` or `unknown`.
    pub agent_checks: Family<WordLabel, Counter>,
    /// Sweeps that live traffic asked for.
    pub live_bursts: Family<ModelLabels, Counter>,
    /// Quarantines begun, refused, confirmed, cleared, expired, or gone with their endpoint.
    pub live_quarantines: Family<ModelWordLabels, Counter>,
    live_records: Family<SourceLabels, Counter>,
    live_bodies_refused: Family<WordLabel, Counter>,
    live_held: Gauge<i64, AtomicI64>,
    live_spans: Counter,
    live_write_failures: Counter,
    /// Requests served by the HTTP API (allowlist reads are counted apart from their handler's hot path).
    pub http_requests: Family<RouteLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, registered.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("exactod");
        macro_rules! family {
            ($name:literal, $help:literal) => {{
                let family = Family::default();
                registry.register($name, $help, family.clone());
                family
            }};
        }
        let attempts = family!("attempts", "Attempts judged, by verdict");
        let faults = family!("faults", "Primary faults");
        let retries = family!("retries", "Transport tries after the first");
        let duration: DurationHistogram = Family::new_with_constructor(seconds_histogram);
        registry.register_with_unit("attempt_duration", "Duration of the last try", Unit::Seconds, duration.clone());
        let first_token: DurationHistogram = Family::new_with_constructor(seconds_histogram);
        registry.register_with_unit("first_token", "Time to the first token", Unit::Seconds, first_token.clone());
        let tokens_in = family!("prompt_tokens", "Prompt tokens as reported");
        let tokens_out = family!("answer_tokens", "Answer tokens as reported");
        let spend = family!("spend_usd", "Money spent, US dollars");
        let sweeps = family!("sweeps", "Sweeps ended, by state");
        let sweeps_begun = family!("sweeps_begun", "Sweeps begun, by kind");
        let onboarding =
            family!("onboarding_endpoints", "Endpoints swept between the ticks until their first standing");
        let sweep_attempts_done = family!("sweep_done_attempts", "Attempts of the sweep in flight that ended");
        let sweep_attempts_planned = family!("sweep_planned_attempts", "Attempts of the sweep in flight");
        let allowlist_version = family!("allowlist_version", "Current revision of the allowlist");
        let allowlist_providers = family!("allowlist_providers", "Endpoints on the allowlist");
        let allowlist_expiry =
            family!("allowlist_expiry_seconds", "When the allowlist expires, seconds since the epoch");
        let capability_version =
            family!("capability_allowlist_version", "Current revision of a capability's allowlist");
        let capability_providers = family!("capability_allowlist_providers", "Endpoints on a capability's allowlist");
        let capability_expiry = family!(
            "capability_allowlist_expiry_seconds",
            "When a capability's allowlist expires, seconds since the epoch"
        );
        let standing = family!("endpoint_standing", "1 for the standing that the endpoint has");
        let decisions = family!("decisions", "Decisions, by standing after");
        let alarms = family!("alarms_open", "Open alarms by kind");
        let watchers = Gauge::default();
        registry.register("http_watchers", "Clients that wait for another list", watchers.clone());
        let store_pending = Gauge::default();
        registry.register("store_pending_attempts", "Attempts that wait for the store", store_pending.clone());
        let store_write_failures = Counter::default();
        registry.register("store_write_failures", "Failed writes of the store", store_write_failures.clone());
        let config_reloads = family!("config_reloads", "Config reloads by result");
        let agent_checks = family!("agent_checks", "Agent-checks answered, by what was said");
        let live_bursts = family!("live_bursts", "Sweeps that live traffic asked for");
        let live_quarantines = family!(
            "live_quarantines",
            "Quarantines begun, refused, confirmed, cleared, expired or gone with their endpoint"
        );
        let live_records = family!("live_records", "Records of live traffic, by source and what became of them");
        let live_bodies_refused = family!("live_bodies_refused", "Bodies of live traffic refused with 429, by reason");
        let live_held = Gauge::default();
        registry.register("live_held_cells", "Spans of live traffic in memory", live_held.clone());
        let live_spans = Counter::default();
        registry.register("live_stored_cells", "Spans of live traffic written to the store", live_spans.clone());
        let live_write_failures = Counter::default();
        registry.register("live_write_failures", "Failed writes of live traffic", live_write_failures.clone());
        let http_requests = family!("http_requests", "Requests served by the HTTP API");
        Metrics {
            registry,
            attempts,
            faults,
            retries,
            duration,
            first_token,
            tokens_in,
            tokens_out,
            spend,
            sweeps,
            sweeps_begun,
            onboarding,
            sweep_attempts_done,
            sweep_attempts_planned,
            allowlist_version,
            allowlist_providers,
            allowlist_expiry,
            capability_version,
            capability_providers,
            capability_expiry,
            standing,
            decisions,
            alarms,
            watchers,
            store_pending,
            store_write_failures,
            config_reloads,
            agent_checks,
            live_bursts,
            live_quarantines,
            live_records,
            live_bodies_refused,
            live_held,
            live_spans,
            live_write_failures,
            http_requests,
        }
    }

    /// Counts the records of a body of live traffic: accepted, duplicate, rejected, and of the accepted those without a
    /// known endpoint.
    pub fn live_taken(&self, source: &str, [accepted, duplicate, rejected, unattributed]: [u64; 4]) {
        let results =
            [("accepted", accepted), ("duplicate", duplicate), ("rejected", rejected), ("unattributed", unattributed)];
        for (result, n) in results {
            let labels = SourceLabels { source: source.to_owned(), result: result.to_owned() };
            self.live_records.get_or_create(&labels).inc_by(n);
        }
    }

    /// Counts a body of live traffic that was refused for now.
    pub fn live_refused(&self, reason: &str) {
        self.live_bodies_refused.get_or_create(&WordLabel { result: reason.to_owned() }).inc();
    }

    /// Counts spans of live traffic that were written, or (`None`) a write that failed; `held`: spans in memory.
    pub fn live_written(&self, spans: Option<usize>, held: usize) {
        match spans {
            Some(spans) => self.live_spans.inc_by(spans as u64),
            None => self.live_write_failures.inc(),
        };
        self.live_held.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// Counts one ended Attempt.
    pub fn attempt_ended(&self, model: &ModelId, attempt: &Attempt) {
        let labels = SuiteLabels {
            model: model.to_string(),
            endpoint: attempt.key.endpoint.to_string(),
            suite: attempt.key.suite.to_string(),
        };
        self.attempts.get_or_create(&labels.word(attempt.judgement.verdict.kind())).inc();
        if let Some(fault) = attempt.judgement.fault {
            self.faults.get_or_create(&labels.word(fault.name())).inc();
        }
        if attempt.tries.len() > 1 {
            self.retries.get_or_create(&labels).inc_by(attempt.tries.len() as u64 - 1);
        }
        self.duration.get_or_create(&labels).observe(attempt.total_us as f64 / 1e6);
        if let Some(ttft_us) = attempt.ttft_us {
            self.first_token.get_or_create(&labels).observe(ttft_us as f64 / 1e6);
        }
        self.tokens_in.get_or_create(&labels).inc_by(attempt.usage.tokens_in.unwrap_or(0));
        self.tokens_out.get_or_create(&labels).inc_by(attempt.usage.tokens_out.unwrap_or(0));
        self.spend.get_or_create(&labels).inc_by(attempt.cost_nanousd as f64 / 1e9);
    }

    /// Sets the standing of an endpoint: 1 for the one it has, 0 for the others.
    pub fn set_standing(&self, model: &ModelId, endpoint: &EndpointId, standing: Standing) {
        for s in Standing::ALL {
            let labels = StandingLabels {
                model: model.to_string(),
                endpoint: endpoint.to_string(),
                standing: s.name().to_owned(),
            };
            self.standing.get_or_create(&labels).set(i64::from(s == standing));
        }
    }

    /// Forgets the standing of an endpoint that is not configured any more.
    pub fn forget_standing(&self, model: &ModelId, endpoint: &EndpointId) {
        for s in Standing::ALL {
            self.standing.remove(&StandingLabels {
                model: model.to_string(),
                endpoint: endpoint.to_string(),
                standing: s.name().to_owned(),
            });
        }
    }

    /// Sets what is in force: a model's own list, or that of a capability. `expires_s`: seconds since the epoch.
    pub fn set_list(
        &self,
        model: &ModelId,
        capability: Option<&Capability>,
        revision: u64,
        listed: usize,
        expires_s: i64,
    ) {
        let values =
            [i64::try_from(revision).unwrap_or(i64::MAX), i64::try_from(listed).unwrap_or(i64::MAX), expires_s];
        let model = model.to_string();
        match capability {
            None => {
                let families = [&self.allowlist_version, &self.allowlist_providers, &self.allowlist_expiry];
                let labels = ModelLabels { model };
                for (family, n) in families.iter().zip(values) {
                    family.get_or_create(&labels).set(n);
                }
            }
            Some(capability) => {
                let families = [&self.capability_version, &self.capability_providers, &self.capability_expiry];
                let labels = CapabilityLabels { model, capability: capability.to_string() };
                for (family, n) in families.iter().zip(values) {
                    family.get_or_create(&labels).set(n);
                }
            }
        }
    }

    /// Forgets a list that is withdrawn: that of a model or of a capability which is not configured any more.
    pub fn forget_list(&self, model: &ModelId, capability: Option<&Capability>) {
        let model = model.to_string();
        match capability {
            None => {
                let families = [&self.allowlist_version, &self.allowlist_providers, &self.allowlist_expiry];
                let labels = ModelLabels { model };
                for family in families {
                    family.remove(&labels);
                }
            }
            Some(capability) => {
                let families = [&self.capability_version, &self.capability_providers, &self.capability_expiry];
                let labels = CapabilityLabels { model, capability: capability.to_string() };
                for family in families {
                    family.remove(&labels);
                }
            }
        }
    }

    /// Sets how many alarms of a kind a model has open.
    pub fn set_alarms(&self, model: &ModelId, kind: &str, open: usize) {
        let labels = ModelWordLabels { model: model.to_string(), kind: kind.to_owned() };
        self.alarms.get_or_create(&labels).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Sets how many clients wait for another list, by polls and streams.
    pub fn set_watchers(&self, waiting: usize) {
        self.watchers.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Sets what the store's writer has waiting, and how often it has failed since the process began.
    pub fn set_writer(&self, pending: u64, failures: u64) {
        self.store_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        // Read at the source whenever metrics are asked for: two readers at once must not count a failure twice.
        self.store_write_failures.inner().fetch_max(failures, Ordering::Relaxed);
    }

    /// Sets how many endpoints of a model are onboarded.
    pub fn set_onboarding(&self, model: &ModelId, endpoints: usize) {
        let labels = ModelLabels { model: model.to_string() };
        self.onboarding.get_or_create(&labels).set(i64::try_from(endpoints).unwrap_or(i64::MAX));
    }

    /// Sets how far a model's sweep in flight is; zeros without one.
    pub fn set_sweep(&self, model: &ModelId, done: u64, planned: u64) {
        let labels = ModelLabels { model: model.to_string() };
        self.sweep_attempts_done.get_or_create(&labels).set(i64::try_from(done).unwrap_or(i64::MAX));
        self.sweep_attempts_planned.get_or_create(&labels).set(i64::try_from(planned).unwrap_or(i64::MAX));
    }

    /// The text exposition.
    ///
    /// # Errors
    /// Only when formatting fails.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

impl SuiteLabels {
    fn word(&self, kind: &str) -> WordLabels {
        WordLabels {
            model: self.model.clone(),
            endpoint: self.endpoint.clone(),
            suite: self.suite.clone(),
            kind: kind.to_owned(),
        }
    }
}

/// Shared handle.
pub type SharedMetrics = Arc<Metrics>;
