//! Reads a [`SimSpec`] from TOML: every problem at once, each with its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::defects;
use super::spec::{
    Correlation, ENDPOINTS_MAX, EndpointSpec, INJECTIONS_MAX, Injection, LATENCY_MS_MAX, SimSpec, TimeProfile,
};
use crate::diagnostics::{Diagnostic, Diagnostics, nearest};
use crate::domain::ModelId;

impl SimSpec {
    /// Reads a spec from a file.
    ///
    /// # Errors
    /// Everything that is wrong with it: unreadable file, syntax, unknown keys, values out of range, unknown defects.
    pub fn load(path: &Path) -> Result<SimSpec, Diagnostics> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Diagnostics(vec![
                Diagnostic::file(path, format!("failed to read the simulator's spec: {error}"))
                    .hint("give the path of a TOML file with `model` and `[[endpoints]]`"),
            ])
        })?;
        SimSpec::parse(path, &text)
    }

    /// Reads a spec from a text; `file` is its name in messages.
    ///
    /// # Errors
    /// As for [`SimSpec::load`].
    pub fn parse(file: &Path, text: &str) -> Result<SimSpec, Diagnostics> {
        let mut reader = Reader { file, text, problems: Diagnostics::default() };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reader.add(error.span(), format!("not valid TOML: {}", error.message()), None);
        }
        let spec = if reader.problems.0.is_empty() { reader.spec(document) } else { None };
        match spec {
            Some(spec) => reader.problems.into_result(spec),
            None => Err(reader.problems),
        }
    }
}

/// The keys of the document; the endpoints are read one by one, so that each reports its own problems.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    model: ModelId,
    #[serde(default)]
    seed: u64,
    #[serde(rename = "endpoints")]
    _endpoints: Vec<IgnoredAny>,
}

/// The places of a table's keys.
type Places = BTreeMap<String, Range<usize>>;

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Diagnostics,
}

impl Reader<'_> {
    fn add(&mut self, span: Option<Range<usize>>, message: String, hint: Option<String>) {
        let problem = match span {
            Some(span) => Diagnostic::at(self.file, self.text, span, message),
            None => Diagnostic::file(self.file, message),
        };
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    fn spec(&mut self, mut document: Spanned<DeTable<'_>>) -> Option<SimSpec> {
        let tables = take_array(document.get_mut(), "endpoints");
        let places = places(document.get_ref());
        let span = document.span();
        let head: Option<Head> = self.read(Spanned::new(span, DeValue::Table(document.into_inner())));
        if let Some(place) = places.get("endpoints")
            && (tables.is_empty() || tables.len() > ENDPOINTS_MAX)
        {
            let message = format!("a spec has 1 to {ENDPOINTS_MAX} endpoints, this one has {}", tables.len());
            self.add(Some(place.clone()), message, Some("add `[[endpoints]]` with a `name`".to_owned()));
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut endpoints = Vec::with_capacity(tables.len());
        for (i, table) in tables.into_iter().enumerate() {
            let Some((endpoint, name_place)) = self.endpoint(table) else { continue };
            if let Some(first) = seen.insert(endpoint.name.to_string(), i + 1) {
                let message = format!("endpoint `{}` stands twice: it is number {first} already", endpoint.name);
                self.add(name_place, message, Some("give each endpoint a name of its own".to_owned()));
            }
            endpoints.push(endpoint);
        }
        head.map(|head| SimSpec { model: head.model, seed: head.seed, endpoints })
    }

    fn endpoint(&mut self, mut value: Spanned<DeValue<'_>>) -> Option<(EndpointSpec, Option<Range<usize>>)> {
        let (mut injections, mut found) = (DeArray::new(), Places::new());
        if let DeValue::Table(table) = value.get_mut() {
            injections = take_array(table, "injections");
            found = places(table);
        }
        let mut endpoint: EndpointSpec = self.read(value)?;
        self.check_endpoint(&endpoint, &found);
        if injections.len() > INJECTIONS_MAX {
            let message =
                format!("an endpoint has at most {INJECTIONS_MAX} injections, this one has {}", injections.len());
            self.add(found.get("injections").cloned(), message, None);
        }
        for value in injections {
            let found = value.get_ref().as_table().map(places).unwrap_or_default();
            let Some(injection) = self.read::<Injection>(value) else { continue };
            self.check_injection(&injection, &found);
            endpoint.injections.push(injection);
        }
        Some((endpoint, found.get("name").cloned()))
    }

    fn check_endpoint(&mut self, endpoint: &EndpointSpec, places: &Places) {
        let place = |key: &str| places.get(key).cloned();
        let mut shares = vec![("base", endpoint.base), ("error_rate", endpoint.error_rate)];
        shares.extend(endpoint.rates.values().map(|rate| ("rates", *rate)));
        shares.push(("calling", endpoint.calling.when_due));
        shares.push(("calling", endpoint.calling.when_not_due));
        for (key, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                self.add(
                    place(key),
                    format!("a probability lies between 0 and 1, this is {share}"),
                    Some(OF_SHARE.to_owned()),
                );
            }
        }
        let latency = &endpoint.latency;
        for ms in [latency.base_ms, latency.jitter_ms, latency.stream_ms] {
            if !(0.0..=LATENCY_MS_MAX).contains(&ms) {
                self.add(
                    place("latency"),
                    format!("a latency lies between 0 and {LATENCY_MS_MAX} ms, this is {ms}"),
                    None,
                );
            }
        }
        if endpoint.concurrency == Some(0) {
            let hint = "leave `concurrency` out for no limit".to_owned();
            self.add(place("concurrency"), "at least one request must be allowed in flight".to_owned(), Some(hint));
        }
    }

    fn check_injection(&mut self, injection: &Injection, places: &Places) {
        let place = |key: &str| places.get(key).cloned();
        if defects::find(&injection.defect).is_none() {
            let known = defects::DEFECTS.iter().map(|d| d.id);
            let hint = match nearest(&injection.defect, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "docs/simulator.md lists them".to_owned(),
            };
            let message = format!("the simulator knows no defect `{}`", injection.defect);
            self.add(place("defect"), message, Some(hint));
        }
        if !(injection.prevalence > 0.0 && injection.prevalence <= 1.0) {
            let message = format!("a prevalence is above 0 and at most 1, this is {}", injection.prevalence);
            self.add(place("prevalence"), message, Some("remove the injection to switch it off".to_owned()));
        }
        let awareness = injection.audit_awareness.as_ref().map(|a| a.probability);
        for (key, share) in [("masking", injection.masking), ("audit_awareness", awareness)] {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                self.add(place(key), "a probability lies between 0 and 1".to_owned(), Some(OF_SHARE.to_owned()));
            }
        }
        if let Some(message) = correlation_problem(&injection.correlation) {
            self.add(place("correlation"), message, None);
        }
        if let Some(message) = profile_problem(&injection.time_profile) {
            self.add(place("time_profile"), message, None);
        }
    }

    fn read<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<T> {
        let span = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(read) => Some(read),
            Err(error) => {
                let message = error.message().trim().to_owned();
                let hint = unknown_key_hint(&message);
                self.add(error.span().or(Some(span)), message, hint);
                None
            }
        }
    }
}

