//! Keys: private ones in a ring, public ones in a JWK set.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use rand_chacha::rand_core::CryptoRng;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::text::Signature;
use crate::domain::base64;
use crate::domain::canonical::sha256_hex;

/// Most private keys that sign at once: the one that goes and the one that comes.
pub const ACTIVE_KEYS_MAX: usize = 2;
/// Most public keys read from one set.
pub const PUBLIC_KEYS_MAX: usize = 32;
/// Longest key id, in characters.
pub const KEY_ID_CHARS_MAX: usize = 64;
/// Hexadecimal digits of the public key's hash in an id made here.
const KEY_ID_DIGITS: usize = 12;

/// Why keys cannot be used. The messages hold no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a JWK set.
    #[error("this is no JWK set ({0}); `exactod keys new` makes one")]
    NotASet(String),
    /// A key of another kind.
    #[error("key {0:?} is no Ed25519 key (kty \"OKP\", crv \"Ed25519\")")]
    OtherKind(String),
    /// Its bytes are no key.
    #[error("key {0:?} is damaged: `x` and `d` must be 32 bytes in base64url, and `x` the public key of `d`")]
    Damaged(String),
    /// A public key where private ones are due.
    #[error("key {0:?} has no private part `d`: this is a set of public keys")]
    NoPrivatePart(String),
    /// Its id cannot be sent in a header.
    #[error("{0:?} is no key id: 1 to {KEY_ID_CHARS_MAX} letters, digits, `-`, `_` and `.`")]
    BadId(String),
    /// Two keys of one id.
    #[error("two keys have the id {0:?}")]
    SameId(String),
    /// No key at all, or more than can be active.
    #[error("{0} keys: at least one and at most {1} are due")]
    Count(usize, usize),
}

/// A key in a JWK set, as written. Other members (`alg`, `use`) are not looked at.
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    crv: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    #[serde(default)]
    alg: String,
    #[serde(rename = "use", default)]
    purpose: String,
}

#[derive(Serialize, Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    fn read(text: &str, most: usize) -> Result<JwkSet, KeyError> {
        let set: JwkSet = serde_json::from_str(text).map_err(|e| KeyError::NotASet(place_of(&e)))?;
        match set.keys.len() {
            n if n > most => Err(KeyError::Count(n, most)),
            _ => Ok(set),
        }
    }

    fn write(keys: impl Iterator<Item = Jwk>) -> String {
        // Only strings: it always serializes.
        serde_json::to_string(&JwkSet { keys: keys.collect() }).unwrap_or_default()
    }
}

/// Where a JSON error lies, without the text around it: that may be a key.
fn place_of(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

impl Jwk {
    fn new(kid: &str, public: &VerifyingKey, private: Option<&SigningKey>) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            kid: kid.to_owned(),
            x: base64::encode_url(public.as_bytes()),
            d: private.map(|key| base64::encode_url(key.as_bytes())),
            alg: "EdDSA".to_owned(),
            purpose: "sig".to_owned(),
        }
    }

    fn is_ed25519(&self) -> bool {
        self.kty == "OKP" && self.crv == "Ed25519"
    }

    fn public(&self) -> Result<VerifyingKey, KeyError> {
        let bytes = base64::decode_url(&self.x).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).filter(|key| !key.is_weak());
        key.ok_or_else(|| KeyError::Damaged(self.kid.clone()))
    }

    fn private(&self) -> Result<SigningKey, KeyError> {
        let damaged = || KeyError::Damaged(self.kid.clone());
        let text = self.d.as_deref().ok_or_else(|| KeyError::NoPrivatePart(self.kid.clone()))?;
        let bytes = base64::decode_url(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(damaged)?;
        let key = SigningKey::from_bytes(&bytes);
        if key.verifying_key() == self.public()? { Ok(key) } else { Err(damaged()) }
    }
}

fn checked_id(id: &str) -> Result<&str, KeyError> {
    let good = (1..=KEY_ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good { Ok(id) } else { Err(KeyError::BadId(id.to_owned())) }
}

/// A private key.
#[derive(Clone)]
struct PrivateKey {
    id: String,
    key: SigningKey,
}

/// The private keys that sign, oldest first; none: documents are published unsigned. Never shown: `Debug` gives ids.
#[derive(Clone, Default)]
pub struct KeyRing(Vec<PrivateKey>);

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids()).finish()
    }
}

