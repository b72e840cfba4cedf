//! The board: current allowlists by model, ready to be sent, and who waits for the next ones.
//!
//! What a read needs (bytes, headers, signature, the event of a stream) is made once, at publication, and shared by all
//! readers. Everybody who waits for a list waits on that list's one channel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS};
use tokio::sync::watch;

use super::document::{Document, LIST_CACHE_CONTROL, VERSION_HEADER, etag_of, http_date};
use crate::domain::{Allowlist, Capability, Micros, ModelId, Revision};
use crate::signing::{KeyRing, KeySet, SIGNATURE_HEADER};

/// Where a document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Made here: signed with the board's keys.
    Own,
    /// Taken over from another daemon, with the signature text that came with it.
    Relayed {
        /// The signature text; `None`: the other daemon does not sign.
        signature: Option<String>,
    },
}

/// One allowlist as served.
#[derive(Debug, Clone)]
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
    /// The signature text, when it is signed.
    pub signature: Option<String>,
    /// When it was issued.
    pub issued_at_us: Micros,
    /// When it expires.
    pub expires_at_us: Micros,
    /// What the bytes say.
    pub list: Arc<Allowlist>,
    /// Where it comes from.
    pub origin: Origin,
    /// Headers of an answer without the body (304).
    pub headers_alone: HeaderMap,
    /// Headers of an answer with the body.
    pub headers: HeaderMap,
    /// The events of a stream that carry it.
    pub event: Bytes,
}

impl Published {
    fn new(document: Document, origin: Origin, keys: &KeyRing) -> Self {
        let Document { model, capability, revision, body, issued_at_us, expires_at_us, list } = document;
        let signature = match &origin {
            Origin::Own => keys.sign(&body),
            Origin::Relayed { signature } => signature.clone(),
        };
        let etag = etag_of(&body);
        let headers_alone = headers(&etag, revision, issued_at_us, signature.as_deref());
        let mut headers = headers_alone.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let event = event(revision, &body, signature.as_deref());
        Published {
            model,
            capability,
            revision,
            body,
            etag,
            signature,
            issued_at_us,
            expires_at_us,
            list: Arc::new(list),
            origin,
            headers_alone,
            headers,
            event,
        }
    }

    /// The same under other keys, if it is signed here.
    fn signed_anew(&self, keys: &KeyRing) -> Option<Self> {
        if self.origin != Origin::Own {
            return None;
        }
        let signature = keys.sign(&self.body);
        let headers_alone = headers(&self.etag, self.revision, self.issued_at_us, signature.as_deref());
        let mut headers = headers_alone.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let event = event(self.revision, &self.body, signature.as_deref());
        Some(Published { signature, headers_alone, headers, event, ..self.clone() })
    }
}

fn headers(etag: &str, revision: Revision, issued_at_us: Micros, signature: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    // An entity tag is hexadecimal in quotes, and a signature text visible ASCII: always header values.
    let value = |text: &str| HeaderValue::from_str(text).ok();
    headers.extend(value(etag).map(|etag| (ETAG, etag)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(LIST_CACHE_CONTROL));
    headers.insert(VERSION_HEADER, HeaderValue::from(revision));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend(http_date(issued_at_us).map(|time| (LAST_MODIFIED, time)));
    let signature = signature.and_then(value);
    headers.extend(signature.map(|text| (http::header::HeaderName::from_static(SIGNATURE_HEADER), text)));
    headers
}

/// As server-sent events: the signature, then the whole document. The document is one line, so `data` is its exact bytes;
/// a foreign one that is not goes line by line, which consumers join by line feeds again.
fn event(revision: Revision, body: &[u8], signature: Option<&str>) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + 256);
    if let Some(signature) = signature {
        out.extend_from_slice(format!("event: signature\ndata: {signature}\n\n").as_bytes());
    }
    out.extend_from_slice(format!("event: put\nid: {revision}\n").as_bytes());
    for line in body.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out.into()
}

/// The lists of one model.
#[derive(Debug, Clone, Default)]
struct Lists {
    own: Option<Arc<Published>>,
    capabilities: BTreeMap<Capability, Arc<Published>>,
}

impl Lists {
    fn get(&self, capability: Option<&Capability>) -> Option<&Arc<Published>> {
        match capability {
            None => self.own.as_ref(),
            Some(capability) => self.capabilities.get(capability),
        }
    }

    fn put(&mut self, published: Arc<Published>) {
        match published.capability.clone() {
            None => self.own = Some(published),
            Some(name) => drop(self.capabilities.insert(name, published)),
        }
    }
}

type Index = BTreeMap<String, Lists>;
type Slot = watch::Sender<Option<Arc<Published>>>;