/// What a probability of a spec is.
const OF_SHARE: &str = "write it as a share: 0.05 is one in twenty";

fn take_array<'i>(table: &mut DeTable<'i>, key: &str) -> DeArray<'i> {
    let value = table.iter_mut().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value.get_mut());
    match value {
        Some(DeValue::Array(array)) => std::mem::replace(array, DeArray::new()),
        _ => DeArray::default(),
    }
}

fn places(table: &DeTable<'_>) -> Places {
    table.iter().map(|(key, value)| (key.get_ref().clone().into_owned(), value.span())).collect()
}

/// From "unknown field `x`, expected one of `a`, `b`": the nearest of the expected words.
fn unknown_key_hint(message: &str) -> Option<String> {
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (wrong, known) = words.split_first()?;
    if !message.starts_with("unknown") {
        return None;
    }
    nearest(wrong, known.iter().copied()).map(|near| format!("did you mean `{near}`?"))
}

fn correlation_problem(correlation: &Correlation) -> Option<String> {
    match *correlation {
        Correlation::Iid | Correlation::Sticky => None,
        Correlation::ReplicaMixture { replicas, bad } if replicas == 0 || bad > replicas => {
            Some(format!("of {replicas} replicas {bad} cannot be bad"))
        }
        Correlation::Bursts { mean_length, gap } if !(mean_length >= 1.0 && gap >= 1.0) => {
            Some(format!("runs and gaps are at least one request long, these are {mean_length} and {gap}"))
        }
        Correlation::ReplicaMixture { .. } | Correlation::Bursts { .. } => None,
    }
}

