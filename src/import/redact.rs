//! Secrets and personal data out of texts, by shape.
//!
//! Found: keys of known shapes, PEM blocks, JSON web tokens, bearer tokens, credentials in URLs, what follows words such
//! as "password" or "api_key", e-mail addresses, phone numbers, IBANs, card numbers, IP addresses. Each becomes a
//! placeholder of its class, such as `[EMAIL_1]`: the same value gets the same placeholder within a case, so that a
//! conversation keeps its meaning. Redacting twice changes nothing more.
//!
//! Not found: names, postal addresses, dates of birth, and whatever has no shape of its own. Read a suite before you
//! share it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// Rounds until nothing more is found: a replacement can free the edge of what stands beside it.
const ROUNDS_MAX: usize = 8;
/// JSON in a string in JSON in a string: how often that is followed.
const NESTED_MAX: usize = 8;
/// Shortest secret after a word that announces one, in characters.
const SECRET_CHARS_MIN: usize = 4;
/// A bearer token without a digit is a word, unless it is this long.
const TOKEN_CHARS_MIN: usize = 20;
/// Digits of a card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Digits of a phone number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A key, token, password or PEM block.
    Secret,
    /// User and password in a URL.
    Credentials,
    /// An e-mail address.
    Email,
    /// An international bank account number.
    Iban,
    /// A card number that passes Luhn's test.
    Card,
    /// A phone number.
    Phone,
    /// An IPv4 or IPv6 address that is not the machine's own.
    Ip,
}

impl Class {
    /// All classes, in the order in which counts are told.
    pub const ALL: [Class; 7] =
        [Class::Secret, Class::Credentials, Class::Email, Class::Iban, Class::Card, Class::Phone, Class::Ip];

    /// The word in its placeholders.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Secret => "SECRET",
            Class::Credentials => "CREDENTIALS",
            Class::Email => "EMAIL",
            Class::Iban => "IBAN",
            Class::Card => "CARD",
            Class::Phone => "PHONE",
            Class::Ip => "IP",
        }
    }
}

/// Whether a match is one of its class, beyond its shape.
type Test = fn(&str) -> bool;

