//! Steps and their replay: what was made from stored inputs is made again, to the last byte, whatever happened.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::lists::configured;
use super::world::*;
use crate::curation::{
    Act, Base, Figures, Form, Input, ModelState, Record, Refused, Setting, Stepped, Tagged, decode, encode,
    overlay_after, render, step,
};
use crate::domain::canonical::sha256_hex;
use crate::domain::live::Quarantined;
use crate::domain::{
    Allowlist, Capability, Decision, DecisionKind, EndpointId, Micros, ModelId, Order, Outcome, OutcomeRow, Policy,
    Standing, SweepPlan, Verb,
};

/// A step as the store keeps it: texts and bytes only.
struct Stored {
    at_us: Micros,
    setting: String,
    record: String,
    plan: Option<String>,
    rows: Vec<OutcomeRow>,
    decisions: Vec<String>,
    documents: Vec<String>,
    state: Vec<u8>,
}

/// What a step publishes: the model's own list, then those of its capabilities.
fn documents(made: &Stepped) -> Vec<String> {
    let drafts = made.draft.iter().chain(made.capabilities.values().filter_map(|part| part.draft.as_ref()));
    drafts.map(|draft| render(&draft.allowlist)).collect()
}

/// A model whose steps are made and kept.
pub struct Chronicle {
    pub world: World,
    pub base: Base,
    pub policy: Policy,
    pub clock_us: Micros,
    /// The model's name at the provider, of endpoints where it is not the common one.
    pub upstream: BTreeMap<EndpointId, String>,
    /// The cases that carry a capability's tag, by suite; the capability of each name of a policy.
    pub tags: BTreeMap<Capability, Tagged>,
    /// By which form the program of the time makes its steps.
    pub form: Form,
    /// What live traffic keeps off the list.
    pub overlay: Vec<Quarantined>,
    steps: Vec<Stored>,
}

