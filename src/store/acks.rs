//! What consumers say they run.

use super::error::Result;
use super::pool::{Arg, Row};
use super::rows::{count, count_option};
use super::{Store, statements};
use crate::domain::{Micros, Revision};

/// Most acks kept; beyond it a further client is refused.
pub const ACKS_MAX: u64 = 5_000;

/// What became of a revision at a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckStatus {
    /// It is in use.
    Adopted,
    /// It was refused; what was in use before still is.
    Rejected,
}

impl AckStatus {
    /// As written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AckStatus::Adopted => "adopted",
            AckStatus::Rejected => "rejected",
        }
    }
}

/// The last word of a client about a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The consumer, by its own name.
    pub client: String,
    /// The model; empty: what is about all models.
    pub model: String,
    /// The capability; empty: the model's own list.
    pub capability: String,
    /// The revision that it is about.
    pub version: Revision,
    /// What became of it.
    pub status: AckStatus,
    /// Why it was rejected, in the consumer's words.
    pub detail: String,
    /// Name of the token that it came with; empty without tokens.
    pub token: String,
    /// The revision that was adopted last, as far as it was told.
    pub adopted: Option<Revision>,
    /// When it came.
    pub at_us: Micros,
}

impl Store {
    /// Keeps an ack in place of the client's last one about the same list; `adopted` is carried on from it. What is
    /// kept then; `None`: there are [`ACKS_MAX`] already.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn set_ack(&self, ack: Ack) -> Result<Option<Ack>> {
        let version = signed(ack.version);
        let args = [
            ack.client.as_str().into(),
            ack.model.as_str().into(),
            ack.capability.as_str().into(),
            version.into(),
            ack.status.name().into(),
            ack.detail.as_str().into(),
            ack.token.as_str().into(),
            Arg::Int((ack.status == AckStatus::Adopted).then_some(version)),
            ack.at_us.into(),
            signed(ACKS_MAX).into(),
        ];
        let mut tx = self.pool.begin().await?;
        let adopted = |row: &Row| count_option(row, 0);
        let kept = match tx.read_one(statements::ACK_UPDATE, &args[..9], adopted).await? {
            None => tx.read_one(statements::ACK_ADD, &args, adopted).await?,
            updated => updated,
        };
        tx.commit().await?;
        Ok(kept.map(|adopted| Ack { adopted, ..ack }))
    }

    /// All acks, by client, model and capability.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn acks(&self) -> Result<Vec<Ack>> {
        let mut found = self.pool.read(statements::ACKS_LIST, &[], ack).await?;
        found.sort_unstable_by(|a, b| (&a.client, &a.model, &a.capability).cmp(&(&b.client, &b.model, &b.capability)));
        Ok(found)
    }

    /// Forgets acks from before a time.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn forget_acks(&self, before_us: Micros) -> Result<u64> {
        let mut tx = self.pool.begin().await?;
        let forgotten = tx.execute(statements::ACKS_FORGET, &[before_us.into()]).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn ack(row: &Row) -> Result<Ack> {
    Ok(Ack {
        client: row.get(0)?,
        model: row.get(1)?,
        capability: row.get(2)?,
        version: count(row, 3)?,
        status: if row.get::<&str>(4)? == "adopted" { AckStatus::Adopted } else { AckStatus::Rejected },
        detail: row.get(5)?,
        token: row.get(6)?,
        adopted: count_option(row, 7)?,
        at_us: row.get(8)?,
    })
}
