//! `[[schedule]]`: cron lines, time zones, patterns of models.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::diagnostics::nearest;
use crate::domain::SuiteName;

use super::durations::show;
use super::keys::OFF;
use super::models::Models;
use super::reader::{Span, View};
use super::{ModelConfig, NamedSuite, ScheduleConfig};

/// Long enough that an outage of a few minutes does not fill a sweep (docs/statistics.md).
const SPREAD: Duration = Duration::from_secs(30 * 60);
const DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);
/// Long enough that a provider's bad half hour does not fill several sweeps, short enough for a standing within a day.
const ONBOARDING: Duration = Duration::from_secs(30 * 60);
/// Shortest pause between two onboarding sweeps: whoever has a bad minute is asked again in a better one.
const ONBOARDING_MIN: Duration = Duration::from_secs(60);
/// The name that onboarding sweeps have among the ticks; no schedule may have it.
pub const ONBOARDING_NAME: &str = "onboarding";
/// How many ticks are looked at for the shortest and the longest time between two.
const TICKS_LOOKED_AT: usize = 24;
/// Where the look begins (2026-01-01T00:00:00Z): a fixed time, so that a file is valid today if it was yesterday.
const LOOK_FROM_S: i64 = 1_767_225_600;
/// Longest cron line, in bytes.
const CRON_BYTES_MAX: usize = 200;

/// The fields of a cron line, in their order, with what each may hold.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of week", "0 to 7 (0 and 7 are Sunday), or SUN to SAT"),
];

/// What the nicknames stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The one dialect of cron: five fields.
pub(super) fn cron_parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// Reads every `[[schedule]]`.
pub(super) fn read(root: &View<'_>, models: &Models, named_suites: &mut Vec<NamedSuite>) -> Vec<ScheduleConfig> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for (n, view) in (1..).zip(root.children("schedule")) {
        let name = name(&view, n, &mut lines);
        let timezone = view.text("timezone").map_or(Some(Tz::UTC), |(text, span)| time_zone(&view, text, &span));
        let cron = view.text("cron").and_then(|(text, span)| cron(&view, text, &span));
        let jitter = view.duration("jitter").unwrap_or(Duration::ZERO);
        let gaps = cron.as_ref().zip(timezone).and_then(|((_, cron), zone)| gaps(cron, zone));
        let gap = gaps.map(|(shortest, _)| shortest);
        check_jitter(&view, gap, jitter);
        let deadline = view.duration("deadline").unwrap_or(DEADLINE);
        let spread = spread(&view, deadline, gap);
        let onboarding = onboarding(&view, spread, gaps);
        let patterns = view.texts("models").unwrap_or_else(|| vec![("*", view.span())]);
        check_patterns(&view, &patterns, models);
        let suites = suites(&view, named_suites);
        if let (Some(timezone), Some((cron, _))) = (timezone, cron) {
            out.push(ScheduleConfig {
                name,
                cron,
                timezone,
                jitter,
                models: patterns.into_iter().map(|(p, _)| p.to_owned()).collect(),
                suites,
                spread,
                deadline,
                onboarding,
            });
        }
    }
    out
}

fn name(view: &View<'_>, n: usize, lines: &mut BTreeMap<String, usize>) -> String {
    let (name, span) = match view.text("name") {
        Some((name, span)) => (name.to_owned(), span),
        None => (format!("schedule-{n}"), view.span()),
    };
    if let Some(line) = lines.insert(name.clone(), view.reader.line(&span)) {
        let message = format!("duplicate schedule name `{name}`");
        view.reader.problem(&span, message, format!("the first stands in line {line}"));
    }
    if name == ONBOARDING_NAME {
        let hint = "onboarding sweeps go by it in the store: choose another";
        view.reader.problem(&span, format!("no schedule may be named `{name}`"), hint);
    }
    name
}

/// The default is never more than half of a short deadline, nor than half of the time between two ticks.
fn spread(view: &View<'_>, deadline: Duration, gap: Option<Duration>) -> Duration {
    let Some(spread) = view.duration("spread") else {
        return SPREAD.min(deadline / 2).min(gap.map_or(SPREAD, |gap| gap / 2));
    };
    if spread >= deadline && !spread.is_zero() {
        let hint = "choose a shorter one; the deadline is \"2h\" when absent";
        view.reader.problem(&view.span_of("spread"), "the sweep is spread over no less than its deadline", hint);
    }
    spread
}

