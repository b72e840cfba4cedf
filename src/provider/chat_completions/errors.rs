//! The providers' own words about what went wrong.

use serde_json::Value;
use serde_json::value::RawValue;

use super::EXCERPT_CHARS_MAX;

/// What an `error` key holds, when it signals an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenError {
    /// The message, shortened.
    pub(super) message: String,
    /// Its code or type says that too much was asked.
    pub(super) rate_limited: bool,
}

/// Reads the value of an `error` key. `null`, `false`, `{}`, `[]` and `""` signal nothing.
pub(super) fn open_error(raw: Option<&RawValue>) -> Option<OpenError> {
    let raw = raw?.get();
    if matches!(raw.trim(), "null" | "false" | "\"\"") {
        return None;
    }
    let value: Value = serde_json::from_str(raw).unwrap_or_else(|_| Value::from(raw));
    match &value {
        Value::Object(map) if map.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        _ => Some(OpenError { message: words_of(&value), rate_limited: is_rate_limit(&value) }),
    }
}

/// The message in the body of an error answer: its JSON message, or the start of its text.
pub(in crate::provider) fn message_of_error_body(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Array(items)) if !items.is_empty() => words_of(&items[0]),
        Ok(value) => words_of(&value),
        Err(_) => excerpt(&text),
    }
}

fn words_of(value: &Value) -> String {
    let found = ["error", "message", "detail", "msg", "title"].into_iter().find_map(|key| match value.get(key)? {
        Value::Null => None,
        inner => Some(inner),
    });
    match (value, found) {
        (Value::String(text), _) => excerpt(text),
        (_, Some(inner)) => words_of(inner),
        (other, None) => excerpt(&other.to_string()),
    }
}

fn is_rate_limit(value: &Value) -> bool {
    ["code", "type", "status"].into_iter().filter_map(|key| value.get(key)).any(|code| {
        let code = code.as_str().map_or_else(|| code.to_string(), str::to_ascii_lowercase);
        code == "429"
            || ["rate_limit", "ratelimit", "rate limit", "too_many_requests", "too many requests", "resource_exhausted"]
                .iter()
                .any(|word| code.contains(word))
    })
}

/// A text in one line of at most [`EXCERPT_CHARS_MAX`] characters.
pub(super) fn excerpt(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if count > 0 {
            out.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count >= EXCERPT_CHARS_MAX {
                out.push('\u{2026}');
                return out;
            }
            out.push(c);
            count += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_they_stand() {
        for (body, message) in [
            (r#"{"error":{"message":"over\ncapacity","code":503}}"#, "over capacity"),
            (r#"{"error":"no such model"}"#, "no such model"),
            (r#"{"detail":[{"msg":"x"}]}"#, r#"[{"msg":"x"}]"#),
            (r#"{"message":"m"}"#, "m"),
            (r#"[{"error":{"message":"in a list"}}]"#, "in a list"),
            ("<html>\n <b>502</b>", "<html> <b>502</b>"),
            ("\"text\"", "text"),
            ("", ""),
        ] {
            assert_eq!(message_of_error_body(body.as_bytes()), message);
        }
        assert_eq!(excerpt(&"x".repeat(2 * EXCERPT_CHARS_MAX)).chars().count(), EXCERPT_CHARS_MAX + 1);
    }

    #[test]
    fn an_error_key_may_signal_nothing() {
        let error = |json: &str| open_error(Some(&RawValue::from_string(json.to_owned()).unwrap()));
        for nothing in ["null", "false", "{}", "[]", "\"\""] {
            assert_eq!(error(nothing), None, "{nothing}");
        }
        assert!(!error(r#"{"message":"m","code":500}"#).unwrap().rate_limited);
        for limited in [
            r#"{"code":429}"#,
            r#"{"code":"429"}"#,
            r#"{"type":"rate_limit_error"}"#,
            r#"{"code":"TOO_MANY_REQUESTS"}"#,
        ] {
            assert!(error(limited).unwrap().rate_limited, "{limited}");
        }
    }
}
