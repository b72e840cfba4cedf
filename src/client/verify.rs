//! The judgement of a document that has arrived: pure.

use std::collections::BTreeSet;

use crate::clock::rfc3339;
use crate::domain::allowlist::ALLOWLIST_SCHEMA;
use crate::domain::{Allowlist, Micros, Revision, canonical};
use crate::signing::{KeySet, Signature};

/// Largest document that is looked at.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How far clocks may disagree, in microseconds: 5 minutes.
pub const CLOCK_TOLERANCE_US: i64 = 5 * 60 * 1_000_000;
/// Largest routing weight.
const WEIGHT_MAX: u32 = 100;

/// What a consumer expects, and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The model that was asked for, by its canonical id.
    pub model: String,
    /// The capability that was asked for; `None`: the model's own list.
    pub capability: Option<String>,
    /// The keys that are believed.
    pub keys: KeySet,
    /// Whether a document must be signed by one of them. Without this a signature is still checked when there are keys.
    pub signed: bool,
}

impl Trust {
    /// The model's own list, signed; by keys that are to be filled in.
    #[must_use]
    pub fn signed(model: &str) -> Trust {
        Trust { model: model.to_owned(), capability: None, keys: KeySet::default(), signed: true }
    }

    /// The model's own list from a source that does not sign.
    #[must_use]
    pub fn unsigned(model: &str) -> Trust {
        Trust { signed: false, ..Trust::signed(model) }
    }
}

/// What is held already: a later document must not be older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its revision.
    pub revision: Revision,
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}

/// A document that may be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// What it says.
    pub list: Allowlist,
    /// What stands for it from now on.
    pub held: Held,
    /// When it was issued.
    pub issued_at_us: Micros,
    /// When it expires.
    pub expires_at_us: Micros,
    /// It is the one that is held already.
    pub known: bool,
}

/// Why a document is not used. What was held before stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("it has {0} bytes, more than {DOCUMENT_BYTES_MAX}")]
    TooLarge(usize),
    /// No signature, though one is due.
    #[error("it is not signed")]
    Unsigned,
    /// The signature cannot be read.
    #[error("its signature cannot be read")]
    SignatureForm,
    /// No key that is believed has signed it.
    #[error("it is signed by {0:?}, none of which is believed here")]
    UnknownKey(Vec<String>),
    /// A key that is believed has not signed these bytes.
    #[error("the signature of key {0:?} is not over these bytes: they were tampered with")]
    BadSignature(String),
    /// Not JSON, or not of the form.
    #[error("it is no allowlist: {0}")]
    NotAList(String),
    /// Another schema.
    #[error("its schema is {0:?}, not {ALLOWLIST_SCHEMA:?}")]
    Schema(String),
    /// Another model or capability than was asked for.
    #[error("it is about {0}")]
    Another(String),
    /// Nobody is listed.
    #[error("it lists no endpoint")]
    Empty,
    /// It expired before it arrived.
    #[error("it expired at {0}: whoever sent it is out of date, or holds it back")]
    Expired(String),
    /// It was issued later than now.
    #[error("it was issued at {0}, which is not yet: a clock is wrong")]
    FromTheFuture(String),
    /// Older than what is held.
    #[error("its revision is {got}, and {held} is held: it was rolled back")]
    RolledBack {
        /// What is held.
        held: Revision,
        /// What came.
        got: Revision,
    },
    /// Other bytes under the revision that is held.
    #[error("it is another document under revision {0}, which is held already")]
    Equivocal(Revision),
}

impl Refusal {
    /// A word for programs: acks, metrics, test vectors.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::TooLarge(_) => "too_large",
            Refusal::Unsigned => "unsigned",
            Refusal::SignatureForm => "signature_form",
            Refusal::UnknownKey(_) => "unknown_key",
            Refusal::BadSignature(_) => "bad_signature",
            Refusal::NotAList(_) => "not_a_list",
            Refusal::Schema(_) => "schema",
            Refusal::Another(_) => "another",
            Refusal::Empty => "empty",
            Refusal::Expired(_) => "expired",
            Refusal::FromTheFuture(_) => "from_the_future",
            Refusal::RolledBack { .. } => "rolled_back",
            Refusal::Equivocal(_) => "equivocal",
        }
    }
}