/// What changes under one lock: the keys, and the channels of those who wait.
#[derive(Debug, Default)]
struct Desk {
    keys: KeyRing,
    /// Public keys of the daemons that are followed.
    relayed_keys: KeySet,
    slots: BTreeMap<(ModelId, Option<Capability>), Slot>,
}

/// The current allowlists. Reads take no lock.
#[derive(Debug)]
pub struct Board {
    index: ArcSwap<Index>,
    public: ArcSwap<KeySet>,
    desk: Mutex<Desk>,
    changed: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Board {
            index: ArcSwap::default(),
            public: ArcSwap::default(),
            desk: Mutex::default(),
            changed: watch::channel(0).0,
        }
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

    /// Puts a list up, unless a newer revision stands there already, and wakes those who wait for it. What stands then.
    pub fn publish(&self, document: Document, origin: Origin) -> Arc<Published> {
        let desk = self.desk();
        let published = Arc::new(Published::new(document, origin, &desk.keys));
        let standing =
            self.index.load().get(published.model.as_str()).and_then(|l| l.get(published.capability.as_ref()).cloned());
        if let Some(newer) = standing.filter(|standing| standing.revision > published.revision) {
            return newer;
        }
        self.swap(&desk, &published);
        drop(desk);
        self.changed.send_modify(|generation| *generation += 1);
        published
    }

    /// Signs with other keys from now on, and signs what is up anew: the documents stay the same, byte for byte.
    pub fn set_keys(&self, keys: KeyRing) {
        let mut desk = self.desk();
        desk.keys = keys;
        self.public.store(Arc::new(desk.keys.public().with(&desk.relayed_keys)));
        for published in self.all() {
            if let Some(anew) = published.signed_anew(&desk.keys) {
                self.swap(&desk, &Arc::new(anew));
            }
        }
        drop(desk);
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Shows the keys of daemons that are followed beside its own.
    pub fn set_relayed_keys(&self, keys: KeySet) {
        let mut desk = self.desk();
        desk.relayed_keys = keys;
        self.public.store(Arc::new(desk.keys.public().with(&desk.relayed_keys)));
    }

    /// The public keys by which what is up can be verified.
    #[must_use]
    pub fn public_keys(&self) -> Arc<KeySet> {
        self.public.load_full()
    }

    /// Signs other bytes with the current keys: what is rendered from lists.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Option<String> {
        let keys = self.desk().keys.clone();
        keys.sign(bytes)
    }

