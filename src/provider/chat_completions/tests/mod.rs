//! What every row of the catalogue of defects looks like on the wire, and what becomes of it.

mod laws;
mod plain;
mod request;
mod stream;

use super::*;

/// The Faults of the breaches, in the order seen.
fn breaches(completion: &Completion) -> Vec<Fault> {
    completion.breaches.iter().map(|breach| breach.fault).collect()
}

fn fault(parsed: Parsed) -> Fault {
    parsed.expect_err("there is no usable answer").fault
}

/// Frames as a stream that ends with `[DONE]`.
fn sse<S: AsRef<str>>(frames: &[S]) -> String {
    frames.iter().map(|frame| format!("data: {}\n\n", frame.as_ref())).collect::<String>() + "data: [DONE]\n\n"
}

fn assemble(bytes: &[u8]) -> Parsed {
    let mut assembler = StreamAssembler::new(true);
    assembler.push(bytes);
    assembler.finish()
}
