//! What a simulation found, as one document.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Figures by name, in the order in which they are shown.
pub type Figures = Map<String, Value>;

/// All policies of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What it plays, in a sentence.
    pub about: String,
    /// Repetitions.
    pub reps: u64,
    /// The seed: the same seed gives the same report.
    pub seed: u64,
    /// Error level of the first decision, per direction.
    pub alpha: f64,
    /// Exclusion margin.
    pub margin: f64,
    /// By policy.
    pub policies: Vec<PolicyReport>,
}

/// What one policy did.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct PolicyReport {
    /// Its name.
    pub policy: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// The same by part of the scenario (drop, gap, design, endpoint), where there are parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Figures>,
}

impl PolicyReport {
    /// A report without figures.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        PolicyReport { policy: policy.to_owned(), ..PolicyReport::default() }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }
}

/// A row of figures.
#[must_use]
pub fn figures<const N: usize>(entries: [(&str, Value); N]) -> Figures {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A number of a report: rounded to six significant digits, `null` when there is none.
#[must_use]
pub fn number(x: f64) -> Value {
    if !x.is_finite() {
        return Value::Null;
    }
    if x == 0.0 {
        return json!(0.0);
    }
    let digits = 5 - x.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits.clamp(-12, 12));
    json!((x * scale).round() / scale)
}

/// A share, `null` of nothing.
#[must_use]
pub fn share(part: u64, whole: u64) -> Value {
    number(part as f64 / whole as f64)
}

/// Values of one kind over the repetitions.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds values.
    pub fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        self.0.extend(values);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Their mean; NaN of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum() / self.0.len() as f64
    }

    /// Standard error of the mean; NaN with fewer than two.
    #[must_use]
    pub fn error(&self) -> f64 {
        let (n, mean) = (self.0.len() as f64, self.mean());
        let squares: f64 = self.0.iter().map(|x| (x - mean) * (x - mean)).sum();
        (squares / (n - 1.0) / n).sqrt()
    }

    /// The smallest value that a share `q` of all does not exceed; NaN of nothing.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Sample(values.into_iter().collect())
    }
}
