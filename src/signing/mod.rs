//! Signatures of published documents: Ed25519 over the exact bytes, pure.
//!
//! | noun | meaning |
//! |---|---|
//! | [`KeyRing`] | the private keys that sign: none, one, or two while one takes over from the other |
//! | [`KeySet`] | public keys, as a JWK set (RFC 7517, RFC 8037) |
//! | signature text | `keyid="k1",alg="ed25519",sig="<base64>"`; two of them joined by `, ` while two keys are active |
//!
//! `docs/allowlist.md` is the specification.

mod keys;
mod text;

pub use keys::{ACTIVE_KEYS_MAX, KEY_ID_CHARS_MAX, KeyError, KeyRing, KeySet, PUBLIC_KEYS_MAX, PublicKey};
pub use text::{ALGORITHM, SIGNATURES_MAX, Signature, SignatureError};

/// Header in which a document's signature text travels.
pub const SIGNATURE_HEADER: &str = "exacto-signature";