/// A shape: the class, the pattern (group 1, where there is one, is what is replaced), and a test.
const SHAPES: &[(Class, &str, Test)] = &[
    (Class::Secret, r"(?s)-----BEGIN [A-Z0-9 ]{3,40}-----.*?(?:-----END [A-Z0-9 ]{3,40}-----|\z)", always),
    (Class::Credentials, r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/:@\[\]]*:[^\s/]+)@", always),
    (Class::Secret, r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?", always),
    (Class::Secret, r"sk-[A-Za-z0-9_-]{16,}", has_digit),
    (Class::Secret, r"(?:sk|pk|rk|whsec)_(?:live|test)_[A-Za-z0-9]{10,}", always),
    (Class::Secret, r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}", always),
    (
        Class::Secret,
        r"(?:gh[pousr]_|github_pat_|gsk_|hf_|npm_|r8_|tgp_v1_|dop_v1_|shp(?:at|ca|pa|ss)_)[A-Za-z0-9_]{16,}",
        always,
    ),
    (
        Class::Secret,
        r"(?:glpat-|pypi-|nvapi-|pplx-|xai-|xapp-|xox[abeoprs]-|AIza|ya29\.|ATATT)[A-Za-z0-9_-]{10,}",
        has_digit,
    ),
    (Class::Secret, r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", always),
    (Class::Secret, r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b", always),
    (Class::Secret, r"(?i)\b(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/=-]{8,})", is_token),
    (Class::Secret, ANNOUNCED, is_assigned),
    (
        Class::Secret,
        r#"(?i)\b(?:password|passwd|pwd|passphrase|passcode|secret|token|key)[ \t]+(?:is|was|to)[ \t]+["'`]?([^\s"'`\[\]{}<>,;]{4,})"#,
        is_odd,
    ),
    (Class::Email, r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}", always),
    (Class::Iban, r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", is_iban),
    (Class::Card, r"\d(?:[ -]?\d){12,18}", is_card),
    (Class::Ip, r"\d{1,3}(?:\.\d{1,3}){3}", is_ipv4),
    (Class::Ip, r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?", is_ipv6),
    (Class::Phone, r"\+\d[\d ().\u{a0}-]{5,}\d", is_phone),
    (Class::Phone, r"\b00[1-9][\d ()-]{6,}\d\b", is_phone),
    (Class::Phone, r"\(\d{3,5}\) ?\d{3,4}[-. ]?\d{3,4}\b", is_phone),
    (Class::Phone, r"\b\d{3}[-.]\d{3}[-.]\d{4}\b", is_phone),
    (
        Class::Phone,
        r"(?i)\b(?:tel|telephone|phone|mobile|cell|fax|whatsapp)\b(?:[ \t]*(?:number|no|nr|is|at|:|\.|=))*[ \t]*(\d[\d ().-]{5,}\d)",
        is_phone,
    ),
];

/// A name that announces a secret, a sign of assignment, and what is assigned.
const ANNOUNCED: &str = r#"(?i)[A-Za-z0-9_-]*(?:password|passwd|pwd|passphrase|passcode|secret|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|auth[_-]?token|[_-]token|accesstoken|refreshtoken|\btoken|credential|authorization)(?:[_-][A-Za-z0-9]+)*["'\\]*[ \t]*(?::=|=>|[:=])[ \t]*["'`\\]*(?:(?:bearer|basic)[ \t]+)?([^\s"'`\\\[\]{}<>,;&]{4,})"#;

fn always(_: &str) -> bool {
    true
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    has_digit(text) || text.len() >= TOKEN_CHARS_MIN
}

/// Words that stand where a secret would, in schemas, forms and examples.
const INNOCENT: &[&str] = &[
    "string",
    "str",
    "text",
    "integer",
    "int",
    "number",
    "boolean",
    "bool",
    "object",
    "array",
    "null",
    "none",
    "true",
    "false",
    "required",
    "optional",
    "undefined",
    "invalid",
    "valid",
    "expired",
    "missing",
    "incorrect",
    "wrong",
    "empty",
    "redacted",
    "bearer",
    "basic",
    "example",
    "your",
    "the",
    "this",
    "that",
    "with",
    "must",
    "should",
];

/// What is assigned to a name such as `password`: anything but a word that only speaks about it.
fn is_assigned(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    let masked = text.chars().all(|c| matches!(c, '*' | '.' | 'x' | 'X' | '•' | '-' | '_' | '(' | ')' | '$'));
    text.chars().count() >= SECRET_CHARS_MIN && !masked && !INNOCENT.contains(&word.as_str())
}

/// After a mere "is": only what no sentence would say, a word with digits, signs or odd capitals.
fn is_odd(text: &str) -> bool {
    let core = text.trim_end_matches(['.', ',', '!', '?', ':', ')']);
    let signs = core.chars().any(|c| !c.is_alphanumeric() && c != '\'' && c != '-');
    let capitals = core.chars().skip(1).any(char::is_uppercase) && core.chars().any(char::is_lowercase);
    is_assigned(core) && (has_digit(core) || signs || capitals)
}

fn digits(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect()
}

fn is_phone(text: &str) -> bool {
    PHONE_DIGITS.contains(&digits(text).len())
}

fn is_card(text: &str) -> bool {
    let digits = digits(text);
    // Issuers' numbers begin with 2 to 6; times in milliseconds, which begin with 1, do not.
    let issued = digits.first().is_some_and(|d| (2..=6).contains(d));
    issued && CARD_DIGITS.contains(&digits.len()) && luhn(&digits)
}

/// Luhn's test: from the right, every second digit doubled, the sum of digits is a multiple of ten.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, d)| {
            let d = u32::from(*d) << (at % 2);
            if d > 9 { d - 9 } else { d }
        })
        .sum();
    sum % 10 == 0
}

/// ISO 13616: the first four characters moved to the end, letters as 10 to 35, the number modulo 97 is 1.
fn is_iban(text: &str) -> bool {
    let compact: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    if !(15..=34).contains(&compact.len()) {
        return false;
    }
    let moved = compact[4..].iter().chain(&compact[..4]);
    let rest = moved.fold(0u32, |rest, b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    rest == 1
}

fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified() && !ip.is_broadcast())
}

