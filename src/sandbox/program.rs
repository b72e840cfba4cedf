//! Compiled programs, and the one way to evaluate anything.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use starlark::environment::{FrozenModule, Module};
use starlark::eval::Evaluator;
use starlark::syntax::ast::{Parameter, Stmt};
use starlark::syntax::{AstModule, Dialect};

use super::limits::{Limits, SCRIPT};
use super::natives::{Account, GLOBALS, handed_out};
use super::text::Problem;
use super::values::to_json;
use super::{guard, text};

/// Stack of the compiling thread: the deepest tree that the limits on a statement allow, at some 30 KiB a level in an
/// unoptimised build. Only what is used of it is ever touched.
const COMPILE_STACK_BYTES: usize = 256 << 20;

const DIALECT: Dialect = Dialect { enable_load: false, enable_f_strings: true, ..Dialect::Standard };

/// Why an evaluation ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The line of the source, from 1, when it is known.
    pub line: Option<usize>,
    /// Starlark's own words, on one line.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure { line: None, message }
    }
}

impl From<starlark::Error> for Failure {
    fn from(error: starlark::Error) -> Self {
        let text = error.without_diagnostic().to_string();
        let message = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
        Failure { line: error.span().map(|span| span.resolve_span().begin.line + 1), message }
    }
}

/// A program: one file, compiled, with functions to call. Cheap to share between threads; no evaluation sees another.
#[derive(Clone)]
pub struct Program {
    module: FrozenModule,
    /// Fewest and most positional arguments of each function.
    functions: BTreeMap<String, (usize, usize)>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("functions", &self.functions).finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles a file and runs what stands outside its functions.
    ///
    /// # Errors
    /// What is wrong in it, each with its place.
    pub fn compile(source: &str) -> Result<Program, Vec<Problem>> {
        let compiled = on_deep_stack(|| compile(source));
        compiled.unwrap_or_else(|why| Err(vec![Problem::at(0..1, why)]))
    }

    /// Fewest and most arguments that a function takes by position; `None` when there is no such function.
    #[must_use]
    pub fn parameters(&self, function: &str) -> Option<(usize, usize)> {
        self.functions.get(function).copied()
    }

    /// Names of the functions.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// Calls a function with JSON values and gives its result. The first argument may be changed by the function: what it
    /// is afterwards comes second.
    ///
    /// # Errors
    /// [`Failure`]: the program is wrong, or goes beyond a limit.
    pub fn call(&self, function: &str, arguments: &[&Value], limits: &Limits) -> Result<(Value, Value), Failure> {
        let owned = self.module.get(function).map_err(|e| Failure::from(e.to_string()))?;
        evaluation(limits, |evaluator, account| {
            let heap = evaluator.heap();
            let given: Vec<_> = arguments.iter().map(|value| heap.alloc(*value)).collect();
            let function = heap.access_owned_frozen_value(&owned);
            let value = evaluator.eval_function(function, &given, &[])?;
            let out = |value| {
                handed_out(account, value)?;
                let json = to_json(value)?;
                match json.to_string().len() <= limits.output {
                    true => Ok(json),
                    false => Err(format!("its result has more than {} bytes", limits.output)),
                }
            };
            let result = out(value)?;
            let first = given.first().map_or(Ok(Value::Null), |first| out(*first))?;
            Ok((result, first))
        })
    }
}

fn compile(source: &str) -> Result<Program, Vec<Problem>> {
    text::check(source).map_err(|problem| vec![problem])?;
    let parsed = AstModule::parse("program", source.to_owned(), &DIALECT);
    let ast = parsed.map_err(|error| vec![syntax_problem(&error)])?;
    let functions = functions_of(&ast);
    let guarded = guard::rewrite(&ast, source, &[])?;
    let module = freeze("program", &guarded).map_err(|failure| vec![placed(source, &failure)])?;
    Ok(Program { module, functions })
}

fn syntax_problem(error: &starlark::Error) -> Problem {
    let span = error.span().map_or(0..1, |s| s.span.begin().get() as usize..s.span.end().get() as usize);
    let message = error.without_diagnostic().to_string();
    Problem::at(span, message.lines().next().unwrap_or_default())
}

