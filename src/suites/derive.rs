//! `derive`: small Starlark expressions, compiled once per suite and evaluated at every draw.
//!
//! Each expression becomes a function of the names that stand before it. All functions of a suite live in one frozen
//! module, which is shared by every thread; a draw makes a small heap, calls them in order and drops it.
//!
//! The limits on steps and memory protect against a slip of the pen, not against an attacker: Starlark checks them
//! between steps, so that one single built-in call (`"x" * 1000000000`) may exceed them before it is stopped. Suites
//! are the operator's own files.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Number, Value};
use starlark::environment::{FrozenModule, Globals, GlobalsBuilder, LibraryExtension, Module};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::syntax::{AstModule, Dialect};
use starlark::values::dict::DictRef;
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{OwnedFrozenValue, UnpackValue, Value as StarlarkValue};

use super::limits::{DEPTH_MAX, DERIVE_CALLS_MAX, DERIVE_HEAP_BYTES_MAX, DERIVE_STEPS_MAX, EXPRESSION_BYTES_MAX};

/// Digits after the point to which a float result is rounded, so that `3 * 1.15` is 3.45.
pub(super) const FLOAT_DIGITS: usize = 9;

/// Why an expression does not compile or has no value: Starlark's own words, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpressionError(pub(super) String);

impl From<starlark::Error> for ExpressionError {
    fn from(error: starlark::Error) -> Self {
        let text = error.without_diagnostic().to_string();
        ExpressionError(text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; "))
    }
}

/// One compiled expression.
#[derive(Clone)]
pub(super) struct Program(OwnedFrozenValue);

/// Words that Starlark keeps for itself: no name of a parameter, derived value or variable.
pub(super) const RESERVED: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "load",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// One expression and the names that it may use: parameters, then the derived values before it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Source<'a> {
    /// The names, in the order of the arguments.
    pub(super) names: Vec<&'a str>,
    /// The expression.
    pub(super) expression: &'a str,
}

/// What every expression may call: built once, never changed.
static GLOBALS: LazyLock<Globals> = LazyLock::new(|| {
    let extensions = [LibraryExtension::Map, LibraryExtension::Filter, LibraryExtension::Json];
    GlobalsBuilder::extended_by(&extensions).with(helpers).build()
});

/// Compiles all expressions: together when all are right, else each alone, so that every wrong one is named. Equal
/// expressions over equal names, as generated cases have them, are compiled once.
pub(super) fn compile(sources: &[Source<'_>]) -> Vec<Result<Program, ExpressionError>> {
    let mut different: Vec<&Source<'_>> = Vec::new();
    let mut index_of: HashMap<&Source<'_>, usize> = HashMap::new();
    let indexes: Vec<usize> = sources
        .iter()
        .map(|source| {
            *index_of.entry(source).or_insert_with(|| {
                different.push(source);
                different.len() - 1
            })
        })
        .collect();
    let compiled = compile_different(&different);
    let missing = || Err(ExpressionError("it was not compiled".to_owned()));
    indexes.into_iter().map(|i| compiled.get(i).cloned().unwrap_or_else(missing)).collect()
}

fn compile_different(sources: &[&Source<'_>]) -> Vec<Result<Program, ExpressionError>> {
    if sources.is_empty() {
        return Vec::new();
    }
    let work = || match compile_module(sources) {
        Ok(programs) => programs.into_iter().map(Ok).collect(),
        Err(_) => sources.iter().map(|source| compile_one(source)).collect(),
    };
    let refused = |why: &str| sources.iter().map(|_| Err(ExpressionError(why.to_owned()))).collect();
    // Starlark compiles by recursion: its stack, unlike the caller's, is deep enough for the longest expression.
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("derive".to_owned()).stack_size(COMPILE_STACK_BYTES);
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|_| refused("the Starlark compiler failed")),
            Err(error) => refused(&format!("no thread to compile it: {error}")),
        }
    })
}

fn compile_one(source: &Source<'_>) -> Result<Program, ExpressionError> {
    compile_module(&[source])?.pop().ok_or_else(|| ExpressionError("there is no expression".to_owned()))
}

