//! Rows to nouns. Texts are checked as they are read: a value that no version of exactod can have written is damage.

use std::collections::HashMap;
use std::str::FromStr;

use uuid::Uuid;

use super::error::{Result, StoreError};
use super::pool::Row;
use crate::domain::{Fault, Judgement, UnscoredWhy, Verdict};

/// The value of a text column as a noun.
pub(super) fn parsed<T>(row: &Row, column: usize) -> Result<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    parse(row.get::<&str>(column)?)
}

/// The value of a text column that may be NULL.
pub(super) fn parsed_option<T>(row: &Row, column: usize) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    row.get::<Option<&str>>(column)?.map(parse).transpose()
}

/// A text as a noun.
pub(super) fn parse<T>(text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| StoreError::Corrupt(format!("{text:?} is stored, but {error}")))
}

/// The value of a JSON column.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("stored JSON cannot be read: {error}")))
}

/// A value as JSON text. The values of the store have string keys only, so this does not fail.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(format!("a value cannot be written: {error}")))
}

/// A UUID column.
pub(super) fn id(row: &Row, column: usize) -> Result<Uuid> {
    parsed(row, column)
}

/// A BIGINT column that is never negative.
pub(super) fn count(row: &Row, column: usize) -> Result<u64> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| StoreError::Corrupt("a count is negative".to_owned()))
}

/// A BIGINT column that is never negative, or NULL.
pub(super) fn count_option(row: &Row, column: usize) -> Result<Option<u64>> {
    let value = row.get::<Option<i64>>(column)?;
    value.map(u64::try_from).transpose().map_err(|_| StoreError::Corrupt("a count is negative".to_owned()))
}

/// An epoch column.
pub(super) fn epoch(row: &Row, column: usize) -> Result<u32> {
    u32::try_from(row.get::<i64>(column)?).map_err(|_| StoreError::Corrupt("an epoch is out of range".to_owned()))
}

/// Gives equal texts one shared noun: a window of 100,000 rows knows a dozen endpoints.
pub(super) struct Shared<T>(HashMap<Box<str>, T>);

impl<T: Clone + FromStr> Shared<T>
where
    T::Err: std::fmt::Display,
{
    pub fn new() -> Self {
        Shared(HashMap::new())
    }

    pub fn read(&mut self, row: &Row, column: usize) -> Result<T> {
        let text = row.get::<&str>(column)?;
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let fresh: T = parse(text)?;
        self.0.insert(text.into(), fresh.clone());
        Ok(fresh)
    }
}

/// The stored word for why there is no score.
pub(super) fn why_name(why: UnscoredWhy) -> &'static str {
    match why {
        UnscoredWhy::Provider => "provider",
        UnscoredWhy::Ours => "ours",
        UnscoredWhy::Provenance => "provenance",
    }
}

/// The verdict of the columns verdict, why and fault.
pub(super) fn verdict(row: &Row, kind: usize, why: usize, fault: usize) -> Result<(Verdict, Option<Fault>)> {
    let fault: Option<Fault> = parsed_option(row, fault)?;
    let verdict = match (row.get::<&str>(kind)?, row.get::<Option<&str>>(why)?, fault) {
        ("pass", None, _) => Verdict::Pass,
        ("fail", None, Some(fault)) => Verdict::Fail(fault),
        ("unscored", Some("provider"), _) => Verdict::Unscored(UnscoredWhy::Provider),
        ("unscored", Some("ours"), _) => Verdict::Unscored(UnscoredWhy::Ours),
        ("unscored", Some("provenance"), _) => Verdict::Unscored(UnscoredWhy::Provenance),
        (kind, why, fault) => {
            return Err(StoreError::Corrupt(format!("a verdict {kind:?} with {why:?} and {fault:?} is stored")));
        }
    };
    Ok((verdict, fault))
}

/// The columns verdict and why of a judgement.
pub(super) fn verdict_names(judgement: &Judgement) -> (&'static str, Option<&'static str>) {
    let why = match judgement.verdict {
        Verdict::Unscored(why) => Some(why_name(why)),
        Verdict::Pass | Verdict::Fail(_) => None,
    };
    (judgement.verdict.kind(), why)
}

/// Secondary faults as stored: names with commas between, mostly none.
pub(super) fn fault_list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(",")
}

/// Reads [`fault_list`] back.
pub(super) fn faults(row: &Row, column: usize) -> Result<Vec<Fault>> {
    let text = row.get::<&str>(column)?;
    if text.is_empty() { Ok(vec![]) } else { text.split(',').map(parse).collect() }
}

/// The smallest id of version 7 made at a time or later: ids below it are older.
pub(super) fn id_floor(at_us: i64) -> String {
    let milliseconds = at_us.max(0).unsigned_abs() / 1000;
    let (high, low) = (milliseconds >> 16 & 0xffff_ffff, milliseconds & 0xffff);
    format!("{high:08x}-{low:04x}-0000-0000-000000000000")
}

/// Longest free text of a provider that is kept in a column (the transcript keeps all of it), in bytes.
pub const FREE_TEXT_BYTES_MAX: usize = 8 * 1024;

/// A provider's text as a column holds it: bounded, and without U+0000, which PostgreSQL cannot store.
pub(super) fn free_text(text: &str) -> std::borrow::Cow<'_, str> {
    let mut end = text.len().min(FREE_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = &text[..end];
    if cut.contains('\0') { cut.replace('\0', "\u{fffd}").into() } else { cut.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_lies_below_every_id_of_its_millisecond_and_above_the_one_before() {
        let at = |ms: u64| {
            Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, ms / 1000, (ms % 1000) as u32 * 1_000_000))
        };
        let ms = 1_795_000_000_123;
        assert!(at(ms).to_string() > id_floor(ms as i64 * 1000));
        assert!(at(ms - 1).to_string() < id_floor(ms as i64 * 1000));
    }

    #[test]
    fn free_text_is_cut_between_characters_and_loses_nul() {
        assert_eq!(free_text("a\0b"), "a\u{fffd}b");
        let long = "é".repeat(FREE_TEXT_BYTES_MAX);
        assert!(free_text(&long).len() <= FREE_TEXT_BYTES_MAX && free_text(&long).chars().all(|c| c == 'é'));
    }
}