/// An address, and not `a::b` of a program or a time of day.
fn is_ipv6(text: &str) -> bool {
    let address = text.parse::<Ipv6Addr>().is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified());
    address && text.len() >= 6 && has_digit(text)
}

/// The compiled shapes.
pub struct Redactor {
    shapes: Vec<(Class, Regex, Test)>,
    placeholder: Option<Regex>,
    announces: Option<Regex>,
}

impl Default for Redactor {
    fn default() -> Self {
        Redactor::new()
    }
}

impl Redactor {
    /// Compiles the shapes.
    #[must_use]
    pub fn new() -> Self {
        // The patterns are constants; a test compiles every one.
        let shapes = SHAPES.iter().filter_map(|(c, p, test)| Some((*c, Regex::new(p).ok()?, *test))).collect();
        let placeholder = Regex::new(r"\[(SECRET|CREDENTIALS|EMAIL|IBAN|CARD|PHONE|IP)_(\d{1,9})\]").ok();
        let announces = Regex::new(r"(?i)(?:password|passwd|passphrase|passcode|secret|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|credential)s?$").ok();
        Redactor { shapes, placeholder, announces }
    }

    /// Redaction of one case: equal values get equal placeholders.
    #[must_use]
    pub fn case(&self) -> Redaction<'_> {
        Redaction { shapes: self, known: HashMap::new(), last: HashMap::new(), counts: HashMap::new() }
    }
}

/// Redaction of one case.
pub struct Redaction<'a> {
    shapes: &'a Redactor,
    known: HashMap<(Class, String), String>,
    last: HashMap<Class, u64>,
    counts: HashMap<Class, usize>,
}

