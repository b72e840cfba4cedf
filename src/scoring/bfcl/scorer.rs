//! The scorer kind `bfcl` of suites: the official verdict on a live answer.

use super::super::error::ScorerError;
use super::super::finding::Finding;
use super::super::options::Options;
use super::super::python_json::{self, PyStr, PyValue};
use super::case::BfclCase;
use super::category::Category;
use super::decode::{BfclAnswer, BfclCall};
use super::error_type::ErrorType;
use crate::domain::{Completion, Fault};

/// A compiled case with its option.
pub(in super::super) struct BfclScorer {
    case: BfclCase,
    is_strict: bool,
}

impl BfclScorer {
    /// Compiles `category`, `function` and `ground_truth`.
    ///
    /// # Errors
    /// The category is not supported, or the documents or answers break the format.
    pub fn new(options: &Options<'_>) -> Result<Self, ScorerError> {
        let category = options.required_text("category")?;
        let category: Category = category.parse().map_err(|e| options.error(format!("{e}")))?;
        let read = |key: &str| {
            let value = options.get(key).map(|v| python_json::parse(&v.to_string()));
            value.transpose().map_err(|e| options.error(format!("`{key}`: {e}")))
        };
        let (functions, answers) = (read("function")?, read("ground_truth")?);
        let case = BfclCase::new(category, functions.as_ref().unwrap_or(&PyValue::None), answers.as_ref());
        let case = case.map_err(|e| options.error(e.to_string()))?;
        Ok(BfclScorer { case, is_strict: options.flag("strict_abstention", false) })
    }

    /// Whether a valid answer holds calls.
    pub fn expects_calls(&self) -> bool {
        self.case.expects_calls()
    }

    /// The verdict. `told` is what the implicit checks say of the answer: it names the Fault of one that is not valid,
    /// and changes nothing else.
    pub fn judge(&self, completion: &Completion, told: Option<&Finding>) -> (f64, Option<Finding>) {
        let answer = answer(completion);
        let error = match self.case.judge(&answer) {
            Err(error) => error,
            Ok(()) => match self.case.judge_strictly(&answer) {
                Ok(()) => return (1.0, None),
                Err(error) if self.is_strict => error,
                Err(error) => {
                    // Recorded, so that the strict number can be told beside the official one.
                    let what = format!("under strict abstention it would fail: {error}");
                    return (1.0, Some(Finding::noted(Fault::InvalidJson, error.name(), what)));
                }
            },
        };
        let what = match told {
            Some(finding) => format!("the official checker says {error}; {}", finding.explanation),
            None => format!("the official checker says {error}"),
        };
        // Where no call is due, InvalidJson as the primary Fault means a malformed call, and nothing else does.
        let fault = match (error, told) {
            (ErrorType::MalformedAbstention, _) | (_, None) => fault(error),
            (ErrorType::IrrelevanceCalled, Some(told)) if told.fault == Fault::InvalidJson => fault(error),
            (_, Some(told)) => told.fault,
        };
        (0.0, Some(Finding::fails(fault, error.name(), what)))
    }
}

/// The answer as the official handler keeps it: the calls if the message has any, else its text.
fn answer(completion: &Completion) -> BfclAnswer {
    let call = |call: &crate::domain::ToolCall| BfclCall {
        name: Some(PyStr::from(call.name.as_str())),
        // Arguments that are no string cannot be decoded there.
        arguments: call.arguments.as_deref().filter(|_| !call.arguments_as_value).map(PyStr::from),
    };
    let has_calls = completion.tool_calls_present || !completion.tool_calls.is_empty();
    BfclAnswer {
        calls: has_calls.then(|| completion.tool_calls.iter().map(call).collect()),
        content: completion.content.as_deref().map(PyStr::from),
    }
}

/// The Fault of an error type where the implicit checks found none.
fn fault(error: ErrorType) -> Fault {
    match error {
        // They parse, and to no object.
        ErrorType::WrongOutputFormat => Fault::SchemaMismatch,
        ErrorType::MalformedAbstention => Fault::InvalidJson,
        ErrorType::RelevanceNotCalled => Fault::MissingCall,
        _ => Fault::WrongAnswer,
    }
}
