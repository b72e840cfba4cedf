//! The shapes of secrets and personal data, and the tests that a shape alone does not give.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Class;

/// Shortest secret after a word that announces one, in characters.
const SECRET_CHARS_MIN: usize = 4;
/// A bearer token without a digit is a word, unless it is this long.
const TOKEN_CHARS_MIN: usize = 20;
/// Digits of a card number.
pub(super) const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Digits of a social security number.
const SSN_DIGITS: usize = 9;
/// Digits of a phone number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Whether a match is one of its class, beyond its shape.
pub(super) type Test = fn(&str) -> bool;

/// What announces a secret in a name, of a variable as of a key in JSON.
const WORDS: &str = "password|passwd|pwd|passphrase|passcode|secret|api[ _-]?key|access[ _-]?key|account[ _-]?key|private[ _-]?key|subscription[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?token|[_-]token|(?-i:[a-z0-9]Token)|accesstoken|refreshtoken|(?-u:\\b)token|credential|authorization|(?-i:[A-Z0-9]_KEY)";

/// A whole name that announces one: `db_password_prod`, `sessionToken`, `OPENAI_API_KEY`.
const NAME: &str = "[A-Za-z0-9_-]*(?:WORDS)s?(?:(?-i:[A-Z][a-z0-9]*)|[_-][A-Za-z0-9]+)*";

/// A pattern with its words put in.
pub(super) fn spelled(pattern: &str) -> String {
    pattern.replace("NAME", NAME).replace("WORDS", WORDS)
}

/// Parts of names that speak of tokens as text is counted.
const COUNTED: &[&str] = &[
    "count", "limit", "usage", "budget", "max", "min", "num", "total", "type", "length", "cost", "price", "rate", "per",
];

/// Parts of names beside which several tokens are secrets.
const KEPT: &[&str] = &["access", "auth", "refresh", "secret", "session", "bearer", "api"];

/// Whether a name that holds an announcing word announces: `max_tokens` and `token_count` do not.
pub(super) fn is_announcing(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let beside_token = lower.replace("token", "");
    if lower == beside_token {
        return true;
    }
    let parts: Vec<&str> = beside_token.split(['_', '-']).collect();
    let many = lower.contains("tokens") && !parts.iter().any(|part| KEPT.iter().any(|k| part.starts_with(k)));
    let counted = parts.iter().any(|part| COUNTED.contains(part));
    !many && !counted
}

