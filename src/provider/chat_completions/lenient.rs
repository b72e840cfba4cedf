//! Decoding that never fails on the type of a value: what stands at a key is absent, null, as expected, or otherwise.
//!
//! Only broken JSON syntax is an error. A strict decoder would turn one odd field into a lost answer, and the odd field
//! is what is to be measured. Nothing is parsed twice and text without escapes is borrowed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::CALLS_MAX;

/// Under this key `serde_json` hands over numbers as maps when any crate of the build asks for arbitrary precision.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Elements kept of one array, one more than any use allows: a long array of tiny elements must not fill the memory.
const ITEMS_MAX: usize = CALLS_MAX + 1;

/// What stands at a key.
#[derive(Debug, Default)]
pub(super) enum Slot<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// A value of the expected type.
    Is(T),
    /// A value of another type, named.
    Other(&'static str),
}

impl<T> Slot<T> {
    /// Nothing stands there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Slot::Absent | Slot::Null)
    }

    /// The expected value.
    pub(super) fn is(self) -> Option<T> {
        match self {
            Slot::Is(value) => Some(value),
            _ => None,
        }
    }
}

/// A type that may stand in a [`Slot`]: it takes the JSON types it understands.
pub(super) trait Shape<'de>: Sized {
    /// From a string.
    fn from_text(_text: Cow<'de, str>) -> Slot<Self> {
        Slot::Other("a string")
    }

    /// From an object; `first` is its first key.
    fn from_object<A: MapAccess<'de>>(first: Key<'de>, map: A) -> Result<Slot<Self>, A::Error> {
        skip_object(first, map)
    }

    /// From the empty object.
    fn from_empty_object() -> Slot<Self> {
        Slot::Other("an object")
    }

    /// From an array.
    fn from_array<A: SeqAccess<'de>>(mut seq: A) -> Result<Slot<Self>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Slot::Other("an array"))
    }
}

/// Reads an object to its end and names its type.
pub(super) fn skip_object<'de, T, A: MapAccess<'de>>(first: Key<'de>, mut map: A) -> Result<Slot<T>, A::Error> {
    map.next_value::<IgnoredAny>()?;
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(Slot::Other(if first.0 == NUMBER_KEY { "a number" } else { "an object" }))
}

impl<'de> Shape<'de> for Cow<'de, str> {
    fn from_text(text: Cow<'de, str>) -> Slot<Self> {
        Slot::Is(text)
    }
}

impl<'de, T: Shape<'de>> Shape<'de> for Vec<Slot<T>> {
    fn from_array<A: SeqAccess<'de>>(mut seq: A) -> Result<Slot<Self>, A::Error> {
        let mut items = vec![];
        while items.len() < ITEMS_MAX {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Slot::Is(items)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Slot::Is(items))
    }
}

impl<'de, T: Shape<'de>> Deserialize<'de> for Slot<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SlotVisitor(PhantomData))
    }
}