/// The pause between onboarding sweeps. The default is never more than a quarter of the time between two ticks, so that it
/// is quicker than a schedule whose sweeps are spread over half of that.
fn onboarding(view: &View<'_>, spread: Duration, gaps: Option<(Duration, Duration)>) -> Option<Duration> {
    if view.flag("onboarding") == Some(false) || view.text("onboarding").is_some_and(|(text, _)| text == OFF) {
        return None;
    }
    let Some(pause) = view.duration("onboarding") else {
        return Some(ONBOARDING.min(gaps.map_or(ONBOARDING, |(gap, _)| gap / 4)).max(ONBOARDING_MIN));
    };
    if pause < ONBOARDING_MIN {
        let hint =
            "write at least \"1m\", or \"off\": sweeps without a pause all meet the same bad minutes of a provider";
        view.reader.problem(&view.span_of("onboarding"), "the pause between onboarding sweeps is too short", hint);
    }
    if let Some((_, gap)) = gaps.filter(|(_, gap)| pause + spread >= *gap) {
        let message = format!(
            "onboarding is no quicker than the schedule: {} of `spread` and this pause fill the {} between two ticks",
            show(spread),
            show(gap)
        );
        let hint = "choose a shorter one, or \"off\" to leave new endpoints to the schedule";
        view.reader.problem(&view.span_of("onboarding"), message, hint);
    }
    Some(pause)
}

fn time_zone(view: &View<'_>, text: &str, span: &Span) -> Option<Tz> {
    if let Ok(zone) = text.parse::<Tz>() {
        return Some(zone);
    }
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|z| z.name());
    let near = names()
        .find(|n| n.eq_ignore_ascii_case(text))
        .or_else(|| names().find(|n| n.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text))))
        .or_else(|| nearest(text, names()));
    let hint = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "a name of the tz database, such as \"UTC\", \"Europe/Berlin\" or \"America/New_York\"".to_owned(),
    };
    view.reader.problem(span, format!("unknown time zone `{text}`"), hint);
    None
}

