//! The functions that a guarded program calls in place of operators and methods, and the account that they keep.

use std::cell::Cell;
use std::sync::LazyLock;

use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::dict::DictRef;
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::tuple::{TupleRef, UnpackTuple};
use starlark::values::{UnpackValue, Value};

use super::limits::{INT_BITS_MAX, INT_TEXT_MAX, RANGE_MAX};
use super::values::{deep, shallow};

/// Words that Starlark keeps for itself: no name of a parameter, derived value or variable.
pub const RESERVED: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "load",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// What every program may call: built once, never changed.
pub(super) static GLOBALS: LazyLock<Globals> = LazyLock::new(|| {
    let extensions = [LibraryExtension::Map, LibraryExtension::Filter, LibraryExtension::Json];
    GlobalsBuilder::extended_by(&extensions).with(helpers).with(guards).build()
});

/// The account of one evaluation: how many bytes are left.
pub(super) type Account = Cell<u64>;

/// Takes an operation's cost from an account.
///
/// # Errors
/// It is more than what is left.
fn take(account: &Account, bytes: u64) -> Result<(), String> {
    match account.get().checked_sub(bytes) {
        Some(left) => {
            account.set(left);
            Ok(())
        }
        None => Err("it reads or writes more bytes than the limit of an evaluation".to_owned()),
    }
}

/// Takes the cost of a value that leaves the evaluation.
///
/// # Errors
/// It is too large, or nested too deep.
pub(super) fn handed_out(account: &Account, value: Value<'_>) -> Result<(), String> {
    take(account, deep(value, account.get())?)
}

type Eval<'v, 'a, 'e> = Evaluator<'v, 'a, 'e>;

fn refused(message: impl Into<String>) -> starlark::Error {
    starlark::Error::new_other(std::io::Error::other(message.into()))
}

fn charge(eval: &Eval<'_, '_, '_>, bytes: u64) -> starlark::Result<()> {
    take(account(eval)?, bytes).map_err(refused)
}

fn account<'x>(eval: &'x Eval<'_, '_, '_>) -> starlark::Result<&'x Account> {
    let account = eval.extra.and_then(|extra| extra.downcast_ref::<Account>());
    account.ok_or_else(|| refused("there is no account for this evaluation"))
}

fn charge_deep(eval: &Eval<'_, '_, '_>, value: Value<'_>, times: u64) -> starlark::Result<u64> {
    let account = account(eval)?;
    let bytes = deep(value, account.get()).map_err(refused)?;
    take(account, bytes.saturating_mul(times)).map_err(refused)?;
    Ok(bytes)
}

fn is_scalar(value: Value<'_>) -> bool {
    value.is_none() || value.unpack_bool().is_some() || matches!(value.get_type(), "int" | "float" | "string")
}

/// Bits of an integer, about; `None` for anything else.
fn int_bits(value: Value<'_>) -> Option<u64> {
    if value.get_type() != "int" {
        return None;
    }
    match i64::unpack_value(value) {
        Ok(Some(number)) => Some(64 - u64::from(number.unsigned_abs().leading_zeros())),
        // Integers are bounded, so this text is short. A decimal digit holds less than 3.33 bits.
        _ => Some(value.to_str().len() as u64 * 333 / 100),
    }
}