impl KeyRing {
    /// Reads a private JWK set of one or two keys.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(text: &SecretString) -> Result<KeyRing, KeyError> {
        let set = JwkSet::read(text.expose_secret(), ACTIVE_KEYS_MAX)?;
        if set.keys.is_empty() {
            return Err(KeyError::Count(0, ACTIVE_KEYS_MAX));
        }
        let mut ring = KeyRing::default();
        for jwk in set.keys {
            let id = checked_id(&jwk.kid)?.to_owned();
            if !jwk.is_ed25519() {
                return Err(KeyError::OtherKind(id));
            }
            if ring.0.iter().any(|known| known.id == id) {
                return Err(KeyError::SameId(id));
            }
            ring.0.push(PrivateKey { key: jwk.private()?, id });
        }
        Ok(ring)
    }

    /// As a private JWK set in one line, for a key file or an environment variable.
    #[must_use]
    pub fn to_private_text(&self) -> SecretString {
        SecretString::from(JwkSet::write(self.0.iter().map(|k| Jwk::new(&k.id, &k.key.verifying_key(), Some(&k.key)))))
    }

    /// With a further key, the newest. Without an id of its own it is called by the hash of its public part.
    ///
    /// # Errors
    /// [`KeyError`] when two keys are active already, or the id is taken or cannot be one.
    pub fn with_new(mut self, id: Option<&str>, rng: &mut dyn CryptoRng) -> Result<KeyRing, KeyError> {
        if self.0.len() >= ACTIVE_KEYS_MAX {
            return Err(KeyError::Count(self.0.len() + 1, ACTIVE_KEYS_MAX));
        }
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let key = SigningKey::from_bytes(&seed);
        let id = match id {
            Some(id) => checked_id(id)?.to_owned(),
            None => format!("k-{}", &sha256_hex(key.verifying_key().as_bytes())[..KEY_ID_DIGITS]),
        };
        if self.0.iter().any(|known| known.id == id) {
            return Err(KeyError::SameId(id));
        }
        self.0.push(PrivateKey { id, key });
        Ok(self)
    }

    /// Without all but the newest key.
    #[must_use]
    pub fn newest_alone(mut self) -> KeyRing {
        self.0.drain(..self.0.len().saturating_sub(1));
        self
    }

    /// Ids of the keys, oldest first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.id.as_str()).collect()
    }

    /// No key signs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The public parts.
    #[must_use]
    pub fn public(&self) -> KeySet {
        KeySet(self.0.iter().map(|k| PublicKey { id: k.id.clone(), key: k.key.verifying_key() }).collect())
    }

    /// Signs bytes with every key, the oldest first; the signature text, or `None` when there is no key.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Option<String> {
        let signed =
            |k: &PrivateKey| Signature { key_id: k.id.clone(), bytes: k.key.sign(bytes).to_bytes() }.to_string();
        (!self.0.is_empty()).then(|| self.0.iter().map(signed).collect::<Vec<_>>().join(", "))
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its id.
    pub id: String,
    key: VerifyingKey,
}

/// Public keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(Vec<PublicKey>);

impl KeySet {
    /// Reads a public JWK set. Keys of other kinds are left out, so that a later version may add some.
    ///
    /// # Errors
    /// [`KeyError`] when it is no set, or an Ed25519 key in it is damaged or named twice.
    pub fn read(text: &str) -> Result<KeySet, KeyError> {
        let mut set = KeySet::default();
        for jwk in JwkSet::read(text, PUBLIC_KEYS_MAX)?.keys.into_iter().filter(Jwk::is_ed25519) {
            let id = checked_id(&jwk.kid)?.to_owned();
            if set.get(&id).is_some() {
                return Err(KeyError::SameId(id));
            }
            set.0.push(PublicKey { id, key: jwk.public()? });
        }
        Ok(set)
    }

    /// As a JWK set.
    #[must_use]
    pub fn to_text(&self) -> String {
        JwkSet::write(self.0.iter().map(|k| Jwk::new(&k.id, &k.key, None)))
    }

    /// With the keys of another set whose ids are not taken.
    #[must_use]
    pub fn with(mut self, other: &KeySet) -> KeySet {
        for key in &other.0 {
            if self.get(&key.id).is_none() {
                self.0.push(key.clone());
            }
        }
        self
    }

    /// Only the keys of these ids.
    #[must_use]
    pub fn only(mut self, ids: &[String]) -> KeySet {
        self.0.retain(|key| ids.contains(&key.id));
        self
    }

