//! From what happened in stories to figures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::{Policy, Standing};

use super::report::{Figures, PolicyReport, Sample, number, share};
use super::story::{Event, Played, Story, Truth};

/// Days of a year.
const DAYS: f64 = 365.0;

/// Everything counted about endpoints of one label.
#[derive(Debug, Default)]
struct Count {
    endpoints: u64,
    years: f64,
    requests: f64,
    undecided: u64,
    wrongly_excluded: u64,
    wrongly_admitted: u64,
    ever_good: u64,
    ever_bad: u64,
    false_exclusions: u64,
    false_inclusions: u64,
    transitions: u64,
    suspicions: u64,
    good_years: f64,
    to_admit: Sample,
    cases_to_first: Sample,
    worsened: u64,
    to_suspect: Sample,
    to_exclude: Sample,
    cases_to_exclude: Sample,
    mended: u64,
    to_readmit: Sample,
}

/// Sums up the repetitions of a story under one policy.
#[must_use]
pub fn summarise(story: &Story, policy: &Policy, name: &str, played: &[Played]) -> PolicyReport {
    let mut all = Count::default();
    let mut by_label: BTreeMap<usize, Count> = BTreeMap::new();
    let mut any = 0u64;
    for run in played {
        let wrong_before = all.wrongly_excluded + all.wrongly_admitted;
        for endpoint in 0..story.endpoints.len() {
            let label = &story.endpoints[endpoint].label;
            let first = story.endpoints.iter().position(|e| e.label == *label).unwrap_or(endpoint);
            for count in [&mut all, by_label.entry(first).or_default()] {
                count.take(story, policy, run, endpoint);
            }
        }
        any += u64::from(all.wrongly_excluded + all.wrongly_admitted > wrong_before);
    }
    let requests: Sample = played.iter().map(|p| p.requests() as f64).collect();
    let years: Sample = played.iter().map(|p| p.sweeps as f64 / story.sweeps_per_day() / DAYS).collect();
    let held: Sample = played.iter().map(|p| p.held as f64).collect();
    let published: Sample = played.iter().map(|p| p.published as f64).collect();
    let mut report = PolicyReport::new(name)
        .with("requests_mean", number(requests.mean()))
        .with("requests_per_year", number(requests.sum() / years.sum()))
        .with("any_error", share(any, played.len() as u64));
    report.figures.extend(all.errors());
    report = report.with("lists_published", number(published.mean())).with("sweeps_held", number(held.mean()));
    report.cells = by_label
        .into_iter()
        .map(|(first, count)| {
            let mut cell = Figures::new();
            cell.insert("endpoint".to_owned(), json!(story.endpoints[first].label));
            cell.extend(count.errors());
            cell.extend(count.delays());
            cell
        })
        .collect();
    report
}

impl Count {
    fn take(&mut self, story: &Story, policy: &Policy, run: &Played, endpoint: usize) {
        let years = |sweeps: u64| sweeps as f64 / story.sweeps_per_day() / DAYS;
        let truth = |sweep: u64| story.truth(policy, endpoint, sweep);
        self.endpoints += 1;
        self.years += years(run.sweeps);
        self.requests += run.asked[endpoint] as f64;
        let spans = spans(story, endpoint, run.sweeps);
        let ever = |wanted: Truth| spans.iter().any(|(from, _)| truth(*from) == wanted);
        self.ever_good += u64::from(ever(Truth::Good));
        self.ever_bad += u64::from(ever(Truth::Bad));
        if !ever(Truth::Bad) {
            self.good_years += years(run.sweeps);
            self.suspicions += run.of(endpoint).filter(|e| e.change.to == Standing::Suspect).count() as u64;
        }
        match run.first_decision(endpoint) {
            None => self.undecided += u64::from(!story.settled),
            Some(_) if story.settled => {}
            Some(first) => {
                self.cases_to_first.add(first.asked as f64);
                if first.change.to == Standing::Admitted && first.change.from != Standing::Excluded {
                    self.to_admit.add((first.sweep + 1) as f64 / story.sweeps_per_day());
                }
            }
        }
        self.errors_of(run, endpoint, story.settled, truth);
        self.delays_of(story, run, endpoint, &spans, truth);
    }

