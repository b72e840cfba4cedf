//! Any bytes as the answer to a case of the shipped suites, plain or streamed: one verdict, the same twice, no panic.
//! Run: `cargo fuzz run judged`.
#![no_main]

use std::sync::{Arc, LazyLock};

use exactod::runner::{Known, Offline, OfflineCase};
use exactod::suites::{Drawer, shipped};
use libfuzzer_sys::fuzz_target;

static CASES: LazyLock<Vec<OfflineCase>> = LazyLock::new(|| {
    let mut cases = Vec::new();
    for suite in shipped().expect("the shipped suites load") {
        let drawer = Drawer::new(Arc::clone(&suite)).expect("templates compile");
        let offline = Offline::new(Arc::clone(&suite)).expect("templates compile");
        for case in &suite.cases {
            let values = drawer.values(&case.id, "fuzz", 0).expect("values");
            let values = case.is_template().then_some(&values);
            cases.push(offline.case(&case.id, values).expect("a case"));
        }
    }
    cases
});

fuzz_target!(|input: (u16, &[u8])| {
    let (which, bytes) = input;
    let case = &CASES[usize::from(which) % CASES.len()];
    assert_eq!(case.judge(bytes, &Known::default()), case.judge(bytes, &Known::default()));
});
