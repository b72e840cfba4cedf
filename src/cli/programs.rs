//! Running judging programs for commands that have no sweep: `score --exec`, `suite check --exec`.

use std::sync::Arc;

use super::args::Cli;
use super::output::CliError;
use super::setup;
use crate::domain::{ProgramOutputs, ProgramRun};
use crate::runner::Programs;

/// The programs of the config where the user allows that they are run, else none.
pub struct AllowedPrograms {
    programs: Arc<Programs>,
    runtime: tokio::runtime::Runtime,
}

impl AllowedPrograms {
    /// With `allowed`, the config is read for its `[[exec]]`.
    ///
    /// # Errors
    /// The config cannot be read.
    pub fn new(cli: &Cli, allowed: bool) -> Result<Self, CliError> {
        let programs = match allowed {
            true => Arc::new(crate::daemon::programs(&setup::config(cli)?)),
            false => Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| CliError::Failed(format!("failed to start the async runtime: {e}")))?;
        Ok(AllowedPrograms { programs, runtime })
    }

    /// Runs what an answer needs to be judged.
    pub fn run(&self, runs: &[ProgramRun]) -> ProgramOutputs {
        self.runtime.block_on(self.programs.outputs(runs))
    }
}
