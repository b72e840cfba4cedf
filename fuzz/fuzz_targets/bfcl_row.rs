//! Any line: a verdict under every kind of rule, or refused. Run: `cargo fuzz run bfcl_row`.
#![no_main]

use std::sync::LazyLock;

use exactod::scoring::bfcl::{BfclCase, BfclRow, Category};
use exactod::scoring::python_json::parse;
use libfuzzer_sys::fuzz_target;

static CASES: LazyLock<Vec<BfclCase>> = LazyLock::new(|| {
    let functions = parse(
        r#"[{"name":"f.g","parameters":{"properties":{"s":{"type":"string"},"x":{"type":"float"},"d":{"type":"dict"},
            "l":{"type":"array","items":{"type":"dict"}},"i":{"type":"tuple","items":{"type":"integer"}}},"required":[]}}]"#,
    );
    let answers = parse(
        r#"[{"f.g":{"s":["A b",""],"x":[1.5,""],"d":[{"k":["v",1,""]},""],"l":[[{"k":[1]},{"m":["x"]}],""],"i":[[1,2],"n",""]}},
            {"f.g":{"s":["A b",""]}}]"#,
    );
    let (functions, answers) = (functions.expect("JSON"), answers.expect("JSON"));
    Category::ALL.iter().map(|c| BfclCase::new(*c, &functions, Some(&answers)).expect("a case")).collect()
});

fuzz_target!(|line: &str| {
    if let Ok(row) = BfclRow::parse(line) {
        for case in CASES.iter() {
            let official = case.judge(&row.answer);
            assert!(official.is_ok() || case.judge_strictly(&row.answer).is_err());
        }
    }
});
