//! `keys`: the private keys that sign allowlists. They are written to files of their owner's alone and never printed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::args::{Cli, KeyFileArgs, KeysCommand};
use super::output::{self, CliError, Exit};
use super::setup;
use crate::runner::Ids;
use crate::signing::{ACTIVE_KEYS_MAX, KeyRing};

/// Longest key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// `keys new | rotate | list`.
pub fn run(cli: &Cli, command: &KeysCommand) -> Result<Exit, CliError> {
    match command {
        KeysCommand::New { at, id } => new(cli, at, id.as_deref()),
        KeysCommand::Rotate { at, id, finish } => rotate(cli, at, id.as_deref(), *finish),
        KeysCommand::List { file } => list(cli, file.as_deref()),
    }
}

fn new(cli: &Cli, at: &KeyFileArgs, id: Option<&str>) -> Result<Exit, CliError> {
    let path = resolve(cli, &at.file);
    let ring = with_new(KeyRing::default(), id)?;
    // Made with its mode, and only where there is none: a key that signs is never written over.
    write_new(&path, &ring.to_private_text()).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::Usage(format!("{} exists: `exactod keys rotate` takes a further key into use", path.display()))
        }
        _ => CliError::Failed(format!("failed to write {}: {e}", path.display())),
    })?;
    if cli.json {
        return show(cli, &ring, &path);
    }
    output::note(&format!(
        "The private key is in {}; keep it as a secret. Its id: {}",
        path.display(),
        ring.ids().join(", ")
    ));
    output::note("These lines go into the config:");
    let file = toml::Value::String(at.file.display().to_string());
    output::line(&format!("[signing]\nkeys = {{ file = {file} }}"))?;
    Ok(Exit::Yes)
}

fn rotate(cli: &Cli, at: &KeyFileArgs, id: Option<&str>, finish: bool) -> Result<Exit, CliError> {
    let path = resolve(cli, &at.file);
    let ring = read(&path)?;
    let active = ring.ids().len();
    let (ring, next) = match (finish, active) {
        (true, ACTIVE_KEYS_MAX) => {
            (ring.newest_alone(), "The old key is dropped; consumers that pin it refuse from now on.")
        }
        (true, _) => {
            return Err(CliError::Usage(
                "one key is active: there is nothing to finish; `exactod keys rotate` begins".to_owned(),
            ));
        }
        (false, ACTIVE_KEYS_MAX) => {
            return Err(CliError::Usage(
                "two keys are active: end that first by `exactod keys rotate --finish`".to_owned(),
            ));
        }
        (false, _) => (
            with_new(ring, id)?,
            "Both keys sign. When every consumer knows the new one: `exactod keys rotate --finish`.",
        ),
    };
    replace(&path, &ring.to_private_text()).map_err(|e| {
        CliError::Failed(format!("failed to write {}: {e}; the old keys are still there", path.display()))
    })?;
    if !cli.json {
        output::note(next);
        output::note("A running daemon takes the change with a reload (SIGHUP).");
    }
    show(cli, &ring, &path)
}

fn list(cli: &Cli, file: Option<&Path>) -> Result<Exit, CliError> {
    let (ring, path) = match file {
        Some(file) => {
            let path = resolve(cli, file);
            (read(&path)?, path)
        }
        None => {
            let config = setup::config(cli)?;
            let Some(text) = &config.signing else {
                output::note(
                    "no keys are configured: `exactod keys new` makes one and prints the lines for the config",
                );
                return Ok(Exit::No);
            };
            (KeyRing::read(text).map_err(|e| CliError::Usage(format!("`[signing] keys`: {e}")))?, cli.config.clone())
        }
    };
    show(cli, &ring, &path)
}

/// Public parts only.
fn show(cli: &Cli, ring: &KeyRing, path: &Path) -> Result<Exit, CliError> {
    let set = ring.public().to_text();
    if cli.json {
        let mut set: Value = serde_json::from_str(&set).map_err(CliError::failed)?;
        set["source"] = json!(path.display().to_string());
        output::json(&set)?;
        return Ok(Exit::Yes);
    }
    let set: Value = serde_json::from_str(&set).map_err(CliError::failed)?;
    let mut table = output::table(&["key", "public part (x)", "signs"]);
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, key) in keys.iter().enumerate() {
        let part = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        let since = if at + 1 < keys.len() { "yes, until the rotation is finished" } else { "yes" };
        table.add_row([part("kid"), part("x"), since.to_owned()]);
    }
    output::line(&table.to_string())?;
    Ok(Exit::Yes)
}

fn with_new(ring: KeyRing, id: Option<&str>) -> Result<KeyRing, CliError> {
    let ids = Ids::from_system().map_err(CliError::failed)?;
    ring.with_new(id, &mut ids.secret_rng()).map_err(|e| CliError::Usage(format!("--id: {e}")))
}

/// Relative to the config's folder, as the config will read it.
fn resolve(cli: &Cli, file: &Path) -> PathBuf {
    cli.config.parent().map_or_else(|| file.to_owned(), |folder| folder.join(file))
}

fn read(path: &Path) -> Result<KeyRing, CliError> {
    let failed = |e: std::io::Error| CliError::Usage(format!("cannot read the key file {}: {e}", path.display()));
    if std::fs::metadata(path).map_err(failed)?.len() > KEY_FILE_BYTES_MAX {
        return Err(CliError::Usage(format!("{} is no key file: it is too long", path.display())));
    }
    let text = SecretString::from(std::fs::read_to_string(path).map_err(failed)?);
    KeyRing::read(&text).map_err(|e| CliError::Usage(format!("{}: {e}", path.display())))
}

fn write_new(path: &Path, text: &SecretString) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Whole or not at all.
fn replace(path: &Path, text: &SecretString) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    // Left by a run that was killed.
    let _ = std::fs::remove_file(&fresh);
    write_new(&fresh, text)?;
    std::fs::rename(&fresh, path)
}
