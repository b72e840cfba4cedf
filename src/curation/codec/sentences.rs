//! Sentences in few bytes: what every sentence of a decision says is one byte, and so are the names of endpoints.

use super::{DecodeError, Read, Reader, TEXT_BYTES_MAX, Writer};

/// Codes from here on are phrases; those below [`PRINTABLE`] are endpoints.
const PHRASES: u8 = 0x80;
/// From here on a byte is itself.
const PRINTABLE: u8 = 0x20;

/// The phrases, in the order of their codes. Part of version 4 of the codec: another table is another version.
const TABLE: [&str; 84] = [
    "; wrong-exclusion guarantee <= ",
    "; wrong-admission guarantee <= ",
    "; false-re-admission guarantee <= ",
    "; false-exclusion guarantee <= ",
    "reference: Admitted by designation in the configuration",
    "entered: new endpoint, no evidence yet",
    "still listed, routed last, asked more",
    " cases, still listed, routed last: ",
    "fingerprint changed; more sampling for ",
    "; no verdict, its quality decides",
    "no peer to compare with",
    "the tests go on with ",
    "may be an anchor again",
    " at the first decision",
    " per provider-year",
    " attempts vs anchors ",
    "%, paired gap ",
    "] vs anchors ",
    " (threshold ",
    ", evidence E=",
    ", evidence R=",
    "%, margin ",
    " cases a sweep",
    "; evidence restarts, ",
    "version change: ",
    "upstream model ",
    "inconclusive: ",
    "excluded (times out): ",
    "excluded (below the floor): ",
    "re-admitted: ",
    "excluded: ",
    "admitted: ",
    "suspect: ",
    "cleared: ",
    "capability ",
    "operator ",
    " success ",
    "answered ",
    " becomes ",
    "Provisional",
    "Excluded",
    "Admitted",
    "Suspect",
    "Unknown",
    ", anchors ",
    "; anchors ",
    " of sweep ",
    ", policy ",
    "; suite ",
    " since ",
    " sweeps",
    " pts [",
    "), n=",
    " pts",
    "% of ",
    "% [",
    "] > ",
    "] < ",
    "1 in ",
    "none",
    "100",
    "7300",
    "1460",
    "tool-use",
    "structured-",
    "reset: its evidence is forgotten, ",
    " and is measured afresh",
    "2026-",
    "2027-",
    "2028-",
    "2029-",
    "-01-",
    "-02-",
    "-03-",
    "-04-",
    "-05-",
    "-06-",
    "-07-",
    "-08-",
    "-09-",
    "-10-",
    "-11-",
    "-12-",
    "0.",
];

impl Writer {
    /// A sentence of a model whose endpoints have these names.
    pub(super) fn sentence(&mut self, text: &str, names: &[&str]) {
        let plain = text.bytes().any(|b| !(PRINTABLE..PHRASES).contains(&b));
        let bytes = if plain { text.as_bytes().to_vec() } else { shortened(text, names) };
        self.count((bytes.len() as u64) << 1 | u64::from(plain));
        self.0.extend_from_slice(&bytes);
    }
}

/// At every place the longest name, or else the longest phrase.
fn shortened(mut text: &str, names: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let longest = |text: &str, words: &[&str], codes: usize| {
        let fits = words.iter().take(codes).enumerate().filter(|(_, word)| text.starts_with(**word));
        fits.max_by_key(|(_, word)| word.len())
            .filter(|(_, word)| !word.is_empty())
            .map(|(i, word)| (i as u8, word.len()))
    };
    while let Some(first) = text.bytes().next() {
        let (code, length) = match (longest(text, names, PRINTABLE.into()), longest(text, &TABLE, TABLE.len())) {
            (Some((i, length)), phrase) if phrase.is_none_or(|(_, other)| other <= length) => (i, length),
            (_, Some((i, length))) => (PHRASES + i, length),
            (_, None) => (first, 1),
        };
        out.push(code);
        text = text.get(length..).unwrap_or_default();
    }
    out
}

impl Reader<'_> {
    pub(super) fn sentence(&mut self, names: &[&str]) -> Read<String> {
        let head = self.count()?;
        let length = head >> 1;
        if length > TEXT_BYTES_MAX {
            return Err(DecodeError::Damaged("a text without end"));
        }
        let bytes = self.take(length as usize)?;
        if head & 1 == 1 {
            return String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Damaged("text is not UTF-8"));
        }
        let mut out = String::with_capacity(4 * bytes.len());
        for byte in bytes {
            match byte {
                0..PRINTABLE => out.push_str(names.get(usize::from(*byte)).ok_or(NO_PHRASE)?),
                PRINTABLE..PHRASES => out.push(char::from(*byte)),
                PHRASES.. => out.push_str(TABLE.get(usize::from(byte - PHRASES)).ok_or(NO_PHRASE)?),
            }
        }
        Ok(out)
    }
}

const NO_PHRASE: DecodeError = DecodeError::Damaged("an unknown phrase");
