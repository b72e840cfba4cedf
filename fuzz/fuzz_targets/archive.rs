//! Any bytes as a wheel: cases, or refused. Run: `cargo fuzz run archive`.
#![no_main]

use exactod::import::bfcl::DataSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("exactod-fuzz-{}.whl", std::process::id()));
    std::fs::write(&path, bytes).expect("a temporary file");
    if let Ok(mut data) = DataSet::open(&path) {
        for category in data.categories() {
            let _ = data.compiled(category);
        }
    }
});
