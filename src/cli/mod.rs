//! The command line: reads arguments, calls the library, prints. One JSON document on stdout with `--json`, tables without;
//! progress and logs go to stderr.

mod args;
mod bars;
mod demo;
mod explain;
mod export;
mod files;
mod import;
mod ingest;
mod keys;
mod names;
mod order;
mod output;
mod plan;
mod programs;
mod push;
mod read;
mod replay;
mod rescore;
mod results;
mod score;
mod scorecard;
mod serve;
mod setup;
mod sim;
mod simulate;
mod suite;
mod sweep;

use std::process::ExitCode;

use clap::Parser;

use crate::domain::Verb;
pub use args::{Cli, Command};
use output::{CliError, Exit};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    setup::logging(&cli);
    match run(&cli) {
        Ok(exit) => exit.into(),
        // Whoever read the output has enough of it.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("{}{error}", if matches!(error, CliError::Files(_)) { "" } else { "error: " }));
            error.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit, CliError> {
    match &cli.command {
        Command::Score(args) => score::run(cli, args),
        Command::Suite(command) => suite::run(cli, command, cli.json),
        Command::Config(command) => files::config(cli, command),
        Command::Token(command) => files::token(cli, command),
        Command::Keys(command) => keys::run(cli, command),
        Command::Demo(args) => setup::block_on(demo::run(args, cli.json)),
        Command::Sim(args) => setup::block_on(sim::run(args, cli.json)),
        Command::Simulate(args) => setup::block_on(simulate::run(args, cli.json)),
        Command::Serve => setup::block_on(serve::run(cli)),
        Command::Sweep(args) => setup::block_on(sweep::run(cli, args)),
        Command::Results(args) => setup::block_on(results::run(cli, args)),
        Command::Rescore(args) => setup::block_on(rescore::run(cli, args)),
        Command::Scorecard(args) => setup::block_on(scorecard::run(cli, args)),
        Command::Allowlist(args) => setup::block_on(read::allowlist(cli, args)),
        Command::Export(args) => setup::block_on(export::run(cli, args)),
        Command::Push(args) => setup::block_on(push::run(cli, args)),
        Command::Ingest(args) => setup::block_on(ingest::run(cli, args)),
        Command::Consumers => setup::block_on(read::consumers(cli)),
        Command::Decisions(args) => setup::block_on(read::decisions(cli, args)),
        Command::Explain(args) => setup::block_on(explain::run(cli, args)),
        Command::Plan(args) => setup::block_on(plan::run(cli, args)),
        Command::Pin(args) => setup::block_on(order::endpoint(cli, Verb::Pin, args)),
        Command::Unpin(args) => setup::block_on(order::endpoint(cli, Verb::Unpin, args)),
        Command::Ban(args) => setup::block_on(order::endpoint(cli, Verb::Ban, args)),
        Command::Unban(args) => setup::block_on(order::endpoint(cli, Verb::Unban, args)),
        Command::Reset(args) => setup::block_on(order::endpoint(cli, Verb::Reset, args)),
        Command::Note(args) => setup::block_on(order::endpoint(cli, Verb::Note, args)),
        Command::Ack(args) => setup::block_on(order::model(cli, args)),
        Command::Replay(args) => setup::block_on(replay::run(cli, args)),
        Command::Sweeps(args) => setup::block_on(read::sweeps(cli, args)),
        Command::Attempts(args) => setup::block_on(read::attempts(cli, args)),
        Command::Attempt(args) => setup::block_on(read::attempt(cli, args)),
        Command::Db(command) => setup::block_on(files::db(cli, command)),
    }
}
