//! Any text: read or refused; what was read is written and read back the same. Run: `cargo fuzz run python_json`.
#![no_main]

use exactod::scoring::python_json::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let ours = parse(text);
    if let Ok(value) = &ours {
        let mut written = String::new();
        value.write_json(&mut written);
        let back = parse(&written).expect("what is written is JSON");
        assert!(back.equals(value));
    }
    // Whatever strict parsers read, Python reads.
    assert!(ours.is_ok() || serde_json::from_str::<serde_json::Value>(text).is_err() || text.len() > 4300);
});
