//! `config`, `token` and `db`: commands of the operator's toolbox.

use serde_json::{Value, json};

use super::args::{Cli, ConfigCommand, DbCommand, TokenCommand};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::config::{self, Role};
use crate::daemon::{self, Runtime};
use crate::diagnostics::Diagnostic;
use crate::runner::Ids;
use crate::store::{Store, StoreOptions};

/// `config check | schema`.
pub fn config(cli: &Cli, command: &ConfigCommand) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Schema => output::json(&config::schema())?,
        ConfigCommand::Check => return check(cli),
    }
    Ok(Exit::Yes)
}

fn check(cli: &Cli) -> Result<Exit, CliError> {
    let runtime = match checked(cli) {
        Ok(runtime) => runtime,
        // A wrong config is an answer to this question, so a program gets it where it reads the other one.
        Err(error @ (CliError::Files(_) | CliError::Usage(_))) if cli.json => {
            output::json(&json!({"ok": false, "errors": problems(&error)}))?;
            return Ok(Exit::Wrong);
        }
        Err(error) => return Err(error),
    };
    let endpoints: usize = runtime.config.models.iter().map(|m| m.endpoints.len()).sum();
    let suites: Vec<String> = runtime.drawers.keys().map(ToString::to_string).collect();
    if cli.json {
        output::json(&json!({
            "ok": true, "models": runtime.config.models.len(), "endpoints": endpoints, "suites": suites,
            "schedules": runtime.schedules.len(),
        }))?;
    } else {
        output::line(&format!(
            "{}: {} model(s), {endpoints} endpoint(s), {} schedule(s), suites {}",
            cli.config.display(),
            runtime.config.models.len(),
            runtime.schedules.len(),
            suites.join(", ")
        ))?;
    }
    Ok(Exit::Yes)
}

fn checked(cli: &Cli) -> Result<Runtime, CliError> {
    let config = setup::config(cli)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    Runtime::build(config, &setup::clock()).map_err(|e| setup::service_error(e.into()))
}

/// Problems for a program; what stands at no place of a file has `null` there.
fn problems(error: &CliError) -> Vec<Value> {
    let CliError::Files(found) = error else {
        return vec![json!({"file": null, "line": null, "column": null, "message": error.to_string(), "hint": null})];
    };
    let one = |d: &Diagnostic| {
        let (line, column) = d.place.as_ref().map(|p| (p.line, p.column)).unzip();
        json!({"file": d.file.display().to_string(), "line": line, "column": column, "message": d.message,
               "hint": d.hint})
    };
    found.0.iter().map(one).collect()
}

/// `token new`.
pub fn token(cli: &Cli, command: &TokenCommand) -> Result<Exit, CliError> {
    let TokenCommand::New { role, name } = command;
    let role: Role = role.parse().map_err(|e| CliError::Usage(format!("--role: {e}")))?;
    let ids = Ids::from_system().map_err(CliError::failed)?;
    let token = config::new_token(role, &mut ids.secret_rng());
    if cli.json {
        output::json(&json!({"name": name, "role": role.name(), "token": token.expose(), "sha256": token.sha256}))?;
        return Ok(Exit::Yes);
    }
    // What goes into the config stands alone on stdout, so that the secret is not pasted or redirected with it.
    output::note(&format!("The token, shown this once; keep it as a secret: {}", token.expose()));
    output::note("These lines go into the config; they hold its SHA-256 only:");
    output::line(token.toml(name).trim_end())?;
    Ok(Exit::Yes)
}

/// `db migrate | check | prune`.
pub async fn db(cli: &Cli, command: &DbCommand) -> Result<Exit, CliError> {
    let config = setup::config(cli)?;
    let url = config.store.url.expose().to_owned();
    let store = match command {
        DbCommand::Migrate => Store::open(&url, &StoreOptions::default()).await.map_err(CliError::failed)?,
        DbCommand::Check => setup::existing_store(&config).await?,
        DbCommand::Prune => setup::store(&config).await?,
    };
    let result = db_command(cli, config, command, &store).await;
    store.close().await;
    result
}

async fn db_command(
    cli: &Cli,
    config: crate::config::Config,
    command: &DbCommand,
    store: &Store,
) -> Result<Exit, CliError> {
    match command {
        DbCommand::Migrate => {
            let schema = store.migrate().await.map_err(CliError::failed)?;
            if cli.json {
                output::json(
                    &json!({"database": store.place(), "schema": schema.found, "schema_known": schema.known}),
                )?;
            } else {
                output::line(&format!("{}: schema {} of {}", store.place(), schema.found, schema.known))?;
            }
            Ok(Exit::Yes)
        }
        DbCommand::Check => {
            let report = store.check().await.map_err(CliError::failed)?;
            if cli.json {
                output::json(&json!({
                    "database": report.database, "schema": report.schema, "schema_known": report.schema_known,
                    "rows": report.rows, "size_bytes": report.size_bytes, "problems": report.problems,
                }))?;
            } else {
                let mut table = output::table(&["table", "rows"]);
                for (name, rows) in &report.rows {
                    table.add_row([(*name).to_owned(), rows.to_string()]);
                }
                output::line(&format!(
                    "{} (schema {} of {}, {} bytes)\n{table}",
                    report.database, report.schema, report.schema_known, report.size_bytes
                ))?;
                for problem in &report.problems {
                    output::note(&format!("problem: {problem}"));
                }
            }
            Ok(if report.problems.is_empty() { Exit::Yes } else { Exit::No })
        }
        DbCommand::Prune => {
            let runtime = {
                let _ = rustls::crypto::ring::default_provider().install_default();
                Runtime::build(config, &setup::clock()).map_err(|e| setup::service_error(e.into()))?
            };
            let cutoffs = daemon::cutoffs(&runtime, setup::clock().now_us());
            let pruned = store.prune(&cutoffs).await.map_err(CliError::failed)?;
            if cli.json {
                output::json(
                    &json!({"transcripts": pruned.transcripts, "attempts": pruned.attempts, "plans": pruned.plans,
                            "observations": pruned.observations}),
                )?;
            } else {
                output::line(&format!(
                    "pruned {} transcripts, {} attempts, {} plans, {} spans of live traffic",
                    pruned.transcripts, pruned.attempts, pruned.plans, pruned.observations
                ))?;
            }
            Ok(Exit::Yes)
        }
    }
}
