//! JSON as other programs write it: what has another type than expected is as absent, never an error.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::Tool;
use super::native::Text;

/// A value that was found where another type may have been expected.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// Reads a value as a type, if it is one.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A text that is not empty.
pub(super) fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    read::<Text<'_>>(raw).map(|text| text.0).filter(|text| !text.is_empty())
}

/// A finite number, also written as a text.
pub(super) fn number(raw: Raw<'_>) -> Option<f64> {
    let number = match read::<f64>(raw) {
        None => text(raw)?.trim().parse().ok()?,
        Some(number) => number,
    };
    f64::is_finite(number).then_some(number)
}

/// A whole number that is not negative.
pub(super) fn whole(raw: Raw<'_>) -> Option<u64> {
    number(raw).and_then(whole_of)
}

/// As [`whole()`], of a number.
pub(super) fn whole_of(number: f64) -> Option<u64> {
    (0.0..=1e15).contains(&number).then_some(number as u64)
}

/// `true` or `false`, also written as a text.
pub(super) fn flag(raw: Raw<'_>) -> Option<bool> {
    read::<bool>(raw).or_else(|| match text(raw)?.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    })
}

/// The JSON of a value, or the JSON within a text: arguments and schemas come as either.
pub(super) fn json_text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let value = raw?;
    match value.get().as_bytes().first() {
        Some(b'"') => read::<Text<'_>>(raw).map(|text| text.0),
        Some(b'n') | None => None,
        Some(_) => Some(Cow::Borrowed(value.get())),
    }
}

#[derive(Deserialize)]
struct Offered<'a> {
    #[serde(borrow, default)]
    function: Raw<'a>,
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    parameters: Raw<'a>,
    #[serde(borrow, default)]
    input_schema: Raw<'a>,
}

/// The tools of a request, as chat completions or flat; `None` where there is no list of them.
pub(super) fn tools(list: Raw<'_>) -> Option<Vec<Tool<'_>>> {
    let offered: Vec<Raw<'_>> = read(list)?;
    let one = |raw: Raw<'_>| {
        let outer: Offered<'_> = read(raw)?;
        let inner: Option<Offered<'_>> = read(outer.function);
        let it = inner.unwrap_or(outer);
        let schema = it.parameters.or(it.input_schema);
        Some(Tool { name: text(it.name).unwrap_or_default().into_owned().into(), schema: owned(json_text(schema)) })
    };
    Some(offered.into_iter().filter_map(one).collect())
}

fn owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(|text| Cow::Owned(text.into_owned()))
}
