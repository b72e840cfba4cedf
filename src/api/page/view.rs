//! What the page shows, made from what is known: no IO, so that it can be tested as a function.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::format::{count, distance, percent, points, range, time};
use super::plot::Axis;
use crate::api::limits::{PAGE_CONSUMERS, PAGE_FAULTS};
use crate::api::state::{ApiSetup, EndpointView};
use crate::clock::rfc3339;
use crate::config::ModelConfig;
use crate::domain::{
    Allowlist, AllowlistMode, Capability, Decision, EndpointId, ListedEntry, Micros, ModelId, Override, Scorecard,
    Standing, SuiteCard, SuiteName, SweepKind,
};
use crate::progress::{Progress, SweepProgress};
use crate::publish::{Board, Published};
use crate::store::{Ack, AckStatus, Alarm};

/// What is known of a model beside its list.
#[derive(Debug, Default)]
pub struct Figures {
    /// Where its endpoints stand.
    pub standings: Vec<EndpointView>,
    /// Over the last days.
    pub cards: Vec<Scorecard>,
    /// The last ones, newest first.
    pub decisions: Vec<Decision>,
    /// Something could not be read.
    pub incomplete: bool,
}

/// A time twice: for people and for programs.
#[derive(Debug)]
pub struct When {
    /// RFC 3339.
    pub machine: String,
    /// For people.
    pub text: String,
    /// How far it lies back or ahead.
    pub distance: String,
}

impl When {
    fn new(at_us: Micros, now_us: Micros) -> Self {
        When { machine: rfc3339(at_us), text: time(at_us), distance: distance(at_us, now_us) }
    }
}

/// The changing part of the page.
#[derive(askama::Template)]
#[template(path = "fragment.html")]
pub struct PageView {
    /// What a screen reader is told when it changes.
    pub summary: String,
    /// Time of the daemon's clock.
    pub now: When,
    /// Open alarms, oldest first.
    pub alarms: Vec<AlarmView>,
    /// The models, in configuration order.
    pub models: Vec<ModelView>,
    /// Consumers that said what they run, the latest word first.
    pub consumers: Vec<ConsumerRow>,
}

/// A consumer and a list.
pub struct ConsumerRow {
    /// Its name.
    pub client: String,
    /// The list.
    pub list: String,
    /// The revision in use.
    pub adopted: String,
    /// The revision served.
    pub served: String,
    /// What is wrong; empty when it runs what is served.
    pub trouble: String,
    /// When it said so.
    pub at: When,
}

/// An open alarm.
pub struct AlarmView {
    /// Its kind.
    pub kind: String,
    /// What it concerns.
    pub about: String,
    /// What happened and what to do.
    pub text: String,
    /// Since when.
    pub since: When,
}

/// A model.
pub struct ModelView {
    /// Its id.
    pub id: String,
    /// Other names.
    pub aliases: String,
    /// A number for ids in the page.
    pub at: usize,
    /// Its list, once there is one.
    pub list: Option<ListView>,
    /// The lists of its capabilities.
    pub capabilities: Vec<CapabilityView>,
    /// The sweep in flight.
    pub sweep: Option<SweepView>,
    /// Suites with figures: columns.
    pub suites: Vec<SuiteHead>,
    /// Endpoints, in routing order, then the others.
    pub endpoints: Vec<EndpointRow>,
    /// Attempts in the window.
    pub attempts: String,
    /// The last decisions.
    pub decisions: Vec<DecisionRow>,
    /// Something could not be read.
    pub incomplete: bool,
    /// Nothing was measured or decided yet.
    pub untouched: bool,
}

/// The published list.
pub struct ListView {
    /// Its revision.
    pub version: u64,
    /// Its mode, a word.
    pub mode: &'static str,
    /// The mode in a sentence; empty for the normal one.
    pub mode_text: &'static str,
    /// When it was issued.
    pub issued: When,
    /// When it expires.
    pub expires: When,
    /// It has expired.
    pub expired: bool,
    /// Listed endpoints.
    pub listed: usize,
    /// Excluded endpoints.
    pub excluded: usize,
}

/// The published list of a capability.
pub struct CapabilityView {
    /// The capability.
    pub name: String,
    /// Its revision.
    pub version: u64,
    /// Listed endpoints, and the mode unless it is the normal one.
    pub text: String,
}

/// The sweep in flight.
pub struct SweepView {
    /// What it is.
    pub title: &'static str,
    /// Attempts ended.
    pub done: u64,
    /// Attempts planned, at least 1.
    pub planned: u64,
    /// Both, for people.
    pub text: String,
    /// In per cent, rounded down.
    pub percent: u64,
    /// When it was planned.
    pub since: When,
    /// Endpoints whose attempts have all ended, and all endpoints.
    pub endpoints: String,
}

