//! The long parts of a case straight from the line to compact JSON text, without making trees of them.
//!
//! Messages, tools, expected values and the like are kept as text ([`Json`]); making a tree of each first was most of what
//! loading a suite of many cases took. What this module reads is what [`strict_json::parse`] reads, and its text is the
//! text of that tree. Wherever anything is not as it should be it gives up, and the line is read as a tree: that reader
//! says what is wrong, and where.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::domain::Json;

use super::limits::{DEPTH_MAX, MESSAGES_MAX, TOOLS_MAX};
use super::strict_json::{self, NUMBER_TOKEN};

/// The keys that are read so, and what stands under them.
const TEXTS: &[(&str, Wanted)] = &[
    ("messages", Wanted::List(1, MESSAGES_MAX)),
    ("tools", Wanted::List(0, TOOLS_MAX)),
    ("expected", Wanted::Anything),
    ("metadata", Wanted::Object),
    ("world", Wanted::Object),
    ("reference", Wanted::Object),
];
/// Most keys of an object that are compared one by one.
const KEYS_MAX: usize = 64;

/// What must stand under a key, or the line is read as a tree.
#[derive(Clone, Copy)]
enum Wanted {
    /// A list with so many items.
    List(usize, usize),
    Object,
    Anything,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With its number of items.
    List(usize),
    Object,
    Scalar,
}

/// The parts of a line that are texts already: key, text, number of items.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<(&'static str, Json, usize)>);

impl Texts {
    fn holds(&self, key: &str) -> bool {
        self.0.iter().any(|(known, ..)| *known == key)
    }

    /// Takes a part and its number of items (0 of what is no list).
    pub(super) fn take(&mut self, key: &str) -> Option<(Json, usize)> {
        let place = self.0.iter().position(|(known, ..)| *known == key)?;
        let (_, json, items) = self.0.swap_remove(place);
        Some((json, items))
    }
}

/// Reads an object whose long parts become texts and whose other parts become trees; `None`: something in it is for
/// [`strict_json::parse`] to look at.
pub(super) fn split(line: &str) -> Option<(Map<String, Value>, Texts)> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let parts = Line.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    // A paired case may hold little of its own, and messages stand under one key.
    let (rest, texts) = &parts;
    let excludes = rest.contains_key("pair") || (rest.contains_key("input") && texts.holds("messages"));
    (!excludes).then_some(parts)
}

struct Line;

impl<'de> DeserializeSeed<'de> for Line {
    type Value = (Map<String, Value>, Texts);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Line {
    type Value = (Map<String, Value>, Texts);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut line: A) -> Result<Self::Value, A::Error> {
        let (mut rest, mut texts) = (Map::new(), Texts::default());
        while let Some(key) = line.next_key::<String>()? {
            if let Some((name, wanted)) = TEXTS.iter().find(|(name, _)| *name == key) {
                let mut writer = Writer::default();
                let kind = line.next_value_seed(Compact { writer: &mut writer, depth_left: DEPTH_MAX - 1 })?;
                let items = items(kind, *wanted).ok_or_else(|| A::Error::custom("not as wanted"))?;
                let text = String::from_utf8(writer.out).map_err(A::Error::custom)?;
                if texts.holds(name) {
                    return Err(A::Error::custom("twice"));
                }
                texts.0.push((name, Json::from_written(text), items));
            } else if rest.contains_key(&key) || key == NUMBER_TOKEN {
                return Err(A::Error::custom("twice"));
            } else {
                rest.insert(key, line.next_value_seed(strict_json::inner())?);
            }
        }
        Ok((rest, texts))
    }
}

fn items(kind: Kind, wanted: Wanted) -> Option<usize> {
    match (wanted, kind) {
        (Wanted::List(min, max), Kind::List(n)) if (min..=max).contains(&n) => Some(n),
        (Wanted::Object, Kind::Object) | (Wanted::Anything, _) => Some(0),
        _ => None,
    }
}

/// What is written, and where in it the keys of the objects stand that are open.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    keys: Vec<Range<usize>>,
}

impl Writer {
    fn json<E: serde::de::Error>(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<Kind, E> {
        serde_json::to_writer(&mut self.out, value).map_err(E::custom)?;
        Ok(Kind::Scalar)
    }
}

/// Writes one value as `serde_json` writes its tree.
struct Compact<'w> {
    writer: &'w mut Writer,
    depth_left: usize,
}

