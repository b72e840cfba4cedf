//! The variants, their goals, and the table.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::client::{Figures, Order};
use super::{Failure, micro, suite};

/// Requests in flight at once.
const CONCURRENCY: u32 = 64;
/// CPU milliseconds of the client per plain request, at most.
const PLAIN_MS_MAX: f64 = 0.15;
/// CPU milliseconds of the client per streamed request, at most.
const STREAMED_MS_MAX: f64 = 0.30;
/// The same goals as multiples of a bare loop's CPU, which needs 0.027 and 0.087 ms where they were set: what holds on
/// any machine.
const PLAIN_RATIO_MAX: f64 = 5.6;
const STREAMED_RATIO_MAX: f64 = 3.4;
/// MiB resident, at most: 100 MB.
const RSS_MIB_MAX: f64 = 100e6 / MIB;
const MIB: f64 = (1 << 20) as f64;
/// CPU per request of the large sweep over that of the small one, at most.
const GROWTH_MAX: f64 = 1.10;
/// Share of the throughput that latency and concurrency allow, at least.
const THROUGHPUT_MIN: f64 = 0.95;
/// Cases of the suite whose loading is measured.
const LOADED_CASES: u32 = 5_000;

/// One way to run a sweep.
struct Variant {
    name: &'static str,
    cases: u32,
    stream: bool,
    latency_ms: u32,
    /// A bare loop instead of a sweep.
    bare: bool,
    /// Sweeps, each by a fresh client with an empty store; their median counts.
    repeats: usize,
}

const VARIANTS: [Variant; 6] = [
    Variant { name: "bare", cases: 2_000, stream: false, latency_ms: 0, bare: true, repeats: 5 },
    Variant { name: "bare-streamed", cases: 2_000, stream: true, latency_ms: 0, bare: true, repeats: 5 },
    Variant { name: "plain", cases: 2_000, stream: false, latency_ms: 0, bare: false, repeats: 5 },
    Variant { name: "streamed", cases: 2_000, stream: true, latency_ms: 0, bare: false, repeats: 5 },
    Variant { name: "large", cases: 20_000, stream: false, latency_ms: 0, bare: false, repeats: 5 },
    Variant { name: "latency", cases: 6_400, stream: false, latency_ms: 200, bare: false, repeats: 1 },
];

/// A measured variant: its repeats, in the order of the rounds.
struct Measured {
    name: &'static str,
    rounds: Vec<Figures>,
}

impl Measured {
    /// The repeat with the median CPU time.
    fn figures(&self) -> Figures {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
        sorted[sorted.len() / 2]
    }

    fn cpu_ms(&self) -> f64 {
        cpu_ms(&self.figures())
    }

    fn per_second(&self) -> f64 {
        let figures = self.figures();
        figures.requests as f64 / figures.seconds
    }

