//! Identifiers: newtypes with validating constructors.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Microseconds since the Unix epoch, UTC. The only representation of time that is stored.
pub type Micros = i64;

/// Longest identifier accepted, in bytes.
pub const ID_BYTES_MAX: usize = 200;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("an id must not be empty")]
    Empty,
    /// The text is longer than [`ID_BYTES_MAX`].
    #[error("an id has at most {ID_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A character that the kind of id does not allow.
    #[error("character {character:?} is not allowed in {kind} (allowed: {allowed})")]
    Character {
        /// The offending character.
        character: char,
        /// The kind of id, as a phrase.
        kind: &'static str,
        /// The allowed characters, as a phrase.
        allowed: &'static str,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a text.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long or holds a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty);
                }
                if text.len() > ID_BYTES_MAX {
                    return Err(IdError::TooLong(text.len()));
                }
                let allowed: fn(char) -> bool = $ok;
                match text.chars().find(|c| !allowed(*c)) {
                    Some(character) => Err(IdError::Character { character, kind: $kind, allowed: $allowed }),
                    None => Ok(Self(Arc::from(text))),
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn path_char(c: char) -> bool {
    name_char(c) || matches!(c, '/' | ':' | '@' | '+')
}

text_id!(
    /// Canonical id of a model, such as `moonshotai/kimi-k2-0905`. May hold slashes and colons.
    ModelId, "a model id", "letters, digits, - _ . / : @ +", path_char
);
text_id!(
    /// Id of a provider, such as `groq`.
    ProviderId, "a provider id", "letters, digits, - _ .", name_char
);
text_id!(
    /// Id of an endpoint within its model: `provider` or `provider/tag`.
    EndpointId, "an endpoint id", "letters, digits, - _ . / : @ +", path_char
);
text_id!(
    /// Name of a suite; equals its folder's name.
    SuiteName, "a suite name", "letters, digits, - _ .", name_char
);
text_id!(
    /// A capability: the tag of the cases by which it is judged, such as `tools`.
    Capability, "a capability", "letters, digits, - _ .", name_char
);
text_id!(
    /// Id of a case, unique in its suite.
    CaseId, "a case id", "printable characters without spaces", |c| !c.is_control() && !c.is_whitespace()
);
text_id!(
    /// SHA-256 over all case hashes of a suite, in lower-case hexadecimal: the identity of a suite.
    SuiteDigest, "a digest", "0-9 a-f", |c| matches!(c, '0'..='9' | 'a'..='f')
);

/// A text that is no id of a sweep or an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no id, which looks like 01a20aa8-5013-703d-8441-3372f25c367a; `exactod attempts --json` lists them")]
pub struct UuidError;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = UuidError;
            fn from_str(text: &str) -> Result<Self, UuidError> {
                Uuid::parse_str(text).map(Self).map_err(|_| UuidError)
            }
        }
    };
}

uuid_id!(
    /// Id of a sweep (UUIDv7: sorts by time of creation).
    SweepId
);
uuid_id!(
    /// Id of an attempt (UUIDv7).
    AttemptId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_accept_what_operators_write_and_refuse_the_rest() {
        assert!(ModelId::new("moonshotai/kimi-k2-0905:free").is_ok());
        assert_eq!(ModelId::new(""), Err(IdError::Empty));
        assert!(ProviderId::new("a b").is_err());
        assert!(ProviderId::new("a/b").is_err());
        assert!(EndpointId::new("groq/fp8").is_ok());
        assert!(matches!(ModelId::new(&"x".repeat(201)), Err(IdError::TooLong(201))));
    }
}
