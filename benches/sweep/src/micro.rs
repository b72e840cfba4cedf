//! The parts that a sweep is made of, one at a time, on one thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use exactod::domain::CaseInstance;
use exactod::provider::completion_from_message;
use exactod::scoring::Judge;
use exactod::suites::{Drawer, load_suite};
use serde::{Deserialize, Serialize};

use super::{Failure, process};

/// Judgements per prepared case.
const JUDGEMENTS: u32 = 20;

/// What was measured: CPU time, and the clock where it is said.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Figures {
    /// Cases of the suite.
    pub cases: usize,
    /// CPU seconds to load the suite: read, checked, every case drawn once and its scorers compiled.
    pub load_cpu: f64,
    /// The same in seconds of the clock: loading spreads over the processors.
    pub load_wall: f64,
    /// CPU seconds to compile its templates and expressions for drawing.
    pub compile_cpu: f64,
    /// Resident with the suite and its drawer, MiB.
    pub rss_mib: f64,
    /// Microseconds per draw.
    pub draw_us: f64,
    /// Microseconds to compile a drawn case's schemas and scorers.
    pub prepare_us: f64,
    /// Nanoseconds to judge an answer that passes.
    pub judge_ns: f64,
}

/// Measures with the suite of a folder and prints the [`Figures`] as JSON. Always `true`.
///
/// # Errors
/// The suite does not load, or a reference answer does not pass.
#[expect(clippy::print_stdout, reason = "the figures go to the process that started this one")]
pub fn main(folder: &str) -> Result<bool, Failure> {
    let before = process::cpu_seconds();
    let started = Instant::now();
    let suite = Arc::new(load_suite(Path::new(folder))?);
    let load_wall = started.elapsed().as_secs_f64();
    let loaded = process::cpu_seconds();
    let drawer = Drawer::new(Arc::clone(&suite))?;
    let compiled = process::cpu_seconds();
    let rss_mib = process::rss_mib()?;
    let cases = suite.cases.len();

    let started = Instant::now();
    let instances = suite
        .cases
        .iter()
        .map(|case| drawer.draw(&case.id, "0123456789abcdef0123456789abcdef", 0))
        .collect::<Result<Vec<CaseInstance>, _>>()?;
    let draw_us = started.elapsed().as_secs_f64() * 1e6 / cases as f64;

    let judge = Judge::new();
    let started = Instant::now();
    let prepared = instances.iter().map(|instance| judge.prepare(instance)).collect::<Result<Vec<_>, _>>()?;
    let prepare_us = started.elapsed().as_secs_f64() * 1e6 / cases as f64;

    let answers: Vec<_> = instances
        .iter()
        .filter_map(|i| i.reference.as_ref())
        .map(|reference| completion_from_message(&reference.value()))
        .collect();
    let started = Instant::now();
    let mut passed = 0;
    for _ in 0..JUDGEMENTS {
        for (case, answer) in prepared.iter().zip(&answers) {
            passed += usize::from(case.judge(answer).score == Some(1.0));
        }
    }
    let judge_ns = started.elapsed().as_secs_f64() * 1e9 / (f64::from(JUDGEMENTS) * cases as f64);
    if passed != cases * JUDGEMENTS as usize {
        return Err(format!("{passed} of {} reference answers passed", cases * JUDGEMENTS as usize).into());
    }
    let (load_cpu, compile_cpu) = (loaded - before, compiled - loaded);
    let figures = Figures { cases, load_cpu, load_wall, compile_cpu, rss_mib, draw_us, prepare_us, judge_ns };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(true)
}
