//! Who holds a lease: `host:boot:pid:start:id`. A process of this very machine that is gone holds nothing, so a restart
//! after a kill need not wait for its lease to end. Elsewhere only the lease's end tells.

use std::fs;

use uuid::Uuid;

/// This process, as written into leases.
#[must_use]
pub fn this_process(id: Uuid) -> String {
    let pid = std::process::id();
    let start = start_of(pid).unwrap_or_default();
    format!("{}:{pid}:{start}:{id}", place().unwrap_or_default())
}

/// Whether the owner is a process of this machine that has ended. `false` when that cannot be known.
#[must_use]
pub fn has_ended(owner: &str) -> bool {
    let Some(place) = place() else { return false };
    let Some(rest) = owner.strip_prefix(&place).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let mut parts = rest.split(':');
    let (Some(pid), Some(start)) = (parts.next().and_then(|p| p.parse().ok()), parts.next()) else { return false };
    // A process id that was given to another process has another start time.
    !start.is_empty() && start_of(pid).as_deref() != Some(start)
}

/// Host name and boot: process ids mean something only within both.
fn place() -> Option<String> {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().replace(':', "_"));
    Some(format!("{}:{}", read("/proc/sys/kernel/hostname")?, read("/proc/sys/kernel/random/boot_id")?))
}

/// Start time of a process in ticks since boot: field 22 of its stat line, counted behind the name in brackets.
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_never_taken_for_ended() {
        assert!(!has_ended(&this_process(Uuid::nil())));
        assert!(!has_ended("another-host:boot:1:2:3"));
        assert!(!has_ended("demo"));
        assert!(!has_ended(""));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_with_another_start_time_has_ended() {
        let place = place().unwrap();
        assert!(has_ended(&format!("{place}:{}:1:x", std::process::id())));
    }
}
