//! The `exactod` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    exactod::cli::main()
}
