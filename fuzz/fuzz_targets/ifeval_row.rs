//! Any line as a row of the ifeval scorer: as many strict and loose verdicts as instructions, or refused.
//! Run: `cargo fuzz run ifeval_row`.
#![no_main]

use exactod::scoring::ifeval::Row;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let Ok(row) = serde_json::from_str::<Row>(line) else { return };
    if let Ok(verdict) = row.judge() {
        assert_eq!(verdict.strict.len(), verdict.loose.len());
        // What holds strictly holds loosely: the answer as it is is one of the variants.
        assert!(verdict.strict.iter().zip(&verdict.loose).all(|(s, l)| *s != Some(true) || *l == Some(true)));
    }
});