impl Compact<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<Compact<'_>, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Compact { writer: self.writer, depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Compact<'_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Compact<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Kind, E> {
        self.writer.json(&value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Kind, E> {
        self.writer.json(&value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Kind, E> {
        self.writer.json(&value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        let number = serde_json::Number::from_f64(value).ok_or_else(|| E::custom("out of range"))?;
        self.writer.json(&number)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Kind, E> {
        self.writer.json(value)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Kind, E> {
        self.writer.json(&())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Kind, A::Error> {
        self.writer.out.push(b'[');
        let mut count = 0;
        loop {
            // The comma is taken back where no further item follows.
            let end = self.writer.out.len();
            if count > 0 {
                self.writer.out.push(b',');
            }
            if seq.next_element_seed(self.deeper()?)?.is_none() {
                self.writer.out.truncate(end);
                self.writer.out.push(b']');
                return Ok(Kind::List(count));
            }
            count += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Kind, A::Error> {
        let (begin, first_key) = (self.writer.out.len(), self.writer.keys.len());
        self.writer.out.push(b'{');
        loop {
            let end = self.writer.out.len();
            if self.writer.keys.len() > first_key {
                self.writer.out.push(b',');
            }
            let Some(key) = map.next_key_seed(Key(self.writer))? else {
                self.writer.out.truncate(end);
                break;
            };
            let (others, written) = (&self.writer.keys[first_key..], &self.writer.out[key.clone()]);
            // A number of any precision comes as an object of one entry: it is taken as the tree's reader takes it.
            if others.is_empty() && written[1..written.len() - 1] == *NUMBER_TOKEN.as_bytes() {
                self.writer.out.truncate(begin);
                let number = strict_json::number(&map.next_value::<String>()?)?;
                return self.writer.json(&number);
            }
            if others.len() >= KEYS_MAX || others.iter().any(|other| self.writer.out[other.clone()] == *written) {
                return Err(A::Error::custom("a key twice, or too many to look for one"));
            }
            self.writer.keys.push(key);
            self.writer.out.push(b':');
            map.next_value_seed(self.deeper()?)?;
        }
        self.writer.keys.truncate(first_key);
        self.writer.out.push(b'}');
        Ok(Kind::Object)
    }
}

/// Writes a key; gives its place.
struct Key<'w>(&'w mut Writer);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Range<usize>, E> {
        let start = self.0.out.len();
        self.0.json::<E>(key)?;
        Ok(start..self.0.out.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The line with its texts as trees.
    fn whole(line: &str) -> Option<Value> {
        let (mut map, texts) = split(line)?;
        for (key, json, _) in texts.0 {
            assert_eq!(json.text(), json.value().to_string(), "compact, as a tree is written");
            map.insert(key.to_owned(), json.value());
        }
        Some(Value::Object(map))
    }

    #[test]
    fn what_is_not_as_it_should_be_is_left_to_the_other_reader() {
        let deep = format!(r#"{{"expected": {}1{}}}"#, "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        for line in [
            "[]",
            r#"{"messages": []}"#,
            r#"{"messages": {}}"#,
            r#"{"tools": "x"}"#,
            r#"{"metadata": [1]}"#,
            r#"{"expected": {"a": 1, "b": {"a": 2}, "a": 3}}"#,
            r#"{"expected": {"a": 1, "\u0061": 2}}"#,
            r#"{"expected": 1, "expected": 2}"#,
            r#"{"x": 1, "x": 2}"#,
            r#"{"expected": 1e999}"#,
            r#"{"expected": 1} x"#,
            r#"{"input": "x", "messages": [{}]}"#,
            r#"{"pair": {"with": "x"}, "messages": [{}]}"#,
            r#"{"expected": [1,]}"#,
            &deep,
        ] {
            assert!(split(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_key_of_another_object_is_no_key_given_twice() {
        let line = r#"{"expected":{"a":{"a":[{"a":1},{"a":{}}],"b":[]},"b":{"a":2}},"id":"x"}"#;
        assert_eq!(whole(line), strict_json::parse(line).ok());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[aé\"\\\\\u{1}\n/ 👍]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec(("[ab\"\\\\é]{0,2}", inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_the_tree(expected in any_json(), reference in any_json(), other in any_json()) {
            let line = serde_json::json!({"expected": expected, "id": other, "reference": {"r": reference}});
            let line = serde_json::to_string_pretty(&line).unwrap().replace('/', "\\/").replace('é', "\\u00e9");
            let tree = strict_json::parse(&line).unwrap();
            let (rest, mut texts) = split(&line).unwrap();
            for key in ["expected", "reference"] {
                prop_assert_eq!(texts.take(key).unwrap().0.text().to_owned(), tree[key].to_string());
            }
            prop_assert_eq!(&rest["id"], &tree["id"]);
        }

        #[test]
        fn no_line_is_read_that_the_other_reader_refuses(line in r#"\{("(expected|id|tools|a)":[\[{]?("?[a1\\".e:]{0,4}"?,?){0,3}[\]}]?,?){0,3}\}"#) {
            if let Some(read) = whole(&line) {
                let tree = strict_json::parse(&line);
                prop_assert!(tree.is_ok_and(|tree| tree == read), "{}", line);
            }
        }
    }
}
