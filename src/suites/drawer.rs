//! Draws instances of cases: the same for every endpoint of a sweep, because no endpoint enters.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::{Case, CaseId, CaseInstance, Suite, SuiteDigest};
use crate::sandbox::expressions::{self, Expression, ExpressionError};

use super::limits::DERIVE;
use super::params::{self, Generator};
use super::source::Path;
use super::template::{CaseTemplate, Compiling, Filled, Slot, TemplateProblem};

/// Why an instance could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// The suite has no such case.
    #[error("suite `{suite}` has no case `{case}`")]
    UnknownCase {
        /// The suite.
        suite: String,
        /// The case asked for.
        case: String,
    },
    /// A `derive` expression does not compile or has no value.
    #[error("case `{case}`: derive `{name}` = `{expression}`: {reason}")]
    Expression {
        /// The case.
        case: String,
        /// The derived value.
        name: String,
        /// Its expression.
        expression: String,
        /// Starlark's words.
        reason: String,
    },
    /// A placeholder names neither a parameter nor a derived value.
    #[error("case `{case}`: `{{{{{name}}}}}` in {place} names neither a parameter nor a derived value")]
    Placeholder {
        /// The case.
        case: String,
        /// Where it stands, such as `messages[0].content`.
        place: String,
        /// What it names.
        name: String,
    },
    /// A placeholder stands in a key of an object, where nothing is filled.
    #[error("case `{case}`: the key `{key}` holds a placeholder; only values are filled")]
    PlaceholderInKey {
        /// The case.
        case: String,
        /// The key.
        key: String,
    },
    /// A given value lacks, or could never have been drawn.
    #[error("case `{case}`: parameter `{name}`: {reason}")]
    Value {
        /// The case.
        case: String,
        /// The parameter.
        name: String,
        /// What is wrong with the given value.
        reason: String,
    },
}

/// Draws the cases of one suite. Templates are scanned and expressions compiled once, here.
pub struct Drawer {
    suite: Arc<Suite>,
    cases: HashMap<CaseId, Compiled>,
}

impl std::fmt::Debug for Drawer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawer").field("suite", &self.suite.name).field("cases", &self.cases.len()).finish()
    }
}

/// A case ready to be drawn.
struct Compiled {
    case: Arc<Case>,
    template: CaseTemplate,
    programs: Vec<Expression>,
}

