//! Function documents of the data set as OpenAI tools.

use super::super::python_json::{PyDict, PyStr, PyValue};
use super::case::BrokenCase;

/// What is appended to every function's description.
const LANGUAGE_HINT: &str = " Note that the provided function is in Python 3 syntax.";
/// What is appended to the description of a float.
const FLOAT_HINT: &str = " This is a float type value.";

/// Types of the documents and those of JSON Schema.
const TYPES: [(&str, &str); 26] = [
    ("integer", "integer"),
    ("byte", "integer"),
    ("short", "integer"),
    ("long", "integer"),
    ("Bigint", "integer"),
    ("number", "number"),
    ("float", "number"),
    ("double", "number"),
    ("string", "string"),
    ("String", "string"),
    ("any", "string"),
    ("Any", "string"),
    ("char", "string"),
    ("boolean", "boolean"),
    ("bool", "boolean"),
    ("array", "array"),
    ("list", "array"),
    ("tuple", "array"),
    ("ArrayList", "array"),
    ("Array", "array"),
    ("Queue", "array"),
    ("Stack", "array"),
    ("dict", "object"),
    ("object", "object"),
    ("HashMap", "object"),
    ("Hashtable", "object"),
];

/// Converts the function documents of one case into the `tools` of a request.
///
/// # Errors
/// A document without a text `name`, a text `description` or `parameters` with `properties`; a float or an element
/// without what the conversion reads of it.
pub fn convert_tools(functions: &PyValue) -> Result<PyValue, BrokenCase> {
    let Some(functions) = functions.as_list() else {
        return Err(BrokenCase::new("`function` is a list of function documents"));
    };
    functions.iter().map(tool).collect::<Result<Vec<_>, _>>().map(PyValue::List)
}

fn tool(function: &PyValue) -> Result<PyValue, BrokenCase> {
    let PyValue::Dict(mut function) = function.clone() else {
        return Err(BrokenCase::new("a function document is an object"));
    };
    append(&mut function, LANGUAGE_HINT)?;
    let Some(PyValue::Str(name)) = function.get_mut("name") else {
        return Err(BrokenCase::new("a function document needs a `name`"));
    };
    *name = name.map_text(|t| t.replace('.', "_"));
    let Some(PyValue::Dict(parameters)) = function.get_mut("parameters") else {
        return Err(BrokenCase::new("a function document needs `parameters`"));
    };
    parameters.insert("type".into(), text("object"));
    let Some(PyValue::Dict(properties)) = parameters.get_mut("properties") else {
        return Err(BrokenCase::new("`parameters` of a function document need `properties`"));
    };
    convert_properties(properties)?;
    let mut tool = PyDict::default();
    tool.insert("type".into(), text("function"));
    tool.insert("function".into(), PyValue::Dict(function));
    Ok(PyValue::Dict(tool))
}

fn text(text: &str) -> PyValue {
    PyValue::Str(text.into())
}

fn append(object: &mut PyDict, hint: &str) -> Result<(), BrokenCase> {
    match object.get_mut("description") {
        Some(PyValue::Str(PyStr::Text(description))) => {
            description.push_str(hint);
            Ok(())
        }
        _ => Err(BrokenCase::new("a function document, and a float in it, needs a text `description`")),
    }
}

fn mapped(name: &PyStr) -> Option<&'static str> {
    TYPES.iter().find(|(from, _)| name == *from).map(|(_, to)| *to)
}

fn convert_properties(properties: &mut PyDict) -> Result<(), BrokenCase> {
    for property in properties.values_mut() {
        let PyValue::Dict(property) = property else {
            return Err(BrokenCase::new("a property is an object"));
        };
        convert_property(property)?;
    }
    Ok(())
}

fn convert_property(property: &mut PyDict) -> Result<(), BrokenCase> {
    let Some(declared) = property.get_text("type") else {
        property.insert("type".into(), text("string"));
        return Ok(());
    };
    let declared = declared.as_str().cloned();
    if declared.as_ref().is_some_and(|d| d == "float") {
        property.insert("format".into(), text("float"));
        append(property, FLOAT_HINT)?;
    }
    let to = declared.as_ref().and_then(mapped).unwrap_or("string");
    property.insert("type".into(), text(to));
    if to != "array" && to != "object" {
        return Ok(());
    }
    if let Some(inner) = property.get_mut("properties") {
        return match inner {
            PyValue::Dict(inner) => convert_properties(inner),
            _ => Err(BrokenCase::new("`properties` is an object")),
        };
    }
    match property.get_mut("items") {
        Some(items) => convert_items(items),
        None => Ok(()),
    }
}

/// Elements: their type, and one level further down.
fn convert_items(items: &mut PyValue) -> Result<(), BrokenCase> {
    let (items, to) = convert_type(items)?;
    if to == "array"
        && let Some(inner) = items.get_mut("items")
    {
        convert_type(inner)?;
    } else if to == "object"
        && let Some(PyValue::Dict(inner)) = items.get_mut("properties")
    {
        convert_properties(inner)?;
    }
    Ok(())
}

/// Maps `type` and nothing else.
fn convert_type(items: &mut PyValue) -> Result<(&mut PyDict, &'static str), BrokenCase> {
    let to = items.as_dict().and_then(|i| mapped(i.get_text("type")?.as_str()?));
    match (items, to) {
        (PyValue::Dict(items), Some(to)) => {
            items.insert("type".into(), text(to));
            Ok((items, to))
        }
        _ => Err(BrokenCase::new("`items` needs a `type` that the conversion knows")),
    }
}
