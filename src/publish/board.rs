//! The board: pre-rendered current allowlists by model id and alias.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::{Micros, ModelId, Revision, canonical};

/// One allowlist as served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The model.
    pub model: ModelId,
    /// Its revision.
    pub revision: Revision,
    /// The exact bytes; signatures and ETags are over these.
    pub body: Bytes,
    /// Strong ETag with its quotes: SHA-256 of the bytes.
    pub etag: String,
    /// When it was issued.
    pub issued_at_us: Micros,
    /// When it expires.
    pub expires_at_us: Micros,
}

impl Published {
    /// Wraps a rendered document.
    #[must_use]
    pub fn new(model: ModelId, revision: Revision, body: Bytes, issued_at_us: Micros, expires_at_us: Micros) -> Self {
        let etag = etag_of(&body);
        Published { model, revision, body, etag, issued_at_us, expires_at_us }
    }
}

/// Strong ETag of a body: quoted SHA-256 in hexadecimal.
#[must_use]
pub fn etag_of(body: &[u8]) -> String {
    format!("\"{}\"", canonical::sha256_hex(body))
}

type Index = BTreeMap<String, Arc<Published>>;

/// The current allowlists. Reads take no lock.
#[derive(Debug)]
pub struct Board {
    index: ArcSwap<Index>,
    changed: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Board { index: ArcSwap::default(), changed: watch::channel(0).0 }
    }
}

impl Board {
    /// The current list of a model.
    #[must_use]
    pub fn get(&self, model: &str) -> Option<Arc<Published>> {
        self.index.load().get(model).cloned()
    }

    /// All current lists, by model id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Published>> {
        self.index.load().values().cloned().collect()
    }

    /// Puts a list up, unless a newer revision stands there already.
    pub fn publish(&self, published: Published) {
        let published = Arc::new(published);
        self.index.rcu(|index| {
            let mut index = Index::clone(index);
            let key = published.model.to_string();
            if index.get(&key).is_none_or(|old| old.revision <= published.revision) {
                index.insert(key, Arc::clone(&published));
            }
            index
        });
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Wakes on every change of any list.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(revision: Revision, body: &'static str) -> Published {
        Published::new(ModelId::new("lab/m").unwrap(), revision, Bytes::from_static(body.as_bytes()), 0, 1)
    }

    #[test]
    fn an_older_revision_never_replaces_a_newer_one() {
        let board = Board::default();
        board.publish(list(2, "two"));
        board.publish(list(1, "one"));
        assert_eq!(board.get("lab/m").map(|p| p.revision), Some(2));
        board.publish(list(3, "three"));
        assert_eq!(board.get("lab/m").map(|p| p.body.clone()), Some(Bytes::from_static(b"three")));
        assert!(board.get("lab/other").is_none());
    }
}
