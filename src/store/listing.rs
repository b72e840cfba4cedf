//! Lists, newest first, page by page.

use uuid::Uuid;

use super::attempts::stored_attempt;
use super::error::{Result, StoreError};
use super::pool::Arg;
use super::{Store, statements};
use crate::domain::{Attempt, Capability, DecisionKind, EndpointId, Fault, Micros, ModelId, SuiteName, SweepId};

/// Largest page of a list.
pub const PAGE_ITEMS_MAX: usize = 500;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of the rows found when one more than the limit was asked for.
    pub(super) fn of(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let limit = limit.clamp(1, PAGE_ITEMS_MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Page { items, next }
    }
}

/// Rows to ask for, to know whether there is a next page.
pub(super) fn rows(limit: usize) -> i64 {
    limit.clamp(1, PAGE_ITEMS_MAX) as i64 + 1
}

/// The id below which a page begins.
pub(super) fn cursor(cursor: Option<&str>) -> Result<String> {
    match cursor {
        None => Ok(statements::AFTER_EVERY_ID.to_owned()),
        Some(text) => match Uuid::parse_str(text) {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Err(StoreError::BadCursor(text.to_owned())),
        },
    }
}

/// A stored attempt; in lists without its transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAttempt {
    /// The model of its sweep.
    pub model: ModelId,
    /// The last try delivered an answer, right or wrong.
    pub delivered: bool,
    /// The attempt.
    pub attempt: Attempt,
}

/// Which decisions to list; `None` means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Of a model.
    pub model: Option<ModelId>,
    /// About an endpoint.
    pub endpoint: Option<EndpointId>,
    /// About the list of a capability.
    pub capability: Option<Capability>,
    /// Of a kind.
    pub kind: Option<DecisionKind>,
}

/// Which attempts to list; `None` means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptFilter {
    /// Of a sweep.
    pub sweep: Option<SweepId>,
    /// Of a model.
    pub model: Option<ModelId>,
    /// Of an endpoint.
    pub endpoint: Option<EndpointId>,
    /// Of a suite.
    pub suite: Option<SuiteName>,
    /// `pass`, `fail` or `unscored`.
    pub verdict: Option<String>,
    /// With this primary Fault.
    pub fault: Option<Fault>,
    /// Started at this time or later.
    pub since_us: Option<Micros>,
}

impl Store {
    /// Attempts newest first; `limit` up to [`PAGE_ITEMS_MAX`], `cursor` from the page before. What is stored meanwhile
    /// shifts no page.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], or those of the database.
    pub async fn attempts(
        &self,
        filter: &AttemptFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<StoredAttempt>> {
        let after = self::cursor(cursor)?;
        let mut args = vec![
            after.as_str().into(),
            Arg::Text(filter.model.as_ref().map(ModelId::as_str)),
            Arg::Text(filter.endpoint.as_ref().map(EndpointId::as_str)),
            Arg::Text(filter.suite.as_ref().map(SuiteName::as_str)),
            Arg::Text(filter.verdict.as_deref()),
            Arg::Text(filter.fault.map(Fault::name)),
            filter.since_us.unwrap_or(i64::MIN).into(),
            rows(limit).into(),
        ];
        // A text of its own, because an optional filter cannot use the index on sweeps.
        let text = match filter.sweep {
            None => statements::ATTEMPTS_LIST,
            Some(sweep) => {
                args.push(Arg::Id(sweep.0));
                statements::ATTEMPTS_LIST_OF_SWEEP
            }
        };
        let found = self.pool.read(text, &args, stored_attempt).await?;
        Ok(Page::of(found, limit, |row| row.attempt.id.to_string()))
    }
}
