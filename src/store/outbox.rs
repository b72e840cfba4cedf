//! What webhooks are to be told: written with what it is about, crossed off when it was told.

use super::curation::{alarm, decision};
use super::error::{Result, StoreError};
use super::pool::{Row, Tx};
use super::{Alarm, Store, statements};
use crate::domain::{Decision, Micros, ModelId};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A decision was made.
    Decision,
    /// An alarm was opened.
    AlarmOpened,
    /// An alarm was closed.
    AlarmClosed,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 3] = [EventKind::Decision, EventKind::AlarmOpened, EventKind::AlarmClosed];

    /// As written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Decision => "decision",
            EventKind::AlarmOpened => "alarm_opened",
            EventKind::AlarmClosed => "alarm_closed",
        }
    }
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum EventSubject {
    /// A decision.
    Decision(Box<Decision>),
    /// An alarm, as it is by now.
    Alarm(Box<Alarm>),
}

/// Something that a webhook is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id: the same on every try.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at_us: Micros,
    /// What it is about.
    pub subject: EventSubject,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver took it.
    Delivered,
    /// It was too old.
    GivenUp,
    /// The webhook does not want it.
    Skipped,
}

impl DeliveryOutcome {
    fn name(self) -> &'static str {
        match self {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::GivenUp => "given_up",
            DeliveryOutcome::Skipped => "skipped",
        }
    }
}

impl Store {
    /// What a webhook has not been told yet of what happened since a time, oldest first; the events of one model in the
    /// order in which they happened.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn undelivered(&self, webhook: &str, since_us: Micros, limit: usize) -> Result<Vec<Event>> {
        let args = [webhook.into(), since_us.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
        let found = self.pool.read(statements::OUTBOX_UNDELIVERED, &args, queued).await?;
        let mut events = Vec::with_capacity(found.len());
        for Queued { id, kind, subject, at_us } in found {
            let key = [subject.as_str().into()];
            let about = match kind {
                EventKind::Decision => {
                    let row = self.pool.read_one(statements::DECISION_GET, &key, decision).await?;
                    row.map(|d| EventSubject::Decision(Box::new(d)))
                }
                EventKind::AlarmOpened | EventKind::AlarmClosed => {
                    let row = self.pool.read_one(statements::ALARM_GET, &key, alarm).await?;
                    row.map(|a| EventSubject::Alarm(Box::new(a)))
                }
            };
            let subject = about.ok_or_else(|| StoreError::Corrupt(format!("event {id} is about nothing")))?;
            events.push(Event { id, kind, at_us, subject });
        }
        Ok(events)
    }

    /// Notes how a delivery ended. Noted once.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn delivered(&self, webhook: &str, event: &str, outcome: DeliveryOutcome, at_us: Micros) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let args = [webhook.into(), event.into(), outcome.name().into(), at_us.into()];
        tx.execute(statements::DELIVERY_ADD, &args).await?;
        tx.commit().await
    }

    /// Forgets events from before a time, told or not.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn forget_events(&self, before_us: Micros) -> Result<u64> {
        let mut tx = self.pool.begin().await?;
        tx.execute(statements::DELIVERIES_FORGET, &[before_us.into()]).await?;
        let forgotten = tx.execute(statements::OUTBOX_FORGET, &[before_us.into()]).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    /// Takes or keeps a piece of work that one process does at a time. `None`: it is the owner's now; else who has it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn lease(&self, name: &str, owner: &str, now_us: Micros, until_us: Micros) -> Result<Option<String>> {
        let mut tx = self.pool.begin().await?;
        let args = [name.into(), owner.into(), until_us.into(), now_us.into()];
        let holder = match tx.execute(statements::LEASE_TAKE, &args).await? {
            0 => tx.read_one(statements::LEASE_HOLDER, &args[..1], |row| row.get::<String>(0)).await?,
            _ => None,
        };
        tx.commit().await?;
        Ok(holder)
    }

    /// Takes it from an owner that is known to have ended. `false`: it is not that owner's any more.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn take_over_lease(&self, name: &str, owner: &str, until_us: Micros, from: &str) -> Result<bool> {
        let mut tx = self.pool.begin().await?;
        let args = [name.into(), owner.into(), until_us.into(), from.into()];
        let taken = tx.execute(statements::LEASE_TAKE_OVER, &args).await? > 0;
        tx.commit().await?;
        Ok(taken)
    }
}

/// Notes that something happened.
pub(super) async fn note(
    tx: &mut Tx,
    (kind, subject): (EventKind, &str),
    model: Option<&ModelId>,
    (mark_us, at_us): (Micros, Micros),
) -> Result<()> {
    let id = format!("{}-{subject}", kind.name());
    let args = [
        id.as_str().into(),
        kind.name().into(),
        subject.into(),
        model.map_or("", ModelId::as_str).into(),
        mark_us.into(),
        at_us.into(),
    ];
    tx.execute(statements::OUTBOX_ADD, &args).await?;
    Ok(())
}

struct Queued {
    id: String,
    kind: EventKind,
    subject: String,
    at_us: Micros,
}

fn queued(row: &Row) -> Result<Queued> {
    let name: &str = row.get(1)?;
    let kind = EventKind::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| StoreError::Corrupt(format!("an event of kind {name:?} is stored")))?;
    Ok(Queued { id: row.get(0)?, kind, subject: row.get(2)?, at_us: row.get(3)? })
}
