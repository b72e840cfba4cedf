//! Files that are kept as lists say, for gateways that are configured by file.
//!
//! A file changes only when its content does. Killed at any moment: the file is the old one or the new one, and a change
//! whose program has not run yet is known by `<path>.pending`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::conclude;
use super::runtime::Runtime;
use super::sweeper::{Signals, Sweeper};
use crate::api;
use crate::config::SinkConfig;
use crate::domain::ModelId;
use crate::publish::exports::{self, Form, Format, NotRendered, Scene, Wanted};
use crate::publish::file::{self, beside};

/// Kind of the alarm of a file that is not as the list says.
const ALARM: &str = "sink";
/// Pause before a change that failed is tried again; it doubles with every failure.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Most of a program's words that are repeated.
const WORDS_BYTES_MAX: u64 = 2_000;
/// How long its words are waited for once it has ended.
const WORDS_TIME: Duration = Duration::from_millis(200);
/// Variables that programs are given: none of the daemon's secrets.
const VARIABLES: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "KUBECONFIG"];

/// Why a file is not as the list says.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error("{0}")]
    NotRendered(#[from] NotRendered),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the program {program:?} {why}; the previous file was put back")]
    Check { program: String, why: String },
    #[error("the program {program:?} {why}; the new file stays, and the program is run again later")]
    After { program: String, why: String },
}

/// The task that writes the files.
#[derive(Clone)]
pub struct Sinks {
    /// Board and alarms.
    pub sweeper: Arc<Sweeper>,
    /// The current configuration.
    pub runtime: Arc<ArcSwap<Runtime>>,
    /// Told when the configuration was replaced.
    pub reloaded: watch::Receiver<u64>,
    /// Ends the loop.
    pub signals: Signals,
}

/// A sink that failed: when it is tried again, and after which pause then.
struct Failed {
    at: Instant,
    pause: Duration,
    /// What was to be written; anything else is tried at once.
    content: Vec<u8>,
    text: String,
}

impl Sinks {
    /// Runs until stopped.
    pub async fn run(mut self) {
        let mut changes = self.sweeper.board.subscribe();
        let mut failed: BTreeMap<std::path::PathBuf, Failed> = BTreeMap::new();
        let mut told = BTreeSet::new();
        loop {
            changes.borrow_and_update();
            self.reloaded.borrow_and_update();
            let runtime = self.runtime.load_full();
            failed.retain(|path, _| runtime.config.sinks.iter().any(|sink| sink.path == *path));
            for sink in &runtime.config.sinks {
                self.keep(&runtime, sink, &mut failed).await;
            }
            self.tell(&runtime, &failed, &mut told).await;
            let next = failed.values().map(|f| f.at).min();
            let retry = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                changed = self.reloaded.changed() => if changed.is_err() { return },
                () = retry => {}
                () = self.signals.stop.cancelled() => return,
            }
        }
    }

    async fn keep(&self, runtime: &Runtime, sink: &SinkConfig, failed: &mut BTreeMap<std::path::PathBuf, Failed>) {
        let content = match self.content(runtime, sink) {
            None => return,
            Some(content) => content,
        };
        let wanted = content.as_ref().map(|text| text.as_bytes().to_vec()).unwrap_or_default();
        if let Some(known) = failed.get(&sink.path)
            && known.content == wanted
            && Instant::now() < known.at
        {
            return;
        }
        let kept = match content {
            Ok(text) => put(sink, text.as_bytes()).await,
            Err(error) => Err(error.into()),
        };
        match kept {
            Ok(changed) => {
                failed.remove(&sink.path);
                if changed {
                    info!(model = %sink.model, file = %sink.path.display(), format = sink.format, "file written");
                }
            }
            Err(error) => {
                let pause = failed.get(&sink.path).map_or(RETRY_FIRST, |f| (f.pause * 2).min(RETRY_MAX));
                let text = format!("{}: {error}", sink.path.display());
                warn!(model = %sink.model, file = %sink.path.display(), %error, "the file is not as the list says");
                failed.insert(sink.path.clone(), Failed { at: Instant::now() + pause, pause, content: wanted, text });
            }
        }
    }

    /// What the file should hold; `None` while there is no list.
    fn content(&self, runtime: &Runtime, sink: &SinkConfig) -> Option<Result<String, NotRendered>> {
        let board = &self.sweeper.board;
        let list = match &sink.capability {
            None => board.get(sink.model.as_str()),
            Some(capability) => board.of_capability(sink.model.as_str(), capability),
        }?;
        let (format, form) = (Format::by_name(&sink.format)?, Form::by_name(&sink.form)?);
        if (format, form) == (Format::Json, Form::Allow) {
            return Some(Ok(String::from_utf8_lossy(&list.body).into_owned()));
        }
        let wanted = Wanted { format, form, gateway: sink.gateway.clone() };
        let scene = match runtime.models.get(&sink.model) {
            Some(model) => api::scene(&model.config, &list.list),
            None => Scene::of_list(&list.list),
        };
        Some(exports::render(&wanted, &scene))
    }

    /// One alarm for each model of which a file is not as the list says.
    async fn tell(
        &self,
        runtime: &Runtime,
        failed: &BTreeMap<std::path::PathBuf, Failed>,
        told: &mut BTreeSet<ModelId>,
    ) {
        // Models whose last sink was taken out of the configuration have no file that could be wrong.
        let mut texts: BTreeMap<ModelId, Vec<&str>> = told.iter().map(|model| (model.clone(), Vec::new())).collect();
        for sink in &runtime.config.sinks {
            let of = texts.entry(sink.model.clone()).or_default();
            of.extend(failed.get(&sink.path).map(|f| f.text.as_str()));
        }
        *told = runtime.config.sinks.iter().map(|sink| sink.model.clone()).collect();
        for (model, texts) in texts {
            let noted = match texts.is_empty() {
                true => conclude::clear(&self.sweeper, &model, ALARM).await,
                false => conclude::raise(&self.sweeper, &model, ALARM, &texts.join("; ")).await,
            };
            if let Err(error) = noted {
                warn!(%model, %error, "failed to note an alarm; trying again with the next change");
            }
        }
    }
}

