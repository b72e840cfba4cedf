//! How much a sweep costs: CPU per request, memory, throughput, with everything stored.
//!
//! The program starts itself in three parts, each a process of its own, so that the client's CPU is the client's alone:
//! this one, which sets the variants going and tells the figures; a fake provider; and for every measurement one fresh
//! client that runs a whole sweep through the same code as the daemon, or a bare loop of the same requests beside it.
//!
//! ```text
//! scripts/bench                  all variants
//! scripts/bench plain 500        one variant, another number of cases
//! scripts/bench fold             what deciding costs
//! scripts/bench lists            what serving lists costs, beside nginx
//! scripts/bench ingest           what live traffic costs
//! scripts/bench live             how soon it takes an endpoint off a list, and what a year of it costs to read
//! ```

mod bare;
mod client;
mod fold;
mod ingest;
mod lists;
mod live;
mod micro;
mod process;
mod provider;
mod served;
mod suite;
mod variants;

use std::process::ExitCode;

/// Any failure; the benchmark only ever shows it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[expect(clippy::print_stderr, reason = "the benchmark tells its failures on the terminal")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--provider", latency_ms] => provider::main(latency_ms),
        ["--client", order] => client::main(order),
        ["--bare", order] => bare::main(order),
        ["--micro", dir] => micro::main(dir),
        ["fold"] => fold::main(),
        ["lists"] => lists::main(),
        ["ingest"] => ingest::main(),
        ["live"] => live::main(),
        _ => variants::main(&words),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
