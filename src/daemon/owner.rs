//! Who holds a lease. Where the system tells, the name of an owner also tells whether that process is gone for good, so
//! that what it left can be taken over at once and not when its lease ends.

use std::fs;
use std::path::Path;

/// Names this process. `fallback` keeps names apart where the system does not tell enough.
#[must_use]
pub fn this_process(fallback: &str) -> String {
    let pid = std::process::id();
    match Place::here().zip(start_ticks(pid)) {
        Some((place, started)) => format!("pid-{pid}@{}/{}/{started}", place.boot, place.namespace),
        None => format!("pid-{pid}@{fallback}"),
    }
}

/// Whether an owner is surely gone: a process of this boot and this namespace of processes that runs no more. False when
/// nothing is known: another machine, another container, another system.
#[must_use]
pub fn is_gone(owner: &str) -> bool {
    let Some((pid, place, started)) = parse(owner) else { return false };
    Place::here().is_some_and(|here| here == place) && start_ticks(pid) != Some(started)
}

/// Where process ids mean something: a boot of a machine, and a namespace on it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    boot: String,
    namespace: String,
}

impl Place {
    fn here() -> Option<Place> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        // `pid:[4026531836]`
        let link = fs::read_link("/proc/self/ns/pid").ok()?;
        let namespace = link.to_str()?.trim_start_matches("pid:[").trim_end_matches(']').to_owned();
        Some(Place { boot, namespace })
    }
}

fn parse(owner: &str) -> Option<(u32, Place, u64)> {
    let (pid, rest) = owner.strip_prefix("pid-")?.split_once('@')?;
    let mut parts = rest.split('/');
    let (boot, namespace, started) = (parts.next()?, parts.next()?, parts.next()?);
    let place = Place { boot: boot.to_owned(), namespace: namespace.to_owned() };
    Some((pid.parse().ok()?, place, started.parse().ok()?))
}

/// When a process began, in ticks since the boot: tells it from a later one of the same id. `None`: there is none, or it
/// has ended and only its parent has not noticed.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may hold anything; after it: state (field 3), ..., starttime (field 22).
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(22 - 4)?.parse().ok()?;
    (!is_over).then_some(started)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_is_not_gone() {
        let me = this_process("x");
        assert!(parse(&me).is_some(), "{me}");
        assert!(!is_gone(&me));
        assert_eq!(me, this_process("y"), "one process has one name");
    }

    #[test]
    fn an_ended_process_is_gone_and_so_is_an_earlier_one_of_the_same_id() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let place = Place::here().unwrap();
        let started = start_ticks(std::process::id()).unwrap();
        child.wait().unwrap();
        let name = |pid: u32, started: u64| format!("pid-{pid}@{}/{}/{started}", place.boot, place.namespace);
        assert!(is_gone(&name(child.id(), started)));
        assert!(is_gone(&name(std::process::id(), started - 1)));
        assert!(!is_gone(&name(std::process::id(), started)));
    }

    #[test]
    fn nothing_is_said_of_other_machines_and_namespaces() {
        let place = Place::here().unwrap();
        assert!(!is_gone(&format!("pid-1@another-boot/{}/5", place.namespace)));
        assert!(!is_gone(&format!("pid-1@{}/1/5", place.boot)));
        for odd in ["", "demo", "pid-1@x", "pid-x@a/b/5", "pid-1@a/b", "pid-1"] {
            assert!(!is_gone(odd), "{odd}");
        }
    }
}
