//! Running the operator's programs that judge answers: without a shell, in a process group of their own that does not
//! outlive the verdict, within bounds of time, memory and output, and with none of the daemon's variables but a few.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::domain::{ProgramOutputs, ProgramRun};

/// Most bytes that a program may print.
pub const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// Bytes of its error output that are told when it fails.
const WORDS_BYTES_MAX: u64 = 500;
/// Largest file that a program may write, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Programs run at once, over all sweeps.
const AT_ONCE_MAX: usize = 4;
/// Variables that programs are given: none of the daemon's secrets.
const VARIABLES: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"];

/// A program that scorers may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgingProgram {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it is run.
    pub folder: PathBuf,
    /// How long it may take for one answer.
    pub time_limit: Duration,
    /// Most address space of each of its processes, in bytes.
    pub memory_bytes: u64,
}

/// The programs that the operator allows, by the names under which scorers ask for them.
#[derive(Debug)]
pub struct Programs {
    known: BTreeMap<String, JudgingProgram>,
    turns: Semaphore,
}

impl Default for Programs {
    fn default() -> Self {
        Programs::new(BTreeMap::new())
    }
}

impl Programs {
    /// These and no others.
    #[must_use]
    pub fn new(known: BTreeMap<String, JudgingProgram>) -> Self {
        Programs { known, turns: Semaphore::new(AT_ONCE_MAX) }
    }

    /// Runs what an answer needs to be judged, one after another.
    pub async fn outputs(&self, runs: &[ProgramRun]) -> ProgramOutputs {
        let mut outputs = ProgramOutputs::new();
        for run in runs {
            outputs.insert(run.scorer, self.output(run).await);
        }
        outputs
    }

    async fn output(&self, run: &ProgramRun) -> Result<String, String> {
        let Some(program) = self.known.get(&run.program) else {
            return Err("the config has no [[exec]] of this name, and only programs of the config are run".to_owned());
        };
        let _turn = self.turns.acquire().await;
        talk(program, &run.input).await
    }
}

/// Runs a program on an input. What it prints is the answer when it ends well in time.
async fn talk(program: &JudgingProgram, input: &str) -> Result<String, String> {
    let Some((name, arguments)) = program.command.split_first() else { return Err("it has no command".to_owned()) };
    let mut command = Command::new(name);
    command.args(arguments).current_dir(&program.folder).env_clear();
    command.envs(VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| format!("`{name}` cannot be run: {e}"))?;
    let group = Group::of(&child);
    group.bound(program).map_err(|e| format!("its limits cannot be set: {e}"))?;
    let ended = tokio::time::timeout(program.time_limit, converse(&mut child, input)).await;
    // Also what it has started and left behind.
    drop(group);
    ended.unwrap_or_else(|_| {
        Err(format!("it did not end within {} s and was stopped", program.time_limit.as_secs_f64()))
    })
}

async fn converse(child: &mut Child, input: &str) -> Result<String, String> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut printed, mut words) = (Vec::new(), Vec::new());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program need not read what it is told.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(())
    };
    let read = async {
        if let Some(stdout) = stdout {
            let read = stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut printed).await;
            read.map_err(|e| format!("its output cannot be read: {e}"))?;
        }
        match printed.len() as u64 > OUTPUT_BYTES_MAX {
            true => Err(format!("it printed more than {OUTPUT_BYTES_MAX} bytes")),
            false => Ok(()),
        }
    };
    let listen = async {
        if let Some(stderr) = stderr {
            let mut stderr = stderr.take(WORDS_BYTES_MAX);
            let _ = stderr.read_to_end(&mut words).await;
            // What follows is not kept, and must not hold it up.
            let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
        }
        Ok(())
    };
    tokio::try_join!(feed, read, listen)?;
    let status = child.wait().await.map_err(|e| format!("it cannot be waited for: {e}"))?;
    if !status.success() {
        let words = String::from_utf8_lossy(&words);
        let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return Err(format!("it ended with {status}: {}", words.trim()));
    }
    String::from_utf8(printed).map_err(|_| "it printed what is not UTF-8".to_owned())
}

