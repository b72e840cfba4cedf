//! Small expressions (`derive` of suites), compiled once and evaluated at every draw.
//!
//! Each expression becomes a function of the names that stand before it. All functions of a suite live in one frozen
//! module, which is shared by every thread; a draw makes a small heap, calls them in order and drops it.

use std::collections::HashMap;

use serde_json::Value;
use starlark::environment::FrozenModule;
use starlark::values::OwnedFrozenValue;

use super::limits::{EXPRESSION_BYTES_MAX, Limits};
use super::natives::handed_out;
use super::program::{Failure, evaluation, freeze, on_deep_stack, parse};
use super::values::to_json;
use super::{guard, text};

/// Why an expression does not compile or has no value: Starlark's own words, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError(pub String);

impl From<Failure> for ExpressionError {
    fn from(failure: Failure) -> Self {
        ExpressionError(failure.message)
    }
}

/// One compiled expression.
#[derive(Clone)]
pub struct Expression(OwnedFrozenValue);

/// One expression and the names that it may use: parameters, then the derived values before it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Source<'a> {
    /// The names, in the order of the arguments.
    pub names: Vec<&'a str>,
    /// The expression.
    pub expression: &'a str,
}

/// Compiles all expressions: together when all are right, else each alone, so that every wrong one is named. Equal
/// expressions over equal names, as generated cases have them, are compiled once.
#[must_use]
pub fn compile(sources: &[Source<'_>]) -> Vec<Result<Expression, ExpressionError>> {
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

fn compile_different(sources: &[&Source<'_>]) -> Vec<Result<Expression, ExpressionError>> {
    if sources.is_empty() {
        return Vec::new();
    }
    let work = || match compile_module(sources) {
        Ok(programs) => programs.into_iter().map(Ok).collect(),
        Err(_) => sources.iter().map(|source| compile_one(source)).collect(),
    };
    let refused = |why: String| sources.iter().map(|_| Err(ExpressionError(why.clone()))).collect();
    on_deep_stack(work).unwrap_or_else(refused)
}

fn compile_one(source: &Source<'_>) -> Result<Expression, ExpressionError> {
    compile_module(&[source])?.pop().ok_or_else(|| ExpressionError("there is no expression".to_owned()))
}

fn compile_module(sources: &[&Source<'_>]) -> Result<Vec<Expression>, ExpressionError> {
    sources.iter().try_for_each(|source| check(source.expression))?;
    let text: String = sources.iter().enumerate().map(|(i, s)| function_text(i, s)).collect();
    let ast = parse("derive", &text)?;
    // An expression such as `1)\nx = (2` would close the bracket that we put around it and add a statement.
    // The module holds exactly one `def` with one `return` per expression, or it is refused.
    if ast.stmt_locations().len() != STATEMENTS_EACH * sources.len() {
        return Err(ExpressionError("this is more than one expression".to_owned()));
    }
    // A parameter may have the name of a built-in function, which is hidden then.
    let hidden: Vec<&str> = sources.iter().flat_map(|source| source.names.iter().copied()).collect();
    let guarded = guard::rewrite(&ast, &text, &hidden).map_err(|mut problems| {
        ExpressionError(if problems.is_empty() { String::new() } else { problems.swap_remove(0).message })
    })?;
    let frozen: FrozenModule = freeze("derive", &guarded)?;
    (0..sources.len())
        .map(|i| frozen.get(&function_name(i)).map(Expression).map_err(|e| ExpressionError(e.to_string())))
        .collect()
}

/// `def` and `return`.
const STATEMENTS_EACH: usize = 2;

fn check(expression: &str) -> Result<(), ExpressionError> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(ExpressionError(format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes")));
    }
    if expression.trim_start().is_empty() || expression.trim_start().starts_with('#') {
        return Err(ExpressionError("there is no expression".to_owned()));
    }
    text::check(expression).map_err(|problem| ExpressionError(problem.message))
}

fn function_name(index: usize) -> String {
    format!("derived_value_{index}")
}

/// The brackets let an expression run over several lines; the line break lets it end in a comment.
fn function_text(index: usize, source: &Source<'_>) -> String {
    format!("def {}({}):\n    return (\n{}\n)\n", function_name(index), source.names.join(", "), source.expression)
}

/// Evaluates expressions in order; each sees the given values and the results of those before it.
///
/// # Errors
/// The index of the expression that failed, and why.
pub fn evaluate(
    expressions: &[Expression],
    given: &[&Value],
    limits: &Limits,
) -> Result<Vec<Value>, (usize, ExpressionError)> {
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let mut at = 0;
    let outcome = evaluation(limits, |evaluator, account| {
        let heap = evaluator.heap();
        let mut arguments: Vec<_> = given.iter().map(|v| heap.alloc(*v)).collect();
        let mut results = Vec::with_capacity(expressions.len());
        for (i, expression) in expressions.iter().enumerate() {
            at = i;
            let function = heap.access_owned_frozen_value(&expression.0);
            let value = evaluator.eval_function(function, &arguments, &[])?;
            let json = handed_out(account, value).and_then(|()| to_json(value)).map_err(Failure::from)?;
            arguments.push(heap.alloc(&json));
            results.push(json);
        }
        Ok(results)
    });
    outcome.map_err(|failure| (at, failure.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { steps: 50_000, work: 32 << 20, heap: 32 << 20, calls: 32, output: 1 << 20 };

    fn compiled(sources: &[Source<'_>]) -> Result<Vec<Expression>, ExpressionError> {
        compile(sources).into_iter().collect()
    }

    fn run(names: &[&str], given: &[Value], expression: &str) -> Result<Value, String> {
        let sources = [Source { names: names.to_vec(), expression }];
        let programs = compiled(&sources).map_err(|e| e.0)?;
        evaluate(&programs, &given.iter().collect::<Vec<_>>(), &LIMITS).map(|mut r| r.remove(0)).map_err(|(_, e)| e.0)
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
        assert_eq!(evaluate(&programs, &[&json!(0.1)], &LIMITS), Ok(vec![json!(0.3), json!(true)]));
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
