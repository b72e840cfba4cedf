//! Reads a scenario of a user from TOML: every problem at once, each with its place. The format is described in
//! `docs/statistics.md`.

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::{Diagnostic, Diagnostics, nearest};
use crate::domain::{EndpointId, SuiteName};

use super::fleet::{Pace, SWEEPS_PER_DAY};
use super::population::{NOISE, SPREAD};
use super::story::{Burst, Cast, Era, Story, SuiteSpec, Version};
use super::tale::Variant;
use super::{Scenario, Tale};

/// Most endpoints of a scenario.
pub const ENDPOINTS_MAX: usize = 200;

/// Most suites of a scenario.
pub const SUITES_MAX: usize = 20;

/// Most cases of a suite.
pub const CASES_MAX: i64 = 100_000;

/// Most sweeps of a scenario.
pub const SWEEPS_MAX: i64 = 1_000_000;

/// Sweeps of a scenario that does not say: a year.
const SWEEPS: i64 = 1460;

/// Repetitions of a scenario that does not say.
const REPS: i64 = 100;

const TOP: &[&str] = &[
    "name",
    "about",
    "sweeps",
    "sweeps_per_day",
    "back_to_back",
    "until_decided",
    "begin",
    "order",
    "reference",
    "reps",
    "acknowledge_after",
    "suite",
    "endpoint",
    "version",
];
const SUITE: &[&str] = &["name", "cases", "base", "spread", "parts"];
const ENDPOINT: &[&str] = &["id", "count", "drop", "noise", "missing", "change", "burst"];
const CHANGE: &[&str] = &["at", "drop", "missing"];
const BURST: &[&str] = &["chance", "length", "fails", "missing", "common", "from", "to"];
const VERSION: &[&str] = &["at", "suite", "base"];

/// Reads a scenario; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &Path, text: &str) -> Result<Scenario, Diagnostics> {
    let mut reader = Reader { file, text, problems: Diagnostics::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        reader.problem(span, format!("this is not TOML: {}", error.message()), "");
    }
    if !reader.problems.0.is_empty() {
        return Err(reader.problems);
    }
    let top = Table { table: document.get_ref(), span: document.span(), name: "the scenario" };
    let tale = reader.tale(&top);
    reader.problems.into_result(Scenario::Tale(tale))
}

/// A table being read.
struct Table<'t> {
    table: &'t DeTable<'t>,
    span: Range<usize>,
    name: &'static str,
}