    fn errors_of(&mut self, run: &Played, endpoint: usize, settled: bool, truth: impl Fn(u64) -> Truth) {
        let (mut out, mut into) = (0, 0);
        let mut decided = settled;
        for event in run.of(endpoint) {
            let (from, to) = (event.change.from, event.change.to);
            match (to, truth(event.sweep)) {
                (Standing::Excluded, Truth::Good) => out += 1,
                (Standing::Admitted, Truth::Bad) if from != Standing::Suspect => into += 1,
                _ => {}
            }
            let crosses = is_listed(from) != is_listed(to);
            self.transitions += u64::from(decided && crosses);
            decided |= to.is_decided();
        }
        self.false_exclusions += out;
        self.false_inclusions += into;
        self.wrongly_excluded += u64::from(out > 0);
        self.wrongly_admitted += u64::from(into > 0);
    }

    fn delays_of(
        &mut self,
        story: &Story,
        run: &Played,
        endpoint: usize,
        spans: &[(u64, u64)],
        truth: impl Fn(u64) -> Truth,
    ) {
        for pair in spans.windows(2) {
            let ((before, _), (from, until)) = (pair[0], pair[1]);
            let within =
                |to: fn(&Event) -> bool| run.of(endpoint).find(move |e| (from..until).contains(&e.sweep) && to(e));
            let days = |e: &Event| (e.sweep + 1 - from) as f64 / story.sweeps_per_day();
            match (truth(before), truth(from)) {
                (Truth::Good, Truth::Bad) => {
                    self.worsened += 1;
                    let excluded = within(|e| e.change.to == Standing::Excluded);
                    let suspect = within(|e| matches!(e.change.to, Standing::Suspect | Standing::Excluded));
                    self.to_suspect.extend(suspect.map(days));
                    self.to_exclude.extend(excluded.map(days));
                    let asked = run.asked_before(endpoint, from);
                    self.cases_to_exclude.extend(excluded.map(|e| e.asked.saturating_sub(asked) as f64));
                }
                (Truth::Bad, Truth::Good) if was_excluded(run, endpoint, from) => {
                    self.mended += 1;
                    let back = within(|e| e.change.from == Standing::Excluded && e.change.to == Standing::Admitted);
                    self.to_readmit.extend(back.map(days));
                }
                _ => {}
            }
        }
    }

    fn errors(&self) -> Figures {
        let per_year = |n: u64, years: f64| number(n as f64 / years);
        let mut out = Figures::new();
        let mut put = |name: &str, value: Value| {
            out.insert(name.to_owned(), value);
        };
        put("false_exclude", share(self.wrongly_excluded, self.ever_good));
        put("false_include", share(self.wrongly_admitted, self.ever_bad));
        put("undecided", share(self.undecided, self.endpoints));
        put("false_exclusions_per_year", per_year(self.false_exclusions, self.years));
        put("false_inclusions_per_year", per_year(self.false_inclusions, self.years));
        put("transitions_per_year", per_year(self.transitions, self.years));
        put("false_suspect_per_year", per_year(self.suspicions, self.good_years));
        out
    }

    fn delays(&self) -> Figures {
        let mut out = Figures::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                out.insert(name.to_owned(), value);
            }
        };
        put("requests_per_year", number(self.requests / self.years));
        put("cases_to_first_decision", number(self.cases_to_first.mean()));
        put("days_to_admit", number(self.to_admit.mean()));
        for (name, sample) in [
            ("days_to_suspect", &self.to_suspect),
            ("days_to_exclude", &self.to_exclude),
            ("days_to_readmit", &self.to_readmit),
        ] {
            put(name, number(sample.mean()));
            put(&format!("{name}_p90"), number(sample.quantile(0.9)));
        }
        put("cases_to_exclude", number(self.cases_to_exclude.mean()));
        if self.worsened > 0 {
            put("excluded_share", share(self.to_exclude.count(), self.worsened));
        }
        if self.mended > 0 {
            put("readmitted_share", share(self.to_readmit.count(), self.mended));
        }
        out
    }
}

/// Whether a standing has a place on the list, by the defaults.
fn is_listed(standing: Standing) -> bool {
    matches!(standing, Standing::Admitted | Standing::Suspect | Standing::Provisional)
}

/// Times in which the endpoint's own state is constant: its eras, cut at the end.
fn spans(story: &Story, endpoint: usize, sweeps: u64) -> Vec<(u64, u64)> {
    let starts: Vec<u64> = story.endpoints[endpoint].eras.iter().map(|e| e.from).filter(|f| *f < sweeps).collect();
    let ends = starts.iter().skip(1).copied().chain([sweeps]);
    starts.iter().copied().zip(ends).collect()
}

/// Where it stood before a sweep.
fn was_excluded(run: &Played, endpoint: usize, sweep: u64) -> bool {
    run.of(endpoint).take_while(|e| e.sweep < sweep).last().is_some_and(|e| e.change.to == Standing::Excluded)
}
