//! One call against one answer. The order of the checks decides which error is reported.

use std::borrow::Cow;

use super::super::python_json::{PyDict, PyStr, PyValue};
use super::BfclVerdict;
use super::decode::Called;
use super::equality::{same_string, same_value};
use super::error_type::ErrorType;

/// A kind of value, as Python's `type` tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Bool,
    Int,
    Float,
    Str,
    List,
    Dict,
}

impl Kind {
    fn of(value: &PyValue) -> Kind {
        match value {
            PyValue::None => Kind::None,
            PyValue::Bool(_) => Kind::Bool,
            PyValue::Int(_) => Kind::Int,
            PyValue::Float(_) => Kind::Float,
            PyValue::Str(_) => Kind::Str,
            PyValue::List(_) => Kind::List,
            PyValue::Dict(_) => Kind::Dict,
        }
    }
}

/// What a function document declares of a parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared {
    pub kind: Kind,
    /// Kind of a list's elements.
    pub item: Option<Kind>,
    /// Integers are turned into floats first.
    pub is_float: bool,
}

/// A parameter that the document, the answer or both know.
#[derive(Debug)]
pub(super) struct Param {
    pub name: PyStr,
    pub declared: Option<Declared>,
    /// The acceptable values; `""` means that it may be left out.
    pub acceptable: Option<Vec<PyValue>>,
}

/// One call that is expected.
#[derive(Debug)]
pub(super) struct Expected {
    /// With underscores for dots.
    pub name: PyStr,
    pub required: Vec<PyStr>,
    pub params: Vec<Param>,
}

impl Expected {
    /// The single-call check.
    pub fn check(&self, call: &Called<'_>) -> BfclVerdict {
        if call.name != Some(&self.name) {
            return Err(ErrorType::WrongFuncName);
        }
        if self.required.iter().any(|name| !call.arguments.contains(name)) {
            return Err(ErrorType::MissingRequired);
        }
        for (name, value) in call.arguments.iter() {
            let param = self.params.iter().find(|p| p.name == *name);
            let Some(Param { declared: Some(declared), acceptable: Some(acceptable), .. }) = param else {
                return Err(ErrorType::UnexpectedParam);
            };
            check_value(*declared, value, acceptable)?;
        }
        let is_missing = |p: &Param| {
            let acceptable = p.acceptable.as_deref();
            acceptable.is_some_and(|a| !a.iter().any(PyValue::is_empty_str)) && !call.arguments.contains(&p.name)
        };
        if self.params.iter().any(is_missing) { Err(ErrorType::MissingOptional) } else { Ok(()) }
    }
}

fn check_value(declared: Declared, value: &PyValue, acceptable: &[PyValue]) -> BfclVerdict {
    let mut value = Cow::Borrowed(value);
    if let (true, PyValue::Int(n)) = (declared.is_float, &*value) {
        value = Cow::Owned(PyValue::Float(n.to_float().ok_or(ErrorType::Raised)?));
    }
    let is_variable = check_type(&value, acceptable, declared.kind, declared.item)?;
    match &*value {
        // A variable is compared as it is, and only values of the declared kind are looked into.
        _ if is_variable => {}
        PyValue::Dict(map) => return check_dict(map, acceptable.iter()),
        PyValue::List(items) if declared.item == Some(Kind::Dict) => return check_dicts(items, acceptable),
        PyValue::Str(text) => return check_string(text, acceptable),
        PyValue::List(items) => return check_list(items, acceptable),
        _ => {}
    }
    if acceptable.iter().any(|a| value.equals(a)) { Ok(()) } else { Err(ErrorType::ValueOthers) }
}

/// Kind of the first alternative that is not `""`.
fn first_kind(acceptable: &[PyValue]) -> Option<Kind> {
    acceptable.iter().find(|a| !a.is_empty_str()).map(Kind::of)
}

/// Whether the value stands for a variable: its kind is that of the alternatives, not the declared one.
fn check_type(value: &PyValue, acceptable: &[PyValue], expected: Kind, item: Option<Kind>) -> Result<bool, ErrorType> {
    let first = first_kind(acceptable);
    let kind = Kind::of(value);
    let mut error = ErrorType::TypeSimple;
    if kind == expected {
        let is_variable = first.is_some_and(|f| f != expected);
        let Some(item) = item else {
            return Ok(is_variable);
        };
        // An alternative that is no list, such as `""`, takes elements of any kind.
        let fits = |alternative: &PyValue| match (alternative, value) {
            (PyValue::List(theirs), PyValue::List(items)) => {
                items.iter().all(|i| check_type(i, theirs, item, None).is_ok())
            }
            _ => true,
        };
        if acceptable.iter().any(fits) {
            return Ok(is_variable);
        }
        if first == Some(kind) {
            error = ErrorType::TypeNested;
        }
    } else if first == Some(kind) {
        return Ok(true);
    }
    Err(error)
}