fn compile_module(sources: &[&Source<'_>]) -> Result<Vec<Program>, ExpressionError> {
    sources.iter().try_for_each(|source| check_size(source.expression))?;
    let text: String = sources.iter().enumerate().map(|(i, s)| function_text(i, s)).collect();
    let ast = AstModule::parse("derive", text, &DIALECT)?;
    // An expression such as `1)\nx = (2` would close the bracket that we put around it and add a statement.
    // The module holds exactly one `def` with one `return` per expression, or it is refused.
    if ast.stmt_locations().len() != STATEMENTS_EACH * sources.len() {
        return Err(ExpressionError("this is more than one expression".to_owned()));
    }
    let frozen: FrozenModule = Module::with_temp_heap(|module| {
        {
            let mut evaluator = Evaluator::new(&module);
            limit(&mut evaluator)?;
            evaluator.eval_module(ast, &GLOBALS)?;
        }
        module.freeze().map_err(|e| ExpressionError(format!("{e:?}")))
    })?;
    (0..sources.len())
        .map(|i| frozen.get(&function_name(i)).map(Program).map_err(|e| ExpressionError(e.to_string())))
        .collect()
}

/// Stack of the compiling thread: the deepest tree that [`EXPRESSION_BYTES_MAX`] allows, at some 30 KiB a level in
/// an unoptimised build. Only what is used of it is ever touched.
const COMPILE_STACK_BYTES: usize = 128 << 20;

/// `def` and `return`.
const STATEMENTS_EACH: usize = 2;

const DIALECT: Dialect = Dialect { enable_load: false, enable_f_strings: true, ..Dialect::Standard };

/// Length bounds the depth of the syntax tree, brackets bound the depth of the value.
fn check_size(expression: &str) -> Result<(), ExpressionError> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(ExpressionError(format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes")));
    }
    if expression.trim_start().is_empty() || expression.trim_start().starts_with('#') {
        return Err(ExpressionError("there is no expression".to_owned()));
    }
    let mut open = 0_usize;
    for byte in expression.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > DEPTH_MAX {
            return Err(ExpressionError(format!("an expression has at most {DEPTH_MAX} nested brackets")));
        }
    }
    Ok(())
}

fn function_name(index: usize) -> String {
    format!("exactod_derive_{index}")
}

/// The brackets let an expression run over several lines; the line break lets it end in a comment.
fn function_text(index: usize, source: &Source<'_>) -> String {
    format!("def {}({}):\n    return (\n{}\n)\n", function_name(index), source.names.join(", "), source.expression)
}

fn limit(evaluator: &mut Evaluator<'_, '_, '_>) -> Result<(), ExpressionError> {
    evaluator
        .set_max_callstack_size(DERIVE_CALLS_MAX)
        .and_then(|()| evaluator.set_max_heap_size(DERIVE_HEAP_BYTES_MAX))
        .and_then(|()| evaluator.set_max_tick_count(DERIVE_STEPS_MAX))
        .map_err(|e| ExpressionError(e.to_string()))
}

/// Evaluates programs in order; each sees the given values and the results of those before it.
///
/// # Errors
/// The index of the program that failed, and why.
pub(super) fn evaluate(programs: &[Program], given: &[&Value]) -> Result<Vec<Value>, (usize, ExpressionError)> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    Module::with_temp_heap(|module| {
        let heap = module.heap();
        let mut evaluator = Evaluator::new(&module);
        limit(&mut evaluator).map_err(|e| (0, e))?;
        let mut arguments: Vec<_> = given.iter().map(|v| heap.alloc(*v)).collect();
        let mut results = Vec::with_capacity(programs.len());
        for (i, program) in programs.iter().enumerate() {
            let function = heap.access_owned_frozen_value(&program.0);
            let value = evaluator.eval_function(function, &arguments, &[]).map_err(|e| (i, e.into()))?;
            let json = to_json(value).map_err(|e| (i, e))?;
            arguments.push(heap.alloc(&json));
            results.push(json);
        }
        Ok(results)
    })
}

/// A Starlark value as JSON, floats rounded to [`FLOAT_DIGITS`].
fn to_json(value: StarlarkValue<'_>) -> Result<Value, ExpressionError> {
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
            None => Err(ExpressionError(format!("a key of a dict must be a string, not {}", key.get_type()))),
        };
        return dict.iter().map(entry).collect::<Result<_, _>>().map(Value::Object);
    }
    match value.get_type() {
        "int" => Err(ExpressionError("the result is an integer that does not fit into 64 bits".to_owned())),
        "float" => float_to_json(value),
        other => Err(ExpressionError(format!("the result holds a {other}, which is not a JSON value"))),
    }
}

fn float_to_json(value: StarlarkValue<'_>) -> Result<Value, ExpressionError> {
    let float = UnpackFloat::unpack_value(value).ok().flatten().map_or(f64::NAN, |x| x.0);
    let rounded = format!("{float:.FLOAT_DIGITS$}").parse().ok().and_then(Number::from_f64);
    rounded.map(Value::Number).ok_or_else(|| ExpressionError("the result is not a finite number".to_owned()))
}

