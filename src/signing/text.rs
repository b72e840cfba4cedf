//! The text of a signature, as in the header and beside a file.

use std::fmt;

use crate::domain::base64;

/// The only algorithm.
pub const ALGORITHM: &str = "ed25519";
/// Most signatures read from one text: two keys are active at most, further ones are a foreign text.
pub const SIGNATURES_MAX: usize = 8;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;

/// One signature: `keyid="k1",alg="ed25519",sig="<base64>"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Id of the key that made it.
    pub key_id: String,
    /// R and S, as RFC 8032 writes them.
    pub bytes: [u8; SIGNATURE_BYTES],
}

/// Why a text is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not of the form.
    #[error("a signature has the form keyid=\"..\",alg=\"ed25519\",sig=\"..\"")]
    Form,
    /// More than [`SIGNATURES_MAX`].
    #[error("more than {SIGNATURES_MAX} signatures")]
    TooMany,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyid=\"{}\",alg=\"{ALGORITHM}\",sig=\"{}\"", self.key_id, base64::encode(&self.bytes))
    }
}

impl Signature {
    /// Reads the signatures of a text: members `name="value"` separated by commas, white space and line ends; each
    /// `keyid` begins a signature. Unknown members are skipped; a signature of another algorithm is left out.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn read(text: &str) -> Result<Vec<Signature>, SignatureError> {
        let mut found: Vec<Draft> = Vec::new();
        for member in members(text) {
            let (name, value) = member?;
            if name == "keyid" {
                if found.len() == SIGNATURES_MAX {
                    return Err(SignatureError::TooMany);
                }
                found.push(Draft { key_id: value, ..Draft::default() });
                continue;
            }
            match (name, found.last_mut()) {
                (_, None) => return Err(SignatureError::Form),
                ("alg", Some(draft)) => draft.algorithm = Some(value),
                ("sig", Some(draft)) => draft.signature = Some(value),
                (_, Some(_)) => {}
            }
        }
        found.into_iter().filter_map(Draft::finish).collect()
    }
}

#[derive(Default)]
struct Draft<'a> {
    key_id: &'a str,
    algorithm: Option<&'a str>,
    signature: Option<&'a str>,
}

impl Draft<'_> {
    fn finish(self) -> Option<Result<Signature, SignatureError>> {
        match (self.algorithm, self.signature) {
            (Some(ALGORITHM), Some(text)) => {
                let bytes = base64::decode(text).and_then(|bytes| bytes.try_into().ok());
                Some(bytes.map(|bytes| Signature { key_id: self.key_id.to_owned(), bytes }).ok_or(SignatureError::Form))
            }
            (Some(_), Some(_)) => None,
            _ => Some(Err(SignatureError::Form)),
        }
    }
}

/// The members `name="value"` of a text. No value of ours holds a quote or a backslash, so neither is escaped.
fn members(text: &str) -> impl Iterator<Item = Result<(&str, &str), SignatureError>> {
    let separator = |c: char| c == ',' || c.is_ascii_whitespace();
    let mut rest = text.trim_start_matches(separator);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let member = rest.split_once("=\"").and_then(|(name, after)| {
            let (value, after) = after.split_once('"')?;
            let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()) && !value.contains('\\');
            (plain && (after.is_empty() || after.starts_with(separator))).then_some((name, value, after))
        });
        match member {
            Some((name, value, after)) => {
                rest = after.trim_start_matches(separator);
                Some(Ok((name, value)))
            }
            None => {
                rest = "";
                Some(Err(SignatureError::Form))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signature(key_id: &str, byte: u8) -> Signature {
        Signature { key_id: key_id.to_owned(), bytes: [byte; SIGNATURE_BYTES] }
    }

    #[test]
    fn one_and_two_are_read_as_they_were_written() {
        let (one, two) = (signature("k1", 1), signature("k2", 255));
        assert_eq!(Signature::read(&one.to_string()), Ok(vec![one.clone()]));
        for between in [", ", ",", "\n", ",\r\n "] {
            assert_eq!(Signature::read(&format!("{one}{between}{two}\n")), Ok(vec![one.clone(), two.clone()]));
        }
        assert_eq!(Signature::read(""), Ok(vec![]));
        // What a later version may add.
        let later = format!("keyid=\"p\",alg=\"ml-dsa\",sig=\"x\", {},created=\"1\"", one);
        assert_eq!(Signature::read(&later), Ok(vec![one]));
    }

    #[test]
    fn what_is_none_is_refused() {
        let good = signature("k1", 7).to_string();
        for bad in [
            "x".to_owned(),
            "sig=\"AA==\"".to_owned(),
            "keyid=\"k\"".to_owned(),
            "keyid=\"k\",alg=\"ed25519\",sig=\"AA==\"".to_owned(),
            good.replace("\",sig", "\"sig"),
            good.replace("keyid=", "keyid ="),
            good.trim_end_matches('"').to_owned(),
            good.replace("k1", "k\\1"),
        ] {
            assert_eq!(Signature::read(&bad), Err(SignatureError::Form), "{bad}");
        }
        assert_eq!(Signature::read(&vec![good; SIGNATURES_MAX + 1].join(",")), Err(SignatureError::TooMany));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "([a-z=\",]|keyid=\"k\"|alg=\"ed25519\"|sig=\"|\n){0,20}") {
            let _ = Signature::read(&text);
        }
    }
}
