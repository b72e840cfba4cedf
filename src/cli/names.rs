//! Names by which options choose: one that nobody knows is an error and not an empty table.

use std::collections::BTreeSet;

use super::output::CliError;
use super::setup::did_you_mean;
use crate::config::Config;
use crate::domain::{EndpointId, SuiteName};
use crate::store::{AttemptFilter, Store};
use crate::suites;

/// The suite that an option names: one that the config loads, or that was asked before.
pub async fn suite(config: &Config, store: &Store, text: &str) -> Result<SuiteName, CliError> {
    let name = SuiteName::new(text).map_err(|e| CliError::Usage(format!("--suite {text:?}: {e}")))?;
    let mut known: BTreeSet<SuiteName> = store.suite_names().await.map_err(CliError::failed)?.into_iter().collect();
    if !known.contains(&name) {
        // What is wrong with suites that do not load is told by those who ask them.
        known.extend(suites::load_all(&config.suites).unwrap_or_default().iter().map(|suite| suite.name.clone()));
    }
    if known.contains(&name) {
        return Ok(name);
    }
    let known = || known.iter().map(SuiteName::as_str);
    let hint = did_you_mean(text, known(), known());
    Err(CliError::Usage(format!("no suite {text:?} is configured or was ever asked ({hint})")))
}

/// The endpoint that an option names: one of any configured model, or one that left attempts behind.
pub async fn endpoint(config: &Config, store: &Store, text: &str) -> Result<EndpointId, CliError> {
    let id = EndpointId::new(text).map_err(|e| CliError::Usage(format!("--endpoint {text:?}: {e}")))?;
    let known: BTreeSet<&EndpointId> =
        config.models.iter().flat_map(|model| model.endpoints.iter().map(|endpoint| &endpoint.id)).collect();
    if known.contains(&id) {
        return Ok(id);
    }
    let filter = AttemptFilter { endpoint: Some(id.clone()), ..AttemptFilter::default() };
    if !store.attempts(&filter, 1, None).await.map_err(CliError::failed)?.items.is_empty() {
        return Ok(id);
    }
    let known = || known.iter().map(|id| id.as_str());
    let hint = did_you_mean(text, known(), known());
    Err(CliError::Usage(format!("no endpoint {text:?} is configured, and no attempt of one is stored ({hint})")))
}
