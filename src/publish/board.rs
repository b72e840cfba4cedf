//! The board: pre-rendered current allowlists by model id and alias.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::{Capability, Micros, ModelId, Revision, canonical};

/// One allowlist as served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The model.
    pub model: ModelId,
    /// The capability; `None`: the model's own list.
    pub capability: Option<Capability>,
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
    /// Wraps a rendered document: the model's own list.
    #[must_use]
    pub fn new(model: ModelId, revision: Revision, body: Bytes, issued_at_us: Micros, expires_at_us: Micros) -> Self {
        let etag = etag_of(&body);
        Published { model, capability: None, revision, body, etag, issued_at_us, expires_at_us }
    }

    /// The same as the list of a capability.
    #[must_use]
    pub fn of_capability(self, capability: Option<Capability>) -> Self {
        Published { capability, ..self }
    }
}

/// Strong ETag of a body: quoted SHA-256 in hexadecimal.
#[must_use]
pub fn etag_of(body: &[u8]) -> String {
    format!("\"{}\"", canonical::sha256_hex(body))
}

/// The lists of one model.
#[derive(Debug, Clone, Default)]
struct Lists {
    own: Option<Arc<Published>>,
    capabilities: BTreeMap<Capability, Arc<Published>>,
}

type Index = BTreeMap<String, Lists>;

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
    /// The current list of a model: its own.
    #[must_use]
    pub fn get(&self, model: &str) -> Option<Arc<Published>> {
        self.index.load().get(model)?.own.clone()
    }

    /// The current list of a capability of a model.
    #[must_use]
    pub fn of_capability(&self, model: &str, capability: &str) -> Option<Arc<Published>> {
        self.index.load().get(model)?.capabilities.get(capability).cloned()
    }

    /// All current lists, by model id; a model's own before those of its capabilities.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Published>> {
        let index = self.index.load();
        index.values().flat_map(|lists| lists.own.iter().chain(lists.capabilities.values())).cloned().collect()
    }

    /// Puts a list up, unless a newer revision stands there already.
    pub fn publish(&self, published: Published) {
        let published = Arc::new(published);
        self.index.rcu(|index| {
            let mut index = Index::clone(index);
            let lists = index.entry(published.model.to_string()).or_default();
            let old = match &published.capability {
                None => lists.own.as_ref(),
                Some(capability) => lists.capabilities.get(capability),
            };
            if old.is_none_or(|old| old.revision <= published.revision) {
                match &published.capability {
                    None => lists.own = Some(Arc::clone(&published)),
                    Some(name) => {
                        lists.capabilities.insert(name.clone(), Arc::clone(&published));
                    }
                }
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

    #[test]
    fn the_list_of_a_capability_stands_beside_the_models_own() {
        let board = Board::default();
        let tools = Capability::new("tools").ok();
        board.publish(list(4, "tools, four").of_capability(tools.clone()));
        assert!(board.get("lab/m").is_none());
        board.publish(list(2, "own, two"));
        board.publish(list(3, "tools, three").of_capability(tools));
        let revision = |found: Option<Arc<Published>>| found.map(|p| p.revision);
        assert_eq!(revision(board.get("lab/m")), Some(2));
        assert_eq!(revision(board.of_capability("lab/m", "tools")), Some(4));
        assert_eq!(revision(board.of_capability("lab/m", "streaming")), None);
        assert_eq!(board.all().iter().map(|p| p.revision).collect::<Vec<_>>(), [2, 4]);
    }
}
