//! One case, compiled.

use super::super::python_json::{PyDict, PyStr, PyValue};
use super::BfclVerdict;
use super::category::Category;
use super::check::{Declared, Expected, Kind, Param};
use super::decode::{BfclAnswer, Called};
use super::error_type::ErrorType;

/// Declared types and the kinds that they mean.
const TYPES: [(&str, Kind); 8] = [
    ("string", Kind::Str),
    ("integer", Kind::Int),
    ("float", Kind::Float),
    ("boolean", Kind::Bool),
    ("array", Kind::List),
    ("tuple", Kind::List),
    ("dict", Kind::Dict),
    ("any", Kind::Str),
];

/// A case that cannot be compiled: its data break the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BrokenCase(String);

impl BrokenCase {
    pub(super) fn new(message: impl Into<String>) -> Self {
        BrokenCase(message.into())
    }
}

fn broken<T>(message: impl Into<String>) -> Result<T, BrokenCase> {
    Err(BrokenCase(message.into()))
}

/// A compiled case.
#[derive(Debug)]
pub struct BfclCase {
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Simple(Expected),
    /// With the number of answers; only the first is ever compared.
    Multiple(usize, Expected),
    Parallel(Vec<Expected>),
    NoCall,
    AnyCall,
}

impl BfclCase {
    /// Compiles a case from the function documents as the data set holds them and the ground truth (`None` in the
    /// categories that have none).
    ///
    /// # Errors
    /// A document without name, parameters or a known type, or an answer that names no document.
    pub fn new(category: Category, functions: &PyValue, answers: Option<&PyValue>) -> Result<Self, BrokenCase> {
        let rule = match category {
            Category::Irrelevance | Category::LiveIrrelevance => Rule::NoCall,
            Category::LiveRelevance => Rule::AnyCall,
            _ => {
                let Some(functions) = functions.as_list().filter(|f| !f.is_empty()) else {
                    return broken("`function` is a list with at least one function");
                };
                let Some(answers) = answers.and_then(PyValue::as_list).filter(|a| !a.is_empty()) else {
                    return broken("`ground_truth` is a list with at least one call");
                };
                Self::rule(category, functions, answers)?
            }
        };
        Ok(BfclCase { rule })
    }

    fn rule(category: Category, functions: &[PyValue], answers: &[PyValue]) -> Result<Rule, BrokenCase> {
        // The document is found by the answer's name, except that a simple case has but one.
        let named = |answer: &PyValue| {
            let (name, params) = answer_parts(answer)?;
            let matches = |f: &&PyValue| f.as_dict().and_then(|f| f.get_text("name")?.as_str()) == Some(name);
            match functions.iter().find(matches) {
                Some(function) => expected(function, params),
                None => broken(format!("the ground truth calls {name:?}, which no function document describes")),
            }
        };
        Ok(match category {
            Category::Parallel
            | Category::ParallelMultiple
            | Category::LiveParallel
            | Category::LiveParallelMultiple => Rule::Parallel(answers.iter().map(named).collect::<Result<_, _>>()?),
            Category::Multiple | Category::LiveMultiple => Rule::Multiple(answers.len(), named(&answers[0])?),
            _ => Rule::Simple(expected(&functions[0], answer_parts(&answers[0])?.1)?),
        })
    }

    /// The official verdict.
    ///
    /// # Errors
    /// The official error type of an answer that is not valid.
    pub fn judge(&self, answer: &BfclAnswer) -> BfclVerdict {
        match &self.rule {
            Rule::Simple(expected) => match answer.decode()?.as_slice() {
                [call] => expected.check(call),
                _ => Err(ErrorType::SimpleWrongCount),
            },
            Rule::Multiple(count, expected) => {
                let calls = answer.decode()?;
                match calls.first().filter(|_| calls.len() == *count) {
                    Some(call) => expected.check(call),
                    None => Err(ErrorType::MultipleWrongCount),
                }
            }
            Rule::Parallel(expected) => judge_parallel(expected, &answer.decode()?),
            Rule::NoCall if is_called(answer) => Err(ErrorType::IrrelevanceCalled),
            Rule::AnyCall if !is_called(answer) => Err(ErrorType::RelevanceNotCalled),
            Rule::NoCall | Rule::AnyCall => Ok(()),
        }
    }

    /// The official verdict, except that a malformed call is no abstention: where no call is due it fails.
    ///
    /// # Errors
    /// As [`judge`](Self::judge), and [`ErrorType::MalformedAbstention`].
    pub fn judge_strictly(&self, answer: &BfclAnswer) -> BfclVerdict {
        self.judge(answer)?;
        let is_malformed = matches!(self.rule, Rule::NoCall) && answer.has_calls();
        if is_malformed { Err(ErrorType::MalformedAbstention) } else { Ok(()) }
    }

