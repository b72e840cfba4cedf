//! Any bytes as a trace of OpenTelemetry, in protobuf and in JSON: no panic. Run: `cargo fuzz run traces`.
#![no_main]

use exactod::live::{Directory, Door, Format, Intake, TimeWindow};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let intake = Intake::new(1);
    let directory: Directory = intake.directory(&[]);
    let window = TimeWindow { now_us: 0, back_us: i64::MAX, ahead_us: i64::MAX };
    for is_json in [false, true] {
        let mut door = Door::new(&intake, &directory, "fuzz", (Format::Native, window));
        let _ = door.push_traces(bytes, is_json);
        let reply = door.end();
        assert!(reply.unattributed == reply.accepted);
    }
});