/// What expressions may call besides Starlark's own functions.
#[starlark_module]
fn helpers(builder: &mut GlobalsBuilder) {
    /// `fixed(12.5, 2)` is `"12.50"`.
    fn fixed(
        #[starlark(require = pos)] x: UnpackFloat,
        #[starlark(require = pos)] digits: i32,
    ) -> starlark::Result<String> {
        super::number::fixed(x.0, digits).map_err(|e| starlark::Error::new_other(std::io::Error::other(e)))
    }

    /// `title("new york")` is `"New York"`.
    fn title(#[starlark(require = pos)] text: &str) -> starlark::Result<String> {
        Ok(super::number::title(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(sources: &[Source<'_>]) -> Result<Vec<Program>, ExpressionError> {
        compile(sources).into_iter().collect()
    }

    fn run(names: &[&str], given: &[Value], expression: &str) -> Result<Value, String> {
        let sources = [Source { names: names.to_vec(), expression }];
        let programs = compiled(&sources).map_err(|e| e.0)?;
        evaluate(&programs, &given.iter().collect::<Vec<_>>()).map(|mut r| r.remove(0)).map_err(|(_, e)| e.0)
    }

    #[test]
    fn expressions_use_names_helpers_and_starlark() {
        let given = [json!(3), json!(1.15), json!(["b", "a"])];
        let check = |expression: &str, wanted: Value| {
            assert_eq!(run(&["n", "price", "words"], &given, expression), Ok(wanted), "{expression}");
        };
        check("n * price", json!(3.45));
        check("fixed(n * price, 2)", json!("3.45"));
        check("fixed(n, 1)", json!("3.0"));
        check("\", \".join(sorted(words))", json!("a, b"));
        check("title(words[0])", json!("B"));
        check("{\"k\": [n, None, True]}", json!({"k": [3, null, true]}));
        check("[x for x in range(n)\n if x != 1]  # odd", json!([0, 2]));
        check("f\"{n} nights\"", json!("3 nights"));
        check("json.encode({\"a\": 1})", json!("{\"a\":1}"));
        check("n // 2", json!(1));
    }

    #[test]
    fn later_expressions_see_rounded_earlier_ones() {
        let sources = [
            Source { names: vec!["a"], expression: "a + 0.2" },
            Source { names: vec!["a", "sum"], expression: "sum == 0.3" },
        ];
        let programs = compiled(&sources).unwrap();
        assert_eq!(evaluate(&programs, &[&json!(0.1)]), Ok(vec![json!(0.3), json!(true)]));
    }

    #[test]
    fn what_is_no_single_expression_is_refused() {
        for bad in
            ["", "x = 1", "1)\nx = (2", "1; 2", "1 +", "load(\"a\", \"b\")", "missing + 1", "1)\n\nreturn (2", "# only"]
        {
            assert!(run(&[], &[], bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_wrong_expression_is_the_one_named() {
        let source = |expression| Source { names: vec![], expression };
        let results = compile(&[source("1"), source("nope"), source("2"), source("+")]);
        let wrong: Vec<_> = results.iter().map(|r| r.as_ref().err().map(|e| e.0.clone())).collect();
        assert!(wrong[0].is_none() && wrong[2].is_none() && wrong[3].is_some());
        assert!(wrong[1].as_ref().unwrap().contains("nope"), "{wrong:?}");
    }

    #[test]
    fn endless_greedy_and_deep_work_is_stopped() {
        let message = run(&[], &[], "[x for x in range(1000000000)]").unwrap_err();
        assert!(message.contains("limit"), "{message}");
        let message = run(&[], &[], "(lambda f: f(f))(lambda f: f(f))").unwrap_err();
        assert!(message.contains("stack"), "{message}");
        assert!(run(&[], &[], "1 / 0").is_err());
        assert!(run(&[], &[], "1e308 * 10").unwrap_err().contains("finite"));
        assert!(run(&[], &[], "[1e308 * 10]").unwrap_err().contains("finite"));
        assert!(run(&[], &[], "1 << 70").unwrap_err().contains("64 bits"));
        assert!(run(&[], &[], "{1: 2}").unwrap_err().contains("key"));
        assert!(run(&[], &[], "len").unwrap_err().contains("JSON"));
    }

    #[test]
    fn the_longest_expressions_do_not_exhaust_the_stack() {
        let nested = |open: &str, core: &str, close: &str| {
            let n = (EXPRESSION_BYTES_MAX - core.len()) / (open.len() + close.len());
            format!("{}{core}{}", open.repeat(n), close.repeat(n))
        };
        let kinds = [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("-", "1", ""),
            ("not ", "1", ""),
            ("", "1", "+1"),
            ("", "1", "[0]"),
            ("", "a", ".a"),
            ("1 if 1 else ", "1", ""),
            ("lambda:", "1", ""),
            ("len(", "1", ")"),
            ("{1:", "1", "}"),
            ("[x for x in ", "[]", "]"),
            ("", "len", "()"),
        ];
        let outcomes: Vec<bool> = kinds.iter().map(|(o, c, e)| run(&[], &[], &nested(o, c, e)).is_ok()).collect();
        assert!(outcomes[2] && outcomes[3] && outcomes[4], "{outcomes:?}");
        assert!(run(&[], &[], &"1+".repeat(EXPRESSION_BYTES_MAX)).unwrap_err().contains("at most"));
    }
}