/// A column.
pub struct SuiteHead {
    /// The suite.
    pub name: String,
    /// Left end of the axis, in per cent.
    pub from: String,
    /// Right end.
    pub to: String,
}

/// A row.
pub struct EndpointRow {
    /// Place in routing order, or empty.
    pub rank: String,
    /// Routing weight, or empty.
    pub weight: String,
    /// The endpoint.
    pub id: String,
    /// What the badge says.
    pub badge: String,
    /// The badge's class: a word of ours.
    pub class: &'static str,
    /// A sign beside the word, so that colour is not all.
    pub sign: &'static str,
    /// Since when.
    pub since: Option<When>,
    /// One per column.
    pub cells: Vec<Cell>,
    /// Top faults.
    pub faults: Vec<(String, String)>,
    /// The sentence of the decision.
    pub reason: String,
    /// What would change it.
    pub change: String,
}

/// One endpoint on one suite.
#[derive(Default)]
pub struct Cell {
    /// The suite and its axis, for narrow screens, where columns have no heads.
    pub head: String,
    /// Rate; empty without scored attempts.
    pub rate: String,
    /// Interval.
    pub range: String,
    /// The drawing.
    pub plot: String,
    /// Gap to the anchors.
    pub gap: String,
    /// Its interval.
    pub gap_range: String,
    /// Scored attempts.
    pub scored: String,
}

/// A decision.
pub struct DecisionRow {
    /// When.
    pub at: When,
    /// The endpoint.
    pub endpoint: String,
    /// Standing before.
    pub from: &'static str,
    /// Standing after.
    pub to: &'static str,
    /// Class of the badge.
    pub class: &'static str,
    /// Sign of the badge.
    pub sign: &'static str,
    /// Whether the standing changed.
    pub moved: bool,
    /// The sentence.
    pub reason: String,
}

fn badge(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Unknown => ("unknown", "○"),
        Standing::Admitted => ("admitted", "●"),
        Standing::Suspect => ("suspect", "▲"),
        Standing::Excluded => ("excluded", "✕"),
        Standing::Provisional => ("provisional", "◐"),
    }
}

impl PageView {
    /// From everything that is known.
    pub fn new(
        now_us: Micros,
        setup: &ApiSetup,
        board: &Board,
        progress: &Progress,
        figures: &BTreeMap<ModelId, Figures>,
        (alarms, acks): (&[Alarm], &[Ack]),
    ) -> Self {
        let none = Figures::default();
        let models: Vec<ModelView> = setup
            .models
            .iter()
            .enumerate()
            .map(|(at, config)| {
                let list = board.get(config.id.as_str());
                let sweep = progress.of(&config.id);
                let figures = figures.get(&config.id).unwrap_or(&none);
                let capabilities = config.policy.capabilities.iter();
                let of = |c: &Capability| board.of_capability(config.id.as_str(), c.as_str());
                let capabilities = capabilities.filter_map(|c| CapabilityView::new(c, &*of(c)?)).collect();
                let model = ModelView::new(at, now_us, config, list.as_deref(), sweep.as_deref(), figures);
                ModelView { capabilities, ..model }
            })
            .collect();
        let alarms: Vec<AlarmView> = alarms.iter().map(|alarm| AlarmView::new(alarm, now_us)).collect();
        let mut consumers: Vec<&Ack> = acks.iter().collect();
        // The latest word first: of many, those that are alive are shown.
        consumers.sort_by_key(|ack| std::cmp::Reverse(ack.at_us));
        let consumers =
            consumers.into_iter().take(PAGE_CONSUMERS).map(|ack| ConsumerRow::new(ack, board, now_us)).collect();
        PageView { summary: summary(&models, alarms.len()), now: When::new(now_us, now_us), alarms, models, consumers }
    }
}

impl ConsumerRow {
    fn new(ack: &Ack, board: &Board, now_us: Micros) -> Self {
        let served = match ack.capability.as_str() {
            "" => board.get(&ack.model),
            capability => board.of_capability(&ack.model, capability),
        };
        let served = served.map(|list| list.revision);
        let list = match (ack.model.as_str(), ack.capability.as_str()) {
            ("", _) => "all models".to_owned(),
            (model, "") => model.to_owned(),
            (model, capability) => format!("{model} · {capability}"),
        };
        let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
        let trouble = match (ack.status, served) {
            (AckStatus::Rejected, _) => format!("rejected {}: {}", ack.version, ack.detail),
            (AckStatus::Adopted, Some(served)) if ack.adopted != Some(served) => "behind".to_owned(),
            (AckStatus::Adopted, _) => String::new(),
        };
        let (adopted, served) = (number(ack.adopted), number(served));
        ConsumerRow { client: ack.client.clone(), list, adopted, served, trouble, at: When::new(ack.at_us, now_us) }
    }
}

