//! From an answer on the wire to called functions.

use super::super::python_json::{PyDict, PyStr, PyValue, parse_str};
use super::error_type::ErrorType;

/// An answer: its calls, or its text.
#[derive(Debug, Clone, Default)]
pub struct BfclAnswer {
    /// The calls; `None` when the message has none, or `null`.
    pub calls: Option<Vec<BfclCall>>,
    /// The message's text; looked at only when there are no calls.
    pub content: Option<PyStr>,
}

/// One call as it came.
#[derive(Debug, Clone)]
pub struct BfclCall {
    /// The function; `None` when it is no string, which no function's name equals.
    pub name: Option<PyStr>,
    /// The arguments' wire string; `None` when they are no string, which cannot be decoded.
    pub arguments: Option<PyStr>,
}

/// A call whose arguments are an object.
#[derive(Debug)]
pub(super) struct Called<'a> {
    pub name: Option<&'a PyStr>,
    pub arguments: PyDict,
}

impl BfclAnswer {
    /// The calls with their arguments. An answer without text and calls is an empty list; one with text fails.
    pub(super) fn decode(&self) -> Result<Vec<Called<'_>>, ErrorType> {
        let calls = match (&self.calls, &self.content) {
            (Some(calls), _) => calls,
            (None, Some(text)) if text.is_empty() => return Ok(Vec::new()),
            (None, _) => return Err(ErrorType::DecoderFailed),
        };
        let mut called = Vec::with_capacity(calls.len());
        let mut malformed = false;
        for call in calls {
            let arguments = call.arguments.as_ref().and_then(|a| parse_str(a).ok()).ok_or(ErrorType::DecoderFailed)?;
            match arguments {
                PyValue::Dict(arguments) => called.push(Called { name: call.name.as_ref(), arguments }),
                _ => malformed = true,
            }
        }
        if malformed { Err(ErrorType::WrongOutputFormat) } else { Ok(called) }
    }

    /// Whether something came that was meant as a call.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.as_ref().is_some_and(|c| !c.is_empty())
    }
}
