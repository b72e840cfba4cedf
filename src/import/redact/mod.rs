//! Secrets and personal data out of texts, by shape.
//!
//! Found: keys of known shapes, PEM blocks, JSON web tokens, bearer tokens, cookies, signatures and credentials in URLs,
//! what follows words such as "password" or "api_key" in prose as in JSON, long base64 and `data:` URLs, e-mail
//! addresses, phone numbers, social security numbers, IBANs, card numbers, IP addresses; also where they are encoded
//! with `%40`, `\u0040` or `&#64;`. Each becomes a placeholder of its class, such as `[EMAIL_1]`: the same value gets the
//! same placeholder within a case, so that a conversation keeps its meaning. Redacting twice changes nothing more.
//!
//! Not found: names, postal addresses, dates of birth, and whatever has no shape of its own. Read a suite before you
//! share it.

mod encoded;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use encoded::Encoded;
use shapes::{CARD_DIGITS, KEYS, SHAPES, Test, is_announcing, is_assigned, is_card, spelled};

/// Rounds until nothing more is found: a replacement can free the edge of what stands beside it.
const ROUNDS_MAX: usize = 8;
/// JSON in a string in JSON in a string: how often that is followed.
const NESTED_MAX: usize = 8;

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
    /// A social security number.
    Ssn,
    /// A file or other bytes in base64.
    Data,
    /// An IPv4 or IPv6 address that is not the machine's own.
    Ip,
}

impl Class {
    /// All classes, in the order in which counts are told.
    pub const ALL: [Class; 9] = [
        Class::Secret,
        Class::Credentials,
        Class::Email,
        Class::Iban,
        Class::Card,
        Class::Phone,
        Class::Ssn,
        Class::Data,
        Class::Ip,
    ];

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
            Class::Ssn => "SSN",
            Class::Data => "DATA",
            Class::Ip => "IP",
        }
    }
}