struct SlotVisitor<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for SlotVisitor<T> {
    type Value = Slot<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Slot<T>, E> {
        Ok(Slot::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Slot<T>, E> {
        Ok(Slot::Other("a boolean"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Slot<T>, E> {
        Ok(Slot::Other("a number"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Slot<T>, E> {
        Ok(Slot::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Slot<T>, E> {
        Ok(Slot::Other("a number"))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Slot<T>, E> {
        Ok(T::from_text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Slot<T>, E> {
        Ok(T::from_text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Slot<T>, A::Error> {
        T::from_array(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Slot<T>, A::Error> {
        match map.next_key::<Key<'de>>()? {
            None => Ok(T::from_empty_object()),
            Some(first) => T::from_object(first, map),
        }
    }
}

/// An object key or a JSON string, borrowed unless it holds escapes.
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The text of a JSON string; `None` when the JSON is something else.
pub(super) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    raw.get().starts_with('"').then(|| serde_json::from_str::<Key<'_>>(raw.get()).ok().map(|key| key.0)).flatten()
}

/// A count as it is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// No key, or null.
    Absent,
    /// A whole number, zero or greater.
    Is(u64),
    /// The same, written with a fraction or exponent (`12.0`).
    Fractional(u64),
    /// Anything else.
    Other,
}

impl Count {
    /// Reads the raw JSON of a count.
    pub(super) fn of(raw: Option<&RawValue>) -> Count {
        let Some(text) = raw.map(RawValue::get) else { return Count::Absent };
        if let Ok(n) = text.parse::<u64>() {
            return Count::Is(n);
        }
        match text.parse::<f64>() {
            // Below 2^53 a whole f64 is exact.
            Ok(x) if x >= 0.0 && x.fract() == 0.0 && x < 9_007_199_254_740_992.0 => Count::Fractional(x as u64),
            _ => Count::Other,
        }
    }

    /// The number, however it was written.
    pub(super) fn value(self) -> Option<u64> {
        match self {
            Count::Is(n) | Count::Fractional(n) => Some(n),
            Count::Absent | Count::Other => None,
        }
    }
}

/// Declares a wire object whose fields are all optional; unknown keys are skipped and the last of a repeated key wins.
macro_rules! wire_object {
    ($(#[$doc:meta])* struct $name:ident<'de> { $($(#[$field_doc:meta])* $field:ident: $ty:ty = $key:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'de> {
            $($(#[$field_doc])* pub(super) $field: $ty),+
        }

        impl<'de> Shape<'de> for $name<'de> {
            fn from_empty_object() -> Slot<Self> {
                Slot::Is(Self::default())
            }

            fn from_object<A: MapAccess<'de>>(first: Key<'de>, mut map: A) -> Result<Slot<Self>, A::Error> {
                let mut object = Self::default();
                let mut key = Some(first);
                while let Some(Key(name)) = key {
                    match &*name {
                        $($key => object.$field = map.next_value()?,)+
                        NUMBER_KEY => return skip_object(Key(name), map),
                        _ => { map.next_value::<IgnoredAny>()?; }
                    }
                    key = map.next_key()?;
                }
                Ok(Slot::Is(object))
            }
        }
    };
}

wire_object! {
    /// An answer body, or one frame of a stream.
    struct Body<'de> {
        id: Slot<Cow<'de, str>> = "id",
        object: Slot<Cow<'de, str>> = "object",
        created: Option<&'de RawValue> = "created",
        model: Slot<Cow<'de, str>> = "model",
        provider: Slot<Cow<'de, str>> = "provider",
        fingerprint: Slot<Cow<'de, str>> = "system_fingerprint",
        choices: Slot<Vec<Slot<Choice<'de>>>> = "choices",
        usage: Slot<WireUsage<'de>> = "usage",
        error: Option<&'de RawValue> = "error",
    }
}

wire_object! {
    /// One choice; `message` in a plain answer, `delta` in a stream.
    struct Choice<'de> {
        index: Option<&'de RawValue> = "index",
        message: Slot<Message<'de>> = "message",
        delta: Slot<Message<'de>> = "delta",
        finish_reason: Slot<Cow<'de, str>> = "finish_reason",
        logprobs: Option<&'de RawValue> = "logprobs",
        error: Option<&'de RawValue> = "error",
    }
}

wire_object! {
    /// A message or a delta of one.
    struct Message<'de> {
        role: Slot<Cow<'de, str>> = "role",
        content: Slot<Content<'de>> = "content",
        refusal: Slot<Cow<'de, str>> = "refusal",
        reasoning: Slot<Cow<'de, str>> = "reasoning",
        reasoning_content: Slot<Cow<'de, str>> = "reasoning_content",
        tool_calls: Slot<Vec<Slot<Call<'de>>>> = "tool_calls",
    }
}

wire_object! {
    /// A tool call or a delta of one.
    struct Call<'de> {
        id: Slot<Cow<'de, str>> = "id",
        index: Option<&'de RawValue> = "index",
        kind: Slot<Cow<'de, str>> = "type",
        function: Slot<Function<'de>> = "function",
    }
}

wire_object! {
    /// The function of a call.
    struct Function<'de> {
        name: Slot<Cow<'de, str>> = "name",
        /// Raw: a string by the contract, an object at some providers.
        arguments: Option<&'de RawValue> = "arguments",
    }
}

wire_object! {
    /// Token usage.
    struct WireUsage<'de> {
        prompt: Option<&'de RawValue> = "prompt_tokens",
        completion: Option<&'de RawValue> = "completion_tokens",
        total: Option<&'de RawValue> = "total_tokens",
        details: Slot<UsageDetails<'de>> = "completion_tokens_details",
        reasoning: Option<&'de RawValue> = "reasoning_tokens",
    }
}

wire_object! {
    /// Details of the answer's tokens.
    struct UsageDetails<'de> {
        reasoning: Option<&'de RawValue> = "reasoning_tokens",
    }
}

wire_object! {
    /// One part of content that came as a list.
    struct Part<'de> {
        text: Slot<Cow<'de, str>> = "text",
    }
}

/// Content: a string by the contract; some providers send a list of parts.
#[derive(Debug)]
pub(super) enum Content<'de> {
    /// The string.
    Text(Cow<'de, str>),
    /// The texts of the parts, joined.
    Parts(String),
}

impl<'de> Shape<'de> for Content<'de> {
    fn from_text(text: Cow<'de, str>) -> Slot<Self> {
        Slot::Is(Content::Text(text))
    }

    fn from_array<A: SeqAccess<'de>>(mut seq: A) -> Result<Slot<Self>, A::Error> {
        let mut joined = String::new();
        while let Some(part) = seq.next_element::<Slot<Part<'de>>>()? {
            if let Some(text) = part.is().and_then(|part| part.text.is()) {
                joined.push_str(&text);
            }
        }
        Ok(Slot::Is(Content::Parts(joined)))
    }
}

/// What could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// Not JSON.
    Syntax,
    /// JSON, but of this type instead of an object.
    NotAnObject(&'static str),
}

/// Decodes a body or frame and hands it on, with a flag that tells whether text was corrupt: invalid UTF-8 and escapes
/// of half a character (lone surrogates) become U+FFFD, which needs no guess.
pub(super) fn with_body<R>(bytes: &[u8], then: impl FnOnce(Result<Body<'_>, Undecodable>, bool) -> R) -> R {
    let (text, corrupt) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (String::from_utf8_lossy(bytes), true),
    };
    let body = decode(&text);
    if let Err(Undecodable::Syntax) = body
        && let Some(repaired) = without_lone_surrogates(&text)
    {
        return then(decode(&repaired), true);
    }
    then(body, corrupt)
}

fn decode(text: &str) -> Result<Body<'_>, Undecodable> {
    match serde_json::from_str::<Slot<Body<'_>>>(text) {
        Ok(Slot::Is(body)) => Ok(body),
        Ok(Slot::Other(kind)) => Err(Undecodable::NotAnObject(kind)),
        Ok(Slot::Null | Slot::Absent) => Err(Undecodable::NotAnObject("null")),
        Err(_) => Err(Undecodable::Syntax),
    }
}

/// The text with each `\ud800`..`\udfff` that has no partner written `\ufffd`; `None` when there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let unit = |at: usize| -> Option<u16> {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = bytes.to_vec();
    let mut found = false;
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'\\', &bytes[at..]) {
        at += next;
        at += match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out[at + 2..at + 6].copy_from_slice(b"fffd");
                found = true;
                6
            }
            Some(_) => 6,
            None => 2,
        };
        if at >= bytes.len() {
            break;
        }
    }
    if found { String::from_utf8(out).ok() } else { None }
}