impl Redaction<'_> {
    /// Redacts every string of a value, keys of objects included. JSON in a string (arguments of calls) is redacted as
    /// JSON, so that it stays JSON.
    pub fn value(&mut self, value: &mut Value) {
        self.reserve(value);
        self.walk(value, 0);
    }

    /// Redacts a text, as [`Redaction::value`] does.
    #[must_use]
    pub fn text(&mut self, text: &str) -> String {
        self.reserve_text(text);
        self.text_or_json(text, 0)
    }

    /// How many values were replaced, by class.
    #[must_use]
    pub fn counts(&self) -> Vec<(Class, usize)> {
        Class::ALL.iter().filter_map(|c| Some((*c, *self.counts.get(c)?))).collect()
    }

    /// Numbers of placeholders that the source itself holds are not given again.
    fn reserve(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.reserve_text(text),
            Value::Array(items) => items.iter().for_each(|v| self.reserve(v)),
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                self.reserve_text(key);
                self.reserve(value);
            }),
            _ => {}
        }
    }

    fn reserve_text(&mut self, text: &str) {
        let Some(pattern) = self.shapes.placeholder.as_ref().filter(|_| text.contains('[')) else { return };
        for found in pattern.captures_iter(text) {
            let class = Class::ALL.into_iter().find(|c| c.name() == &found[1]);
            if let (Some(class), Ok(number)) = (class, found[2].parse::<u64>()) {
                let last = self.last.entry(class).or_default();
                *last = number.max(*last);
            }
        }
    }

    fn walk(&mut self, value: &mut Value, depth: usize) {
        match value {
            Value::String(text) => *text = self.text_or_json(text, depth),
            Value::Number(number) if is_card(&number.to_string()) => {
                *value = Value::String(self.placeholder(Class::Card, &number.to_string()));
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.walk(v, depth)),
            Value::Object(map) => {
                let old = std::mem::take(map);
                *map = self.members(old, depth);
            }
            _ => {}
        }
    }

    /// A text; as JSON where it is a whole JSON object or list.
    fn text_or_json(&mut self, text: &str, depth: usize) -> String {
        let nested = depth < NESTED_MAX && text.trim_start().starts_with(['{', '[']);
        match serde_json::from_str::<Value>(text) {
            Ok(json) if nested => {
                let mut redacted = json.clone();
                self.walk(&mut redacted, depth + 1);
                if redacted == json { text.to_owned() } else { redacted.to_string() }
            }
            _ => self.redact(text),
        }
    }

    fn members(&mut self, old: Map<String, Value>, depth: usize) -> Map<String, Value> {
        let announces = |key: &str| self.shapes.announces.as_ref().is_some_and(|p| p.is_match(key));
        let mut new = Map::with_capacity(old.len());
        for (key, mut value) in old {
            // `{"password": "correct horse"}`: here the key announces the secret.
            let plain = match &value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            match plain.filter(|text| announces(&key) && is_assigned(text) && !self.is_placeholder(text)) {
                Some(secret) => value = Value::String(self.placeholder(Class::Secret, &secret)),
                None => self.walk(&mut value, depth),
            }
            new.insert(self.redact(&key), value);
        }
        new
    }

    fn is_placeholder(&self, text: &str) -> bool {
        let whole = |p: &Regex| p.find(text).is_some_and(|m| m.range() == (0..text.len()));
        self.shapes.placeholder.as_ref().is_some_and(whole)
    }

    fn redact(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..ROUNDS_MAX {
            let before = text.len();
            let mut changed = false;
            for (class, pattern, test) in &self.shapes.shapes {
                if let Some(new) = self.replace(*class, pattern, *test, &text) {
                    text = new;
                    changed = true;
                }
            }
            if !changed || before == 0 {
                break;
            }
        }
        text
    }

    /// The text with every match replaced; `None` when there is none.
    fn replace(&mut self, class: Class, pattern: &Regex, test: Test, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut from = 0;
        let mut at = 0;
        while let Some(found) = pattern.captures_at(text, at) {
            let (Some(whole), Some(inner)) = (found.get(0), target(&found)) else { break };
            // What fails the test may hide a match that begins a little later.
            at = match accepted(class, text, inner.range(), test) {
                Some(range) => {
                    out.push_str(&text[from..range.start]);
                    out.push_str(&self.placeholder(class, &text[range.clone()]));
                    from = range.end;
                    range.end
                }
                None => next_char(text, whole.start()),
            };
            if at > text.len() {
                break;
            }
        }
        (from > 0).then(|| out + &text[from..])
    }

    fn placeholder(&mut self, class: Class, found: &str) -> String {
        *self.counts.entry(class).or_default() += 1;
        let same = match class {
            Class::Email => found.to_lowercase(),
            Class::Phone | Class::Card | Class::Iban => {
                found.chars().filter(|c| c.is_alphanumeric() || *c == '+').collect()
            }
            _ => found.to_owned(),
        };
        if let Some(known) = self.known.get(&(class, same.clone())) {
            return known.clone();
        }
        let last = self.last.entry(class).or_default();
        *last += 1;
        let new = format!("[{}_{last}]", class.name());
        self.known.insert((class, same), new.clone());
        new
    }
}

/// What is replaced: the first group that took part, or all.
fn target<'t>(found: &Captures<'t>) -> Option<regex::Match<'t>> {
    found.get(1).or_else(|| found.get(0))
}

