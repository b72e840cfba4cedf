//! JUnit XML: one suite for each suite of cases and endpoint.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Outcome, ResultRow};
use crate::clock::rfc3339;

/// What attributes of a suite count.
#[derive(Default)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
    seconds: f64,
}

impl Counts {
    fn add(&mut self, row: &ResultRow) {
        self.tests += 1;
        self.seconds += seconds(row);
        match row.outcome() {
            Outcome::Pass => {}
            Outcome::Fail => self.failures += 1,
            Outcome::Error => self.errors += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }

    fn attributes(&self) -> String {
        let Counts { tests, failures, errors, skipped, seconds } = self;
        format!(r#"tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}" time="{seconds:.3}""#)
    }
}

fn seconds(row: &ResultRow) -> f64 {
    row.stored.attempt.total_us as f64 / 1e6
}

/// Attempts as JUnit XML: a failed answer is a failure, what was not delivered an error, what nobody judged is skipped.
#[must_use]
pub fn junit(rows: &[ResultRow]) -> String {
    let mut suites: BTreeMap<[String; 3], Vec<&ResultRow>> = BTreeMap::new();
    let mut all = Counts::default();
    for row in rows {
        let (key, model) = (&row.stored.attempt.key, &row.stored.model);
        let place = [model.to_string(), key.suite.to_string(), key.endpoint.to_string()];
        suites.entry(place).or_default().push(row);
        all.add(row);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"exactod\" {}>", all.attributes());
    for ([model, suite, endpoint], mut rows) in suites {
        rows.sort_by_key(|row| row.stored.attempt.id);
        let mut counts = Counts::default();
        rows.iter().for_each(|row| counts.add(row));
        let began = rows.first().map(|row| rfc3339(row.stored.attempt.started_at_us)).unwrap_or_default();
        let name = escaped(&format!("{suite} on {endpoint}"));
        let _ = writeln!(out, "  <testsuite name=\"{name}\" {} timestamp=\"{began}\">", counts.attributes());
        let _ = writeln!(out, "    <properties>");
        for (name, value) in [("model", &model), ("endpoint", &endpoint), ("suite", &suite)] {
            let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
        }
        let _ = writeln!(out, "    </properties>");
        let class = escaped(&format!("{model}.{endpoint}.{suite}"));
        rows.iter().for_each(|row| case(&mut out, &class, row));
        let _ = writeln!(out, "  </testsuite>");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(out: &mut String, class: &str, row: &ResultRow) {
    let attempt = &row.stored.attempt;
    let name = match attempt.key.epoch {
        0 => attempt.key.case.to_string(),
        epoch => format!("{} (repeat {epoch})", attempt.key.case),
    };
    let head = format!("    <testcase classname=\"{class}\" name=\"{}\" time=\"{:.3}\"", escaped(&name), seconds(row));
    let (kind, reason) = (escaped(&row.kind()), escaped(&row.reason()));
    let inner = match row.outcome() {
        Outcome::Pass => {
            let _ = writeln!(out, "{head}/>");
            return;
        }
        Outcome::Fail => format!("<failure type=\"{kind}\" message=\"{reason}\">attempt {}</failure>", attempt.id),
        Outcome::Error => format!("<error type=\"{kind}\" message=\"{reason}\">attempt {}</error>", attempt.id),
        Outcome::Skipped => format!("<skipped message=\"{reason}\"/>"),
    };
    let _ = writeln!(out, "{head}>\n      {inner}\n    </testcase>");
}

/// A text as the content of an attribute or element. Characters that XML cannot hold are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c < ' ' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
