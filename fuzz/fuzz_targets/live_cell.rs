//! Any bytes as stored counts of live traffic: read as they are written, or refused. Run: `cargo fuzz run live_cell`.
#![no_main]

use exactod::live::Cell;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(cell) = Cell::decode(bytes) {
        assert_eq!(Cell::decode(&cell.encode()), Ok(cell));
    }
});
