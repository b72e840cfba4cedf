//! What the system knows of this process and of others (Linux).

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::Failure;

/// `/proc` counts CPU time in hundredths of a second on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;
/// Place of `utime` among the fields that follow the program's name; `stime` is the next.
const UTIME: usize = 11;

/// CPU seconds of all threads so far, ended ones included: user and system together, to the nanosecond.
pub fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Those of another process, in hundredths of a second: a difference is off by one of them at most in each of the two parts.
///
/// # Errors
/// No Linux `/proc`, or no such process.
pub fn cpu_seconds_of(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has another form")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64, Failure> { Ok(fields.get(at).ok_or("a field is missing")?.parse()?) };
    Ok((ticks(UTIME)? + ticks(UTIME + 1)?) / TICKS_PER_SECOND)
}

/// The most memory that this process had resident, in MiB.
///
/// # Errors
/// No Linux `/proc`.
pub fn peak_rss_mib() -> Result<f64, Failure> {
    kib_line(std::process::id(), "VmHWM:")
}

/// The memory that this process has resident, in MiB.
///
/// # Errors
/// No Linux `/proc`.
pub fn rss_mib() -> Result<f64, Failure> {
    rss_mib_of(std::process::id())
}

/// The memory that another process has resident, in MiB.
///
/// # Errors
/// No Linux `/proc`, or no such process.
pub fn rss_mib_of(pid: u32) -> Result<f64, Failure> {
    kib_line(pid, "VmRSS:")
}

fn kib_line(pid: u32, key: &str) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("a line is missing")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
