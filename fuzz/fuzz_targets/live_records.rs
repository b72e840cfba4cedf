//! Any bytes in any pieces, as exactod's records and as LiteLLM's: the same counts, and no panic. Run:
//! `cargo fuzz run live_records`.
#![no_main]

use exactod::domain::ModelId;
use exactod::live::{Directory, Door, Format, Intake, ModelNames, Packing, TimeWindow};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_790_000_000_000_000;

fn counted<'a>(format: Format, pieces: impl IntoIterator<Item = &'a [u8]>) -> (u64, u64, u64, usize) {
    let intake = Intake::new(1);
    let model = ModelId::new("m").ok();
    let names: Vec<ModelNames<'_>> =
        model.iter().map(|id| ModelNames { id, names: vec![], endpoints: vec![] }).collect();
    let directory: Directory = intake.directory(&names);
    // All times are taken, so that what parses is counted.
    let window = TimeWindow { now_us: NOW, back_us: i64::MAX, ahead_us: i64::MAX };
    let mut door = Door::new(&intake, &directory, "fuzz", (format, window));
    pieces.into_iter().for_each(|piece| door.push(piece));
    let reply = door.end();
    (reply.accepted, reply.duplicate, reply.rejected, intake.harvest().len())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    for format in [Format::Native, Format::LiteLlm] {
        assert_eq!(counted(format, bytes.chunks(usize::from(size).max(1))), counted(format, [bytes]));
    }
    let _ = Packing::of_bytes(bytes).whole(bytes, 1 << 20);
});
