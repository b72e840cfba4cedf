//! Values between Starlark and JSON, and how large they are.

use serde_json::{Number, Value};
use starlark::values::dict::DictRef;
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value as StarlarkValue};

use super::limits::{FLOAT_DIGITS, VALUE_DEPTH_MAX};

/// What a value itself takes, without those in it.
const NODE_BYTES: u64 = 16;

/// What a value holds directly: items, or entries.
pub(super) fn children<'v>(value: StarlarkValue<'v>, out: &mut Vec<StarlarkValue<'v>>) {
    if let Some(list) = ListRef::from_value(value) {
        out.extend(list.iter());
    } else if let Some(tuple) = TupleRef::from_value(value) {
        out.extend(tuple.iter());
    } else if let Some(dict) = DictRef::from_value(value) {
        out.extend(dict.iter().flat_map(|(key, value)| [key, value]));
    }
}

/// Bytes that a value takes without what its items hold: texts by their length, lists and dicts by their count.
pub(super) fn shallow(value: StarlarkValue<'_>) -> u64 {
    if let Some(text) = value.unpack_str() {
        return text.len() as u64 + NODE_BYTES;
    }
    let count = match (ListRef::from_value(value), TupleRef::from_value(value), DictRef::from_value(value)) {
        (Some(list), _, _) => list.len(),
        (_, Some(tuple), _) => tuple.len(),
        (_, _, Some(dict)) => 2 * dict.len(),
        _ if value.get_type() == "range" => value.length().map_or(0, |n| usize::try_from(n).unwrap_or(0)),
        _ => 0,
    };
    (count as u64 + 1) * NODE_BYTES
}

/// Bytes that a value takes with all that it holds, counted as often as it is held. Stops beyond `most`.
///
/// # Errors
/// It is nested too deep, or in itself.
pub(super) fn deep(value: StarlarkValue<'_>, most: u64) -> Result<u64, &'static str> {
    let mut total = 0_u64;
    let mut open = vec![(value, 1_usize)];
    let mut inner = Vec::new();
    while let Some((value, depth)) = open.pop() {
        if depth > VALUE_DEPTH_MAX {
            return Err("a value is nested too deep, or in itself");
        }
        total += value.unpack_str().map_or(0, |text| text.len() as u64) + NODE_BYTES;
        if total > most {
            return Ok(total);
        }
        children(value, &mut inner);
        // What waits is reckoned at once, so that no more of it is put up than may be looked at.
        if total + (open.len() + inner.len()) as u64 * NODE_BYTES > most {
            return Ok(most + 1);
        }
        open.extend(inner.drain(..).map(|item| (item, depth + 1)));
    }
    Ok(total)
}

/// A value as JSON, floats rounded to [`FLOAT_DIGITS`]. The caller has bounded its depth and size ([`deep`]).
pub(super) fn to_json(value: StarlarkValue<'_>) -> Result<Value, String> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Some(flag) = value.unpack_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Some(text) = value.unpack_str() {
        return Ok(Value::String(text.to_owned()));
    }
    if let Ok(Some(number)) = i64::unpack_value(value) {
        return Ok(Value::from(number));
    }
    if let Some(items) = ListRef::from_value(value) {
        return items.iter().map(to_json).collect();
    }
    if let Some(items) = TupleRef::from_value(value) {
        return items.iter().map(to_json).collect();
    }
    if let Some(dict) = DictRef::from_value(value) {
        let entry = |(key, value): (StarlarkValue<'_>, StarlarkValue<'_>)| match key.unpack_str() {
            Some(key) => Ok((key.to_owned(), to_json(value)?)),
            None => Err(format!("a key of a dict must be a string, not {}", key.get_type())),
        };
        return dict.iter().map(entry).collect::<Result<_, _>>().map(Value::Object);
    }
    match value.get_type() {
        "int" => Err("the result is an integer that does not fit into 64 bits".to_owned()),
        "float" => float_to_json(value),
        other => Err(format!("the result holds a {other}, which is not a JSON value")),
    }
}

fn float_to_json(value: StarlarkValue<'_>) -> Result<Value, String> {
    let float = UnpackFloat::unpack_value(value).ok().flatten().map_or(f64::NAN, |x| x.0);
    let rounded = format!("{float:.FLOAT_DIGITS$}").parse().ok().and_then(Number::from_f64);
    rounded.map(Value::Number).ok_or_else(|| "the result is not a finite number".to_owned())
}