fn summary(models: &[ModelView], alarms: usize) -> String {
    let mut out: Vec<String> = models
        .iter()
        .map(|m| match &m.list {
            None => format!("{}: no list yet", m.id),
            Some(l) => format!("{}: revision {}, {} listed, {} excluded", m.id, l.version, l.listed, l.excluded),
        })
        .collect();
    if alarms > 0 {
        out.push(format!("{alarms} open alarm(s)"));
    }
    out.join("; ")
}

impl AlarmView {
    fn new(alarm: &Alarm, now_us: Micros) -> Self {
        let about =
            [alarm.key.model.as_ref().map(ToString::to_string), alarm.key.endpoint.as_ref().map(ToString::to_string)];
        AlarmView {
            kind: alarm.key.kind.replace('_', " "),
            about: about.into_iter().flatten().collect::<Vec<_>>().join(" · "),
            text: alarm.text.clone(),
            since: When::new(alarm.opened_at_us, now_us),
        }
    }
}

impl ModelView {
    fn new(
        at: usize,
        now_us: Micros,
        config: &ModelConfig,
        published: Option<&Published>,
        sweep: Option<&SweepProgress>,
        figures: &Figures,
    ) -> Self {
        let document: Option<Allowlist> = published.and_then(|p| serde_json::from_slice(&p.body).ok());
        let list = published.zip(document.as_ref()).map(|(p, d)| ListView::new(p, d, now_us));
        let listed = document.as_ref().map(|d| d.providers.as_slice()).unwrap_or_default();
        let columns = columns(&figures.cards);
        let endpoints: Vec<EndpointRow> = routing_order(config, listed, figures)
            .into_iter()
            .map(|id| EndpointRow::new(&id, now_us, listed, figures, &columns))
            .collect();
        let attempts: u64 = figures.cards.iter().flat_map(|c| &c.suites).map(|s| s.attempts).sum();
        let aliases = config.aliases.iter().map(ModelId::as_str).collect::<Vec<_>>().join(", ");
        ModelView {
            id: config.id.to_string(),
            aliases,
            at,
            untouched: list.is_none() && attempts == 0 && sweep.is_none(),
            list,
            capabilities: Vec::new(),
            sweep: sweep.map(|sweep| SweepView::new(sweep, now_us)),
            suites: columns.iter().map(|(name, axis)| SuiteHead::new(name, *axis)).collect(),
            endpoints,
            attempts: count(attempts),
            decisions: figures.decisions.iter().map(|d| DecisionRow::new(d, now_us)).collect(),
            incomplete: figures.incomplete,
        }
    }
}

/// Listed endpoints by rank, then those without a decision, then the excluded ones.
fn routing_order(config: &ModelConfig, listed: &[ListedEntry], figures: &Figures) -> Vec<EndpointId> {
    let mut out: Vec<EndpointId> = listed.iter().map(|e| e.id.clone()).collect();
    let mut rest: Vec<EndpointId> = figures.standings.iter().map(|v| v.id.clone()).collect();
    rest.extend(config.endpoints.iter().map(|e| e.id.clone()));
    let is_excluded =
        |id: &EndpointId| figures.standings.iter().any(|v| v.id == *id && v.standing == Standing::Excluded);
    rest.sort_by_key(is_excluded);
    for id in rest {
        if !out.contains(&id) {
            out.push(id);
        }
    }
    out
}

/// The suites that have figures, in alphabetical order, each with the axis of its endpoints.
fn columns(cards: &[Scorecard]) -> Vec<(SuiteName, Axis)> {
    let mut intervals: BTreeMap<SuiteName, Vec<_>> = BTreeMap::new();
    for card in cards.iter().flat_map(|c| &c.suites) {
        intervals.entry(card.suite.clone()).or_default().extend(card.interval);
    }
    intervals.into_iter().map(|(name, intervals)| (name, Axis::of(intervals))).collect()
}

impl ListView {
    fn new(published: &Published, document: &Allowlist, now_us: Micros) -> Self {
        let (mode, mode_text) = match document.mode {
            AllowlistMode::Normal => ("normal", ""),
            AllowlistMode::Frozen => ("frozen", "a guard holds the last good list"),
            AllowlistMode::Bootstrap => ("bootstrap", "no endpoint has been admitted yet"),
        };
        ListView {
            version: published.revision,
            mode,
            mode_text,
            issued: When::new(published.issued_at_us, now_us),
            expires: When::new(published.expires_at_us, now_us),
            expired: published.expires_at_us <= now_us,
            listed: document.providers.len(),
            excluded: document.excluded.len(),
        }
    }
}

