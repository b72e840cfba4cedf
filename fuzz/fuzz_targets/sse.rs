//! Any bytes in any pieces: the same events, and no panic. Run: `cargo fuzz run sse`.
#![no_main]

use exactod::provider::sse::SseParser;
use libfuzzer_sys::fuzz_target;

type Events = (Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>);

fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Events> {
    let mut parser = SseParser::new();
    let mut out = vec![];
    for piece in pieces {
        parser.push(piece, |event| out.push((event.name.to_vec(), event.data.to_vec()))).ok()?;
    }
    Some((out, parser.into_rest()))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    assert_eq!(events(bytes.chunks(usize::from(size).max(1))), events([bytes]));
});
