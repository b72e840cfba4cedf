//! JSON's escapes, read without parsing: a secret may stand in an answer as `\u0073\u006b…`, and the answer need not be JSON.

use std::ops::Range;

use memchr::memmem::Finder;

/// Strings in strings in strings: arguments are JSON in a string, and hold strings themselves.
const LEVELS_MAX: usize = 4;

/// Where the secrets stand in a text once its escapes are read, as ranges of the text as it is, in order and apart from each
/// other. What stands there without escapes is found as well.
pub(super) fn hidden(text: &[u8], secrets: &[Finder<'static>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if memchr::memmem::find(text, b"\\u").is_none() {
        return found;
    }
    let mut layer = Layer { bytes: text.to_vec(), from: (0..=text.len()).collect() };
    for _ in 0..LEVELS_MAX {
        let Some(next) = layer.unescaped() else { break };
        for secret in secrets {
            let length = secret.needle().len();
            found.extend(secret.find_iter(&next.bytes).map(|at| next.from[at]..next.from[at + length]));
        }
        layer = next;
    }
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in found {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// A text some of whose escapes are read.
struct Layer {
    bytes: Vec<u8>,
    /// Where each byte begins in the text as it was, and where that ends.
    from: Vec<usize>,
}

impl Layer {
    /// With one level of escapes read; `None` when there is none.
    fn unescaped(&self) -> Option<Layer> {
        let mut out = Layer { bytes: Vec::with_capacity(self.bytes.len()), from: Vec::with_capacity(self.from.len()) };
        let mut at = 0;
        let mut any = false;
        while at < self.bytes.len() {
            let (read, length) = match escape(&self.bytes[at..]) {
                Some((read, length)) => {
                    any = true;
                    (read, length)
                }
                None => (char::from(0), 1),
            };
            let mut buffer = [0; 4];
            let bytes = match length {
                1 => &self.bytes[at..=at],
                _ => read.encode_utf8(&mut buffer).as_bytes(),
            };
            out.bytes.extend_from_slice(bytes);
            out.from.extend(bytes.iter().map(|_| self.from[at]));
            at += length;
        }
        out.from.push(self.from[at]);
        any.then_some(out)
    }
}

/// The character that an escape at the start of a text stands for, and the escape's length.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let [b'\\', kind, rest @ ..] = text else { return None };
    let simple = |c: char| Some((c, 2));
    match kind {
        b'"' | b'\\' | b'/' => simple(char::from(*kind)),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let digits = std::str::from_utf8(rest.get(..4)?).ok()?;
            let code = digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok());
            // Half of a pair stands for nothing by itself; what is beyond the first plane is in no credential.
            Some((char::from_u32(code??)?, 6))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let secrets = [Finder::new(b"sk-\"key".as_slice()).into_owned()];
        hidden(text.as_bytes(), &secrets).into_iter().map(|range| &text[range]).collect()
    }

    fn escaped(text: &str) -> String {
        text.bytes().map(|b| format!("\\u{b:04x}")).collect()
    }

    #[test]
    fn a_secret_is_found_at_every_level_of_escapes() {
        let one = escaped("sk-\"key");
        assert_eq!(found(&format!("a {one} b")), [one.as_str()]);
        let two = format!("sk-{}key", serde_json::Value::from(escaped("\"")).to_string().trim_matches('"'));
        assert_eq!(found(&format!("{{\"arguments\": \"{two}\"")), [two.as_str()]);
        let three = escaped(&one);
        assert_eq!(found(&three), [three.as_str()]);
        let mixed = "s\\u006B-\\\"key";
        assert_eq!(found(&format!("\\ {mixed}{mixed} \\")), [[mixed, mixed].concat()]);
    }

    #[test]
    fn what_is_no_escape_is_left_alone() {
        for text in ["\\u", "\\u00", "\\u00zz", "\\ud83d\\ude00 \u{e4}\\", "\\x41 \\u+041", "sk-\"ke\\u0078"] {
            assert_eq!(found(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn any_bytes_are_read() {
        let mut state = 7u64;
        for length in 0..400 {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                br#"\u"06f5z"#.get((state >> 40) as usize % 9).copied().unwrap_or(0xff)
            };
            let text: Vec<u8> = (0..length).map(|_| next()).collect();
            let secrets = [Finder::new(b"zz".as_slice()).into_owned()];
            let ranges = hidden(&text, &secrets);
            assert!(ranges.iter().all(|r| r.start < r.end && r.end <= text.len()));
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
