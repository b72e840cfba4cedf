//! `export`: the stored list in the words of a gateway, beside a running daemon or without one.

use bytes::Bytes;

use super::args::{Cli, ExportArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::api;
use crate::config::{Config, ModelConfig};
use crate::diagnostics::nearest;
use crate::publish::exports::{self, Form, Format, Scene, Wanted};
use crate::publish::{Document, file};
use crate::store::{Store, StoredAllowlist};

/// The index of all models.
const GROUPS: &str = "litellm";

/// Prints or writes an export.
pub async fn run(cli: &Cli, args: &ExportArgs) -> Result<Exit, CliError> {
    let wanted = wanted(args)?;
    let config = setup::config(cli)?;
    let store = setup::store(&config).await?;
    let made = match &wanted {
        None => groups(&config, &store).await.map(Some),
        Some(wanted) => of_model(&config, &store, wanted, args).await,
    };
    store.close().await;
    let Some(text) = made? else {
        output::note("no list was published yet: run `exactod sweep` or `exactod serve` first");
        return Ok(Exit::No);
    };
    match &args.out {
        None => output::raw(text.as_bytes())?,
        Some(path) => {
            file::replace(path, text.as_bytes())
                .map_err(|e| CliError::Failed(format!("failed to write {}: {e}", path.display())))?;
        }
    }
    if args.out.is_none() && !text.ends_with('\n') {
        output::line("")?;
    }
    Ok(Exit::Yes)
}

/// What the arguments ask for; `None`: the index.
fn wanted(args: &ExportArgs) -> Result<Option<Wanted>, CliError> {
    if args.format == GROUPS {
        return Ok(None);
    }
    let known = || Format::ALL.map(Format::name).into_iter().chain([GROUPS]);
    let unknown = || {
        let near = nearest(&args.format, known()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        CliError::Usage(format!(
            "no export {:?} (known: {}){near}",
            args.format,
            known().collect::<Vec<_>>().join(", ")
        ))
    };
    let format = Format::by_name(&args.format).ok_or_else(unknown)?;
    let form = Form::by_name(&args.form);
    let form = form.ok_or_else(|| CliError::Usage(format!("--form {:?}: allow or exclude", args.form)))?;
    Ok(Some(Wanted { format, form, gateway: args.gateway.clone() }))
}

async fn of_model(
    config: &Config,
    store: &Store,
    wanted: &Wanted,
    args: &ExportArgs,
) -> Result<Option<String>, CliError> {
    let model = setup::model(config, args.model.as_deref())?;
    let capability = args.capability.as_deref().map(|name| setup::capability(model, name)).transpose()?;
    let stored = match &capability {
        None => store.allowlist(&model.id, None).await,
        Some(capability) => store.capability_list(&model.id, capability).await,
    };
    let Some(stored) = stored.map_err(CliError::failed)? else { return Ok(None) };
    if (wanted.format, wanted.form) == (Format::Json, Form::Allow) {
        return Ok(Some(stored.list.document));
    }
    let document = document(stored)?;
    exports::render(wanted, &api::scene(model, &document.list)).map(Some).map_err(CliError::failed)
}

async fn groups(config: &Config, store: &Store) -> Result<String, CliError> {
    let stored = store.current_allowlists().await.map_err(CliError::failed)?;
    let own: Vec<Document> =
        stored.into_iter().filter(|list| list.capability.is_none()).map(document).collect::<Result<_, _>>()?;
    let version = own.iter().map(|list| list.revision).sum();
    let configured = |list: &Document| config.models.iter().find(|model: &&ModelConfig| model.id == list.model);
    let scenes: Vec<Scene<'_>> =
        own.iter().filter_map(|list| Some(api::scene(configured(list)?, &list.list))).collect();
    Ok(exports::groups(version, &scenes))
}

fn document(stored: StoredAllowlist) -> Result<Document, CliError> {
    let model = stored.model.clone();
    Document::read(Bytes::from(stored.list.document))
        .map_err(|e| CliError::Failed(format!("the stored allowlist of {model} cannot be used: {e}")))
}
