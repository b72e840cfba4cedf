//! The language of a text, as langdetect 1.0.9 sees it with its seed at 0.

use std::sync::LazyLock;

use langdetect::{Compat, DetectorFactory, Seed};

/// CPython's minor version whose arithmetic and Unicode tables are followed.
const PYTHON_MINOR: u32 = 11;

/// The detector; `None` if its own profiles did not load, which the tests rule out.
static DETECTOR: LazyLock<Option<DetectorFactory>> = LazyLock::new(|| {
    let mut factory = DetectorFactory::new(Compat::python(PYTHON_MINOR));
    factory.seed = Seed::Int(0);
    factory.load_builtin(&DetectorFactory::builtin_files()).ok()?;
    Some(factory)
});

/// The language code of a text; `None` when nothing in it can be told apart.
pub(super) fn detect(text: &str) -> Option<String> {
    DETECTOR.as_ref()?.detect(text).ok()
}

/// Whether a text is in the language of the code. A text without any feature passes, as in the official checker.
pub(super) fn is(text: &str, code: &str) -> bool {
    detect(text).is_none_or(|found| found == code)
}
