//! Any bytes as a suite's two files, parted by a line `%%`: a suite whose cases draw the same twice, or diagnostics.
//! Run: `cargo fuzz run suite_files`.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use exactod::suites::{Drawer, parse_suite};
use libfuzzer_sys::fuzz_target;

/// A header that is right, for inputs that have none: the cases are reached sooner.
const HEADER: &[u8] = b"version = 1\nname = \"fuzz\"\nkind = [\"tool_use\"]\nrevision = \"1\"\nlicense = \"CC0-1.0\"\n";

fuzz_target!(|bytes: &[u8]| {
    const PARTING: &[u8] = b"\n%%\n";
    let at = bytes.windows(PARTING.len()).position(|window| window == PARTING);
    let (header, cases) = at.map_or((HEADER, bytes), |at| (&bytes[..at], &bytes[at + PARTING.len()..]));
    let Ok(suite) = parse_suite(Path::new("fuzz"), header, cases) else { return };
    let suite = Arc::new(suite);
    let Ok(drawer) = Drawer::new(Arc::clone(&suite)) else { return };
    for case in &suite.cases {
        let drawn = |epoch| drawer.draw(&case.id, "seed", epoch).map(|one| one.case.messages.clone()).ok();
        assert_eq!(drawn(0), drawn(0));
    }
});
