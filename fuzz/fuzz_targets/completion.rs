//! Any bytes as a plain answer and as a stream: a Completion or a Delivery, never a panic, and for a stream the same in
//! any pieces. Run: `cargo fuzz run completion`.
#![no_main]

use exactod::provider::chat_completions::{Parsed, StreamAssembler, parse_plain};
use libfuzzer_sys::fuzz_target;

fn assemble<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Parsed {
    let mut assembler = StreamAssembler::new(true);
    for piece in pieces {
        assembler.push(piece);
    }
    assembler.finish()
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let _ = parse_plain(bytes);
    assert_eq!(assemble(bytes.chunks(usize::from(size).max(1))), assemble([bytes]));
});