/// The process group of a program: killed when dropped.
#[cfg(unix)]
struct Group(Option<rustix::process::Pid>);

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(rustix::process::Pid::from_raw))
    }

    /// Sets the program's limits, before it is given anything to read.
    #[cfg(target_os = "linux")]
    fn bound(&self, program: &JudgingProgram) -> std::io::Result<()> {
        use rustix::process::{Resource, Rlimit, prlimit};
        let seconds = program.time_limit.as_secs().saturating_add(1);
        let limits = [
            (Resource::As, program.memory_bytes),
            (Resource::Cpu, seconds),
            (Resource::Fsize, FILE_BYTES_MAX),
            (Resource::Core, 0),
        ];
        for (resource, most) in limits {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            match prlimit(self.0, resource, limit) {
                // It has ended already.
                Err(rustix::io::Errno::SRCH) => return Ok(()),
                other => other?,
            };
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn bound(&self, _: &JudgingProgram) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody of it is left when this fails.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// Elsewhere the program alone is stopped.
#[cfg(not(unix))]
struct Group;

#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Group {
        Group
    }

    fn bound(&self, _: &JudgingProgram) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn program(command: &[&str], time_limit: Duration) -> JudgingProgram {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        JudgingProgram { command, folder: Path::new("/").to_owned(), time_limit, memory_bytes: 512 << 20 }
    }

    fn run(name: &str, input: &str) -> ProgramRun {
        ProgramRun { scorer: 3, program: name.to_owned(), input: input.to_owned() }
    }

    async fn said(command: &[&str], input: &str) -> Result<String, String> {
        let programs = Programs::new(BTreeMap::from([("p".to_owned(), program(command, 60 * SECOND))]));
        programs.outputs(&[run("p", input)]).await.remove(&3).unwrap()
    }

    #[tokio::test]
    async fn a_program_reads_its_input_and_is_given_its_arguments_as_they_are() {
        assert_eq!(said(&["cat"], "{\"a\": \"ä\"}\n").await.unwrap(), "{\"a\": \"ä\"}\n");
        assert_eq!(said(&["echo", "$(id)", "a b"], "").await.unwrap(), "$(id) a b\n", "no shell");
        let input = "x".repeat(1 << 20);
        assert_eq!(said(&["true"], &input).await.unwrap(), "", "it need not read");
    }

    #[tokio::test]
    async fn only_programs_of_the_config_are_run() {
        let outputs = Programs::default().outputs(&[run("sh", "")]).await;
        assert!(outputs[&3].as_ref().unwrap_err().contains("[[exec]]"));
    }

    #[tokio::test]
    async fn what_fails_says_why() {
        let failed = said(&["ls", "no-such-file"], "").await.unwrap_err();
        assert!(failed.contains("exit status") && failed.contains("no-such-file"), "{failed}");
        assert!(said(&["exactod-no-such-program"], "").await.unwrap_err().contains("cannot be run"));
        assert!(said(&["printf", "\\377"], "").await.unwrap_err().contains("UTF-8"));
        assert!(said(&["yes"], "").await.unwrap_err().contains("more than"), "and it is stopped at once");
    }

    #[tokio::test]
    async fn it_sees_none_of_the_daemons_variables_but_a_few() {
        let seen = said(&["env"], "").await.unwrap();
        assert!(!seen.contains("CARGO_MANIFEST_DIR") && std::env::vars_os().count() > VARIABLES.len(), "{seen}");
    }

    /// Waits until a process is gone, or dead and not yet buried.
    #[cfg(target_os = "linux")]
    async fn ended(pid: &str) {
        let stat = format!("/proc/{pid}/stat");
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let waiting = async {
            while lives() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(60 * SECOND, waiting).await.unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_it_has_started_ends_with_it() {
        let started = said(&["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], "").await.unwrap();
        ended(started.trim()).await;
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_stopped_with_all_that_it_started() {
        let endless = program(&["sh", "-c", "sleep 1000 & sleep 1000"], Duration::from_millis(50));
        let why = talk(&endless, "").await.unwrap_err();
        assert!(why.contains("was stopped"), "{why}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn its_memory_and_files_are_bounded() {
        let limits = said(&["sh", "-c", "read line; ulimit -v; ulimit -c; ulimit -t"], "go\n").await.unwrap();
        assert_eq!(limits, format!("{}\n0\n61\n", (512 << 20) / 1024));
        let greedy = ["sh", "-c", "read line; exec dd if=/dev/zero of=/dev/null bs=900M count=1"];
        assert!(said(&greedy, "go\n").await.unwrap_err().contains("exit status"));
    }
}
