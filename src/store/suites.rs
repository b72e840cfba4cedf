//! The register of suites: which content a label stood for.

use std::collections::BTreeMap;

use super::error::Result;
use super::rows::{json, parsed, to_json};
use super::{Store, statements};
use crate::domain::{Micros, Suite, SuiteDigest, SuiteName};

/// Names of suites that are listed: more nobody reads.
const SUITE_NAMES_MAX: i64 = 1_000;

/// What registering a suite found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// This label was not known; it is now.
    New,
    /// This label stands for this very content.
    Known,
    /// This label stood for another content: nothing was changed. Ids of cases, sorted.
    Conflict {
        /// Cases that are in both and differ.
        changed: Vec<String>,
        /// Cases that are new.
        added: Vec<String>,
        /// Cases that are gone.
        removed: Vec<String>,
    },
}

impl Store {
    /// Notes what a suite's label (its revision) stands for, or tells which cases differ from what it stood for.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn register_suite(&self, suite: &Suite, now_us: Micros) -> Result<Registered> {
        let hashes: BTreeMap<&str, &str> = suite.cases.iter().map(|c| (c.id.as_str(), c.hash.as_str())).collect();
        let (name, revision, digest) = (suite.name.as_str(), suite.revision.as_str(), suite.digest.as_str());
        let label = [name.into(), revision.into()];
        let mut tx = self.pool.begin().await?;
        let args = [name.into(), revision.into(), digest.into(), now_us.into()];
        let added = tx
            .execute(statements::SUITE_ADD, &[args[0], args[1], args[2], args[3], to_json(&hashes)?.as_str().into()])
            .await?;
        if added == 1 {
            tx.commit().await?;
            return Ok(Registered::New);
        }
        let get = |row: &super::pool::Row| Ok((row.get::<String>(0)?, row.get::<String>(1)?));
        let known = tx.read_one(statements::SUITE_GET, &label, get).await?;
        let Some((_, known_hashes)) = known.filter(|(known, _)| known != digest) else {
            tx.execute(statements::SUITE_SEEN, &[args[0], args[1], args[3]]).await?;
            tx.commit().await?;
            return Ok(Registered::Known);
        };
        tx.rollback().await?;
        let before: BTreeMap<String, String> = json(&known_hashes)?;
        let ids = |keep: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
            hashes.iter().filter(|(id, hash)| keep(id, hash)).map(|(id, _)| (*id).to_owned()).collect()
        };
        Ok(Registered::Conflict {
            changed: ids(&|id, hash| before.get(id).is_some_and(|old| old != hash)),
            added: ids(&|id, _| !before.contains_key(id)),
            removed: before.keys().filter(|id| !hashes.contains_key(id.as_str())).cloned().collect(),
        })
    }

    /// The names of the suites that were ever registered, sorted, at most `SUITE_NAMES_MAX`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn suite_names(&self) -> Result<Vec<SuiteName>> {
        let args = [SUITE_NAMES_MAX.into()];
        self.pool.read(statements::SUITE_NAMES, &args, |row| parsed::<SuiteName>(row, 0)).await
    }

    /// The hashes of the cases of a version of a suite, by id; `None` for a version that was never registered. The text of a
    /// version is not kept.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) of the database.
    pub async fn case_hashes(
        &self,
        suite: &SuiteName,
        digest: &SuiteDigest,
    ) -> Result<Option<BTreeMap<String, String>>> {
        let args = [suite.as_str().into(), digest.as_str().into()];
        let found = self.pool.read_one(statements::SUITE_OF_DIGEST, &args, |row| row.get::<String>(0)).await?;
        found.map(|hashes| json(&hashes)).transpose()
    }
}
