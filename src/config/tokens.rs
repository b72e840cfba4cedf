//! API tokens: made once, kept as hashes, compared in constant time.

use rand_chacha::rand_core::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::domain::canonical::hex;

/// What every token begins with, so that scanners for leaked secrets recognise it.
pub const TOKEN_PREFIX: &str = "exd_";
/// Random bytes in a token.
pub const TOKEN_RANDOM_BYTES: usize = 32;
/// Longest presented token that is hashed, in bytes.
pub const TOKEN_BYTES_MAX: usize = 1024;

/// What the holder of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Read everything.
    Read,
    /// Send observations.
    Ingest,
    /// Both, and command: sweeps, pins, bans, notes.
    Admin,
}

impl Role {
    /// As written in the config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Ingest => "ingest",
            Role::Admin => "admin",
        }
    }

    /// Whether this role suffices where another is needed: admin for all, the others for themselves.
    #[must_use]
    pub fn allows(self, needed: Role) -> bool {
        self == Role::Admin || self == needed
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role: read, ingest or admin")]
pub struct RoleError(String);

impl std::str::FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "read" => Ok(Role::Read),
            "ingest" => Ok(Role::Ingest),
            "admin" => Ok(Role::Admin),
            other => Err(RoleError(super::mask::message(other))),
        }
    }
}

/// One configured token: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who uses it.
    pub name: String,
    /// What the holder may do.
    pub role: Role,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
}

/// A token just made. It is shown to its holder once and stored nowhere.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The token.
    pub token: SecretString,
    /// What the holder may do.
    pub role: Role,
    /// Its SHA-256 in lower-case hexadecimal: what stands in the config.
    pub sha256: String,
}

impl NewToken {
    /// The lines for `exactod.toml`.
    #[must_use]
    pub fn toml(&self, name: &str) -> String {
        format!(
            "[[server.token]]\nname = {}\nrole = \"{}\"\nsha256 = \"{}\"\n",
            toml::Value::String(name.to_owned()),
            self.role,
            self.sha256
        )
    }
}

/// Makes a token: [`TOKEN_PREFIX`] and [`TOKEN_RANDOM_BYTES`] random bytes in hexadecimal.
#[must_use]
pub fn new_token(role: Role, rng: &mut dyn CryptoRng) -> NewToken {
    let mut bytes = [0; TOKEN_RANDOM_BYTES];
    rng.fill_bytes(&mut bytes);
    let token = format!("{TOKEN_PREFIX}{}", hex(&bytes));
    NewToken { sha256: hex(&hash(&token)), role, token: SecretString::from(token) }
}

impl NewToken {
    /// The token itself, to be shown to its holder.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.token.expose_secret()
    }
}

/// SHA-256 of a token. The tokens hold 256 random bits, so a plain hash cannot be reversed by guessing.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The configured tokens.
#[derive(Debug, Clone, Default)]
pub struct TokenSet(Vec<Token>);

impl TokenSet {
    /// The tokens of a config.
    #[must_use]
    pub fn new(tokens: Vec<Token>) -> Self {
        TokenSet(tokens)
    }

    /// No token is configured: everything is open, and the server listens on loopback only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token was presented. All tokens are compared, each in constant time, so that the time taken
    /// tells nothing about which of them was near.
    #[must_use]
    pub fn authenticate(&self, presented: &str) -> Option<&Token> {
        if presented.is_empty() || presented.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let presented = hash(presented);
        let mut found = Choice::from(0);
        let mut which: u64 = 0;
        for (at, token) in (0_u64..).zip(&self.0) {
            let equal = token.sha256.ct_eq(&presented);
            which.conditional_assign(&at, equal);
            found |= equal;
        }
        if bool::from(found) { usize::try_from(which).ok().and_then(|at| self.0.get(at)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn token(name: &str, role: Role, text: &str) -> Token {
        Token { name: name.to_owned(), role, sha256: hash(text) }
    }

    #[test]
    fn a_new_token_is_recognised_by_its_hash_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let (one, two) = (new_token(Role::Read, &mut rng), new_token(Role::Admin, &mut rng));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), TOKEN_PREFIX.len() + 2 * TOKEN_RANDOM_BYTES);
        assert!(!format!("{one:?}").contains(one.expose()));
        let set = TokenSet::new(vec![token("a", Role::Read, one.expose()), token("b", Role::Admin, two.expose())]);
        assert_eq!(set.authenticate(one.expose()).map(|t| t.name.as_str()), Some("a"));
        assert_eq!(set.authenticate(two.expose()).map(|t| t.name.as_str()), Some("b"));
        assert_eq!(set.authenticate(&one.sha256), None);
        assert_eq!(set.authenticate(""), None);
        assert_eq!(TokenSet::default().authenticate(one.expose()), None);
    }

    #[test]
    fn the_hash_is_plain_sha256() {
        // `printf abc | sha256sum`
        assert_eq!(hex(&hash("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_presented_text_of_any_length_is_refused_without_panic() {
        let long = "\u{e9}".repeat(TOKEN_BYTES_MAX);
        let set = TokenSet::new(vec![token("a", Role::Read, &long), token("b", Role::Read, "")]);
        assert_eq!(set.authenticate(&long), None);
        assert_eq!(set.authenticate(""), None);
    }

    #[test]
    fn admin_may_all_and_the_others_only_their_own() {
        for (role, read, ingest, admin) in
            [(Role::Read, true, false, false), (Role::Ingest, false, true, false), (Role::Admin, true, true, true)]
        {
            assert_eq!(
                (role.allows(Role::Read), role.allows(Role::Ingest), role.allows(Role::Admin)),
                (read, ingest, admin)
            );
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
