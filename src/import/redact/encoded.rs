//! Pieces of a text that are encoded for URLs, JSON or HTML, decoded: `user%40example.com` is an address, too.

use std::ops::Range;

use regex::Regex;

/// Encodings inside encodings that are followed.
const LAYERS_MAX: usize = 4;
/// Longest piece that is decoded, in bytes.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// A piece: what stands between white space, quotes and brackets, with at least one escape in it.
const PIECE: &str = r#"[^\s"'<>{}\[\]]*(?:%[0-9A-Fa-f]{2}|\\+u[0-9A-Fa-f]{4}|&(?:amp;)*#[xX]?[0-9A-Fa-f]{1,6};|&(?:commat|equals|period|colon|quot|amp);)[^\s"'<>{}\[\]]*"#;
/// One escape.
const ESCAPE: &str = r"(?:%[0-9A-Fa-f]{2})+|\\+u([0-9A-Fa-f]{4})|&#([0-9]{1,7});|&#[xX]([0-9A-Fa-f]{1,6});|&(commat|equals|period|colon|quot|amp);";

/// The compiled patterns.
pub(super) struct Encoded {
    piece: Option<Regex>,
    escape: Option<Regex>,
}

impl Encoded {
    pub(super) fn new() -> Self {
        Encoded { piece: Regex::new(PIECE).ok(), escape: Regex::new(ESCAPE).ok() }
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        self.piece.is_some() && self.escape.is_some()
    }

    /// The encoded pieces of a text, decoded.
    pub(super) fn pieces(&self, text: &str) -> Vec<(Range<usize>, String)> {
        // Most texts have none.
        if !text.contains(['%', '\\', '&']) {
            return Vec::new();
        }
        let found = self.piece.iter().flat_map(|p| p.find_iter(text)).filter(|m| m.len() <= PIECE_BYTES_MAX);
        found.map(|m| (m.range(), self.decode(m.as_str()))).collect()
    }

    fn decode(&self, piece: &str) -> String {
        let mut text = piece.to_owned();
        let Some(escape) = &self.escape else { return text };
        for _ in 0..LAYERS_MAX {
            let decoded = escape.replace_all(&text, |found: &regex::Captures<'_>| one(found)).into_owned();
            if decoded == text {
                break;
            }
            text = decoded;
        }
        text
    }
}

/// One escape decoded; itself, where it stands for nothing that can be shown.
fn one(found: &regex::Captures<'_>) -> String {
    let whole = found.get(0).map_or("", |m| m.as_str());
    let code =
        |at: usize, radix: u32| u32::from_str_radix(found.get(at)?.as_str(), radix).ok().and_then(char::from_u32);
    let named = || match found.get(4)?.as_str() {
        "commat" => Some('@'),
        "equals" => Some('='),
        "period" => Some('.'),
        "colon" => Some(':'),
        "quot" => Some('"'),
        _ => Some('&'),
    };
    let char = code(1, 16).or_else(|| code(2, 10)).or_else(|| code(3, 16)).or_else(named);
    match char {
        Some(c) if !c.is_control() => c.to_string(),
        Some(_) => whole.to_owned(),
        None if whole.starts_with('%') => {
            let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair.get(1..)?).ok()?, 16).ok();
            let bytes: Option<Vec<u8>> = whole.as_bytes().chunks(3).map(hex).collect();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.filter(|t| !t.chars().any(char::is_control)).unwrap_or_else(|| whole.to_owned())
        }
        None => whole.to_owned(),
    }
}