    /// CPU per request as a multiple of another variant's: the median over the rounds, in which both ran one after the
    /// other, so that a machine that is now fast and now slow does not show.
    fn over(&self, other: &Measured) -> f64 {
        let mut ratios: Vec<f64> = self.rounds.iter().zip(&other.rounds).map(|(a, b)| cpu_ms(a) / cpu_ms(b)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

fn cpu_ms(figures: &Figures) -> f64 {
    figures.cpu * 1e3 / figures.requests as f64
}

/// Runs all variants, or the one named (with another number of cases); `true` when every goal is reached.
///
/// # Errors
/// A part fails, or the arguments name no variant.
#[expect(clippy::print_stdout, reason = "the figures are what the benchmark is for")]
pub fn main(words: &[&str]) -> Result<bool, Failure> {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    let name = words.first().copied();
    let cases: Option<u32> = words.get(1).map(|word| word.parse()).transpose()?;
    let folder = Scratch::new()?;
    let chosen = VARIANTS.iter().filter(|variant| name.is_none_or(|name| name == variant.name));
    let measured = measure(&chosen.collect::<Vec<_>>(), cases, &folder.0)?;
    for done in &measured {
        println!("{}", line(done));
    }
    if name.is_none_or(|name| name == "parts") {
        println!("{}", parts(&measure_parts(&folder.0, cases.unwrap_or(LOADED_CASES))?));
    } else if measured.is_empty() {
        return Err("there is no such variant: bare, bare-streamed, plain, streamed, large, latency, parts".into());
    }
    let goals = goals(&measured);
    for (reached, goal) in &goals {
        println!("{} {goal}", if *reached { "reached" } else { "MISSED " });
    }
    Ok(goals.iter().all(|(reached, _)| *reached))
}

fn line(done: &Measured) -> String {
    let f = done.figures();
    format!(
        "{:9} {:6} requests  {:.4} CPU ms/request  {:6.0} requests/s  peak RSS {:5.1} MiB ({:.1} at the start)  \
         start-up {:.2} CPU s  database {:.0} bytes/request",
        done.name,
        f.requests,
        done.cpu_ms(),
        done.per_second(),
        f.peak_rss_mib,
        f.start_rss_mib,
        f.start_cpu,
        f.database_mib * f64::from(1 << 20) / f.requests as f64,
    )
}

fn parts(f: &micro::Figures) -> String {
    format!(
        "parts     {:6} cases     load {:.2} CPU s ({:.2} s), compile {:.2} CPU s, {:.0} MiB resident; draw {:.1} us ({:.0} per \
         second), prepare {:.1} us, judge {:.0} ns",
        f.cases,
        f.load_cpu,
        f.load_wall,
        f.compile_cpu,
        f.rss_mib,
        f.draw_us,
        1e6 / f.draw_us,
        f.prepare_us,
        f.judge_ns,
    )
}

/// What is asked of the variants that were measured.
fn goals(measured: &[Measured]) -> Vec<(bool, String)> {
    let find = |name: &str| measured.iter().find(|m| m.name == name);
    let mut goals = Vec::new();
    for (name, max) in [("plain", PLAIN_MS_MAX), ("streamed", STREAMED_MS_MAX)] {
        if let Some(m) = find(name) {
            goals.push((m.cpu_ms() <= max, format!("{name}: {:.4} of {max} CPU ms per request", m.cpu_ms())));
            let rss = m.figures().peak_rss_mib;
            goals.push((rss <= RSS_MIB_MAX, format!("{name}: {rss:.1} of {RSS_MIB_MAX:.1} MiB resident")));
        }
    }
    if let (Some(small), Some(large)) = (find("plain"), find("large")) {
        let growth = large.over(small);
        goals.push((growth <= GROWTH_MAX, format!("large: {growth:.3} of {GROWTH_MAX} times the CPU per request")));
    }
    for (name, floor, max) in [("plain", "bare", PLAIN_RATIO_MAX), ("streamed", "bare-streamed", STREAMED_RATIO_MAX)] {
        if let (Some(m), Some(bare)) = (find(name), find(floor)) {
            let ratio = m.over(bare);
            goals.push((ratio <= max, format!("{name}: {ratio:.2} of {max} times the CPU of a bare loop")));
        }
    }
    if let Some(m) = find("latency") {
        let possible = f64::from(CONCURRENCY) * 5.0;
        let share = m.per_second() / possible;
        goals.push((share >= THROUGHPUT_MIN, format!("latency: {share:.3} of the possible {possible} requests/s")));
    }
    goals
}

/// Measures in rounds: every variant once, then every variant again.
fn measure(variants: &[&'static Variant], cases: Option<u32>, folder: &Path) -> Result<Vec<Measured>, Failure> {
    let mut measured: Vec<Measured> =
        variants.iter().map(|variant| Measured { name: variant.name, rounds: Vec::new() }).collect();
    for variant in variants {
        suite::write(&suite_of(variant, folder), cases.unwrap_or(variant.cases), variant.stream)?;
    }
    for round in 0..variants.iter().map(|variant| variant.repeats).max().unwrap_or(0) {
        for (variant, done) in variants.iter().zip(&mut measured).filter(|(variant, _)| round < variant.repeats) {
            done.rounds.push(run(variant, round, folder)?);
        }
    }
    Ok(measured)
}

fn suite_of(variant: &Variant, folder: &Path) -> PathBuf {
    folder.join(variant.name).join(suite::NAME)
}

/// One sweep, by a fresh client with an empty store.
fn run(variant: &Variant, round: usize, folder: &Path) -> Result<Figures, Failure> {
    let provider = FakeProvider::start(variant.latency_ms)?;
    let database = folder.join(format!("{}-{round}.db", variant.name));
    let (suite, port) = (suite_of(variant, folder), provider.port);
    let order = Order { suite, database: database.clone(), port, concurrency: CONCURRENCY };
    let kind = if variant.bare { "--bare" } else { "--client" };
    let figures: Figures = serde_json::from_slice(&part(&[kind, &serde_json::to_string(&order)?])?)?;
    if !variant.bare {
        std::fs::remove_file(database)?;
    }
    Ok(figures)
}

fn measure_parts(folder: &Path, cases: u32) -> Result<micro::Figures, Failure> {
    let suite = folder.join("parts").join(suite::NAME);
    suite::write(&suite, cases, false)?;
    Ok(serde_json::from_slice(&part(&["--micro", &suite.to_string_lossy()])?)?)
}

/// Runs this program as one of its parts; what it prints.
fn part(args: &[&str]) -> Result<Vec<u8>, Failure> {
    let done = Command::new(std::env::current_exe()?).args(args).stderr(Stdio::inherit()).output()?;
    if !done.status.success() {
        return Err(format!("the part {} failed: {}", args.first().unwrap_or(&""), done.status).into());
    }
    Ok(done.stdout)
}

/// The fake provider's process; it ends with its standard input.
struct FakeProvider {
    child: Child,
    port: u16,
}

impl FakeProvider {
    fn start(latency_ms: u32) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--provider", &latency_ms.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        let out = child.stdout.take().ok_or("the provider has no output")?;
        BufReader::new(out).read_line(&mut port)?;
        Ok(FakeProvider { port: port.trim().parse()?, child })
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself; if it does not, the next line waits for nothing but that.
        let _ = self.child.wait();
    }
}

/// A folder of our own, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("exactod-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