/// The line with single spaces, and its evaluator.
fn cron(view: &View<'_>, text: &str, span: &Span) -> Option<(String, Cron)> {
    let problem = |span: &Span, message: String, hint: String| {
        view.reader.problem(span, message, hint);
        None
    };
    if let Some((_, line)) = NICKNAMES.iter().find(|(name, _)| text.trim().eq_ignore_ascii_case(name)) {
        return problem(
            span,
            format!("`{text}` is not a cron line of five fields"),
            format!("write cron = \"{line}\""),
        );
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() || text.len() > CRON_BYTES_MAX {
        let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        let hint = match fields.as_slice() {
            [_, five @ ..] if fields.len() == 6 => format!("there are no seconds: write cron = \"{}\"", five.join(" ")),
            _ => format!("in this order: {}; such as \"17 */6 * * *\"", names.join(", ")),
        };
        return problem(span, format!("a cron line has five fields, this one has {}", fields.len()), hint);
    }
    let parser = cron_parser();
    for (at, (name, range)) in FIELDS.iter().enumerate() {
        let alone: Vec<&str> = (0..FIELDS.len()).map(|i| if i == at { fields[i] } else { "*" }).collect();
        if parser.parse(&alone.join(" ")).is_err() {
            let message = format!("`{}` cannot be read as the {name} of a cron line", fields[at]);
            let hint = format!("{name}: {range}; also *, lists 1,2, ranges 1-5 and steps */6");
            return problem(&field_span(view, text, fields[at], at, span), message, hint);
        }
    }
    let line = fields.join(" ");
    let cron = match parser.parse(&line) {
        Ok(cron) => cron,
        Err(e) => return problem(span, format!("this cron line cannot be read: {e}"), String::new()),
    };
    let start = DateTime::<Utc>::from_timestamp(LOOK_FROM_S, 0).unwrap_or_default();
    if cron.find_next_occurrence(&start, true).is_err() {
        let message = format!("`{line}` is never due");
        return problem(span, message, "there is no such day in that month".to_owned());
    }
    Some((line, cron))
}

/// The place of one field, when the text stands in the file as it is (without escapes).
fn field_span(view: &View<'_>, text: &str, field: &str, nth: usize, span: &Span) -> Span {
    let written = view.reader.text(span);
    let inside = span.start + 1;
    if written.get(1..written.len().saturating_sub(1)) != Some(text) {
        return span.clone();
    }
    let mut at = 0;
    for word in text.split_whitespace().take(nth) {
        at += text[at..].find(word).unwrap_or(0) + word.len();
    }
    at += text[at..].find(field).unwrap_or(0);
    inside + at..inside + at + field.len()
}

/// The shortest and the longest time between two of the coming ticks.
fn gaps(cron: &Cron, zone: Tz) -> Option<(Duration, Duration)> {
    let start = DateTime::<Utc>::from_timestamp(LOOK_FROM_S, 0).unwrap_or_default().with_timezone(&zone);
    let ticks: Vec<DateTime<Tz>> = cron.iter_from(start, croner::Direction::Forward).take(TICKS_LOOKED_AT).collect();
    let gaps = || ticks.windows(2).filter_map(|w| (w[1] - w[0]).to_std().ok());
    gaps().min().zip(gaps().max())
}

/// With a jitter as long as the time between two ticks the later one could come first.
fn check_jitter(view: &View<'_>, gap: Option<Duration>, jitter: Duration) {
    if let Some(gap) = gap.filter(|gap| jitter >= *gap && !jitter.is_zero()) {
        view.reader.problem(
            &view.span_of("jitter"),
            format!("the jitter is not shorter than the {} between two ticks", show(gap)),
            "choose a shorter one, or sweep less often",
        );
    }
}

fn check_patterns(view: &View<'_>, patterns: &[(&str, Span)], models: &Models) {
    if patterns.is_empty() {
        let hint = "leave `models` out, or write [\"*\"], for all";
        view.reader.problem(&view.span_of("models"), "the schedule names no model", hint);
    }
    for (pattern, span) in patterns {
        let known = models.good.iter().any(|m| pattern_matches_model(pattern, m))
            || models.refused.iter().any(|id| matches(pattern, id));
        // A model without an id cannot be told from one that is not there.
        if known || !models.complete || models.good.is_empty() {
            continue;
        }
        let names = || models.good.iter().flat_map(|m| std::iter::once(&m.id).chain(&m.aliases)).map(AsRef::as_ref);
        let hint = match nearest(pattern, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("configured models: {}", names().collect::<Vec<&str>>().join(", ")),
        };
        view.reader.problem(span, format!("`{pattern}` matches no model"), hint);
    }
}

/// Whether a pattern matches a model's id or one of its aliases.
pub(super) fn pattern_matches_model(pattern: &str, model: &ModelConfig) -> bool {
    std::iter::once(&model.id).chain(&model.aliases).any(|name| matches(pattern, name.as_str()))
}

/// `*` stands for any characters, also none, slashes included.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn suites(view: &View<'_>, named_suites: &mut Vec<NamedSuite>) -> Vec<SuiteName> {
    let r = view.reader;
    let Some(texts) = view.texts("suites") else { return Vec::new() };
    if let [("*", _)] = texts.as_slice() {
        return Vec::new();
    }
    if texts.is_empty() {
        r.problem(&view.span_of("suites"), "the schedule names no suite", "leave `suites` out for every loaded one");
    }
    let mut out: Vec<SuiteName> = Vec::new();
    for (text, span) in texts {
        match SuiteName::new(text) {
            Err(e) => r.problem(&span, format!("suite name: {e}"), "such as \"tool-use\""),
            Ok(name) if out.contains(&name) => {
                r.problem(&span, format!("duplicate suite `{name}`"), "name each suite once")
            }
            Ok(name) => {
                named_suites.push(NamedSuite { name: name.clone(), place: r.place(&span) });
                out.push(name);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, name, expect) in [
            ("*", "a/b", true),
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*", "a/b", true),
            ("*/b", "a/b", true),
            ("*kimi*", "moonshotai/kimi-k2", true),
            ("a*a", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