fn profile_problem(profile: &TimeProfile) -> Option<String> {
    let share = |value: f64| (0.0..=1.0).contains(&value);
    // False for a number that is none, too.
    let before = |a: f64, b: f64| a < b;
    match *profile {
        TimeProfile::Constant => None,
        TimeProfile::Step { at } | TimeProfile::Recovered { at } => {
            (at.is_nan() || at < 0.0).then(|| format!("`at` must not lie before the start, it is {at}"))
        }
        TimeProfile::Ramp { from, to, start, end } => (!(share(from) && share(to) && before(start, end)))
            .then(|| "a ramp goes from a factor in 0..1 to another, and ends after it starts".to_owned()),
        TimeProfile::Transient { start, end } => {
            (!before(start, end)).then(|| format!("it must end after it starts: {start}, {end}"))
        }
        TimeProfile::Flapping { period, duty } => (!(period > 0.0 && share(duty)))
            .then(|| "the period must be above 0 and the duty a share of it between 0 and 1".to_owned()),
        TimeProfile::Diurnal { period, peak } => {
            (!(period > 0.0 && peak.is_finite())).then(|| "the period must be above 0 and the peak a number".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::spec::{AuditAwareness, Benign, CallIds, Choice, Condition, TimeUnit, Truth};

    fn parse(text: &str) -> Result<SimSpec, Diagnostics> {
        SimSpec::parse(Path::new("fleet.toml"), text)
    }

    #[test]
    fn a_full_spec_is_read_and_survives_a_round_trip() {
        let spec = parse(
            r#"
            model = "lab/m"
            seed = 7
            [[endpoints]]
            name = "aster/fp8"
            base = 0.9
            rates = { "tool-use" = 0.8, "tool-use/parallel" = 0.5 }
            latency = { base_ms = 5, jitter_ms = 2.5, distribution = "exponential" }
            concurrency = 4
            benign = { call_ids = "uuid", extra_fields = true }
            truth = "good"
            [[endpoints.injections]]
            defect = "args_python_literal"
            prevalence = 0.25
            condition = { tools = true, tool_choice = "required", context_tokens_over = 100 }
            correlation = { bursts = { mean_length = 5, gap = 20 } }
            time_profile = { flapping = { period = 100, duty = 0.5 } }
            time_unit = "seconds"
            masking = 0.5
            audit_awareness = { probability = 0.9, repeated_prompt = true }
            [[endpoints]]
            name = "bird"
            "#,
        )
        .unwrap();
        let aster = &spec.endpoints[0];
        assert_eq!(aster.truth(), Truth::Good);
        assert_eq!(aster.benign, Benign { call_ids: CallIds::Uuid, extra_fields: true, ..Benign::default() });
        assert_eq!(aster.rate("tool-use", Some("parallel")), 0.5);
        assert_eq!(aster.rate("tool-use", Some("simple")), 0.8);
        assert_eq!(aster.rate("output-quality", None), 0.9);
        let expected = Injection {
            condition: Condition {
                tools: Some(true),
                tool_choice: Some(Choice::Required),
                context_tokens_over: Some(100),
                ..Condition::default()
            },
            correlation: Correlation::Bursts { mean_length: 5.0, gap: 20.0 },
            time_profile: TimeProfile::Flapping { period: 100.0, duty: 0.5 },
            time_unit: TimeUnit::Seconds,
            masking: Some(0.5),
            audit_awareness: Some(AuditAwareness { probability: 0.9, repeated_prompt: true, header: None }),
            ..Injection::new("args_python_literal", 0.25)
        };
        assert_eq!(aster.injections, [expected]);
        let again = parse(&toml::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn all_problems_are_reported_at_their_places() {
        let error = parse(
            "model = \"lab/m\"\n[[endpoints]]\nname = \"a\"\nbase = 1.5\n[[endpoints.injections]]\ndefect = \"args_pyton_literal\"\n\
             prevalence = 0\n[[endpoints]]\nname = \"a\"\nlatncy = {}\n[[endpoints]]\nname = \"a\"\nconcurrency = 0\n",
        )
        .unwrap_err();
        let lines: Vec<(usize, &str)> =
            error.0.iter().map(|d| (d.place.as_ref().unwrap().line, d.message.as_str())).collect();
        let at = |line: usize, part: &str| lines.iter().any(|(l, m)| *l == line && m.contains(part));
        assert!(at(4, "between 0 and 1"), "{error}");
        assert!(at(6, "knows no defect"), "{error}");
        assert!(at(7, "above 0"), "{error}");
        assert!(at(10, "unknown field `latncy`"), "{error}");
        assert!(at(12, "stands twice"), "{error}");
        assert!(at(13, "in flight"), "{error}");
        let text = error.to_string();
        assert!(text.contains("did you mean `args_python_literal`?"), "{text}");
        assert!(text.contains("did you mean `latency`?"), "{text}");
    }

    #[test]
    fn nonsense_is_refused_with_reasons() {
        for (text, part) in [
            ("", "missing field"),
            ("model = 3", "invalid type"),
            ("model = \"m\"\nendpoints = []", "1 to 256 endpoints"),
            ("model = \"m\"\nendpoints = 3", "expected a sequence"),
            ("model = \"m\"\n[[endpoint]]\nname = \"a\"", "did you mean `endpoints`?"),
            (
                "model = \"m\"\n[[endpoints]]\nname = \"a\"\n[[endpoints.injections]]\ndefect=\"call_id_empty\"\ncorrelation = { replica_mixture = { replicas = 2, bad = 3 } }",
                "cannot be bad",
            ),
            (
                "model = \"m\"\n[[endpoints]]\nname = \"a\"\n[[endpoints.injections]]\ndefect=\"call_id_empty\"\ntime_profile = { ramp = { from = 0, to = 2, start = 0, end = 1 } }",
                "ramp",
            ),
            ("model = \n x", "not valid TOML"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert!(
            SimSpec::load(Path::new("/nonexistent/fleet.toml")).unwrap_err().to_string().contains("failed to read")
        );
    }
}