fn next_char(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// The part of a match that is replaced; `None` when it only looks like one.
fn accepted(class: Class, text: &str, range: std::ops::Range<usize>, test: Test) -> Option<std::ops::Range<usize>> {
    let before = text[..range.start].chars().next_back();
    let after = text[range.end..].chars().next();
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == ':');
    match class {
        // Numbers stand alone: a longer number is another one.
        Class::Card => card_in(text, range),
        Class::Ip if test(&text[range.clone()]) => {
            let v6 = text[range.clone()].contains(':');
            let alone = if v6 { !word(before) && !word(after) } else { !digit(before) && !digit(after) };
            alone.then_some(range)
        }
        Class::Phone if digit(before) || digit(after) => None,
        _ => test(&text[range.clone()]).then_some(range),
    }
}

/// The first run of whole groups of digits in a match that is a card number: more digits may stand beside it.
fn card_in(text: &str, range: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let start = range.start;
    let edge = |at: usize| {
        let side = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        !(side(text[..at].chars().next_back()) && side(text[at..].chars().next()))
    };
    let ends = (start + *CARD_DIGITS.start()..=range.end).rev();
    if !edge(start) {
        return None;
    }
    ends.filter(|end| text.is_char_boundary(*end) && edge(*end))
        .find(|end| text[..*end].ends_with(|c: char| c.is_ascii_digit()) && is_card(&text[start..*end]))
        .map(|end| start..end)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Compiled once: in a debug build that takes longer than a test.
    static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

    fn redacted(text: &str) -> String {
        REDACTOR.case().text(text)
    }

    #[test]
    fn every_shape_compiles() {
        let redactor = Redactor::new();
        assert_eq!(redactor.shapes.len(), SHAPES.len());
        assert!(redactor.placeholder.is_some() && redactor.announces.is_some());
    }

    #[test]
    fn each_class_is_found_and_nothing_around_it() {
        for (text, expected) in [
            ("key sk-proj-abcDEF1234567890xyz!", "key [SECRET_1]!"),
            ("AKIAIOSFODNN7EXAMPLE", "[SECRET_1]"),
            ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [SECRET_1]"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "[SECRET_1]\nrest"),
            ("-----BEGIN PRIVATE KEY-----\ncut off", "[SECRET_1]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig_-x", "[SECRET_1]"),
            (r#"so {"password": "hunter2", "user": "bo"}"#, r#"so {"password": "[SECRET_1]", "user": "bo"}"#),
            (r#"{"password":"correct horse","pay":4111111111111111}"#, r#"{"password":"[SECRET_1]","pay":"[CARD_1]"}"#),
            (
                r#"{"api_key": 12345678, "q": "{\"to\": \"a@b.org\"}"}"#,
                r#"{"api_key":"[SECRET_1]","q":"{\"to\":\"[EMAIL_1]\"}"}"#,
            ),
            (r#"{\"client_secret\":\"correcthorse\"}"#, r#"{\"client_secret\":\"[SECRET_1]\"}"#),
            ("the password is Tr0ub4dor&3.", "the password is [SECRET_1]"),
            ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=[SECRET_1]"),
            ("postgres://app:s3cr3t@db.local:5432/x", "postgres://[CREDENTIALS_1]@db.local:5432/x"),
            ("mail Jane.Doe+x@mail.example.org, jane.doe+x@mail.example.org", "mail [EMAIL_1], [EMAIL_1]"),
            ("DE89 3704 0044 0532 0130 00 please", "[IBAN_1] please"),
            ("pay 4111-1111-1111-1111 now", "pay [CARD_1] now"),
            ("4111 1111 1111 1111 12 2027", "[CARD_1] 12 2027"),
            ("call +49 170 1234567.", "call [PHONE_1]."),
            ("(212) 555-0143 or 212-555-0143", "[PHONE_1] or [PHONE_1]"),
            ("phone: 030 901820", "phone: [PHONE_1]"),
            ("from 203.0.113.9:8080 and 2001:db8::8a2e:370:7334", "from [IP_1]:8080 and [IP_2]"),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for text in [
            "max_tokens: 4096 and prompt_tokens=17",
            "the risk-management-framework-of-the-bank",
            r#"{"password": {"type": "string"}, "token": "string"}"#,
            "Password: required",
            "a basic understanding of bearer instruments",
            "the secret is out",
            "std::vec::Vec, a::b and 12:30:45",
            "listen on 127.0.0.1 or ::1",
            "at 1700000000000 on 2024-05-17, version 10.2.1",
            "order 4111111111111112",
            "3 + 4 = 7, 1,234,567.89",
            "GB00 0000 0000 0000 0000 00 is no account",
            "[EMAIL_3] wrote to [SECRET_1]: hello",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn equal_values_share_a_placeholder_and_taken_numbers_are_not_given_again() {
        let redactor = Redactor::new();
        let mut case = redactor.case();
        let mut value = json!({"messages": [{"content": "I am a@b.org, not [EMAIL_2]"}, {"arguments": "{\"to\": \"A@B.org\"}"}, {"c@d.org": {"api_key": "correct horse"}}]});
        case.value(&mut value);
        assert_eq!(
            value,
            json!({"messages": [{"content": "I am [EMAIL_3], not [EMAIL_2]"}, {"arguments": "{\"to\":\"[EMAIL_3]\"}"}, {"[EMAIL_4]": {"api_key": "[SECRET_1]"}}]})
        );
        assert_eq!(case.counts(), [(Class::Secret, 1), (Class::Email, 3)]);
    }

    /// Secrets of known shapes, drawn.
    fn secret() -> impl Strategy<Value = String> {
        let tail = "[A-Za-z0-9]{24}";
        prop_oneof![
            ("sk-(proj-|ant-|)", tail, "[0-9]").prop_map(|(a, b, c)| format!("{a}{b}{c}")),
            "AKIA[A-Z0-9]{16}",
            "gh[po]_[A-Za-z0-9]{36}",
            "eyJ[A-Za-z0-9]{12}\\.[A-Za-z0-9]{12}\\.[A-Za-z0-9]{12}",
            "glpat-[A-Za-z0-9]{10}[0-9]{8}",
            "hf_[A-Za-z0-9]{30}",
        ]
    }

    fn surroundings() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,20}",
            Just("password: ".to_owned()),
            Just("\"api_key\":\"".to_owned()),
            Just("https://u:p@".to_owned()),
            Just("x@y.org ".to_owned()),
            Just("+1 212 555 0143 ".to_owned()),
            Just("[SECRET_1]".to_owned()),
            Just("4111 1111 1111 1111 ".to_owned()),
            Just("10.1.2.3 ".to_owned()),
            "\\PC{0,12}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn redacting_twice_changes_nothing_more(parts in prop::collection::vec(prop_oneof![surroundings(), secret()], 0..8)) {
            let once = redacted(&parts.concat());
            prop_assert_eq!(redacted(&once), once.clone(), "of {:?}", parts.concat());
        }

        #[test]
        fn a_known_secret_never_survives(before in surroundings(), secret in secret(), after in surroundings()) {
            let text = format!("{before}{secret}{after}");
            prop_assert!(!redacted(&text).contains(&secret), "{} -> {}", text, redacted(&text));
        }

        #[test]
        fn any_text_is_redacted_without_a_panic(text in "\\PC{0,200}") {
            let _ = redacted(&text);
        }

        #[test]
        fn addresses_never_survive(a in 1u8..=126, b: u8, c: u8, d: u8, user in "[a-z]{1,8}", host in "[a-z]{1,8}") {
            let (ip, mail) = (format!("{a}.{b}.{c}.{d}"), format!("{user}@{host}.com"));
            let out = redacted(&format!("{mail} at {ip}, again {mail}"));
            prop_assert_eq!(out, "[EMAIL_1] at [IP_1], again [EMAIL_1]");
        }
    }
}