/// Judges a document that has arrived.
///
/// `signature`: the text of the header or of the side-car. `held`: what is in use, if anything is.
///
/// # Errors
/// [`Refusal`]; the first reason in the order of the specification.
pub fn verify(
    bytes: &[u8],
    signature: Option<&str>,
    trust: &Trust,
    held: Option<&Held>,
    now_us: Micros,
) -> Result<Accepted, Refusal> {
    let accepted = authentic(bytes, signature, trust)?;
    if now_us >= accepted.expires_at_us.saturating_add(CLOCK_TOLERANCE_US) {
        return Err(Refusal::Expired(accepted.list.expires_at));
    }
    if accepted.issued_at_us > now_us.saturating_add(CLOCK_TOLERANCE_US) {
        return Err(Refusal::FromTheFuture(rfc3339(accepted.issued_at_us)));
    }
    match held {
        Some(held) if accepted.held.revision < held.revision => {
            Err(Refusal::RolledBack { held: held.revision, got: accepted.held.revision })
        }
        Some(held) if accepted.held.revision == held.revision && accepted.held.sha256 != held.sha256 => {
            Err(Refusal::Equivocal(held.revision))
        }
        held => Ok(Accepted { known: held == Some(&accepted.held), ..accepted }),
    }
}

/// Whether it is what was asked for and comes from whom is believed, whatever the time and whatever is held.
pub(super) fn authentic(bytes: &[u8], signature: Option<&str>, trust: &Trust) -> Result<Accepted, Refusal> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    check_signature(bytes, signature, trust)?;
    let list: Allowlist = serde_json::from_slice(bytes).map_err(|e| Refusal::NotAList(e.to_string()))?;
    if list.schema != ALLOWLIST_SCHEMA {
        return Err(Refusal::Schema(list.schema));
    }
    let capability = list.capability.as_ref().map(crate::domain::Capability::as_str);
    if list.model != trust.model || capability != trust.capability.as_deref() {
        let of = capability.map(|name| format!("capability {name} of ")).unwrap_or_default();
        return Err(Refusal::Another(format!("{of}{}", list.model)));
    }
    if list.providers.is_empty() {
        return Err(Refusal::Empty);
    }
    check_form(&list)?;
    let (issued_at_us, expires_at_us) = (time(&list.issued_at)?, time(&list.expires_at)?);
    if expires_at_us <= issued_at_us {
        return Err(Refusal::NotAList("it expires before it is issued".to_owned()));
    }
    let held = Held { revision: list.version, sha256: canonical::sha256_hex(bytes) };
    Ok(Accepted { list, held, issued_at_us, expires_at_us, known: false })
}

/// Every signature of a key that is believed must be over these bytes, and there must be one at least.
fn check_signature(bytes: &[u8], text: Option<&str>, trust: &Trust) -> Result<(), Refusal> {
    let signatures = Signature::read(text.unwrap_or_default()).map_err(|_| Refusal::SignatureForm)?;
    let mut believed = 0;
    for signature in &signatures {
        let Some(key) = trust.keys.get(&signature.key_id) else { continue };
        if !key.verifies(bytes, signature) {
            return Err(Refusal::BadSignature(signature.key_id.clone()));
        }
        believed += 1;
    }
    match (trust.signed, signatures.is_empty()) {
        (false, _) => Ok(()),
        (true, true) => Err(Refusal::Unsigned),
        (true, false) if believed == 0 => {
            Err(Refusal::UnknownKey(signatures.into_iter().map(|signature| signature.key_id).collect()))
        }
        (true, false) => Ok(()),
    }
}

fn check_form(list: &Allowlist) -> Result<(), Refusal> {
    let bad = |why: String| Err(Refusal::NotAList(why));
    if list.version == 0 {
        return bad("its version is 0".to_owned());
    }
    let mut seen = BTreeSet::new();
    for (at, entry) in (1..).zip(&list.providers) {
        if !seen.insert(&entry.id) {
            return bad(format!("endpoint {} stands in it twice", entry.id));
        }
        if entry.rank != at || !(1..=WEIGHT_MAX).contains(&entry.weight) {
            return bad(format!("endpoint {} has rank {} and weight {}", entry.id, entry.rank, entry.weight));
        }
    }
    match list.excluded.iter().find(|entry| !seen.insert(&entry.id)) {
        Some(entry) => bad(format!("endpoint {} stands in it twice", entry.id)),
        None => Ok(()),
    }
}

fn time(text: &str) -> Result<Micros, Refusal> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    time.map(|t| t.timestamp_micros()).map_err(|e| Refusal::NotAList(format!("{text:?} is no time: {e}")))
}