    /// Tells those who wait for anything made from lists that it may be another one now: the configuration has changed.
    pub fn touch(&self) {
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Wakes on every change of any list or key.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The current list of a model or capability, and wakes when another takes its place.
    #[must_use]
    pub fn watch(&self, model: &ModelId, capability: Option<&Capability>) -> watch::Receiver<Option<Arc<Published>>> {
        let mut desk = self.desk();
        let slot = desk.slots.entry((model.clone(), capability.cloned())).or_insert_with(|| {
            let current = self.index.load().get(model.as_str()).and_then(|l| l.get(capability).cloned());
            watch::channel(current).0
        });
        slot.subscribe()
    }

    /// How many wait for a model's own list.
    #[cfg(test)]
    pub fn watching(&self, model: &ModelId) -> usize {
        self.desk().slots.get(&(model.clone(), None)).map_or(0, watch::Sender::receiver_count)
    }

    fn swap(&self, desk: &Desk, published: &Arc<Published>) {
        let mut index = Index::clone(&self.index.load());
        index.entry(published.model.to_string()).or_default().put(Arc::clone(published));
        self.index.store(Arc::new(index));
        if let Some(slot) = desk.slots.get(&(published.model.clone(), published.capability.clone())) {
            slot.send_replace(Some(Arc::clone(published)));
        }
    }

    /// Held for look-ups and signatures only, never across an await.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use serde_json::json;

    use super::*;
    use crate::signing::Signature;

    fn list(revision: Revision, capability: Option<&str>) -> Document {
        let mut list = json!({
            "schema": "exacto.allowlist/v1", "model": "lab/m", "version": revision, "mode": "normal", "excluded": [],
            "issued_at": "2026-01-31T12:00:00Z", "expires_at": "2026-02-01T12:00:00Z",
            "providers": [{"id": "a", "rank": 1, "weight": 100, "tier": "admitted", "slugs": {}}]});
        if let Some(name) = capability {
            list["capability"] = json!(name);
        }
        Document::read(Bytes::from(list.to_string())).unwrap()
    }

    fn keys(ids: &[&str]) -> KeyRing {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        ids.iter().fold(KeyRing::default(), |ring, id| ring.with_new(Some(id), &mut rng).unwrap())
    }

    fn signers(board: &Board) -> Vec<String> {
        let published = board.get("lab/m").unwrap();
        let text = published.headers.get(SIGNATURE_HEADER).map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(text, published.signature);
        let signatures = Signature::read(text.as_deref().unwrap_or_default()).unwrap();
        for signature in &signatures {
            let keys = board.public_keys();
            assert!(keys.get(&signature.key_id).unwrap().verifies(&published.body, signature));
        }
        signatures.into_iter().map(|s| s.key_id).collect()
    }

    #[test]
    fn an_older_revision_never_replaces_a_newer_one() {
        let board = Board::default();
        board.publish(list(2, None), Origin::Own);
        assert_eq!(board.publish(list(1, None), Origin::Own).revision, 2);
        assert_eq!(board.get("lab/m").map(|p| p.revision), Some(2));
        let third = list(3, None);
        board.publish(third.clone(), Origin::Own);
        assert_eq!(board.get("lab/m").map(|p| p.body.clone()), Some(third.body));
        assert!(board.get("lab/other").is_none());
    }

    #[test]
    fn the_list_of_a_capability_stands_beside_the_models_own() {
        let board = Board::default();
        board.publish(list(4, Some("tools")), Origin::Own);
        assert!(board.get("lab/m").is_none());
        board.publish(list(2, None), Origin::Own);
        board.publish(list(3, Some("tools")), Origin::Own);
        let revision = |found: Option<Arc<Published>>| found.map(|p| p.revision);
        assert_eq!(revision(board.get("lab/m")), Some(2));
        assert_eq!(revision(board.of_capability("lab/m", "tools")), Some(4));
        assert_eq!(revision(board.of_capability("lab/m", "streaming")), None);
        assert_eq!(board.all().iter().map(|p| p.revision).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn other_keys_sign_what_is_up_anew_without_a_change_of_its_bytes() {
        let board = Board::default();
        let first = board.publish(list(1, None), Origin::Own);
        assert_eq!(signers(&board), [""; 0]);
        board.set_keys(keys(&["a"]));
        assert_eq!(signers(&board), ["a"]);
        board.set_keys(keys(&["a", "b"]));
        assert_eq!(signers(&board), ["a", "b"]);
        board.publish(list(2, None), Origin::Own);
        assert_eq!(signers(&board), ["a", "b"]);
        board.set_keys(keys(&["a", "b"]).newest_alone());
        assert_eq!(signers(&board), ["b"]);
        assert_eq!(board.publish(list(1, None), Origin::Own).revision, 2);
        assert_eq!(board.publish(list(2, None), Origin::Own).etag, board.get("lab/m").unwrap().etag);
        assert_ne!(first.etag, board.get("lab/m").unwrap().etag);
    }

    #[test]
    fn what_is_relayed_keeps_its_signature_and_brings_its_keys() {
        let (board, theirs) = (Board::default(), keys(&["theirs"]));
        let document = list(1, None);
        let signature = theirs.sign(&document.body);
        board.set_keys(keys(&["ours"]));
        board.set_relayed_keys(theirs.public());
        board.publish(document, Origin::Relayed { signature: signature.clone() });
        assert_eq!(signers(&board), ["theirs"]);
        board.set_keys(keys(&["ours", "next"]));
        assert_eq!(board.get("lab/m").unwrap().signature, signature);
        assert_eq!(board.public_keys().ids(), ["ours", "next", "theirs"]);
    }

    #[test]
    fn those_who_wait_wake_for_their_list_alone() {
        let board = Board::default();
        let model = ModelId::new("lab/m").unwrap();
        let tools = Capability::new("tools").unwrap();
        let (mut own, of_tools) = (board.watch(&model, None), board.watch(&model, Some(&tools)));
        assert!(own.borrow_and_update().is_none());
        board.publish(list(1, None), Origin::Own);
        assert!(own.has_changed().unwrap() && !of_tools.has_changed().unwrap());
        assert_eq!(own.borrow_and_update().as_ref().map(|p| p.revision), Some(1));
        assert_eq!(board.watch(&model, None).borrow().as_ref().map(|p| p.revision), Some(1));
        board.publish(list(1, Some("tools")), Origin::Own);
        assert!(!own.has_changed().unwrap() && of_tools.has_changed().unwrap());
    }

    #[test]
    fn an_event_holds_the_exact_bytes() {
        let board = Board::default();
        board.set_keys(keys(&["a"]));
        let published = board.publish(list(7, None), Origin::Own);
        let event = String::from_utf8(published.event.to_vec()).unwrap();
        let (signature, put) = event.split_once("\n\n").unwrap();
        assert_eq!(signature, format!("event: signature\ndata: {}", published.signature.as_ref().unwrap()));
        let body = std::str::from_utf8(&published.body).unwrap();
        assert_eq!(put, format!("event: put\nid: 7\ndata: {body}\n\n"));
    }
}
