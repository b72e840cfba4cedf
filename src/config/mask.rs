//! Hides what may be a secret in the lines and messages of diagnostics.
//!
//! A person may write a key anywhere: under the wrong name, without quotes, in a header, in a URL. So masking
//! does not trust the file to be well-formed. A character is hidden when any of these says so:
//! 1. the parsed file: values below a key whose name speaks of a secret, and below `headers`;
//! 2. a scan of the text by the same rule, for what does not parse;
//! 3. the shape of a word: well-known prefixes of keys;
//! 4. user and password of a URL, and its parameters whose names speak of a secret; all of it where its end cannot be seen.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::SECRET_KEYS;

/// What stands for a secret in a message.
pub(super) const HIDDEN: &str = "****";

/// Prefixes by which keys of well-known services (and our own tokens) are recognised.
const PREFIXES: [&str; 26] = [
    "sk-",
    "sk_",
    "gsk_",
    "xai-",
    "hf_",
    "r8_",
    "AIza",
    "exd_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "nvapi-",
    "fw_",
    "csk-",
    "pplx-",
    "tgp_v1_",
    "eyJ",
    "AKIA",
    "ASIA",
    "xoxb-",
    "xoxp-",
    "dop_v1_",
    "rk_live_",
    "pk_live_",
];

/// Characters that a recognised key has after its prefix, at least.
const PREFIXED_CHARS_MIN: usize = 8;

/// How far into a URL its user and password are looked for.
const URL_CHARS_MAX: usize = 1000;

/// Ends of key names that speak of a secret, without `-` and `_`.
const SECRET_NAMES: [&str; 12] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "auth",
    "bearer",
    "cookie",
    "credential",
    "credentials",
];

/// Whether a key or header of this name carries a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    SECRET_NAMES.iter().any(|end| plain.ends_with(end))
}

/// Whether a text holds a word that looks like a key.
pub(super) fn looks_secret(text: &str) -> bool {
    let lower = text.trim_start().to_lowercase();
    let bearer = lower.strip_prefix("bearer ").is_some_and(|rest| rest.trim().len() >= PREFIXED_CHARS_MIN);
    bearer || words(text).any(|(start, end)| word_is_secret(&text[start..end]))
}

/// Whether a text is the name of an environment variable, and not a key that was put in its place.
pub(super) fn is_variable_name(text: &str) -> bool {
    let shape = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let like_a_key = text.len() >= 20
        && text.contains(|c: char| c.is_ascii_lowercase())
        && text.contains(|c: char| c.is_ascii_digit());
    shape && !like_a_key && !looks_secret(text)
}

/// A SHA-256 in hexadecimal.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn word_is_secret(word: &str) -> bool {
    PREFIXES.iter().any(|p| word.strip_prefix(p).is_some_and(|rest| rest.len() >= PREFIXED_CHARS_MIN))
}

/// Byte ranges of the runs of letters, digits, `-`, `_` and `.`.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_word)?;
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |i| start + i);
        at = end;
        Some((start, end))
    })
}

/// A message without secrets.
pub(super) fn message(text: &str) -> String {
    let mut hide = vec![false; text.len()];
    mark_shapes(text, &mut hide);
    let mut out = String::with_capacity(text.len());
    let mut hidden_before = false;
    for (at, c) in text.char_indices() {
        if !hide[at] {
            out.push(c);
        } else if !hidden_before {
            out.push_str(HIDDEN);
        }
        hidden_before = hide[at];
    }
    out
}

/// The file's text with every hidden character as `*`: same number of characters in every line.
pub(super) fn source(text: &str, tree: &DeTable<'_>) -> String {
    let mut hide = vec![false; text.len()];
    mark_shapes(text, &mut hide);
    mark_scan(text, &mut hide);
    mark_table(text, tree, false, &mut hide);
    text.char_indices()
        .map(|(at, c)| if hide[at] && !matches!(c, '\n' | '\r' | '"' | '\'') { '*' } else { c })
        .collect()
}

fn mark(hide: &mut [bool], start: usize, end: usize) {
    if let Some(part) = hide.get_mut(start..end) {
        part.fill(true);
    }
}

/// Rules 3 and 4.
fn mark_shapes(text: &str, hide: &mut [bool]) {
    for (start, end) in words(text) {
        if word_is_secret(&text[start..end]) {
            mark(hide, start, end);
        }
    }
    for (at, _) in text.match_indices("://") {
        let start = at + "://".len();
        let ends = |c: &char| c.is_whitespace() || matches!(c, '"' | '\'');
        let length =
            text[start..].chars().take(URL_CHARS_MAX).take_while(|c| !ends(c)).map(char::len_utf8).sum::<usize>();
        let url = &text[start..start + length];
        if let Some(user_ends) = url.rfind('@') {
            mark(hide, start, start + user_ends);
        }
        mark_parameters(url, start, hide);
    }
}