/// The compiled shapes.
pub struct Redactor {
    shapes: Vec<(Class, Regex, Test)>,
    placeholder: Option<Regex>,
    /// A whole name that announces a secret.
    announces: Option<Regex>,
    /// Keys that announce another class.
    keys: Vec<(Class, Regex, Test)>,
    encoded: Encoded,
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
        let compiled = |list: &[(Class, &str, Test)]| {
            list.iter().filter_map(|(c, p, test)| Some((*c, Regex::new(&spelled(p)).ok()?, *test))).collect()
        };
        let placeholder = Regex::new(r"\[(SECRET|CREDENTIALS|EMAIL|IBAN|CARD|PHONE|SSN|DATA|IP)_(\d{1,9})\]").ok();
        let announces = Regex::new(&spelled("(?i)^(?:NAME)$")).ok();
        Redactor { shapes: compiled(SHAPES), placeholder, announces, keys: compiled(KEYS), encoded: Encoded::new() }
    }

    /// Whether a key, or a text that names one, announces a secret.
    fn announces(&self, name: &str) -> bool {
        self.announces.as_ref().is_some_and(|p| p.is_match(name)) && is_announcing(name)
    }

    /// Whether a text is nothing but a placeholder.
    fn is_placeholder(&self, text: &str) -> bool {
        let whole = |p: &Regex| p.find(text).is_some_and(|m| m.range() == (0..text.len()));
        self.placeholder.as_ref().is_some_and(whole)
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
        // `{"name": "password", "value": "hunter22"}`: here another member announces it.
        let named = NAMING.iter().filter_map(|key| old.get(*key)?.as_str()).any(|name| self.shapes.announces(name));
        let mut new = Map::with_capacity(old.len());
        for (key, mut value) in old {
            if self.shapes.announces(&key) || (named && NAMED.contains(&key.as_str())) {
                self.announced(&mut value, depth);
            } else if let Some(class) = self.class_by_key(&key, &value) {
                value = Value::String(self.placeholder(class, &plain(&value).unwrap_or_default()));
            } else {
                self.walk(&mut value, depth);
            }
            new.insert(self.redact(&key), value);
        }
        new
    }

    /// What an announcing key stands before: every text and number in it is the secret, or a part. A schema that
    /// describes such a value is none.
    fn announced(&mut self, value: &mut Value, depth: usize) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.announced(item, depth)),
            Value::Object(map) if !is_schema(map) => {
                for (_, inner) in map.iter_mut() {
                    self.announced(inner, depth);
                }
                let old = std::mem::take(map);
                *map = old.into_iter().map(|(key, value)| (self.redact(&key), value)).collect();
            }
            other => match plain(other).filter(|text| is_assigned(text) && !self.shapes.is_placeholder(text)) {
                Some(secret) => *other = Value::String(self.placeholder(Class::Secret, secret_of(&secret))),
                None => self.walk(other, depth),
            },
        }
    }

    /// The class of what only a key tells: `{"phone": 5551234567}`.
    fn class_by_key(&self, key: &str, value: &Value) -> Option<Class> {
        let text = plain(value)?;
        let keys = self.shapes.keys.iter();
        let found = keys.filter(|(_, pattern, test)| pattern.is_match(key) && test(&text)).map(|(class, ..)| *class);
        let mut found = found.filter(|_| !self.holds_placeholder(&text));
        found.next()
    }

    fn holds_placeholder(&self, text: &str) -> bool {
        self.shapes.placeholder.as_ref().is_some_and(|p| p.is_match(text))
    }

    fn redact(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..ROUNDS_MAX {
            let mut changed = false;
            if let Some(new) = self.decoded(&text) {
                text = new;
                changed = true;
            }
            if let Some(new) = self.by_shapes(&text) {
                text = new;
                changed = true;
            }
            if !changed {
                break;
            }
        }
        text
    }

    /// Every shape once; `None` when none is found.
    fn by_shapes(&mut self, text: &str) -> Option<String> {
        let shapes = self.shapes;
        let mut changed: Option<String> = None;
        for (class, pattern, test) in &shapes.shapes {
            if let Some(new) = self.replace(*class, pattern, *test, changed.as_deref().unwrap_or(text)) {
                changed = Some(new);
            }
        }
        changed
    }

    /// Pieces that are encoded and hold something once decoded: they stay decoded. Others stay as they are.
    fn decoded(&mut self, text: &str) -> Option<String> {
        let shapes = self.shapes;
        let mut out = String::new();
        let mut from = 0;
        for (range, decoded) in shapes.encoded.pieces(text) {
            if let Some(redacted) = self.by_shapes(&decoded) {
                out.push_str(&text[from..range.start]);
                out.push_str(&redacted);
                from = range.end;
            }
        }
        (from > 0).then(|| out + &text[from..])
    }

    /// The text with every match replaced; `None` when there is none.
    fn replace(&mut self, class: Class, pattern: &Regex, test: Test, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut from = 0;
        let mut at = 0;
        while let Some(found) = pattern.captures_at(text, at) {
            let (Some(whole), Some(inner)) = (found.get(0), target(&found)) else { break };
            if let Some(name) = found.name("name").filter(|name| !is_announcing(name.as_str())) {
                at = name.end();
                continue;
            }
            let range = trimmed(text, inner.range(), found.name("name").is_some());
            let placed = !self.shapes.is_placeholder(&text[range.clone()]);
            at = match accepted(class, text, range, test).filter(|_| placed) {
                Some(range) => {
                    out.push_str(&text[from..range.start]);
                    out.push_str(&self.placeholder(class, &text[range.clone()]));
                    from = range.end;
                    range.end
                }
                // No part of what is no secret is one; going back into it would make long texts slow.
                None if class == Class::Secret => inner.end(),
                // A number that fails may hide one that begins a little later; these shapes are short.
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

/// What is replaced: the first group that took part, apart from `name`, or all.
fn target<'t>(found: &Captures<'t>) -> Option<regex::Match<'t>> {
    let first = if found.name("name").is_some() { 2 } else { 1 };
    (first..found.len()).find_map(|at| found.get(at)).or_else(|| found.get(0))
}

/// What is assigned without quotes, without the signs of the sentence around it.
fn trimmed(text: &str, range: std::ops::Range<usize>, announced: bool) -> std::ops::Range<usize> {
    let quoted = text[..range.start].ends_with(['"', '\'', '`']);
    if !announced || quoted {
        return range;
    }
    let kept = text[range.clone()].trim_end_matches([',', ';', '.', ')', ']', '}', '>']);
    range.start..range.start + kept.len()
}

/// Members that name what another member holds.
const NAMING: [&str; 5] = ["name", "key", "field", "header", "title"];
/// Members that hold what another member names.
const NAMED: [&str; 4] = ["value", "val", "data", "default"];

/// A text, or the text of a number.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The same secret in a header and elsewhere: without the scheme before it.
fn secret_of(text: &str) -> &str {
    let (scheme, rest) = text.split_once(' ').unwrap_or(("", text));
    let is_scheme = ["bearer", "basic"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if is_scheme { rest.trim_start() } else { text }
}

/// Whether an object is a JSON Schema: it has a keyword that makes it one, and no other keys than a schema has.
fn is_schema(map: &Map<String, Value>) -> bool {
    const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];
    const MAKE: [&str; 7] = ["$ref", "anyOf", "oneOf", "allOf", "enum", "properties", "items"];
    const ALSO: [&str; 20] = [
        "type",
        "description",
        "title",
        "format",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "required",
        "additionalProperties",
        "nullable",
        "default",
        "examples",
        "const",
        "deprecated",
        "readOnly",
        "writeOnly",
        "minItems",
        "maxItems",
    ];
    let known_type = match map.get("type") {
        Some(Value::String(name)) => TYPES.contains(&name.as_str()),
        Some(Value::Array(names)) => names.iter().all(|n| n.as_str().is_some_and(|n| TYPES.contains(&n))),
        _ => false,
    };
    (known_type || MAKE.iter().any(|key| map.contains_key(*key)))
        && map.keys().all(|key| MAKE.contains(&key.as_str()) || ALSO.contains(&key.as_str()))
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