impl Chronicle {
    pub fn new(endpoints: &[&str]) -> Chronicle {
        let mut world = World::new(endpoints, &[("one", 20), ("two", 12)]);
        world.back_to_back = true;
        Chronicle {
            policy: world.policy.clone(),
            base: Base::default(),
            world,
            clock_us: START_US,
            upstream: BTreeMap::new(),
            tags: BTreeMap::new(),
            form: Form::NEWEST,
            overlay: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn setting(&self) -> Setting {
        let mut endpoints = configured(&self.world);
        endpoints.retain(|e| self.world.endpoints.contains(&e.id));
        for e in &mut endpoints {
            if let Some(name) = self.upstream.get(&e.id) {
                e.upstream_model.clone_from(name);
            }
        }
        Setting {
            model: ModelId::new("lab/m").unwrap(),
            endpoints,
            reference: None,
            suites: self.world.suites.iter().map(|(name, (digest, _))| (name.clone(), digest.clone())).collect(),
            policy: self.policy.clone(),
            capabilities: self.tags.clone(),
        }
    }

    pub fn take(&mut self, act: Act, sweep: Option<(SweepPlan, Vec<OutcomeRow>)>) -> Result<Stepped, Refused> {
        self.clock_us += HOUR_US;
        let setting = self.setting();
        let speed = Figures { latency_us: Some(self.clock_us as f64 / 7e9), tokens_per_second: None };
        let figures = self.world.endpoints.iter().map(|id| (id.clone(), speed)).collect();
        let overlay = overlay_after(self.overlay.clone(), &act, self.clock_us);
        let record = Record { act, figures, overlay, form: self.form };
        let of = sweep.as_ref().map(|(plan, rows)| (plan, rows.as_slice()));
        let input = Input { at_us: self.clock_us, setting: &setting, record: &record, sweep: of };
        let made = step(&self.base, &input)?;
        self.steps.push(Stored {
            at_us: self.clock_us,
            setting: setting.to_stored().unwrap().1,
            record: record.to_stored().unwrap(),
            plan: sweep.as_ref().map(|(plan, _)| serde_json::to_string(plan).unwrap()),
            rows: sweep.map(|(_, rows)| rows).unwrap_or_default(),
            decisions: made.decisions.iter().map(|d| serde_json::to_string(d).unwrap()).collect(),
            documents: documents(&made),
            state: encode(&made.state),
        });
        let before = std::mem::take(&mut self.base);
        self.base = made.clone().into_base(self.clock_us, before, setting);
        self.overlay = record.overlay;
        self.world.state = self.base.state.clone();
        Ok(made)
    }

    pub fn configure(&mut self) -> Stepped {
        self.take(Act::Configured, None).unwrap()
    }

    pub fn planned(&mut self, answer: impl FnMut(&Ask<'_>, &mut Dice) -> Outcome) -> (SweepPlan, Vec<OutcomeRow>) {
        self.world.policy = self.policy.clone();
        self.world.now_us = self.clock_us;
        let plan = self.world.plan();
        let rows = self.world.rows(&plan, answer);
        (plan, rows)
    }

    pub fn end(&mut self, (plan, rows): (SweepPlan, Vec<OutcomeRow>)) -> Stepped {
        let act = Act::Sweep { attempts: rows.len() as u64, sweeps_per_year: Some(PER_YEAR), after: None };
        self.take(act, Some((plan, rows))).unwrap()
    }

    pub fn sweep(&mut self, answer: impl FnMut(&Ask<'_>, &mut Dice) -> Outcome) -> Stepped {
        let planned = self.planned(answer);
        self.end(planned)
    }

    pub fn order(&mut self, verb: Verb, id: Option<&str>) -> Result<Stepped, Refused> {
        let order = Order::new(verb, id.map(endpoint), "ann", "because").unwrap();
        self.take(Act::Operator { order }, None)
    }

    pub fn list(&self) -> &Allowlist {
        self.base.list.as_ref().unwrap()
    }

    pub fn listed(&self) -> Vec<&str> {
        self.list().providers.iter().map(|p| p.id.as_str()).collect()
    }

    /// Makes every step again as if the policy asked for no capability: the model's own list is the same, with the same
    /// decisions, from the same sweeps.
    pub fn check_own_list(&self) {
        let mut base = Base::default();
        for stored in &self.steps {
            let setting = Setting::from_stored(&stored.setting).unwrap();
            let setting = Setting { capabilities: BTreeMap::new(), ..setting };
            let record = Record::from_stored(&stored.record).unwrap();
            let plan: Option<SweepPlan> = stored.plan.as_ref().map(|text| serde_json::from_str(text).unwrap());
            let sweep = plan.as_ref().map(|plan| (plan, stored.rows.as_slice()));
            let input = Input { at_us: stored.at_us, setting: &setting, record: &record, sweep };
            // An acknowledgement of what holds a capability's list alone is no order for the model's own.
            let configured = Record { act: Act::Configured, ..record.clone() };
            let made = step(&base, &input).or_else(|_| step(&base, &Input { record: &configured, ..input })).unwrap();
            let own: Vec<Decision> = stored.decisions.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            let mut own: Vec<Decision> = own.into_iter().filter(|d| d.capability.is_none()).collect();
            for told in own.iter_mut().filter_map(|d| d.evidence.as_object_mut()) {
                told.remove("capabilities");
            }
            let documents: Vec<&String> =
                stored.documents.iter().filter(|text| !text.contains("\"capability\":")).collect();
            let state = ModelState { capabilities: BTreeMap::new(), ..decode(&stored.state).unwrap() };
            assert_eq!(made.decisions, own);
            let made_documents: Vec<String> = made.draft.iter().map(|d| render(&d.allowlist)).collect();
            assert_eq!(made_documents.iter().collect::<Vec<_>>(), documents);
            assert_eq!(made.state, state);
            base = made.into_base(stored.at_us, base, setting);
        }
    }

    /// Makes every step again from its texts.
    pub fn check_replay(&self) {
        let mut base = Base::default();
        for stored in &self.steps {
            let setting = Setting::from_stored(&stored.setting).unwrap();
            let record = Record::from_stored(&stored.record).unwrap();
            let plan: Option<SweepPlan> = stored.plan.as_ref().map(|text| serde_json::from_str(text).unwrap());
            // The rows of a sweep come in any order.
            let mut rows = stored.rows.clone();
            Dice(base.seq).shuffle(&mut rows);
            let sweep = plan.as_ref().map(|plan| (plan, rows.as_slice()));
            let input = Input { at_us: stored.at_us, setting: &setting, record: &record, sweep };
            let made = step(&base, &input).unwrap();
            let decisions: Vec<String> = made.decisions.iter().map(|d| serde_json::to_string(d).unwrap()).collect();
            assert_eq!(decisions, stored.decisions);
            assert_eq!(documents(&made), stored.documents);
            assert_eq!(encode(&made.state), stored.state);
            assert_eq!(decode(&stored.state).unwrap(), made.state);
            base = made.into_base(stored.at_us, base, setting);
        }
        assert_eq!(base, self.base);
    }
}

fn easy() -> Policy {
    Policy {
        alpha: 0.3,
        exclude_after_sweeps: 20.0,
        suspect_at: 3.0,
        burst_at: 2.0,
        readmit_after_sweeps: 2.0,
        ..Policy::default()
    }
}

/// No capability; some cases of one suite; others of them; both suites and a second one.
pub fn tags(which: u8) -> BTreeMap<Capability, Tagged> {
    let cases = |range: std::ops::Range<usize>| range.map(case).collect::<Vec<_>>();
    let tools = |range| (Capability::new("tools").unwrap(), Tagged::from([(suite("one"), cases(range))]));
    match which {
        0 => BTreeMap::new(),
        1 => [tools(0..8)].into(),
        2 => [tools(0..9)].into(),
        _ => {
            let both = Tagged::from([(suite("one"), cases(3..20)), (suite("two"), cases(0..6))]);
            [tools(0..8), (Capability::new("streaming").unwrap(), both)].into()
        }
    }
}

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What may happen to a model.
#[derive(Debug, Clone)]
enum Event {
    Sweep { bad: usize, odd: f64 },
    Order(Verb, usize),
    Refresh,
    Configure { drop: usize },
    Policy(u8),
    Suite(u8),
    Capabilities(u8),
    Clock(i64),
    Closed,
    Restored,
    OutOfOrder,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..8usize, 0.0..0.1f64).prop_map(|(bad, odd)| Event::Sweep { bad, odd }),
        4 => (prop::sample::select(Verb::ALL.to_vec()), 0..5usize).prop_map(|(v, i)| Event::Order(v, i)),
        1 => Just(Event::Refresh),
        2 => (0..7usize).prop_map(|drop| Event::Configure { drop }),
        1 => (0..4u8).prop_map(Event::Policy),
        1 => (0..3u8).prop_map(Event::Suite),
        2 => (0..4u8).prop_map(Event::Capabilities),
        1 => (-48..48i64).prop_map(Event::Clock),
        1 => Just(Event::Closed),
        1 => Just(Event::Restored),
        1 => Just(Event::OutOfOrder),
    ]
}

fn happen(c: &mut Chronicle, event: &Event) {
    let answer = |bad: usize, odd: f64| {
        move |ask: &Ask<'_>, dice: &mut Dice| match dice.unit() {
            u if u < odd / 3.0 => Outcome::Missing,
            u if u < odd / 2.0 => Outcome::Scored(f64::NAN),
            u if u < odd => Outcome::Skipped { provenance: true },
            _ => scored(IDS.get(bad) != Some(&ask.endpoint) || dice.unit() < 0.3),
        }
    };
    match event {
        Event::Sweep { bad, odd } => drop(c.sweep(answer(*bad, *odd))),
        Event::Order(verb, i) => {
            let id = verb.takes_endpoint().then_some(IDS[*i]);
            let _ = c.order(*verb, id);
        }
        Event::Refresh => drop(c.take(Act::Refresh, None)),
        Event::Configure { drop } => {
            c.world.endpoints = IDS.iter().map(|id| endpoint(id)).collect();
            if *drop < IDS.len() {
                c.world.endpoints.remove(*drop);
            }
            c.configure();
        }
        Event::Policy(which) => match which {
            0 => c.policy.margin = 0.03,
            1 => c.policy.min_providers = 4,
            2 => c.policy.rank_by = crate::domain::policy::RankBy::Latency,
            _ => c.policy = easy(),
        },
        Event::Suite(label) => {
            c.world.suites.insert(suite("one"), (digest(&label.to_string()), 20));
        }
        Event::Capabilities(which) => c.tags = tags(*which),
        Event::Clock(hours) => c.clock_us += hours * HOUR_US,
        Event::Closed => {
            let endpoints = c.world.endpoints.clone();
            let sweep = crate::domain::SweepId(uuid::Uuid::from_u128(7));
            let _ = c.take(Act::Closed { sweep, ordinal: 3, endpoints, why: "too old".to_owned() }, None);
        }
        Event::Restored => {
            let (seq, revision) = (c.base.seq + 3, c.base.list.as_ref().map_or(0, |l| l.version) + 2);
            let later = |(name, list): (&Capability, &Allowlist)| (name.clone(), list.version + 2);
            let capabilities = c.base.lists.iter().map(later).collect();
            let _ = c.take(Act::Restored { seq, revision, capabilities, overtaken: seq % 2 == 0 }, None);
        }
        Event::OutOfOrder => {
            let first = c.planned(answer(1, 0.0));
            c.sweep(answer(2, 0.0));
            c.end(first);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happened_is_made_again_to_the_last_byte(
        events in prop::collection::vec(event(), 1..25),
        seed in 1u64..1000,
    ) {
        let mut c = Chronicle::new(&IDS);
        c.world.dice = Dice(seed);
        c.policy = easy();
        c.configure();
        let mut revision = c.list().version;
        let mut revisions: BTreeMap<Capability, u64> = BTreeMap::new();
        let mut ids: Vec<uuid::Uuid> = Vec::new();
        for event in &events {
            happen(&mut c, event);
            let list = c.list();
            prop_assert!(!list.providers.is_empty());
            prop_assert!(list.version >= revision, "a revision never goes back");
            revision = list.version;
            for (name, list) in &c.base.lists {
                prop_assert!(!list.providers.is_empty() && list.capability.as_ref() == Some(name));
                let before = revisions.insert(name.clone(), list.version).unwrap_or(0);
                prop_assert!(list.version >= before, "nor does that of a capability");
            }
        }
        for stored in &c.steps {
            for decision in &stored.decisions {
                let decision: crate::domain::Decision = serde_json::from_str(decision).unwrap();
                prop_assert!(ids.last().is_none_or(|last| *last < decision.id), "ids sort as decisions were made");
                ids.push(decision.id);
            }
        }
        c.check_replay();
        c.check_own_list();
    }
}

fn kinds(made: &Stepped) -> Vec<(&str, DecisionKind)> {
    made.decisions.iter().map(|d| (d.endpoint.as_str(), d.kind)).collect()
}

#[test]
fn a_clock_that_goes_back_is_told_once_and_costs_nothing() {
    let mut c = Chronicle::new(&["a", "b"]);
    c.configure();
    let first = c.list().clone();
    c.clock_us -= 3 * HOUR_US;
    let made = c.configure();
    assert_eq!(kinds(&made), [("a", DecisionKind::Irregular), ("b", DecisionKind::Irregular)]);
    insta::assert_snapshot!(made.decisions[0].reason, @"irregular: the clock went back from 2026-01-31T13:00:00Z to 2026-01-31T11:00:00Z; steps keep their order, times of this one are the clock's");
    // The document of the future is replaced by one that does not outlast its validity.
    assert_eq!((c.list().version, c.list().issued_at.as_str()), (first.version + 1, "2026-01-31T11:00:00Z"));
    assert!(c.configure().decisions.is_empty(), "told once");
    c.check_replay();
}

#[test]
fn an_edited_policy_is_told_with_what_changed() {
    let mut c = Chronicle::new(&["a", "b"]);
    c.configure();
    c.sweep(|_, _| PASS);
    c.policy.alpha = 0.05;
    c.policy.cases.cap = 3000;
    let made = c.configure();
    assert!(made.decisions.iter().all(|d| d.kind == DecisionKind::VersionChange && d.from == d.to));
    let told = "policy change: alpha 0.01 -> 0.05, cases.cap 2500 -> 3000; in force from now on (policy ";
    assert!(made.decisions[0].reason.starts_with(told), "{}", made.decisions[0].reason);
    // Evidence was kept.
    assert!(made.state.endpoints[&endpoint("a")].suites[&suite("one")].cases > 0);
    assert!(c.configure().decisions.is_empty());
    c.check_replay();
}

#[test]
fn a_sweep_that_ends_after_a_later_one_counts_and_is_told() {
    let mut c = Chronicle::new(&["a", "b", "c"]);
    c.configure();
    let early = c.planned(|_, _| PASS);
    c.sweep(|_, _| PASS);
    let cases = |c: &Chronicle| c.base.state.endpoints[&endpoint("a")].suites[&suite("one")].cases;
    let before = cases(&c);
    let made = c.end(early);
    insta::assert_snapshot!(made.decisions[0].reason, @"irregular: sweep 1 ended after one that was begun later; sweeps count in the order of their ends");
    assert_eq!((made.decisions.len(), cases(&c)), (3, before + 20));
    c.check_replay();
}

#[test]
fn scores_out_of_range_are_skipped_and_told() {
    let mut c = Chronicle::new(&["a", "b"]);
    c.policy.graded = true;
    c.configure();
    let odd = [f64::NAN, f64::INFINITY, -0.5, 1.5];
    let made = c.sweep(|ask, _| match (ask.endpoint, ask.suite, ask.case) {
        ("b", "one", case) if case < odd.len() => Outcome::Scored(odd[case]),
        _ => PASS,
    });
    assert_eq!(kinds(&made), [("b", DecisionKind::Irregular)]);
    insta::assert_snapshot!(made.decisions[0].reason, @"irregular: 4 score(s) of suite one in sweep 1 are not in [0, 1] (grader error): skipped; look at the suite's scorers");
    let evidence = &made.state.endpoints[&endpoint("b")];
    assert_eq!((evidence.suites[&suite("one")].cases, evidence.usable.asked), (16, 28));
    assert!(encode(&made.state).len() > 100 && evidence.suites[&suite("one")].log_e_ad(&Policy::default()).is_finite());
    c.check_replay();
}

#[test]
fn endpoints_that_come_go_and_change_their_names_in_mid_sweep_are_told() {
    let mut c = Chronicle::new(&["a", "b", "c"]);
    c.configure();
    let planned = c.planned(|_, _| PASS);
    c.world.endpoints = vec![endpoint("a"), endpoint("b"), endpoint("c2")];
    let made = c.end(planned);
    assert_eq!(
        kinds(&made)[..2],
        [("c", DecisionKind::Left), ("c2", DecisionKind::Entered)],
        "a new name is a new endpoint"
    );
    assert_eq!(made.state.endpoints[&endpoint("a")].suites[&suite("one")].cases, 20);
    assert!(!made.state.endpoints[&endpoint("c")].configured, "its answers are kept in the store and count no more");
    assert!(!made.state.endpoints[&endpoint("c")].suites.contains_key(&suite("one")));
    assert_eq!(c.listed(), ["a", "b", "c2"]);
    c.check_replay();
}

#[test]
fn a_restored_store_goes_on_above_every_revision_that_was_seen() {
    let mut c = Chronicle::new(&["a", "b"]);
    c.configure();
    let made =
        c.take(Act::Restored { seq: 41, revision: 17, capabilities: BTreeMap::new(), overtaken: false }, None).unwrap();
    insta::assert_snapshot!(made.decisions[0].reason, @"irregular: the store was restored from a backup: it ends at step 1 (revision 1), step 41 (revision 17) had been reached; what happened between is unknown, revisions go on at 18");
    assert_eq!(c.list().version, 18);
    assert_eq!(kinds(&made).len(), 2);
    c.check_replay();
}

#[test]
fn a_closed_sweep_is_told_to_those_who_took_part() {
    let mut c = Chronicle::new(&["a", "b", "c"]);
    c.configure();
    let sweep = crate::domain::SweepId(uuid::Uuid::from_u128(7));
    let endpoints: Vec<EndpointId> = vec![endpoint("a"), endpoint("gone")];
    let made = c.take(Act::Closed { sweep, ordinal: 3, endpoints, why: "older than its deadline".to_owned() }, None);
    let made = made.unwrap();
    assert_eq!((kinds(&made), made.decisions[0].sweep), (vec![("a", DecisionKind::Irregular)], Some(sweep)));
    insta::assert_snapshot!(made.decisions[0].reason, @"irregular: sweep 3 was closed without evidence (older than its deadline); its attempts remain");
    assert_eq!(made.state.endpoints[&endpoint("a")].standing, Standing::Unknown);
}

/// Two weeks of a model with falls, lost answers, a capability, orders and another suite; all that was stored of it, as
/// one digest.
fn told(c: &mut Chronicle) -> String {
    c.tags = tags(3);
    c.configure();
    for n in 0..60usize {
        c.sweep(|ask, dice| match (ask.endpoint, dice.unit()) {
            (_, u) if u < 0.01 => Outcome::Missing,
            ("b", u) if n > 20 => scored(u > 0.4),
            ("c", u) if n > 35 => Outcome::Scored((u * 4.0).round() / 4.0),
            (_, u) => scored(u > 0.03),
        });
        match n {
            10 => drop(c.order(Verb::Pin, Some("d"))),
            30 => c.tags = tags(2),
            40 => drop(c.order(Verb::Reset, Some("b"))),
            50 => drop(c.world.suites.insert(suite("two"), (digest("other"), 12))),
            55 => drop(c.order(Verb::Ack, None)),
            _ => {}
        }
    }
    let mut text = String::new();
    for stored in &c.steps {
        let Stored { at_us: _, setting, record, plan, rows: _, decisions, documents, state } = stored;
        let state = sha256_hex(state);
        text.push_str(&format!("{setting}{record}{plan:?}{decisions:?}{documents:?}{state}"));
    }
    sha256_hex(text.as_bytes())
}

#[test]
fn steps_of_earlier_versions_are_made_again_to_the_last_byte() {
    let mut c = Chronicle::new(&IDS);
    c.form = Form::FIRST;
    c.policy = easy();
    // By the program from before there were other forms of states, but for the rules, which are of version 4.
    assert_eq!(told(&mut c), "8855c0c24c4f9b7d7a874f894dd8091ed9a199262823e7533bd265693b8a956c");
    c.check_replay();
    assert!(c.base.state.levels.is_empty() && c.steps.iter().all(|step| !step.record.contains("form")));
}

#[test]
fn a_state_of_an_earlier_version_goes_on_in_the_newest_form() {
    let mut c = Chronicle::new(&IDS);
    c.form = Form::FIRST;
    c.policy = easy();
    told(&mut c);
    let before = encode(&c.base.state).len();
    c.form = Form::NEWEST;
    let standings = |c: &Chronicle| c.base.state.endpoints.values().map(|e| e.standing).collect::<Vec<_>>();
    let stood = standings(&c);
    let made = c.configure();
    assert!(made.is_news && made.decisions.is_empty(), "{:?}", made.decisions);
    assert_eq!(standings(&c), stood);
    let (own, capability) = (&c.base.state, c.base.state.capabilities.values().next().unwrap());
    assert_eq!((own.form, capability.form), (Form::NEWEST, Form::NEWEST));
    assert!(encode(own).len() < before * 2 / 3, "{before} {}", encode(own).len());
    assert!(!c.configure().is_news);
    told(&mut c);
    assert!(!c.base.state.levels.is_empty());
    // An older record among newer ones takes nothing back.
    c.form = Form::FIRST;
    c.sweep(|_, _| PASS);
    assert_eq!(c.base.state.form, Form::NEWEST);
    c.check_replay();
    c.check_own_list();
}