    /// Whether an answer must hold calls to be valid.
    #[must_use]
    pub fn expects_calls(&self) -> bool {
        !matches!(self.rule, Rule::NoCall)
    }
}

/// Whether the answer holds a call and nothing malformed.
fn is_called(answer: &BfclAnswer) -> bool {
    answer.decode().is_ok_and(|calls| !calls.is_empty())
}

/// Every answer takes the first call that matches and is not taken: greedy, not the best matching.
fn judge_parallel(expected: &[Expected], calls: &[Called<'_>]) -> BfclVerdict {
    if calls.len() != expected.len() {
        return Err(ErrorType::ParallelWrongCount);
    }
    let mut taken = vec![false; calls.len()];
    for expected in expected {
        let mut found = false;
        for (call, taken) in calls.iter().zip(&mut taken).filter(|(_, taken)| !**taken) {
            match expected.check(call) {
                Ok(()) => {
                    (*taken, found) = (true, true);
                    break;
                }
                Err(ErrorType::Raised) => return Err(ErrorType::Raised),
                Err(_) => {}
            }
        }
        if !found {
            return Err(ErrorType::CannotFindMatch);
        }
    }
    Ok(())
}

/// Function name and parameters of `{name: {parameter: [acceptable, ...]}}`.
fn answer_parts(answer: &PyValue) -> Result<(&PyStr, &PyDict), BrokenCase> {
    let entry = answer.as_dict().filter(|a| a.len() == 1).and_then(|a| a.iter().next());
    match entry.and_then(|(name, params)| Some((name, params.as_dict()?))) {
        Some(parts) => Ok(parts),
        None => broken("an element of `ground_truth` is an object with one function name and its parameters"),
    }
}

fn expected(function: &PyValue, answer: &PyDict) -> Result<Expected, BrokenCase> {
    let text = |v: Option<&PyValue>| v.and_then(PyValue::as_str).cloned();
    let Some(name) = function.as_dict().and_then(|f| text(f.get_text("name"))) else {
        return broken("a function document needs a `name`");
    };
    let parameters = function.as_dict().and_then(|f| f.get_text("parameters")?.as_dict());
    let properties = parameters.and_then(|p| p.get_text("properties")?.as_dict());
    let required = parameters.and_then(|p| p.get_text("required")?.as_list());
    let (Some(properties), Some(required)) = (properties, required) else {
        return broken(format!("function {name:?} needs `parameters` with `properties` and `required`"));
    };
    let required = required.iter().map(|r| text(Some(r))).collect::<Option<Vec<_>>>();
    let Some(required) = required else {
        return broken(format!("`required` of function {name:?} is a list of names"));
    };
    let mut params = Vec::with_capacity(properties.len());
    for (param, property) in properties.iter() {
        let declared = declared(property).map_err(|e| BrokenCase(format!("parameter {param:?} of {name:?}: {e}")))?;
        let acceptable = answer.get(param).map(acceptable).transpose()?;
        params.push(Param { name: param.clone(), declared: Some(declared), acceptable });
    }
    for (param, values) in answer.iter().filter(|(p, _)| !properties.contains(p)) {
        params.push(Param { name: param.clone(), declared: None, acceptable: Some(acceptable(values)?) });
    }
    Ok(Expected { name: name.map_text(|t| t.replace('.', "_")), required, params })
}

fn acceptable(values: &PyValue) -> Result<Vec<PyValue>, BrokenCase> {
    match values {
        PyValue::List(values) => Ok(values.clone()),
        _ => broken("the acceptable values of a parameter are a list"),
    }
}

fn declared(property: &PyValue) -> Result<Declared, BrokenCase> {
    let name_of = |v: &PyValue| v.as_dict().and_then(|d| d.get_text("type")?.as_str()?.as_text().map(str::to_owned));
    let kind_of = |name: &str| TYPES.iter().find(|(n, _)| *n == name).map(|(_, k)| *k);
    let Some(name) = name_of(property) else {
        return broken("it needs a `type`");
    };
    let Some(kind) = kind_of(&name) else {
        let known: Vec<&str> = TYPES.iter().map(|(n, _)| *n).collect();
        return broken(format!("type {name:?} is none of {}", known.join(", ")));
    };
    let item = if kind == Kind::List {
        let item = property.as_dict().and_then(|p| p.get_text("items")).and_then(name_of);
        match item.as_deref().and_then(kind_of) {
            None => return broken("a list needs `items` with a known `type`"),
            known => known,
        }
    } else {
        None
    };
    Ok(Declared { kind, item, is_float: name == "float" })
}