impl Drawer {
    /// Compiles the templates of a suite.
    ///
    /// # Errors
    /// The first placeholder or expression that is wrong. A suite from [`super::load_suite`] has none.
    pub fn new(suite: Arc<Suite>) -> Result<Drawer, DrawError> {
        // Broken cases are drawn as well: somebody may ask for them.
        let all = || suite.cases.iter().chain(&suite.broken);
        let mut programs = compile_all(all().map(Arc::as_ref)).into_iter();
        let mut cases = HashMap::with_capacity(suite.cases.len() + suite.broken.len());
        for case in all() {
            let template = compile_template(case, "messages", &mut |_, _| {}).map_err(|mut e| e.swap_remove(0))?;
            let programs = programs.next().unwrap_or_else(|| Ok(Vec::new())).map_err(|mut e| e.swap_remove(0).1)?;
            cases.insert(case.id.clone(), Compiled { case: Arc::clone(case), template, programs });
        }
        Ok(Drawer { suite, cases })
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> &Arc<Suite> {
        &self.suite
    }

    /// Draws a case. `seed` is the sweep's, `epoch` the repeat; a fixed case takes the suite's name as its seed.
    ///
    /// # Errors
    /// [`DrawError`] when the suite has no such case, or an expression has no value for what was drawn.
    pub fn draw(&self, case: &CaseId, seed: &str, epoch: u32) -> Result<CaseInstance, DrawError> {
        let compiled = self.compiled(case)?;
        let slots = self.slots(compiled, seed, epoch)?;
        Ok(compiled.instance(&slots))
    }

    /// The values of a draw, parameters first, then derived values; empty for a case that is no template.
    ///
    /// # Errors
    /// As [`Drawer::draw`].
    pub fn values(&self, case: &CaseId, seed: &str, epoch: u32) -> Result<Map<String, Value>, DrawError> {
        let compiled = self.compiled(case)?;
        let slots = self.slots(compiled, seed, epoch)?;
        Ok(values(&compiled.case, &slots))
    }

    /// The instance of given parameters: derived values are computed again, given ones are ignored.
    ///
    /// # Errors
    /// [`DrawError`] as for [`Drawer::draw`], and when a parameter lacks or could never have been drawn so.
    pub fn instantiate(&self, case: &CaseId, params: &Map<String, Value>) -> Result<CaseInstance, DrawError> {
        let compiled = self.compiled(case)?;
        let wrong = |name: &str, reason: String| DrawError::Value {
            case: case.as_str().to_owned(),
            name: name.to_owned(),
            reason,
        };
        let mut drawn = Vec::with_capacity(compiled.case.params.len());
        for (name, param) in compiled.case.params.iter() {
            let value = params.get(name).ok_or_else(|| wrong(name, "no value is given".to_owned()))?;
            drawn.push(params::accept(param, value).map_err(|reason| wrong(name, reason))?);
        }
        let slots = with_derived(&compiled.case, &compiled.programs, drawn)?;
        Ok(compiled.instance(&slots))
    }

    fn compiled(&self, case: &CaseId) -> Result<&Compiled, DrawError> {
        self.cases.get(case).ok_or_else(|| DrawError::UnknownCase {
            suite: self.suite.name.as_str().to_owned(),
            case: case.as_str().to_owned(),
        })
    }

    fn slots(&self, compiled: &Compiled, seed: &str, epoch: u32) -> Result<Vec<Slot>, DrawError> {
        let seed = if compiled.case.fixed { self.suite.name.as_str() } else { seed };
        draw_slots(&compiled.case, &compiled.programs, seed, &self.suite.digest, epoch)
    }
}

impl Compiled {
    fn instance(&self, slots: &[Slot]) -> CaseInstance {
        instance(&self.case, &self.template, slots)
    }
}

/// Draws parameters and computes derived values.
pub(super) fn draw_slots(
    case: &Case,
    programs: &[Expression],
    seed: &str,
    digest: &SuiteDigest,
    epoch: u32,
) -> Result<Vec<Slot>, DrawError> {
    if case.params.is_empty() && programs.is_empty() {
        return Ok(Vec::new());
    }
    // A pair draws the same.
    let drawn_as = case.pair.as_ref().map_or(&case.id, |pair| &pair.with);
    let mut generator = Generator::new(seed, digest, drawn_as, epoch);
    let drawn = case.params.iter().map(|(_, param)| generator.draw(param)).collect();
    with_derived(case, programs, drawn)
}

fn with_derived(case: &Case, programs: &[Expression], mut slots: Vec<Slot>) -> Result<Vec<Slot>, DrawError> {
    if programs.is_empty() {
        return Ok(slots);
    }
    let given: Vec<&Value> = slots.iter().map(|slot| &slot.value).collect();
    let derived =
        expressions::evaluate(programs, &given, &DERIVE).map_err(|(i, error)| expression_error(case, i, error))?;
    slots.extend(derived.into_iter().map(Slot::new));
    Ok(slots)
}

fn expression_error(case: &Case, index: usize, error: ExpressionError) -> DrawError {
    let (name, expression) = case.derive.get(index).cloned().unwrap_or_default();
    DrawError::Expression { case: case.id.as_str().to_owned(), name, expression, reason: error.0 }
}

fn values(case: &Case, slots: &[Slot]) -> Map<String, Value> {
    names(case).zip(slots).map(|(name, slot)| (name.to_owned(), slot.value.clone())).collect()
}

/// Names of the slots of a case: parameters, then derived values.
fn names(case: &Case) -> impl Iterator<Item = &str> {
    case.params.iter().map(|(name, _)| name.as_str()).chain(case.derive.iter().map(|(name, _)| name.as_str()))
}

/// Fills a template.
pub(super) fn instance(case: &Arc<Case>, template: &CaseTemplate, slots: &[Slot]) -> CaseInstance {
    let Filled { messages, tools, response_format, expected, world, scorers, reference, counterexample, answers } =
        template.fill(case, slots);
    let draw = (!slots.is_empty()).then(|| Value::Object(values(case, slots)));
    CaseInstance {
        case: Arc::clone(case),
        draw,
        messages,
        tools,
        response_format,
        expected,
        scorers,
        world,
        reference,
        counterexample,
        answers,
    }
}

/// Scans the strings of a case. Every problem goes to `report` with its path.
///
/// # Errors
/// All problems.
pub(super) fn compile_template(
    case: &Case,
    messages_key: &str,
    report: &mut dyn FnMut(&Path<'_>, &DrawError),
) -> Result<CaseTemplate, Vec<DrawError>> {
    let names: HashMap<&str, usize> = names(case).enumerate().map(|(i, name)| (name, i)).collect();
    let mut errors = Vec::new();
    let mut collect = |path: &Path<'_>, problem: TemplateProblem| {
        let case = case.id.as_str().to_owned();
        let error = match problem {
            TemplateProblem::Unknown(name) => DrawError::Placeholder { case, place: path.text(), name },
            TemplateProblem::InKey(key) => DrawError::PlaceholderInKey { case, key },
        };
        report(path, &error);
        errors.push(error);
    };
    let template =
        CaseTemplate::compile(case, messages_key, &mut Compiling { names: &names, report: &mut collect, prose: false });
    if errors.is_empty() { Ok(template) } else { Err(errors) }
}

/// The expressions of one case, or what is wrong with them: index of the expression, and why.
pub(super) type Programs = Result<Vec<Expression>, Vec<(usize, DrawError)>>;

/// Compiles the expressions of many cases at once; one result per case, in order.
pub(super) fn compile_all<'c>(cases: impl Iterator<Item = &'c Case> + Clone) -> Vec<Programs> {
    let mut sources = Vec::new();
    for case in cases.clone() {
        for (i, (_, expression)) in case.derive.iter().enumerate() {
            sources.push(expressions::Source { names: names(case).take(case.params.len() + i).collect(), expression });
        }
    }
    let mut compiled = expressions::compile(&sources).into_iter();
    cases
        .map(|case| {
            let mut programs = Vec::with_capacity(case.derive.len());
            let mut errors = Vec::new();
            for (i, result) in compiled.by_ref().take(case.derive.len()).enumerate() {
                match result {
                    Ok(program) => programs.push(program),
                    Err(error) => errors.push((i, expression_error(case, i, error))),
                }
            }
            if errors.is_empty() { Ok(programs) } else { Err(errors) }
        })
        .collect()
}