fn check_string(text: &PyStr, acceptable: &[PyValue]) -> BfclVerdict {
    let is_same = |a: &PyValue| a.as_str().is_some_and(|a| same_string(text, a));
    if acceptable.iter().any(is_same) { Ok(()) } else { Err(ErrorType::ValueString) }
}

/// What Python finds when it walks through a value by `len` and index: a string is a list of characters.
fn elements(value: &PyValue) -> Result<Cow<'_, [PyValue]>, ErrorType> {
    match value {
        PyValue::List(items) => Ok(Cow::Borrowed(items)),
        PyValue::Str(text) if text.is_empty() => Ok(Cow::Borrowed(&[])),
        PyValue::Str(text) => Ok(Cow::Owned(text.characters().map(PyValue::Str).collect())),
        PyValue::Dict(map) if map.is_empty() => Ok(Cow::Borrowed(&[])),
        _ => Err(ErrorType::Raised),
    }
}

/// Number of elements, where Python knows one.
fn length(value: &PyValue) -> Result<usize, ErrorType> {
    match value {
        PyValue::Dict(map) => Ok(map.len()),
        other => elements(other).map(|e| e.len()),
    }
}

fn check_list(items: &[PyValue], acceptable: &[PyValue]) -> BfclVerdict {
    let mut found = false;
    for alternative in acceptable {
        // All alternatives are walked through before one is compared: what raises, raises even beside a match.
        let theirs = elements(alternative)?;
        found |= items.len() == theirs.len() && items.iter().zip(theirs.iter()).all(|(a, b)| same_value(a, b));
    }
    if found { Ok(()) } else { Err(ErrorType::ValueList) }
}

fn check_dict<'a>(map: &PyDict, acceptable: impl Iterator<Item = &'a PyValue>) -> BfclVerdict {
    let mut last = ErrorType::DictUnclear;
    for alternative in acceptable.filter(|a| !a.is_empty_str()) {
        let PyValue::Dict(theirs) = alternative else {
            return Err(ErrorType::Raised);
        };
        match check_dict_alternative(map, theirs)? {
            None => return Ok(()),
            Some(error) => last = error,
        }
    }
    Err(last)
}

/// The error of one alternative, `None` when it fits. A missing key overwrites what was found among the sent ones.
fn check_dict_alternative(map: &PyDict, theirs: &PyDict) -> Result<Option<ErrorType>, ErrorType> {
    let mut error = None;
    for (key, value) in map.iter() {
        let Some(acceptable) = theirs.get(key) else {
            error = Some(ErrorType::DictKey);
            break;
        };
        if !elements(acceptable)?.iter().any(|a| same_value(value, a)) {
            error = Some(ErrorType::DictValue);
            break;
        }
    }
    for (key, acceptable) in theirs.iter() {
        if !map.contains(key) && !may_be_left_out(acceptable)? {
            return Ok(Some(ErrorType::DictKey));
        }
    }
    Ok(error)
}

/// Python's `"" in acceptable`.
fn may_be_left_out(acceptable: &PyValue) -> Result<bool, ErrorType> {
    match acceptable {
        PyValue::List(items) => Ok(items.iter().any(PyValue::is_empty_str)),
        PyValue::Str(_) => Ok(true),
        PyValue::Dict(map) => Ok(map.get_text("").is_some()),
        _ => Err(ErrorType::Raised),
    }
}

fn check_dicts(items: &[PyValue], acceptable: &[PyValue]) -> BfclVerdict {
    let mut last = ErrorType::ListDictUnclear;
    for alternative in acceptable {
        if length(alternative)? != items.len() {
            last = ErrorType::ListDictCount;
            continue;
        }
        match check_each_dict(items, &elements(alternative)?) {
            Ok(()) => return Ok(()),
            Err(ErrorType::Raised) => return Err(ErrorType::Raised),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn check_each_dict(items: &[PyValue], theirs: &[PyValue]) -> BfclVerdict {
    for (item, alternative) in items.iter().zip(theirs) {
        match item {
            PyValue::Dict(map) => check_dict(map, std::iter::once(alternative))?,
            _ if alternative.is_empty_str() => return Err(ErrorType::DictUnclear),
            _ => return Err(ErrorType::Raised),
        }
    }
    Ok(())
}
