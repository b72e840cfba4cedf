//! `[[exec]]`: programs that may judge answers.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::View;

const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Longest that a program may take for one answer.
const TIME_LIMIT_MAX: Duration = Duration::from_secs(300);
const MEMORY_MB: u32 = 512;

/// A program that scorers `exec` may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecConfig {
    /// By which scorers name it.
    pub name: String,
    /// The program and its arguments; no shell.
    pub command: Vec<String>,
    /// Where it is run: the config's folder.
    pub folder: PathBuf,
    /// How long it may take for one answer.
    pub time_limit: Duration,
    /// Most memory of each of its processes, in bytes.
    pub memory_bytes: u64,
}

/// Reads every `[[exec]]`.
pub(super) fn read(root: &View<'_>) -> Vec<ExecConfig> {
    let mut out: Vec<ExecConfig> = Vec::new();
    for view in root.children("exec") {
        let texts = view.texts("command").unwrap_or_default();
        let mut command: Vec<String> = texts.iter().map(|(text, _)| (*text).to_owned()).collect();
        let time_limit = view.duration("time_limit").unwrap_or(TIME_LIMIT);
        if time_limit > TIME_LIMIT_MAX {
            let message = format!("`time_limit` is longer than {} s", TIME_LIMIT_MAX.as_secs());
            view.reader.problem(&view.span_of("time_limit"), message, "answers wait for the program that judges them");
        }
        let Some(program) = command.first_mut() else {
            if view.has("command") {
                view.reader.problem(&view.span_of("command"), "`command` names no program", "write [\"./judge.py\"]");
            }
            continue;
        };
        if program.contains('/') {
            *program = view.reader.resolve(program).to_string_lossy().into_owned();
        }
        let Some((name, span)) = view.text("name") else { continue };
        if out.iter().any(|known| known.name == name) {
            view.reader.problem(
                &span,
                format!("the program `{name}` stands here twice"),
                "give each a name of its own",
            );
            continue;
        }
        let memory_bytes = u64::from(view.count("memory_mb").unwrap_or(MEMORY_MB)) << 20;
        let folder = view.reader.base().to_owned();
        out.push(ExecConfig { name: name.to_owned(), command, folder, time_limit, memory_bytes });
    }
    out
}
