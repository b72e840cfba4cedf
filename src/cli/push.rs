//! `push`: a list put into a gateway by its admin API, by hand; what differs; and the way back.

use bytes::Bytes;
use serde_json::json;

use super::args::{Cli, PushArgs};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::api;
use crate::config::PushConfig;
use crate::daemon::{Pusher, push_client};
use crate::diagnostics::nearest;
use crate::publish::Document;
use crate::publish::exports::Scene;

/// Changes, compares, goes back or goes on.
pub async fn run(cli: &Cli, args: &PushArgs) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let push = named(&config.pushes, &args.name)?;
    let http = push_client().map_err(CliError::failed)?;
    let pusher =
        Pusher::new(&http, push).ok_or_else(|| CliError::Failed(format!("there is no adapter {:?}", push.adapter)))?;
    let done = if args.resume {
        pusher.resume().map(|()| Vec::new())
    } else if args.roll_back {
        pusher.roll_back().await
    } else {
        let store = setup::store(&config).await?;
        let stored = store.allowlist(&push.model, None).await;
        store.close().await;
        let Some(stored) = stored.map_err(CliError::failed)? else {
            output::note(&format!("no list of {} was published yet", push.model));
            return Ok(Exit::No);
        };
        let document = Document::read(Bytes::from(stored.list.document)).map_err(CliError::failed)?;
        let scene = match config.models.iter().find(|model| model.id == push.model) {
            Some(model) => api::scene(model, &document.list),
            None => Scene::of_list(&document.list),
        };
        if args.dry_run { pusher.diff(&scene).await } else { pusher.push(&scene).await }
    };
    let diff = done.map_err(CliError::failed)?;
    if cli.json {
        output::json(&json!({"push": push.name, "diff": diff, "held": pusher.is_held(), "dry_run": args.dry_run}))?;
        return Ok(Exit::Yes);
    }
    for line in &diff {
        output::line(line)?;
    }
    if diff.is_empty() && !args.resume {
        output::line("nothing differs")?;
    }
    if pusher.is_held() {
        output::note(&format!("held: the daemon changes nothing there until `exactod push {} --resume`", push.name));
    }
    Ok(Exit::Yes)
}

fn named<'a>(pushes: &'a [PushConfig], name: &str) -> Result<&'a PushConfig, CliError> {
    pushes.iter().find(|push| push.name == name).ok_or_else(|| {
        let known = || pushes.iter().map(|push| push.name.as_str());
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if pushes.is_empty() => "the config has no [[push]]".to_owned(),
            None => format!("known: {}", known().collect::<Vec<_>>().join(", ")),
        };
        CliError::Usage(format!("no [[push]] is called {name:?} ({hint})"))
    })
}