/// The operators that are guarded, by the number that stands in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarded {
    Add,
    Multiply,
    Percent,
    BitOr,
    LeftShift,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Guarded {
    const ALL: [Guarded; 13] = [
        Guarded::Add,
        Guarded::Multiply,
        Guarded::Percent,
        Guarded::BitOr,
        Guarded::LeftShift,
        Guarded::Equal,
        Guarded::NotEqual,
        Guarded::Less,
        Guarded::Greater,
        Guarded::LessOrEqual,
        Guarded::GreaterOrEqual,
        Guarded::In,
        Guarded::NotIn,
    ];

    fn of(number: i32) -> starlark::Result<Guarded> {
        let found = usize::try_from(number).ok().and_then(|i| Guarded::ALL.get(i).copied());
        found.ok_or_else(|| refused("there is no such operator"))
    }

    /// Charges what the operation will cost.
    fn check(self, l: Value<'_>, r: Value<'_>, eval: &Eval<'_, '_, '_>) -> starlark::Result<()> {
        match self {
            Guarded::Add | Guarded::BitOr => match (int_bits(l), int_bits(r)) {
                (Some(_), Some(_)) => check_bits(int_bits(l).max(int_bits(r)).unwrap_or(0) + 1),
                _ => charge(eval, shallow(l) + shallow(r)),
            },
            Guarded::Multiply => check_product(l, r, eval),
            Guarded::Percent => match l.unpack_str() {
                Some(format) => check_format(format.matches('%').count(), l, &[r], eval),
                None => Ok(()),
            },
            Guarded::LeftShift => {
                let by = i64::unpack_value(r).ok().flatten().and_then(|n| u64::try_from(n).ok());
                check_bits(int_bits(l).unwrap_or(0).saturating_add(by.unwrap_or(u64::MAX)))
            }
            Guarded::In | Guarded::NotIn => {
                check_key(l, eval)?;
                match r.unpack_str() {
                    Some(_) => charge(eval, shallow(l) + shallow(r)),
                    None if DictRef::from_value(r).is_some() => Ok(()),
                    None => charge_deep(eval, r, 1).map(|_| ()),
                }
            }
            _ if is_scalar(l) || is_scalar(r) => charge(eval, shallow(l).min(shallow(r))),
            _ => charge_deep(eval, l, 1).and_then(|_| charge_deep(eval, r, 1)).map(|_| ()),
        }
    }

    fn apply<'v>(self, l: Value<'v>, r: Value<'v>, eval: &Eval<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        use std::cmp::Ordering::{Greater, Less};
        let heap = eval.heap();
        let truth = |flag: starlark::Result<bool>| flag.map(Value::new_bool);
        match self {
            Guarded::Add => l.add(r, heap),
            Guarded::Multiply => l.mul(r, heap),
            Guarded::Percent => l.percent(r, heap),
            Guarded::BitOr => l.bit_or(r, heap),
            Guarded::LeftShift => l.left_shift(r, heap),
            Guarded::Equal => truth(l.equals(r)),
            Guarded::NotEqual => truth(l.equals(r).map(|same| !same)),
            Guarded::Less => truth(l.compare(r).map(|order| order == Less)),
            Guarded::Greater => truth(l.compare(r).map(|order| order == Greater)),
            Guarded::LessOrEqual => truth(l.compare(r).map(|order| order != Greater)),
            Guarded::GreaterOrEqual => truth(l.compare(r).map(|order| order != Less)),
            Guarded::In => truth(r.is_in(l)),
            Guarded::NotIn => truth(r.is_in(l).map(|inside| !inside)),
        }
    }
}

fn check_bits(bits: u64) -> starlark::Result<()> {
    match bits <= INT_BITS_MAX {
        true => Ok(()),
        false => Err(refused(format!("an integer has at most {INT_BITS_MAX} bits"))),
    }
}

fn check_product(l: Value<'_>, r: Value<'_>, eval: &Eval<'_, '_, '_>) -> starlark::Result<()> {
    if let (Some(a), Some(b)) = (int_bits(l), int_bits(r)) {
        return check_bits(a + b);
    }
    let is_sequence = |v: Value<'_>| {
        v.unpack_str().is_some() || ListRef::from_value(v).is_some() || TupleRef::from_value(v).is_some()
    };
    let times = |v: Value<'_>| i64::unpack_value(v).ok().flatten().map_or(1, |n| u64::try_from(n).unwrap_or(0));
    match (is_sequence(l), is_sequence(r)) {
        (true, _) => charge(eval, shallow(l).saturating_mul(times(r))),
        (_, true) => charge(eval, shallow(r).saturating_mul(times(l))),
        _ => Ok(()),
    }
}

/// A format of so many places, each of which may show all arguments.
fn check_format(
    places: usize,
    format: Value<'_>,
    arguments: &[Value<'_>],
    eval: &Eval<'_, '_, '_>,
) -> starlark::Result<()> {
    charge(eval, shallow(format))?;
    let mut bytes = 0_u64;
    for argument in arguments {
        bytes = bytes.saturating_add(charge_deep(eval, *argument, 1)?);
    }
    // Written out, a value takes more than in memory: quotes, escapes, commas.
    charge(eval, bytes.saturating_mul(places as u64).saturating_mul(ESCAPED))
}

/// Bytes written for a byte of a text that must be escaped, at most: `\u{10ffff}` of a control character and quotes.
const ESCAPED: u64 = 10;
/// Bytes of the result of a method that splits a text, per byte of the text: a value for each.
const SPLIT: u64 = 48;
/// Comparisons of an item while a million of them are sorted.
const SORTED: u64 = 24;
/// What calling a function for an item costs.
const CALLED: u64 = 64;

/// A key of a dict: hashing reads all of it.
fn check_key(key: Value<'_>, eval: &Eval<'_, '_, '_>) -> starlark::Result<()> {
    match key.unpack_str() {
        Some(text) => charge(eval, text.len() as u64),
        None if is_scalar(key) => Ok(()),
        None => charge_deep(eval, key, 1).map(|_| ()),
    }
}

fn text_of<'v>(value: Value<'v>, what: &str) -> starlark::Result<&'v str> {
    value.unpack_str().ok_or_else(|| refused(format!("{what} must be a string, not {}", value.get_type())))
}

fn check_join(receiver: Value<'_>, items: Value<'_>, eval: &Eval<'_, '_, '_>) -> starlark::Result<()> {
    let glue = shallow(receiver);
    let mut inner = Vec::new();
    charge(eval, shallow(items))?;
    super::values::children(items, &mut inner);
    let bytes = inner.iter().fold(0_u64, |sum, item| sum.saturating_add(shallow(*item)).saturating_add(glue));
    charge(eval, bytes)
}

