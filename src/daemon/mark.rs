//! How far the store had come when the daemon last looked, beside the SQLite file: `<file>.mark`. A file that was put
//! back from a backup is told by it. PostgreSQL has no such place: there a running daemon notices, by its memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::domain::{Capability, ModelId, Revision};

/// How far a model had come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Its last step.
    pub(super) seq: u64,
    /// Its last revision.
    pub(super) revision: Revision,
    /// What tells that step from another of the same number ([`super::steps::identity`]): a store that was put back and
    /// has gone on since has others. `None` in marks of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    /// The last revisions of its capabilities' lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) capabilities: BTreeMap<Capability, Revision>,
}

/// The file, where there can be one.
pub(super) struct Mark(Option<PathBuf>);

impl Mark {
    /// That of a store.
    pub(super) fn of(url: &str, place: &str) -> Mark {
        Mark(url.starts_with("sqlite").then(|| PathBuf::from(format!("{place}.mark"))))
    }

    /// What it says; nothing when it is missing or unreadable.
    pub(super) fn read(&self) -> BTreeMap<ModelId, Seen> {
        let Some(path) = &self.0 else { return BTreeMap::new() };
        let Ok(text) = std::fs::read(path) else { return BTreeMap::new() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            warn!(file = %path.display(), %error, "this file is damaged: a restored backup may not be noticed");
            BTreeMap::new()
        })
    }

    /// Writes it whole or not at all. Without it nothing works worse but the notice of a restored backup.
    pub(super) fn write(&self, seen: &BTreeMap<ModelId, Seen>) {
        let Some(path) = &self.0 else { return };
        let fresh = path.with_extension("mark.new");
        let written = serde_json::to_vec(seen)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&fresh, text))
            .and_then(|()| std::fs::rename(&fresh, path));
        if let Err(error) = written {
            warn!(file = %path.display(), %error, "failed to write; a restored backup may not be noticed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("store.db");
        let mark = Mark::of("sqlite://x", &place.display().to_string());
        assert!(mark.read().is_empty());
        let seen = BTreeMap::from([(ModelId::new("lab/m").unwrap(), Seen { seq: 4, revision: 2, ..Seen::default() })]);
        mark.write(&seen);
        assert_eq!(mark.read(), seen);
        std::fs::write(folder.path().join("store.db.mark"), "{").unwrap();
        assert!(mark.read().is_empty());
        assert!(Mark::of("postgres://x", "x").0.is_none());
    }
}