    /// Finds a key.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Ids of the keys.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.id.as_str()).collect()
    }

    /// No keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PublicKey {
    /// Whether a signature over bytes is this key's. Strict (RFC 8032 with canonical points): what verifies here verifies
    /// everywhere.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        self.key.verify_strict(bytes, &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn ring(seed: u64, ids: &[&str]) -> KeyRing {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        ids.iter().fold(KeyRing::default(), |ring, id| ring.with_new(Some(id), &mut rng).unwrap())
    }

    #[test]
    fn the_second_vector_of_rfc_8032_holds() {
        let text = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"t2",
            "d":"TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}]}"#;
        let ring = KeyRing::read(&SecretString::from(text)).unwrap();
        let signed = ring.sign(&[0x72]).unwrap();
        let expected = "kqAJqfDUyrhyDoILX2QlQKKye1QWUD+Ps3YiI+vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA==";
        assert_eq!(signed, format!("keyid=\"t2\",alg=\"ed25519\",sig=\"{expected}\""));
    }

    #[test]
    fn a_ring_comes_back_and_never_shows_itself() {
        let ring = ring(1, &["a", "b"]);
        let text = ring.to_private_text();
        assert!(!text.expose_secret().contains('\n'));
        let again = KeyRing::read(&text).unwrap();
        assert_eq!(again.ids(), ["a", "b"]);
        assert_eq!(again.sign(b"x"), ring.sign(b"x"));
        let secret = base64::encode_url(ring.0[0].key.as_bytes());
        assert!(text.expose_secret().contains(&secret));
        for shown in [format!("{ring:?}"), ring.public().to_text(), format!("{:?}", ring.public())] {
            assert!(!shown.contains(&secret), "{shown}");
        }
    }

    #[test]
    fn each_key_verifies_its_own_signature_over_the_exact_bytes() {
        let ring = ring(2, &["old", "new"]);
        let set = KeySet::read(&ring.public().to_text()).unwrap();
        assert_eq!(set, ring.public());
        let signatures = Signature::read(&ring.sign(b"bytes").unwrap()).unwrap();
        assert_eq!(signatures.iter().map(|s| s.key_id.as_str()).collect::<Vec<_>>(), ["old", "new"]);
        for signature in &signatures {
            let key = set.get(&signature.key_id).unwrap();
            assert!(key.verifies(b"bytes", signature));
            assert!(!key.verifies(b"Bytes", signature));
            let other = ["old", "new"].into_iter().find(|id| *id != signature.key_id).unwrap();
            assert!(!set.get(other).unwrap().verifies(b"bytes", signature));
        }
    }

    #[test]
    fn a_rotation_adds_one_key_and_takes_the_older_away() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let one = KeyRing::default().with_new(None, &mut rng).unwrap();
        let two = one.clone().with_new(None, &mut rng).unwrap();
        assert_eq!(two.ids().len(), 2);
        assert_eq!(two.ids()[0], one.ids()[0]);
        assert!(two.ids().iter().all(|id| id.starts_with("k-") && id.len() == 14));
        assert_eq!(two.clone().with_new(None, &mut rng).unwrap_err(), KeyError::Count(3, 2));
        assert_eq!(two.clone().newest_alone().ids(), &two.ids()[1..]);
        assert_eq!(one.clone().newest_alone().ids(), one.ids());
        assert!(KeyRing::default().sign(b"x").is_none() && KeyRing::default().is_empty());
    }

    #[test]
    fn what_are_no_keys_is_told_without_showing_them() {
        let good = ring(4, &["a"]);
        let text = good.to_private_text().expose_secret().to_owned();
        let read = |text: &str| KeyRing::read(&SecretString::from(text)).unwrap_err();
        assert!(matches!(read(&text[..text.len() - 2]), KeyError::NotASet(_)));
        assert_eq!(read(r#"{"keys":[]}"#), KeyError::Count(0, 2));
        assert_eq!(read(&text.replace("Ed25519", "X25519")), KeyError::OtherKind("a".to_owned()));
        assert_eq!(read(&text.replace("\"a\"", "\"a b\"")), KeyError::BadId("a b".to_owned()));
        assert_eq!(read(&good.public().to_text()), KeyError::NoPrivatePart("a".to_owned()));
        let other = ring(5, &["a"]).to_private_text().expose_secret().to_owned();
        let x = |text: &str| text.split("\"x\":\"").nth(1).unwrap()[..43].to_owned();
        assert_eq!(read(&text.replace(&x(&text), &x(&other))), KeyError::Damaged("a".to_owned()));
        let twice = format!("{}, {}", text.trim_end_matches("]}"), text.trim_start_matches("{\"keys\":["));
        assert_eq!(read(&twice), KeyError::SameId("a".to_owned()));
        // A public set may hold keys of kinds that come later.
        let later = good.public().to_text().replace("[{", r#"[{"kty":"AKP","kid":"q"},{"#);
        assert_eq!(KeySet::read(&later).unwrap(), good.public());
        assert!(matches!(KeySet::read("[]"), Err(KeyError::NotASet(_))));
    }
}