/// Where a failure of the guarded text stands in the source: its line, and on it the word that the message names.
fn placed(source: &str, failure: &Failure) -> Problem {
    let line = failure.line.unwrap_or(1).saturating_sub(1);
    let begin = source.split_inclusive('\n').take(line).map(str::len).sum::<usize>().min(source.len());
    let text = source[begin..].lines().next().unwrap_or_default();
    let lead = text.len() - text.trim_start().len();
    let word = failure.message.split('`').nth(1).filter(|word| !word.is_empty());
    let span = match word.and_then(|word| Some((text.find(word)?, word.len()))) {
        Some((at, length)) => begin + at..begin + at + length,
        None => begin + lead..begin + text.len().max(lead + 1),
    };
    Problem::at(span, failure.message.clone())
}

fn functions_of(ast: &AstModule) -> BTreeMap<String, (usize, usize)> {
    let mut found = BTreeMap::new();
    let all = match &ast.statement().node {
        Stmt::Statements(all) => all.as_slice(),
        _ => std::slice::from_ref(ast.statement()),
    };
    for statement in all {
        if let Stmt::Def(def) = &statement.node {
            let (mut fewest, mut most) = (0, 0);
            for parameter in &def.params {
                match &parameter.node {
                    Parameter::Normal(_, _, default) => {
                        most += 1;
                        fewest += usize::from(default.is_none());
                    }
                    Parameter::Args(..) => most = usize::MAX,
                    Parameter::Slash | Parameter::NoArgs | Parameter::KwArgs(..) => {}
                }
            }
            found.insert(def.name.node.ident.clone(), (fewest, most));
        }
    }
    found
}

/// Parses a text that has been checked.
pub(super) fn parse(name: &str, source: &str) -> Result<AstModule, Failure> {
    Ok(AstModule::parse(name, source.to_owned(), &DIALECT)?)
}

/// Evaluates a guarded module and freezes it. Freezing works by recursion: `guard` has bounded how deep the values are.
pub(super) fn freeze(name: &str, guarded: &str) -> Result<FrozenModule, Failure> {
    let ast = parse(name, guarded)?;
    let account = Account::new(SCRIPT.work);
    Module::with_temp_heap(|module| {
        {
            let mut evaluator = Evaluator::new(&module);
            limit(&mut evaluator, &SCRIPT)?;
            evaluator.extra = Some(&account);
            evaluator.eval_module(ast, &GLOBALS)?;
        }
        module.freeze().map_err(|e| Failure::from(format!("{e:?}")))
    })
}

fn limit(evaluator: &mut Evaluator<'_, '_, '_>, limits: &Limits) -> Result<(), Failure> {
    // Nothing is given back before the end: what is allocated depends on the program alone.
    evaluator.disable_gc();
    let set = evaluator
        .set_max_callstack_size(limits.calls)
        .and_then(|()| evaluator.set_max_heap_size(limits.heap))
        .and_then(|()| evaluator.set_max_tick_count(limits.steps));
    set.map_err(|e| Failure::from(e.to_string()))
}

/// One evaluation on a heap and an account of its own.
pub(super) fn evaluation<T>(
    limits: &Limits,
    work: impl for<'v, 'a, 'e> FnOnce(&mut Evaluator<'v, 'a, 'e>, &Account) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let account = Account::new(limits.work);
    Module::with_temp_heap(|module| {
        let mut evaluator = Evaluator::new(&module);
        limit(&mut evaluator, limits)?;
        evaluator.extra = Some(&account);
        work(&mut evaluator, &account)
    })
}

/// Runs work that goes deep by recursion.
///
/// # Errors
/// It broke, or there was no thread for it.
pub(super) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("starlark".to_owned()).stack_size(COMPILE_STACK_BYTES);
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().map_err(|_| "the Starlark compiler failed".to_owned()),
            Err(error) => Err(format!("no thread to compile it: {error}")),
        }
    })
}