/// Rule 4, for parameters whose names speak of a secret.
fn mark_parameters(url: &str, start: usize, hide: &mut [bool]) {
    let Some(mut at) = url.find('?').map(|i| i + 1) else { return };
    for parameter in url[at..].split('&') {
        if let Some((name, value)) = parameter.split_once('=')
            && is_secret_name(name)
        {
            mark(hide, start + at + name.len() + 1, start + at + name.len() + 1 + value.len());
        }
        at += parameter.len() + 1;
    }
}

/// Rule 1, one table.
fn mark_table(text: &str, table: &DeTable<'_>, hidden: bool, hide: &mut [bool]) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        // `[[server.token]]` is the one name that speaks of a secret and holds none.
        let below = match value.get_ref() {
            DeValue::Array(items)
                if name == "token" && !hidden && items.iter().all(|i| matches!(i.get_ref(), DeValue::Table(_))) =>
            {
                false
            }
            _ => hidden || name == "headers" || is_secret_name(name),
        };
        mark_value(text, name, value, below, hide);
    }
}

fn mark_value(text: &str, name: &str, value: &Spanned<DeValue<'_>>, hidden: bool, hide: &mut [bool]) {
    match value.get_ref() {
        DeValue::Table(table) => mark_table(text, table, hidden, hide),
        DeValue::Array(items) => {
            // Only a command is an array; an array under another name of a secret's table is a mistake.
            let name = if name == "command" { name } else { "" };
            items.iter().for_each(|i| mark_value(text, name, i, hidden, hide));
        }
        DeValue::String(s) => {
            let shown = match name {
                "env" => is_variable_name(s),
                "sha256" => is_sha256(s),
                "file" | "command" => true,
                // Rule 4 finds no password with a quote or a blank in it.
                "url" | "base_url" => !hidden && (rule_4_sees(s) || !holds_password(s)),
                _ => !hidden,
            };
            if !shown || looks_secret(s) {
                mark(hide, value.span().start, value.span().end);
            }
        }
        _ if hidden => mark(hide, value.span().start, value.span().end),
        _ => {}
    }
}

/// Whether rule 4 finds all of a URL: it goes to a blank or a quote, and not for ever.
fn rule_4_sees(url: &str) -> bool {
    url.len() <= URL_CHARS_MAX && !url.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\''))
}

/// Whether a URL holds a password, in the usual place or as a parameter.
pub(super) fn holds_password(text: &str) -> bool {
    let named = |url: &url::Url| url.query_pairs().any(|(name, _)| name == "password");
    url::Url::parse(text).is_ok_and(|url| url.password().is_some() || named(&url))
}

/// Rule 2: a scan that needs no well-formed file. It knows strings, comments, headers, braces and `name =`;
/// when in doubt it hides.
fn mark_scan(text: &str, hide: &mut [bool]) {
    let mut scan = Scan::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut line_start = 0;
    while at < bytes.len() {
        if bytes[at] == b'\n' {
            scan.end_of_line();
            line_start = at + 1;
        } else if at == line_start && scan.is_fresh() {
            scan.section(text[at..].lines().next().unwrap_or(""));
        }
        let quoted = scan.quotes.is_some();
        let width = scan.step(text, at);
        if scan.hidden && (quoted || scan.hides_bare(&text[at..])) {
            mark(hide, at, at + width);
        }
        at += width;
    }
}

/// Where the scan is.
#[derive(Default)]
struct Scan {
    /// What is being read is hidden.
    hidden: bool,
    /// The table that the last header opened is hidden.
    section_hidden: bool,
    /// Whether each open brace or bracket stands inside something hidden.
    open: Vec<bool>,
    /// The open string's quotes: one or three of the same.
    quotes: Option<(u8, usize)>,
    comment: bool,
}

impl Scan {
    fn is_fresh(&self) -> bool {
        self.quotes.is_none() && self.open.is_empty()
    }

    /// A line ends: so does everything but a multi-line string and a hidden bracket.
    fn end_of_line(&mut self) {
        self.comment = false;
        if self.quotes.is_some_and(|(_, n)| n == 3) {
            return;
        }
        self.quotes = None;
        if !self.open.contains(&true) {
            self.open.clear();
            self.hidden = false;
        }
    }

    /// A line that may be a header opens a section.
    fn section(&mut self, line: &str) {
        let line = line.trim();
        if !line.starts_with('[') {
            return;
        }
        let path = line.trim_matches(|c: char| c == '[' || c == ']' || c.is_whitespace());
        let last = path.rsplit('.').next().unwrap_or("").trim_matches(|c: char| c == '"' || c == '\'' || c == ' ');
        self.section_hidden = path != "server.token" && (last == "headers" || is_secret_name(last));
    }

