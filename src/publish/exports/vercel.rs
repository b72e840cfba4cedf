//! Vercel AI Gateway: the field `providerOptions` of a request.

use serde_json::json;

use super::{Cast, NotRendered};

pub(super) fn allow(cast: &Cast<'_>) -> Result<String, NotRendered> {
    let names = cast.names();
    Ok(json!({"providerOptions": {"gateway": {"only": names, "order": names}}}).to_string())
}