/// Makes the file hold the content; whether anything had to be done.
async fn put(sink: &SinkConfig, content: &[u8]) -> Result<bool, SinkError> {
    let pending = beside(&sink.path, ".pending");
    let before = match std::fs::read(&sink.path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let same = before.as_deref() == Some(content);
    if same && !pending.exists() {
        return Ok(false);
    }
    if !same {
        if let Some(before) = &before {
            file::replace(&beside(&sink.path, ".previous"), before)?;
        }
        // Known to be unfinished before it begins.
        file::replace(&pending, b"")?;
        file::replace(&sink.path, content)?;
    }
    if let Err(why) = run(sink, &sink.check).await {
        put_back(sink, before.filter(|_| !same).as_deref())?;
        return Err(SinkError::Check { program: sink.check.join(" "), why });
    }
    if let Err(why) = run(sink, &sink.after).await {
        return Err(SinkError::After { program: sink.after.join(" "), why });
    }
    std::fs::remove_file(&pending)?;
    Ok(true)
}

/// The file as it was before: the content given, or that of the run before, or none.
fn put_back(sink: &SinkConfig, before: Option<&[u8]>) -> std::io::Result<()> {
    let previous = || std::fs::read(beside(&sink.path, ".previous")).ok();
    match before.map(<[u8]>::to_vec).or_else(previous) {
        Some(before) => file::replace(&sink.path, &before)?,
        None => std::fs::remove_file(&sink.path)?,
    }
    std::fs::remove_file(beside(&sink.path, ".pending"))
}

/// Runs a program without a shell, within its time. What it says on its error output is part of why it failed.
async fn run(sink: &SinkConfig, argv: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.envs(VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env("EXACTOD_FILE", &sink.path).env("EXACTOD_MODEL", sink.model.as_str()).kill_on_drop(true);
    if let Some(folder) = sink.path.parent().filter(|folder| *folder != Path::new("")) {
        command.current_dir(folder);
    }
    let mut child = command.spawn().map_err(|e| format!("cannot be run: {e}"))?;
    let stderr = child.stderr.take();
    let mut words = Vec::new();
    let ended = async {
        let ended = child.wait().await;
        if let Some(stderr) = stderr {
            // What it said fits into the pipe; what it has started may hold the pipe open for ever.
            let mut stderr = stderr.take(WORDS_BYTES_MAX);
            let _ = tokio::time::timeout(WORDS_TIME, stderr.read_to_end(&mut words)).await;
        }
        (ended, words)
    };
    match tokio::time::timeout(sink.time_limit, ended).await {
        Err(_) => Err(format!("did not end within {} s and was stopped", sink.time_limit.as_secs_f64())),
        Ok((Err(error), _)) => Err(format!("cannot be waited for: {error}")),
        Ok((Ok(status), _)) if status.success() => Ok(()),
        Ok((Ok(status), words)) => {
            let words = String::from_utf8_lossy(&words);
            let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            Err(format!("ended with {status}: {}", words.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(folder: &Path, check: &[&str], after: &[&str]) -> SinkConfig {
        let words = |argv: &[&str]| argv.iter().map(|word| (*word).to_owned()).collect();
        SinkConfig {
            model: ModelId::new("lab/m").unwrap(),
            capability: None,
            format: "names".to_owned(),
            form: "allow".to_owned(),
            gateway: None,
            path: folder.join("exacto.conf"),
            check: words(check),
            after: words(after),
            time_limit: Duration::from_secs(20),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn a_file_is_written_when_its_content_changes_and_its_program_run_then() {
        let folder = tempfile::tempdir().unwrap();
        // Not a shell: the arguments arrive as they are.
        let sink = sink(folder.path(), &[], &["cp", "exacto.conf", "taken $(x)"]);
        assert!(put(&sink, b"one").await.unwrap());
        assert_eq!(std::fs::read(folder.path().join("taken $(x)")).unwrap(), b"one");
        std::fs::remove_file(folder.path().join("taken $(x)")).unwrap();
        assert!(!put(&sink, b"one").await.unwrap());
        assert_eq!(names(folder.path()), ["exacto.conf"], "no program was run");
        assert!(put(&sink, b"two").await.unwrap());
        assert_eq!(names(folder.path()), ["exacto.conf", "exacto.conf.previous", "taken $(x)"]);
        assert_eq!(std::fs::read(folder.path().join("exacto.conf.previous")).unwrap(), b"one");
    }

    #[tokio::test]
    async fn a_file_that_does_not_pass_its_check_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        // It passes when the file holds `good`.
        let sink = sink(folder.path(), &["grep", "-q", "good", "exacto.conf"], &["touch", "taken"]);
        let error = put(&sink, b"broken").await.unwrap_err();
        assert!(matches!(error, SinkError::Check { .. }), "{error}");
        assert_eq!(names(folder.path()), [""; 0], "there was none before");
        assert!(put(&sink, b"good one").await.unwrap());
        std::fs::remove_file(folder.path().join("taken")).unwrap();
        put(&sink, b"broken").await.unwrap_err();
        assert_eq!(std::fs::read(&sink.path).unwrap(), b"good one");
        assert_eq!(names(folder.path()), ["exacto.conf", "exacto.conf.previous"], "nothing was taken into use");
    }

    #[tokio::test]
    async fn a_program_that_failed_or_never_ran_is_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let failing = sink(folder.path(), &[], &["ls", "no-such-file"]);
        let error = put(&failing, b"one").await.unwrap_err();
        assert!(error.to_string().contains("no-such-file"), "its own words: {error}");
        assert_eq!(names(folder.path()), ["exacto.conf", "exacto.conf.pending"]);
        // As after a kill between the file and its program: the content is right, and the program is due.
        let mended = SinkConfig { after: vec!["touch".to_owned(), "taken".to_owned()], ..failing };
        assert!(put(&mended, b"one").await.unwrap());
        assert_eq!(names(folder.path()), ["exacto.conf", "taken"]);
        let missing = SinkConfig { after: vec!["exactod-no-such-program".to_owned()], ..mended.clone() };
        assert!(put(&missing, b"two").await.unwrap_err().to_string().contains("cannot be run"));
        let endless = SinkConfig {
            after: vec!["sleep".to_owned(), "1000".to_owned()],
            time_limit: Duration::from_millis(50),
            ..mended
        };
        assert!(put(&endless, b"three").await.unwrap_err().to_string().contains("was stopped"));
    }

    #[tokio::test]
    async fn a_program_sees_none_of_the_daemons_variables_but_a_few() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::vars_os().count();
        let sink = sink(folder.path(), &[], &["sh", "-c", "env > seen"]);
        put(&sink, b"one").await.unwrap();
        let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
        assert!(seen.contains("EXACTOD_MODEL=lab/m") && seen.contains("exacto.conf"), "{seen}");
        assert!(!seen.contains("CARGO_MANIFEST_DIR") && own > VARIABLES.len(), "{seen}");
    }
}
