//! The index for the LiteLLM plugin: every curated model's names with the deployments that may serve them.

use serde_json::{Map, Value, json};

use super::{Cast, Format, Scene};
use crate::domain::Revision;

/// Schema name of the index.
pub const GROUPS_SCHEMA: &str = "exacto.groups/v1";

/// Renders the index of all models that have a list. `version` must grow whenever any list is published. A model goes by
/// each of [`ModelNames::curated`](super::ModelNames::curated).
#[must_use]
pub fn groups(version: Revision, scenes: &[Scene<'_>]) -> String {
    let mut groups = Map::new();
    for scene in scenes.iter().filter(|scene| !scene.list.providers.is_empty()) {
        let names = Cast { format: Format::LitellmYaml, gateway: None, scene }.names();
        for group in scene.model.curated() {
            groups.insert(group, json!(names));
        }
    }
    let expires_at = scenes.iter().map(|scene| scene.list.expires_at.as_str()).min();
    json!({"schema": GROUPS_SCHEMA, "version": version, "expires_at": expires_at, "groups": Value::Object(groups)})
        .to_string()
}