    /// Reads one token at `at`; its width in bytes.
    fn step(&mut self, text: &str, at: usize) -> usize {
        let rest = &text[at..];
        let c = rest.as_bytes()[0];
        let width = rest.chars().next().map_or(1, char::len_utf8);
        if self.comment {
            return width;
        }
        if let Some((quote, n)) = self.quotes {
            if quote == b'"' && c == b'\\' {
                return width + rest[width..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
            }
            let closes = rest.bytes().take(n).filter(|b| *b == quote).count() == n;
            if closes {
                self.quotes = None;
                return n;
            }
            return width;
        }
        match c {
            b'"' | b'\'' => {
                let n = if rest.bytes().take(3).filter(|b| *b == c).count() == 3 { 3 } else { 1 };
                self.quotes = Some((c, n));
                return n;
            }
            b'#' => {
                self.comment = true;
                self.hidden = false;
            }
            b'{' | b'[' => self.open.push(self.hidden),
            b'}' | b']' => {
                self.open.pop();
            }
            b',' => self.hidden = self.open.last().copied().unwrap_or(self.hidden),
            b'=' => self.name(&text[..at], rest[1..].trim_start_matches([' ', '\t'])),
            _ => {}
        }
        width
    }

    /// Whether a character outside quotes is part of a value: not punctuation, and in a table not a key's name.
    fn hides_bare(&self, rest: &str) -> bool {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        let after = rest.trim_start_matches(is_name).trim_start_matches([' ', '\t']);
        let names_a_key = !self.open.is_empty() && rest.starts_with(is_name) && after.starts_with('=');
        !names_a_key && !rest.starts_with(['=', '{', '}', '[', ']', ',', ' ', '\t'])
    }

    /// `name =` was read: what follows is hidden or not by that name.
    fn name(&mut self, before: &str, after: &str) {
        let before = before.trim_end().trim_end_matches(['"', '\'']);
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_')))
            .map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        let name = &before[start..];
        let inside = self.open.last().copied().unwrap_or(self.section_hidden);
        // `headers.X = ".."` hides by the part before the dot as well.
        let dotted = before[..start].trim_end_matches(['.', ' ', '"', '\'']).ends_with("headers");
        self.hidden = if inside && SECRET_KEYS.contains(&name) && after.starts_with(['"', '\'', '[']) {
            false
        } else {
            inside || dotted || name == "headers" || is_secret_name(name)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let (tree, _) = DeTable::parse_recoverable(text);
        source(text, tree.get_ref())
    }

    #[test]
    fn hides_secrets_wherever_they_stand() {
        for text in [
            "api_key = \"CANARY\"",
            "api_key = CANARY",
            "api_key = 'CANARY",
            "api-key = \"CANARY\" # why",
            "API_TOKEN=CANARY",
            "api_key = [\"CANARY\"]",
            "api_key = [\n  \"CANARY\",\n]",
            "api_key = { value = \"CANARY\" }",
            "api_key = { value = CANARY }",
            "api_key = { env = \"ok\", value = \"CANARY\" }",
            "api_key = \"\"\"\nCANARY\n\"\"\"",
            "api_key = \"\"\"\nCANARY",
            "[provider.api_key]\nvalue = \"CANARY\"",
            "[provider.headers]\nx = CANARY",
            "[provider]\nheaders.x = CANARY",
            "headers = { x = \"CANARY\" }",
            "sha256 = \"CANARY\"",
            "password = 'a, CANARY'",
            "url = \"postgres://user:CANARY@host/db\"",
            "x = \"Bearer sk-CANARY-CANARY\"",
            "# sk-CANARY-CANARY",
            "api_key = { env = \"CANARY-CANARY\" }",
            "[a]\nb = { c = 1, secret = \"CANARY\" }",
            "api_key = \"\\\"CANARY\"",
        ] {
            let out = masked(text);
            assert!(!out.contains("CANARY"), "{text:?} gave {out:?}");
            assert_eq!(out.chars().count(), text.chars().count());
            assert_eq!(out.lines().count(), text.lines().count());
        }
    }

    #[test]
    fn shows_what_is_no_secret() {
        for text in [
            "api_key = { env = \"GROQ_API_KEY\" }",
            "api_key = { file = \"keys/groq\" }",
            "api_key = { command = [\"vault\", \"read\"] }",
            "[[server.token]]\nname = \"gateway\"\nrole = \"read\"",
            "limits = { tokens_per_minute = 5, requests_per_minute = 6 }",
            "api_key = { env = \"X\" }\nbase_url = \"https://x.example/v1\"",
            "upstream_model = \"meta-llama/Llama-3.1-70B-Instruct-Turbo\"",
            "url = \"postgres://db.example/exactod\"",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn a_message_keeps_its_words() {
        assert_eq!(message("no variable `sk-abcdefghijkl` here"), "no variable `****` here");
        assert_eq!(message("postgres://u:p@h/d is wrong"), "postgres://****@h/d is wrong");
        assert_eq!(
            message("postgres://h/d?user=u&password=p&sslmode=no is wrong"),
            "postgres://h/d?user=u&password=****&sslmode=no is wrong"
        );
        assert_eq!(message("https://h/?a&token=p@q?x"), "https://****");
        assert_eq!(message("https://h/?=&&key="), "https://h/?=&&key=");
        assert_eq!(message("unknown key `margn`"), "unknown key `margn`");
    }
}