impl<'t> Table<'t> {
    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    fn place(&self, key: &str) -> Range<usize> {
        self.value(key).map_or(self.span.clone(), Spanned::span)
    }
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Diagnostics,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>, hint: &str) {
        let problem = Diagnostic::at(self.file, self.text, span, message);
        self.problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    fn tale(&mut self, top: &Table<'_>) -> Tale {
        self.known(top, TOP);
        let suites = self.suites(top);
        let names: Vec<String> = suites.iter().map(|s| s.name.clone()).collect();
        let (ids, endpoints) = self.endpoints(top, &suites);
        let name = self.text(top, "name").unwrap_or_else(|| "scenario".to_owned());
        let reference = self.text(top, "reference").and_then(|id| {
            let found = ids.iter().position(|i| *i == id);
            if found.is_none() {
                self.problem(top.place("reference"), format!("no endpoint has the id {id:?}"), "");
            }
            found
        });
        let back_to_back = self.flag(top, "back_to_back");
        let per_day = self.whole(top, "sweeps_per_day", i64::from(SWEEPS_PER_DAY), 1..=1440);
        let story = Story {
            versions: self.versions(top, &names),
            suites,
            endpoints,
            sweeps: self.whole(top, "sweeps", SWEEPS, 1..=SWEEPS_MAX).unsigned_abs(),
            pace: if back_to_back { Pace::BackToBack } else { Pace::PerDay(u32::try_from(per_day).unwrap_or(1)) },
            settled: self.word(top, "begin", &["unknown", "admitted"]) == Some(1),
            shuffled: self.word(top, "order", &["given", "random"]) != Some(0),
            until_decided: self.flag(top, "until_decided"),
            reference,
            acknowledge_after: self
                .whole(top, "acknowledge_after", i64::from(SWEEPS_PER_DAY), 0..=SWEEPS_MAX)
                .unsigned_abs(),
        };
        Tale {
            about: self.text(top, "about").unwrap_or_else(|| format!("the scenario of {}", self.file.display())),
            name: name.clone(),
            reps: self.whole(top, "reps", REPS, 1..=1_000_000).unsigned_abs(),
            compares: story.suites.len() == 1,
            variants: vec![Variant { label: name, story }],
        }
    }

    fn suites(&mut self, top: &Table<'_>) -> Vec<SuiteSpec> {
        let mut out: Vec<SuiteSpec> = Vec::new();
        for table in self.tables(top, "suite", "[[suite]]", SUITES_MAX) {
            self.known(&table, SUITE);
            let name = self.text(&table, "name").unwrap_or_else(|| "suite".to_owned());
            if let Err(error) = SuiteName::new(&name) {
                self.problem(table.place("name"), error.to_string(), "");
            }
            if out.iter().any(|s| s.name == name) {
                self.problem(
                    table.place("name"),
                    format!("suite {name:?} stands twice"),
                    "give each suite a name of its own",
                );
            }
            out.push(SuiteSpec {
                name,
                cases: self.whole(&table, "cases", 200, 1..=CASES_MAX) as usize,
                base: self.share(&table, "base", 0.97, 0.01..=0.999),
                spread: self.share(&table, "spread", SPREAD, 0.0..=10.0),
                parts: self.whole(&table, "parts", 1, 1..=100) as u32,
            });
        }
        if out.is_empty() {
            self.problem(
                top.span.start..top.span.start,
                "the scenario has no suite",
                "add [[suite]] with name, cases and base",
            );
        }
        // As the fleet orders them.
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    fn endpoints(&mut self, top: &Table<'_>, suites: &[SuiteSpec]) -> (Vec<String>, Vec<Cast>) {
        let (mut ids, mut out) = (Vec::new(), Vec::new());
        for table in self.tables(top, "endpoint", "[[endpoint]]", ENDPOINTS_MAX) {
            self.known(&table, ENDPOINT);
            let id = self.text(&table, "id").unwrap_or_else(|| format!("endpoint-{}", out.len() + 1));
            if let Err(error) = EndpointId::new(&id) {
                self.problem(table.place("id"), error.to_string(), "");
            }
            if ids.contains(&id) {
                self.problem(
                    table.place("id"),
                    format!("endpoint {id:?} stands twice"),
                    "use `count` for several alike",
                );
            }
            let cast = self.cast(&table, &id, suites);
            let count = self.whole(&table, "count", 1, 1..=ENDPOINTS_MAX as i64);
            for _ in 0..count {
                ids.push(id.clone());
                out.push(cast.clone());
            }
        }
        let place = top.place("endpoint");
        match out.len() {
            0 | 1 => {
                self.problem(place, "a scenario has at least two endpoints", "add [[endpoint]] with an id and a drop")
            }
            n if n > ENDPOINTS_MAX => {
                self.problem(place, format!("a scenario has at most {ENDPOINTS_MAX} endpoints, this one has {n}"), "");
            }
            _ => {}
        }
        (ids, out)
    }

    fn cast(&mut self, table: &Table<'_>, id: &str, suites: &[SuiteSpec]) -> Cast {
        let first = Era {
            from: 0,
            drops: self.drops(table, suites, &vec![0.0; suites.len()]),
            missing: self.share(table, "missing", 0.0, 0.0..=1.0),
        };
        let mut eras = vec![first];
        for change in self.tables(table, "change", "[[endpoint.change]]", 1000) {
            self.known(&change, CHANGE);
            let from = self.whole(&change, "at", 0, 1..=SWEEPS_MAX).unsigned_abs();
            let before = eras.last().cloned().unwrap_or(Era { from: 0, drops: vec![0.0; suites.len()], missing: 0.0 });
            if from <= before.from {
                self.problem(
                    change.place("at"),
                    format!(
                        "changes stand in the order of their sweeps, and above 0; the one before is at {}",
                        before.from
                    ),
                    "",
                );
            }
            eras.push(Era {
                from,
                drops: self.drops(&change, suites, &before.drops),
                missing: self.share(&change, "missing", before.missing, 0.0..=1.0),
            });
        }
        let mut bursts = Vec::new();
        for burst in self.tables(table, "burst", "[[endpoint.burst]]", 100) {
            self.known(&burst, BURST);
            bursts.push(Burst {
                chance: self.share(&burst, "chance", 1.0, 0.0..=1.0),
                length: self.share(&burst, "length", 1.0, 0.0..=1.0),
                fails: self.share(&burst, "fails", 1.0, 0.0..=1.0),
                missing: self.flag(&burst, "missing"),
                common: self.flag(&burst, "common"),
                between: (
                    self.whole(&burst, "from", 0, 0..=SWEEPS_MAX).unsigned_abs(),
                    self.whole(&burst, "to", SWEEPS_MAX, 0..=SWEEPS_MAX).unsigned_abs(),
                ),
            });
        }
        Cast { label: id.to_owned(), noise: self.share(table, "noise", NOISE, 0.0..=5.0), eras, bursts }
    }

    /// `drop = 0.05` for every suite, or `drop = { name = 0.05 }`; suites not named keep what was before.
    fn drops(&mut self, table: &Table<'_>, suites: &[SuiteSpec], before: &[f64]) -> Vec<f64> {
        let Some(value) = table.value("drop") else { return before.to_vec() };
        let mut out = before.to_vec();
        let mut set = |reader: &mut Self, suite: usize, value: &Spanned<DeValue<'_>>| {
            let most = suites[suite].base;
            match number(value.get_ref()) {
                Some(drop) if (-0.5..=most).contains(&drop) && suites[suite].base - drop < 1.0 => out[suite] = drop,
                _ => {
                    let hint = "0.05 is five points; a negative drop is better than the base";
                    let message = format!("a drop in suite {} is a number up to its base, {most}", suites[suite].name);
                    reader.problem(value.span(), message, hint);
                }
            }
        };
        match value.get_ref() {
            DeValue::Table(by_suite) => {
                for (name, value) in by_suite {
                    match suites.iter().position(|s| s.name == *name.get_ref()) {
                        Some(suite) => set(self, suite, value),
                        None => self.problem(name.span(), format!("no suite is named {:?}", name.get_ref()), ""),
                    }
                }
            }
            _ => (0..suites.len()).for_each(|suite| set(self, suite, value)),
        }
        out
    }

    fn versions(&mut self, top: &Table<'_>, names: &[String]) -> Vec<Version> {
        let mut out = Vec::new();
        for table in self.tables(top, "version", "[[version]]", 1000) {
            self.known(&table, VERSION);
            let name = self.text(&table, "suite").unwrap_or_default();
            let Some(suite) = names.iter().position(|n| *n == name) else {
                self.problem(table.place("suite"), format!("no suite is named {name:?}"), "");
                continue;
            };
            let at = self.whole(&table, "at", 1, 1..=SWEEPS_MAX).unsigned_abs();
            out.push(Version { at, suite, base: self.share(&table, "base", 0.97, 0.01..=0.999) });
        }
        out
    }

    // ------------------------------------------------------------------------------------------------------ values

    fn known(&mut self, table: &Table<'_>, keys: &[&str]) {
        for (name, _) in table.table {
            if !keys.contains(&name.get_ref().as_ref()) {
                let hint = match nearest(name.get_ref(), keys.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known keys: {}", keys.join(", ")),
                };
                self.problem(name.span(), format!("unknown key `{}` in {}", name.get_ref(), table.name), &hint);
            }
        }
    }

    fn tables<'t>(&mut self, table: &Table<'t>, key: &str, name: &'static str, most: usize) -> Vec<Table<'t>> {
        let Some(value) = table.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.problem(value.span(), format!("`{key}` is written as {name}"), "");
            return Vec::new();
        };
        if items.len() > most {
            self.problem(value.span(), format!("at most {most} {name}, here are {}", items.len()), "");
        }
        let mut out = Vec::new();
        for item in items.iter().take(most) {
            match item.get_ref().as_table() {
                Some(table) => out.push(Table { table, span: item.span(), name }),
                None => self.problem(item.span(), format!("`{key}` is written as {name}"), ""),
            }
        }
        out
    }

    fn text(&mut self, table: &Table<'_>, key: &str) -> Option<String> {
        let value = table.value(key)?;
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.problem(value.span(), format!("`{key}` is a text"), "texts stand in quotes: key = \"text\"");
        }
        text
    }

    fn flag(&mut self, table: &Table<'_>, key: &str) -> bool {
        let Some(value) = table.value(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.problem(value.span(), format!("`{key}` is true or false"), "");
            false
        })
    }

    fn whole(&mut self, table: &Table<'_>, key: &str, default: i64, range: RangeInclusive<i64>) -> i64 {
        let Some(value) = table.value(key) else { return default };
        match integer(value.get_ref()) {
            Some(n) if range.contains(&n) => n,
            _ => {
                let message = format!("`{key}` is a whole number from {} to {}", range.start(), range.end());
                self.problem(value.span(), message, "");
                default
            }
        }
    }

    fn share(&mut self, table: &Table<'_>, key: &str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let Some(value) = table.value(key) else { return default };
        match number(value.get_ref()) {
            Some(x) if range.contains(&x) => x,
            _ => {
                let message = format!("`{key}` is a number from {} to {}", range.start(), range.end());
                self.problem(value.span(), message, "");
                default
            }
        }
    }

    /// Place of a word among those allowed.
    fn word(&mut self, table: &Table<'_>, key: &str, words: &[&str]) -> Option<usize> {
        let text = self.text(table, key)?;
        let found = words.iter().position(|w| *w == text);
        if found.is_none() {
            self.problem(table.place(key), format!("`{key}` is one of {}", words.join(", ")), "");
        }
        found
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok(),
        _ => None,
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(_) => integer(value).map(|i| i as f64),
        DeValue::Float(f) => f.as_str().parse::<f64>().ok().filter(|f| f.is_finite()),
        _ => None,
    }
}
