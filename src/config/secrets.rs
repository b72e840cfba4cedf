//! Secrets: where they come from, and the only code that asks the machine for them.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use toml::de::{DeTable, DeValue};

use super::mask::is_variable_name;
use super::reader::{Reader, Span};

/// Longest secret accepted, in bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// How long a key command may run.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a command that closed its output is asked whether it has ended.
const COMMAND_POLL: Duration = Duration::from_millis(5);

/// Why the machine gave no secret. The messages carry no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read, or the program cannot be started.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Longer than [`SECRET_BYTES_MAX`].
    #[error("it has more than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The program went on for longer than allowed.
    #[error("it did not end within {} s and was stopped", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The program ended with an error.
    #[error("it ended with {0}")]
    Failed(std::process::ExitStatus),
}

/// What a config may ask of the machine. A parameter, so that tests ask nothing.
pub trait Env {
    /// The value of an environment variable; `None` when unset.
    fn var(&self, name: &str) -> Option<String>;

    /// The content of a key file.
    ///
    /// # Errors
    /// [`SecretError`] when it cannot be read, is too long or no text.
    fn read(&self, path: &Path) -> Result<String, SecretError>;

    /// Whether nobody but its owner may read a file.
    fn is_private(&self, path: &Path) -> bool {
        let _ = path;
        true
    }

    /// The standard output of a program, run without a shell in a folder.
    ///
    /// # Errors
    /// [`SecretError`] when it cannot be run, fails, takes too long or prints too much or no text.
    fn run(&self, argv: &[String], folder: &Path) -> Result<String, SecretError>;
}

/// The machine itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnv;

impl Env for SystemEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|v| v.to_string_lossy().into_owned())
    }

    fn read(&self, path: &Path) -> Result<String, SecretError> {
        limited_text(std::fs::File::open(path)?)
    }

    #[cfg(unix)]
    fn is_private(&self, path: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 == 0)
    }

    fn run(&self, argv: &[String], folder: &Path) -> Result<String, SecretError> {
        run_for(argv, folder, COMMAND_TIME_MAX)
    }
}

fn limited_text(from: impl Read) -> Result<String, SecretError> {
    let mut bytes = Vec::new();
    from.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| SecretError::NotText)
}

/// Runs a program for at most a time. Its error output goes nowhere: it might repeat the secret into a log.
fn run_for(argv: &[String], folder: &Path, limit: Duration) -> Result<String, SecretError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput).into());
    };
    let deadline = Instant::now() + limit;
    // A program named by a relative path is relative to the config; a bare name is looked up in PATH.
    let program = if program.contains('/') { folder.join(program) } else { program.into() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if !folder.as_os_str().is_empty() {
        command.current_dir(folder);
    }
    let mut child = command.spawn()?;
    let result = output_of(&mut child, deadline, limit);
    if result.is_err() {
        // Already ended is as good as stopped.
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn output_of(child: &mut Child, deadline: Instant, limit: Duration) -> Result<String, SecretError> {
    let (send, receive) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || send.send(limited_text(stdout)));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let output = receive.recv_timeout(left).map_err(|_| SecretError::TimedOut(limit))??;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(output),
            Some(status) => return Err(SecretError::Failed(status)),
            None if Instant::now() >= deadline => return Err(SecretError::TimedOut(limit)),
            None => std::thread::sleep(COMMAND_POLL),
        }
    }
}

/// The secret that a table such as `{ env = "NAME" }` names; its shape is already checked.
pub(super) fn resolve(r: &Reader<'_>, name: &str, table: &DeTable<'_>, span: &Span) -> Option<SecretString> {
    let (source, value) = table.iter().next()?;
    let place = value.span();
    let text = match (source.get_ref().as_ref(), value.get_ref()) {
        ("env", DeValue::String(variable)) => from_variable(r, name, variable, &place)?,
        ("file", DeValue::String(path)) => match r.env.read(&r.resolve(path)) {
            Ok(text) => text,
            Err(e) => {
                r.problem(&place, format!("`{name}`: cannot read the key file `{path}`: {e}"), FILE_HINT);
                return None;
            }
        },
        ("command", DeValue::Array(words)) => {
            let argv: Vec<String> = words.iter().filter_map(|w| Some(w.get_ref().as_str()?.to_owned())).collect();
            match r.env.run(&argv, r.base()) {
                Ok(text) => text,
                Err(e) => {
                    let program = argv.first().map_or("", String::as_str);
                    r.problem(&place, format!("`{name}`: the command `{program}` gave no key: {e}"), COMMAND_HINT);
                    return None;
                }
            }
        }
        _ => return None,
    };
    sendable(r, name, text.trim(), span)
}

const FILE_HINT: &str = "the path is relative to the folder of this file; the daemon's user must be able to read it";
const COMMAND_HINT: &str = "run it by hand in the folder of this file to see why; it is run without a shell";

fn from_variable(r: &Reader<'_>, name: &str, variable: &str, place: &Span) -> Option<String> {
    let possible = !variable.contains(['=', '\0']);
    if let Some(value) = possible.then(|| r.env.var(variable)).flatten() {
        return Some(value);
    }
    if is_variable_name(variable) {
        r.problem(
            place,
            format!("`{name}`: the environment variable `{variable}` is not set"),
            format!("set it where exactod starts: export {variable}=..."),
        );
    } else {
        r.problem(
            place,
            format!("`{name}`: `env` does not hold the name of an environment variable that is set"),
            "the name of the variable is due here, not the key itself",
        );
    }
    None
}

/// A secret goes into a header: visible ASCII only. The message never shows it.
fn sendable(r: &Reader<'_>, name: &str, text: &str, span: &Span) -> Option<SecretString> {
    if text.is_empty() {
        r.problem(span, format!("`{name}`: the secret is empty"), "");
        return None;
    }
    if text.len() > SECRET_BYTES_MAX || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        r.problem(
            span,
            format!("`{name}`: the secret cannot be sent in a header"),
            "one line of visible ASCII characters is due",
        );
        return None;
    }
    Some(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], limit: Duration) -> Result<String, SecretError> {
        let argv: Vec<String> = argv.iter().map(|s| (*s).to_owned()).collect();
        run_for(&argv, Path::new("/"), limit)
    }

    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_runs_without_a_shell() {
        assert_eq!(run(&["echo", "$HOME; echo two"], AMPLE).expect("echo runs"), "$HOME; echo two\n");
    }

    #[test]
    fn a_failing_missing_or_endless_command_is_an_error() {
        assert!(matches!(run(&["false"], AMPLE), Err(SecretError::Failed(_))));
        assert!(matches!(run(&["exactod-no-such-program"], AMPLE), Err(SecretError::Io(_))));
        assert!(matches!(run(&[], AMPLE), Err(SecretError::Io(_))));
        assert!(matches!(run(&["sleep", "1000"], Duration::from_millis(50)), Err(SecretError::TimedOut(_))));
        assert!(matches!(run(&["cat", "/dev/zero"], AMPLE), Err(SecretError::TooLong)));
        assert!(matches!(run(&["printf", "\\377"], AMPLE), Err(SecretError::NotText)));
    }

    #[test]
    fn a_key_file_is_bounded() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        std::fs::write(&path, vec![b'x'; SECRET_BYTES_MAX + 1]).expect("written");
        assert!(matches!(SystemEnv.read(&path), Err(SecretError::TooLong)));
        std::fs::write(&path, "secret\n").expect("written");
        assert_eq!(SystemEnv.read(&path).expect("read"), "secret\n");
        assert!(matches!(SystemEnv.read(folder.path()), Err(SecretError::Io(_))));
    }
}
