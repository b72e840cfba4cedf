//! How many connections the process may hold: its limit on open files, raised as far as the system lets it.

use super::limits::{CONNECTIONS_MAX, CONNECTIONS_MIN, DESCRIPTORS_RESERVED};

/// Raises the limit on open files to what is wanted, or as far as allowed, and tells how many connections fit.
#[cfg(unix)]
pub fn connections_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = (CONNECTIONS_MAX + DESCRIPTORS_RESERVED) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(maximum.map_or(wanted, |most| most.min(wanted))), maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit on open files cannot be raised");
        }
    }
    fitting(getrlimit(Resource::Nofile).current)
}

/// As many as are wanted.
#[cfg(not(unix))]
pub fn connections_max() -> usize {
    fitting(None)
}

fn fitting(descriptors: Option<u64>) -> usize {
    let files = descriptors.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    files.saturating_sub(DESCRIPTORS_RESERVED).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_the_rest_of_the_process() {
        assert_eq!(fitting(None), CONNECTIONS_MAX);
        assert_eq!(fitting(Some(1_000_000)), CONNECTIONS_MAX);
        assert_eq!(fitting(Some(4096)), 4096 - DESCRIPTORS_RESERVED);
        assert_eq!(fitting(Some(256)), CONNECTIONS_MIN);
        assert!(connections_max() >= CONNECTIONS_MIN);
    }
}
