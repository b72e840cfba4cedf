//! Any bytes as a Starlark program of a suite: it compiles or is refused, and a function without arguments comes to the same
//! end twice, within its limits. Run: `cargo fuzz run program`.
#![no_main]

use exactod::sandbox::limits::SCRIPT;
use exactod::sandbox::{Limits, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(program) = Program::compile(source) else { return };
    let limits = Limits { steps: 20_000, work: 1 << 20, heap: 8 << 20, ..SCRIPT };
    let names: Vec<String> = program.functions().map(str::to_owned).collect();
    for name in names.iter().filter(|name| program.parameters(name).is_some_and(|(fewest, _)| fewest == 0)) {
        assert_eq!(program.call(name, &[], &limits), program.call(name, &[], &limits));
    }
});