fn check_replace(receiver: Value<'_>, arguments: &[Value<'_>], eval: &Eval<'_, '_, '_>) -> starlark::Result<()> {
    let text = text_of(receiver, "what is replaced in")?;
    let [old, new, ..] = arguments else { return Ok(()) };
    let (old, new) = (text_of(*old, "what is replaced")?, text_of(*new, "what replaces it")?);
    charge(eval, text.len() as u64 + old.len() as u64)?;
    let times = if old.is_empty() { text.len() + 1 } else { text.matches(old).count() };
    charge(eval, (times as u64).saturating_mul(new.len() as u64).saturating_add(text.len() as u64))
}

/// What a guarded program calls. `guard` writes the calls.
#[starlark_module]
fn guards(builder: &mut GlobalsBuilder) {
    /// A guarded operator.
    fn exactod_op<'v>(
        #[starlark(require = pos)] number: i32,
        #[starlark(require = pos)] l: Value<'v>,
        #[starlark(require = pos)] r: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let operator = Guarded::of(number)?;
        operator.check(l, r, eval)?;
        operator.apply(l, r, eval)
    }

    /// The right side of an operator that assigns.
    fn exactod_by<'v>(
        #[starlark(require = pos)] number: i32,
        #[starlark(require = pos)] l: Value<'v>,
        #[starlark(require = pos)] r: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        Guarded::of(number)?.check(l, r, eval)?;
        Ok(r)
    }

    /// A value that is read once, item by item.
    fn exactod_read<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        charge(eval, shallow(value))?;
        Ok(value)
    }

    /// A text of which many values are made.
    fn exactod_split<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        charge(eval, shallow(value).saturating_mul(SPLIT))?;
        Ok(value)
    }

    /// Items for each of which a function is called.
    fn exactod_each<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        charge(eval, shallow(value).saturating_mul(CALLED))?;
        Ok(value)
    }

    /// Items that are compared with each other, or that a function is called for.
    fn exactod_sort<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        charge_deep(eval, value, SORTED)?;
        Ok(value)
    }

    /// A value that is written out, or compared, with all that it holds.
    fn exactod_deep<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        charge_deep(eval, value, if is_scalar(value) { 1 } else { ESCAPED })?;
        Ok(value)
    }

    /// A key of a dict.
    fn exactod_key<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        check_key(value, eval)?;
        Ok(value)
    }

    /// What `int` reads.
    fn exactod_int<'v>(#[starlark(require = pos)] value: Value<'v>) -> starlark::Result<Value<'v>> {
        match value.unpack_str().is_some_and(|text| text.len() > INT_TEXT_MAX) {
            true => Err(refused(format!("int: a text of at most {INT_TEXT_MAX} bytes can be read"))),
            false => Ok(value),
        }
    }

    /// A range.
    fn exactod_range<'v>(#[starlark(require = pos)] value: Value<'v>) -> starlark::Result<Value<'v>> {
        match value.length() {
            Ok(length) if length <= RANGE_MAX => Ok(value),
            _ => Err(refused(format!("beyond the limit: a range has at most {RANGE_MAX} numbers"))),
        }
    }

    /// `join`, `replace` or `format` of a text.
    fn exactod_text<'v>(
        #[starlark(require = pos)] method: &str,
        #[starlark(require = pos)] receiver: Value<'v>,
        #[starlark(args)] arguments: UnpackTuple<Value<'v>>,
        #[starlark(kwargs)] named: DictRef<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let positional = arguments.items;
        let mut by_name = Vec::new();
        for (name, value) in named.iter() {
            by_name.push((text_of(name, "a name")?, value));
        }
        match (method, positional.as_slice()) {
            ("join", [items, ..]) => check_join(receiver, *items, eval)?,
            ("replace", all) => check_replace(receiver, all, eval)?,
            _ => {
                let places = receiver.unpack_str().map_or(0, |text| text.matches('{').count());
                let all: Vec<Value<'_>> = positional.iter().copied().chain(by_name.iter().map(|(_, v)| *v)).collect();
                check_format(places, receiver, &all, eval)?;
            }
        }
        let function = receiver.get_attr_error(method, eval.heap())?;
        eval.eval_function(function, &positional, &by_name)
    }
}

/// What programs may call besides Starlark's own functions.
#[starlark_module]
fn helpers(builder: &mut GlobalsBuilder) {
    /// `fixed(12.5, 2)` is `"12.50"`.
    fn fixed(
        #[starlark(require = pos)] x: UnpackFloat,
        #[starlark(require = pos)] digits: i32,
    ) -> starlark::Result<String> {
        super::number::fixed(x.0, digits).map_err(refused)
    }

    /// `title("new york")` is `"New York"`.
    fn title(#[starlark(require = pos)] text: &str) -> starlark::Result<String> {
        Ok(super::number::title(text))
    }
}
