//! Who holds a lease: `host:boot:namespace:pid:start:id`. A process of this very machine that is gone holds nothing, so a restart
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

/// Host name, boot and namespace (containers have their own): process ids mean something only within all three.
fn place() -> Option<String> {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().replace(':', "_"));
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().replace(':', "_");
    Some(format!("{}:{}:{namespace}", read("/proc/sys/kernel/hostname")?, read("/proc/sys/kernel/random/boot_id")?))
}

/// Start time of a process in ticks since boot: field 22 of its stat line, counted behind the name in brackets. `None`
/// also when it has ended and only its parent has not noticed (state Z).
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
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
    fn a_killed_process_has_ended_before_its_parent_notices() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let owner = format!("{}:{}:{}:x", place().unwrap(), child.id(), start_of(child.id()).unwrap());
        assert!(!has_ended(&owner));
        child.kill().unwrap();
        while !has_ended(&owner) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(has_ended(&owner));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_with_another_start_time_has_ended() {
        let place = place().unwrap();
        assert!(has_ended(&format!("{place}:{}:1:x", std::process::id())));
    }
}