/// A shape: the class, the pattern (the first group that takes part, where there is one, is what is replaced; a group
/// `name` before it is the name that announces it), and a test. Word boundaries are those of ASCII: the engine is much
/// faster so on texts that are not. `NAME` and `WORDS` stand for the patterns above.
pub(super) const SHAPES: &[(Class, &str, Test)] = &[
    (Class::Secret, r"(?s)-----BEGIN [A-Z0-9 ]{3,40}-----.*?(?:-----END [A-Z0-9 ]{3,40}-----|\z)", always),
    (Class::Data, r"data:[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(?:;[A-Za-z0-9=._-]+)*;base64,([A-Za-z0-9+/=_-]{16,})", always),
    (Class::Credentials, r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/:@\[\]]*:[^\s/]+)@", always),
    (Class::Secret, r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{8,})", always),
    (Class::Secret, r"discord(?:app)?\.com/api/(?:v\d+/)?webhooks/(\d+/[A-Za-z0-9_-]{8,})", always),
    (Class::Secret, r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?", always),
    (Class::Secret, r"sk-[A-Za-z0-9_-]{16,}", has_digit),
    (Class::Secret, r"(?:sk|pk|rk|whsec)_(?:live|test)_[A-Za-z0-9]{10,}", always),
    (Class::Secret, r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}", always),
    (
        Class::Secret,
        r"(?:gh[pousr]_|github_pat_|gsk_|hf_|npm_|r8_|tgp_v1_|dop_v1_|shp(?:at|ca|pa|ss)_|dckr_pat_|lin_api_)[A-Za-z0-9_-]{16,}",
        always,
    ),
    (
        Class::Secret,
        r"(?:glpat-|pypi-|nvapi-|pplx-|xai-|xapp-|xox[abeoprs]-|AIza|ya29\.|ATATT|GOCSPX-|hv[sb]\.)[A-Za-z0-9_-]{10,}",
        has_digit,
    ),
    (Class::Secret, r"(?-u:\b)dapi[0-9a-f]{32}(?:-\d)?(?-u:\b)", always),
    (Class::Secret, r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", always),
    (Class::Secret, r"(?-u:\b)\d{8,10}:[A-Za-z0-9_-]{35}(?-u:\b)", always),
    // Long runs of base64: files, keys, encrypted state.
    (Class::Data, r"[A-Za-z0-9+/]{160,}={0,2}", is_base64),
    (Class::Secret, r#"(?i)X-Amz-(?:Signature|Credential|Security-Token)=([^&\s"'<>\[\]]{4,})"#, always),
    (Class::Secret, r#"(?i)[?&;](?:sig|signature)=([^&\s"'<>\[\]]{8,})"#, always),
    (Class::Secret, r#"(?i)(?-u:\b)(?:set-)?cookie["'\\]*:[ \t]*["'\\]*([^\s=;,"'\\\[\]]+=[^\r\n"'\\]*)"#, always),
    // The parameters of a digest hold quotes.
    (Class::Secret, r"(?i)authorization:[ \t]*digest[ \t]+([^\r\n\[]+)", always),
    (
        Class::Secret,
        r#"(?i)authorization["'\\]*[ \t]*[:=][ \t]*["'\\]*(?:(?:bearer|basic|token|apikey|api-key|key|digest|negotiate|hawk|aws4-hmac-sha256)[ \t]+)?([^"'\\\r\n\[\]{}<>]{4,})"#,
        is_assigned,
    ),
    (Class::Secret, r"(?i)(?-u:\b)(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/=-]{8,})", is_token),
    (Class::Secret, ANNOUNCED, is_assigned),
    // On the next line and without quotes: only what no sentence would say.
    (
        Class::Secret,
        r#"(?i)(?P<name>NAME)[ \t]*[:=][ \t]*\r?\n[ \t]*([^\s"'`\\\[\]{}<>,;&:=]{4,})[ \t]*(?:\r?\n|\z)"#,
        is_odd,
    ),
    (Class::Secret, r#"(?i)--(?P<name>NAME)[ \t]+["']?([^\s"'`\\\[\]{}<>-][^\s"'`\\]{3,})"#, is_assigned),
    (Class::Secret, r"(?i)<(?:[A-Za-z0-9]+:)?(?P<name>NAME)(?:[ \t][^<>]*)?>([^<>\[\]\r\n]{4,})</", is_assigned),
    (
        Class::Secret,
        r#"(?i)["'](?:name|key|field|header)\\*["'][ \t]*:[ \t]*\\*["'](?P<name>NAME)\\*["'][ \t]*,\s*\\*["'](?:value|val)\\*["'][ \t]*:[ \t]*\\*["']([^"'\\\r\n]+)"#,
        is_assigned,
    ),
    (
        Class::Secret,
        r#"(?i)(?-u:\b)(?:password|passwd|pwd|passphrase|passcode|secret|token|key)[ \t]+(?:is|was|to)[ \t]+["'`]?([^\s"'`\[\]{}<>,;]{4,})"#,
        is_odd,
    ),
    (Class::Email, r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}", always),
    (Class::Iban, r"(?-u:\b)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?-u:\b)", is_iban),
    (Class::Card, r"\d(?:[ .-]?\d){12,18}", is_card),
    (Class::Ip, r"\d{1,3}(?:\.\d{1,3}){3}", is_ipv4),
    (Class::Ip, r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?", is_ipv6),
    (Class::Ssn, r"(?-u:\b)\d{3}-\d{2}-\d{4}(?-u:\b)", is_ssn),
    (Class::Phone, r"\+\d[\d ().\u{a0}-]{5,24}\d", is_phone),
    (Class::Phone, r"(?-u:\b)00[1-9][\d ()-]{6,24}\d(?-u:\b)", is_phone),
    (Class::Phone, r"\(\d{3,5}\) ?\d{3,4}[-. ]?\d{3,4}(?-u:\b)", is_phone),
    (Class::Phone, r"(?-u:\b)\d{3}[-.]\d{3}[-.]\d{4}(?-u:\b)", is_phone),
    // In groups, as they are written in many countries.
    (Class::Phone, r"(?-u:\b)[2-9]\d{2} \d{3} \d{4}(?-u:\b)", is_phone),
    (Class::Phone, r"(?-u:\b)0\d(?:[ .]\d{2}){4}(?-u:\b)", is_phone),
    (Class::Phone, r"(?-u:\b)0[1-9]\d{1,3}[ /-]\d{5,8}(?-u:\b)", is_phone),
    (
        Class::Phone,
        r"(?i)(?-u:\b)(?:tel|telephone|phone|mobile|cell|fax|whatsapp)(?-u:\b)(?:[ \t]*(?:number|no|nr|is|at|:|\.|=))*[ \t]*(\d[\d ().-]{5,24}\d)",
        is_phone,
    ),
];

/// A name that announces a secret, a sign of assignment, and what is assigned: in quotes up to the closing one (also on
/// the next line), else up to white space.
const ANNOUNCED: &str = r#"(?i)(?P<name>NAME)["'`\\]*[ \t]*(?::=|=>|[:=])[ \t]*(?:(?:(?:\r?\n|\\r?\\n)[ \t]*)?(?:\\+["'](?:(?:bearer|basic)[ \t]+)?([^"'\\\r\n]+)|"(?:(?:bearer|basic)[ \t]+)?((?:[^"\\\r\n]|\\[^\r\n])+)|'(?:(?:bearer|basic)[ \t]+)?([^'\r\n]+)|`([^`\r\n]+))|(?:(?:bearer|basic)[ \t]+)?([^\s"'`\\\[\]{}<>,;&(][^\s"'`\\&\[]{3,}))"#;

/// Keys of JSON beside which only a value of a class can stand: the class, the key, and a test of the value.
pub(super) const KEYS: &[(Class, &str, Test)] = &[
    (
        Class::Phone,
        r"(?i)(?:^|[_ -])(?:phone|mobile|cell|cellphone|tel|telephone|fax|whatsapp)(?:[_ -]?(?:number|no|nr))?s?$",
        is_phone,
    ),
    (Class::Email, r"(?i)(?:^|[_ -])e?-?mail(?:[_ -]?address)?$", has_at),
    (
        Class::Ssn,
        r"(?i)(?:^|[_ -])(?:ssn|social[_ -]?security(?:[_ -]?(?:number|no))?|national[_ -]?id|tax[_ -]?id)$",
        is_number,
    ),
    (Class::Secret, r"(?i)^(?:set-)?cookie$", has_equals),
];

fn always(_: &str) -> bool {
    true
}

fn has_at(text: &str) -> bool {
    text.contains('@')
}

fn has_equals(text: &str) -> bool {
    text.contains('=')
}

/// Digits of a national number, with signs between or without.
fn is_number(text: &str) -> bool {
    digits(text).len() >= SSN_DIGITS
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.' | '/'))
}

/// A number that the social security of the USA could have given.
fn is_ssn(text: &str) -> bool {
    let area = &text[..3];
    area != "000" && area != "666" && !area.starts_with('9') && &text[4..6] != "00" && !text.ends_with("0000")
}

/// Letters of both cases and digits: no rule of dashes, no sequence of one alphabet.
fn is_base64(text: &str) -> bool {
    let has = |test: fn(&u8) -> bool| text.as_bytes().iter().any(test);
    has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
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
    "token",
    "apikey",
    "api-key",
    "key",
    "digest",
    "negotiate",
    "hawk",
    "aws4-hmac-sha256",
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
pub(super) fn is_assigned(text: &str) -> bool {
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

pub(super) fn is_card(text: &str) -> bool {
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
    sum.is_multiple_of(10)
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