impl CapabilityView {
    /// `None`: the document cannot be read.
    fn new(capability: &Capability, published: &Published) -> Option<Self> {
        let document: Allowlist = serde_json::from_slice(&published.body).ok()?;
        let mode =
            if document.mode == AllowlistMode::Normal { String::new() } else { format!(", {}", document.mode.name()) };
        let text = format!("{} listed{mode}", document.providers.len());
        Some(CapabilityView { name: capability.to_string(), version: published.revision, text })
    }
}

impl SweepView {
    fn new(sweep: &SweepProgress, now_us: Micros) -> Self {
        let (done, planned) = (sweep.done(), sweep.planned.max(1));
        let ended = sweep.endpoints.values().filter(|e| {
            let [done, planned] = [&e.done, &e.planned].map(|n| n.load(Ordering::Relaxed));
            done >= planned
        });
        SweepView {
            title: match sweep.kind {
                SweepKind::Onboarding => "Onboarding sweep in flight",
                _ => "Sweep in flight",
            },
            done: done.min(planned),
            planned,
            text: format!("{} of {}", count(done), count(planned)),
            percent: (done.min(planned) * 100).checked_div(planned).unwrap_or(0),
            since: When::new(sweep.planned_at_us, now_us),
            endpoints: format!("{} of {}", ended.count(), sweep.endpoints.len()),
        }
    }
}

impl SuiteHead {
    fn new(name: &SuiteName, axis: Axis) -> Self {
        let (from, to) = axis.labels();
        SuiteHead { name: name.to_string(), from, to }
    }
}

impl EndpointRow {
    fn new(
        id: &EndpointId,
        now_us: Micros,
        listed: &[ListedEntry],
        figures: &Figures,
        columns: &[(SuiteName, Axis)],
    ) -> Self {
        let entry = listed.iter().find(|e| e.id == *id);
        let view = figures.standings.iter().find(|v| v.id == *id);
        let card = figures.cards.iter().find(|c| c.endpoint == *id);
        let standing = view.map(|v| v.standing).or(card.map(|c| c.standing)).unwrap_or(Standing::Unknown);
        let (class, sign) = badge(standing);
        let suites = card.map(|c| c.suites.as_slice()).unwrap_or_default();
        let cell = |(suite, axis): &(SuiteName, Axis)| match suites.iter().find(|s| s.suite == *suite) {
            Some(card) => Cell::new(card, *axis),
            None => Cell { head: suite.to_string(), ..Cell::default() },
        };
        EndpointRow {
            rank: entry.map(|e| e.rank.to_string()).unwrap_or_default(),
            weight: entry.map(|e| e.weight.to_string()).unwrap_or_default(),
            id: id.to_string(),
            badge: match view.and_then(|v| v.override_) {
                None => standing.name().to_owned(),
                Some(Override::Pinned) => format!("{standing}, pinned"),
                Some(Override::Banned) => format!("{standing}, banned"),
            },
            class,
            sign,
            since: view.map(|v| When::new(v.since_us, now_us)),
            cells: columns.iter().map(cell).collect(),
            faults: top_faults(suites),
            reason: view.map(|v| v.reason.clone()).unwrap_or_default(),
            change: view.and_then(|v| v.evidence["explained"]["change"].as_str()).unwrap_or_default().to_owned(),
        }
    }
}

/// The most frequent primary faults over all suites.
fn top_faults(suites: &[SuiteCard]) -> Vec<(String, String)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (fault, n) in suites.iter().flat_map(|s| &s.faults) {
        *sums.entry(fault).or_default() += n;
    }
    let mut sums: Vec<(&str, u64)> = sums.into_iter().filter(|(_, n)| *n > 0).collect();
    sums.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    sums.into_iter().take(PAGE_FAULTS).map(|(fault, n)| (fault.to_owned(), count(n))).collect()
}

impl Cell {
    fn new(card: &SuiteCard, axis: Axis) -> Self {
        let gap = card.gap.as_ref();
        let (from, to) = axis.labels();
        Cell {
            head: format!("{}, axis {from} to {to}", card.suite),
            rate: card.rate.map(percent).unwrap_or_default(),
            range: card.interval.map(range).unwrap_or_default(),
            plot: card.rate.zip(card.interval).map(|(rate, interval)| axis.draw(rate, interval)).unwrap_or_default(),
            gap: gap.map(|g| points(g.mean)).unwrap_or_default(),
            gap_range: gap
                .map(|g| format!("{} to {}", points(g.interval.lo), points(g.interval.hi)))
                .unwrap_or_default(),
            scored: count(card.pass + card.fail),
        }
    }
}

impl DecisionRow {
    fn new(decision: &Decision, now_us: Micros) -> Self {
        let (class, sign) = badge(decision.to);
        DecisionRow {
            at: When::new(decision.at_us, now_us),
            endpoint: decision.endpoint.to_string(),
            from: decision.from.name(),
            to: decision.to.name(),
            class,
            sign,
            moved: decision.from != decision.to,
            reason: decision.reason.clone(),
        }
    }
}
