//! Preparing a case once, judging many answers to it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::asserts::{ContainsJson, ToolNames, judge_trigger};
use super::bfcl::BfclScorer;
use super::budget::PatternBudget;
use super::calls::{Offered, parse_calls};
use super::context::LazyContext;
use super::custom::Custom;
use super::error::ScorerError;
use super::exec::Exec;
use super::finding::{EXPLANATION_CHARS_MAX, Finding, Role, Rulings, conclude, shorten};
use super::ifeval::IfEval;
use super::implicit::{self, Answer};
use super::options::Options;
use super::parameters::{Needle, Stop, judge_finish_reason};
use super::programs::Programs;
use super::rubric::{NoVerdict, Rubric};
use super::run_facts::RunFact;
use super::schema::{Draft, Validators};
use super::script::{AskedScript, ScriptSet};
use super::spec::{self, GROUP_DEPTH_MAX};
use super::structured::JsonScorer;
use super::text::TextScorer;
use super::tool_calls::{ToolCalls, judge_parallel};
use super::tool_choice::ToolChoice;
use super::wire::{self, Wire};
use crate::domain::jury::Ask;
use crate::domain::{
    CaseInstance, Completion, Fault, Json, Judgement, ProgramRun, ScorerResult, ScorerSpec, Testimony, UnscoredWhy,
};
use crate::sandbox::Program;

/// Compiles cases; shares compiled JSON Schemas between them. One per process is enough.
#[derive(Default)]
pub struct Judge {
    validators: Arc<Validators>,
    programs: Programs,
}

/// A compiled case: judges any number of answers, from any thread, without IO, clock or randomness.
pub struct PreparedCase {
    rules: Rules,
    scorers: Vec<Weighted>,
    call_due: bool,
    /// Judged by `bfcl` alone: the verdict is the official one, and what the implicit checks find is recorded only.
    is_official: bool,
    /// The wire is judged: what is no matter of it is recorded only.
    is_wire: bool,
}

/// What the implicit checks need to know of a case.
pub(super) struct Rules {
    /// The tools.
    pub offered: Offered,
    /// The effective choice.
    pub tool_choice: ToolChoice,
    /// What the case itself shows.
    pub context: LazyContext,
    /// The output limit that was asked for, in tokens.
    pub asked_tokens: Option<u64>,
    /// The finish reason that a scorer expects.
    pub judged_reason: Option<String>,
}

/// A scorer with its share in the score and its bar.
struct Weighted {
    /// Its kind, after those of the groups it is in.
    kind: Cow<'static, str>,
    scorer: Scorer,
    weight: f64,
    /// Its bar; by default the full value, for a group that all children pass.
    threshold: Option<f64>,
}

enum Scorer {
    ToolCalls(ToolCalls),
    ParallelCalls(u64),
    ToolNames(ToolNames),
    /// A call is expected, or none.
    ToolTrigger(bool),
    FinishReason(String),
    Json(JsonScorer),
    ContainsJson(ContainsJson),
    Text(Box<TextScorer>),
    Stop(Stop),
    Needle(Needle),
    Script(AskedScript),
    IfEval(IfEval),
    Bfcl(Box<BfclScorer>),
    Custom(Box<Custom>),
    /// An implicit check by name: 0 when one of these Faults was found.
    Implicit(&'static [Fault]),
    /// The wire contract, strictly.
    Wire(Wire),
    /// A model says whether a rubric is met.
    Rubric(Box<Rubric>),
    /// A program of the operator judges.
    Exec(Box<Exec>),
    /// What it took to get the answer.
    Fact(RunFact),
    Group(Vec<Weighted>),
}

impl Judge {
    /// A judge with an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Judge::default()
    }

    /// The program of a source: compiled, or taken from the cache.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn program(&self, source: &Arc<str>) -> Result<Program, String> {
        self.programs.get(source)
    }

    /// Compiles an instance of a case.
    ///
    /// # Errors
    /// The case is broken: an unknown scorer or option, a required option that is given nowhere, a tool without a
    /// name, a schema or pattern that does not compile. The Attempt is then `Unscored(ours)`.
    pub fn prepare(&self, instance: &CaseInstance) -> Result<PreparedCase, ScorerError> {
        let draft = tools_draft(&instance.scorers);
        let offered = Offered::new(instance.tools.as_ref(), &self.validators)?.under(draft);
        if instance.tools.as_ref().zip(instance.case.tools.as_ref()).is_some_and(|(drawn, raw)| !drawn.is_same(raw)) {
            // What was filled in is known only now; other schemas were checked when the suite was loaded.
            offered.check_all()?;
        }
        let tool_choice = ToolChoice::new(instance.tool_choice(), &offered)?;
        let expected = match instance.expected.as_ref().map(Json::value) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let patterns = PatternBudget::default();
        let compiling = Compiling {
            judge: self,
            instance,
            expected: &expected,
            patterns: &patterns,
            rubrics: Cell::new(0),
            programs: Cell::new(0),
        };
        let scorers = compiling.all(&instance.scorers, 1)?;
        let mut asked = ScriptSet::default();
        visit(&scorers, &mut |s| {
            if let Scorer::Script(script) = s {
                asked.insert(script.script());
            }
        });
        let context = LazyContext::new(instance.clone(), asked);
        let mut judged_reason = None;
        let mut call_due = tool_choice.forces();
        visit(&scorers, &mut |s| match s {
            Scorer::FinishReason(reason) => judged_reason = Some(reason.clone()),
            Scorer::ToolCalls(calls) => call_due |= calls.expects_calls(),
            Scorer::ParallelCalls(min) => call_due |= *min > 0,
            Scorer::Bfcl(scorer) => call_due |= scorer.expects_calls(),
            _ => {}
        });
        let asked_tokens = ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|k| instance.case.request.get(*k))
            .and_then(Value::as_u64);
        let rules = Rules { offered, tool_choice, context, asked_tokens, judged_reason };
        let is_official = is_official(&scorers);
        let is_wire = scorers.iter().any(|s| matches!(s.scorer, Scorer::Wire(_)));
        Ok(PreparedCase { rules, scorers, call_due, is_official, is_wire })
    }
}

/// What scorers are compiled from.
struct Compiling<'a> {
    judge: &'a Judge,
    instance: &'a CaseInstance,
    expected: &'a Map<String, Value>,
    /// What is left for regular expressions.
    patterns: &'a PatternBudget,
    /// Judge scorers so far.
    rubrics: Cell<u32>,
    /// `exec` scorers so far.
    programs: Cell<u32>,
}

impl Compiling<'_> {
    fn all(&self, scorers: &[ScorerSpec], depth: usize) -> Result<Vec<Weighted>, ScorerError> {
        scorers.iter().map(|s| self.one(s, depth)).collect()
    }

    fn one(&self, spec: &ScorerSpec, depth: usize) -> Result<Weighted, ScorerError> {
        let instance = self.instance;
        let options = Options::new(spec, self.expected, self.patterns)?;
        let weight = options.number("weight").unwrap_or(1.0);
        if weight < 0.0 {
            return Err(options.error("`weight` is a number from 0"));
        }
        let threshold = options.number("threshold");
        let scorer = match options.kind.name {
            "tool-calls" => Scorer::ToolCalls(ToolCalls::new(&options)?),
            "parallel-calls" => {
                let min = options.count("min_calls").ok_or_else(|| options.error("`min_calls` is missing"))?;
                Scorer::ParallelCalls(min)
            }
            "tool-names-f1" => Scorer::ToolNames(ToolNames::new(&options)?),
            "tool-trigger" => Scorer::ToolTrigger(options.flag("call", false)),
            "finish-reason" => Scorer::FinishReason(options.required_text("finish_reason")?),
            "json" | "json-schema" => {
                let format = instance.response_format.as_ref().map(Json::value);
                Scorer::Json(JsonScorer::new(&options, format.as_ref(), &self.judge.validators)?)
            }
            "contains-json" => Scorer::ContainsJson(ContainsJson::new(&options, &self.judge.validators)?),
            "stop" => Scorer::Stop(Stop::new(&options, instance.case.request.get("stop"))?),
            "needle" => Scorer::Needle(Needle::new(&options)?),
            "script" => Scorer::Script(AskedScript::new(&options)?),
            "ifeval" => Scorer::IfEval(IfEval::new(&options)?),
            "starlark" => Scorer::Custom(Box::new(Custom::new(&options, instance, self.judge)?)),
            "bfcl" => Scorer::Bfcl(Box::new(BfclScorer::new(&options)?)),
            "leak" => Scorer::Implicit(&[Fault::MarkupLeak]),
            "tool-schema" => Scorer::Implicit(&[Fault::InvalidJson, Fault::UnknownName, Fault::SchemaMismatch]),
            "tool-choice" => Scorer::Implicit(&[Fault::ToolChoiceIgnored]),
            "wire" => Scorer::Wire(Wire::new(&options, &instance.case.request)?),
            "judge" => {
                let place = self.rubrics.replace(self.rubrics.get() + 1);
                Scorer::Rubric(Box::new(Rubric::new(&options, instance, place)?))
            }
            "exec" => {
                let place = self.programs.replace(self.programs.get() + 1);
                Scorer::Exec(Box::new(Exec::new(&options, instance, place)?))
            }
            "latency" | "cost" => Scorer::Fact(RunFact::new(&options)?),
            "group" => Scorer::Group(self.group(&options, depth)?),
            _ => Scorer::Text(Box::new(TextScorer::new(&options)?)),
        };
        let kind = match depth {
            1 => Cow::Borrowed(options.kind.name),
            _ => Cow::Owned("group/".repeat(depth - 1) + options.kind.name),
        };
        Ok(Weighted { kind, scorer, weight, threshold })
    }

    fn group(&self, options: &Options<'_>, depth: usize) -> Result<Vec<Weighted>, ScorerError> {
        let children = options.get("scorers").and_then(Value::as_array).filter(|c| !c.is_empty());
        let children = children.ok_or_else(|| options.error("`scorers` is a list with at least one scorer"))?;
        if depth >= GROUP_DEPTH_MAX || children.len() > spec::LIST_MAX {
            let limits = format!("groups may nest {GROUP_DEPTH_MAX} deep and hold {} scorers", spec::LIST_MAX);
            return Err(options.error(limits));
        }
        let specs = children.iter().map(spec::child_spec).collect::<Result<Vec<_>, _>>();
        self.all(&specs.map_err(|e| options.error(e))?, depth + 1)
    }
}

/// The draft by which a scorer `tool-schema` reads the schemas of the tools that do not say; `None`: the newest.
fn tools_draft(scorers: &[ScorerSpec]) -> Option<Draft> {
    let mut named = spec::flatten(scorers).into_iter().filter(|spec| spec.kind == "tool-schema");
    named.find_map(|spec| Draft::of(spec.options.get("draft")?.as_str()?))
}

/// Whether a foreign checker alone gives the verdict.
fn is_official(scorers: &[Weighted]) -> bool {
    !scorers.is_empty() && scorers.iter().all(|s| matches!(s.scorer, Scorer::Bfcl(_)))
}

/// Calls a function for every scorer, those in groups included.
fn visit(scorers: &[Weighted], f: &mut impl FnMut(&Scorer)) {
    for Weighted { scorer, .. } in scorers {
        f(scorer);
        if let Scorer::Group(children) = scorer {
            visit(children, f);
        }
    }
}

impl PreparedCase {
    /// Judges one answer. Pure: the same answer always gets the same Judgement. Where judges are to be asked, there is
    /// none without their votes: see [`PreparedCase::asks`].
    #[must_use]
    pub fn judge(&self, completion: &Completion) -> Judgement {
        self.judge_with(completion, &Testimony::default())
    }

    /// What judges are to be asked about an answer; nothing where it fails, or gets no verdict, without them.
    #[must_use]
    pub fn asks(&self, completion: &Completion) -> Vec<Ask> {
        let mut rubrics = Vec::new();
        visit(&self.scorers, &mut |scorer| {
            if let Scorer::Rubric(rubric) = scorer {
                rubrics.push(rubric.ask(completion));
            }
        });
        let needs_them = !rubrics.is_empty() && self.judged(completion, &Testimony::default()).is_err();
        if needs_them { rubrics } else { Vec::new() }
    }

    /// What programs are to be run on an answer; none where it fails, or gets no verdict, without them.
    #[must_use]
    pub fn runs(&self, completion: &Completion) -> Vec<ProgramRun> {
        let mut runs = Vec::new();
        visit(&self.scorers, &mut |scorer| {
            if let Scorer::Exec(exec) = scorer {
                runs.push(exec.run(completion));
            }
        });
        let needs_them = !runs.is_empty() && self.judged(completion, &Testimony::default()).is_err();
        if needs_them { runs } else { Vec::new() }
    }

    /// As [`PreparedCase::judge`], with the votes of judges and the outputs of programs.
    #[must_use]
    pub fn judge_with(&self, completion: &Completion, testimony: &Testimony) -> Judgement {
        self.judged(completion, testimony).unwrap_or_else(|NoVerdict(why)| Judgement::unscored(UnscoredWhy::Ours, why))
    }

    /// As [`PreparedCase::judge_with`]; an error where it is for others to say and they did not.
    fn judged(&self, completion: &Completion, testimony: &Testimony) -> Result<Judgement, NoVerdict> {
        if completion.truncated {
            return Ok(truncated(completion));
        }
        let calls = parse_calls(completion);
        let answer = Answer { completion, text: completion.content.as_deref().unwrap_or(""), calls: &calls };
        let mut findings = Vec::new();
        implicit::check(&self.rules, &answer, &mut findings);
        if self.is_wire {
            wire::strictly(completion, &mut findings);
        }
        if self.call_due && calls.is_empty() {
            implicit::check_call_as_text(&self.rules, &answer, &mut findings);
        }
        let implicit_failed = !self.is_official && findings.iter().any(|f| f.role == Role::Fails);
        let tool_leak = findings.iter().any(|f| f.fault == Fault::MarkupLeak);
        let mut found = Vec::new();
        let (broken, no_verdict) = (RefCell::new(None), RefCell::new(None));
        let results = RefCell::new(Vec::new());
        let view = View {
            answer: &answer,
            implicit: &findings,
            testimony,
            broken: &broken,
            no_verdict: &no_verdict,
            results: self.tells_each().then_some(&results),
        };
        let outcome = judge_all(&self.scorers, &view, &mut found);
        if self.is_official {
            findings.iter_mut().for_each(|f| f.role = Role::Noted);
        }
        findings.append(&mut found);
        let rulings = Rulings {
            ambiguous_index: completion.ambiguous_calls,
            empty_first: self.call_due && !tool_leak && !answer.announces_missing_calls(),
        };
        // The official checker does not look at the tools as they are offered.
        if let Some(tools) = self.rules.offered.broken().filter(|_| !self.is_official) {
            return Ok(Judgement::unscored(UnscoredWhy::Ours, tools.to_string()));
        }
        // What the implicit checks found stands, whatever a custom scorer or a judge makes of the answer.
        if !implicit_failed {
            if let Some(why) = broken.into_inner() {
                return Ok(Judgement::unscored(UnscoredWhy::Ours, why));
            }
            if let Some(why) = no_verdict.into_inner() {
                return Err(why);
            }
        }
        let judgement = conclude(findings, outcome.value, implicit_failed, rulings);
        Ok(Judgement { scorers: results.into_inner(), ..judgement })
    }

    /// With several scorers, what each of them says is told as well.
    fn tells_each(&self) -> bool {
        self.scorers.len() > 1 || self.scorers.iter().any(|s| matches!(s.scorer, Scorer::Group(_)))
    }
}

/// What a scorer sees.
#[derive(Clone, Copy)]
struct View<'a> {
    answer: &'a Answer<'a>,
    /// Findings of the implicit checks.
    implicit: &'a [Finding],
    /// What judges and programs said.
    testimony: &'a Testimony,
    /// Why a custom scorer, or one of facts that are not known, gave no verdict.
    broken: &'a RefCell<Option<String>>,
    /// The first scorer that waits for judges or a program says why it has no verdict.
    no_verdict: &'a RefCell<Option<NoVerdict>>,
    /// What each scorer says is put here, where it is told.
    results: Option<&'a RefCell<Vec<ScorerResult>>>,
}

/// Value of one or several scorers, and whether all reached their bars.
#[derive(Clone, Copy)]
struct Outcome {
    value: f64,
    passed: bool,
}

/// Runs scorers: the weighted mean of their values. Without any weight it is 1 or 0, as they pass or not.
fn judge_all(scorers: &[Weighted], view: &View<'_>, findings: &mut Vec<Finding>) -> Outcome {
    let (mut sum, mut weights, mut passed) = (0.0, 0.0, true);
    for scorer in scorers {
        let outcome = scorer.judge(view, findings);
        sum += outcome.value * scorer.weight;
        weights += scorer.weight;
        passed &= outcome.passed;
    }
    let value = match (weights > 0.0, passed) {
        (true, _) => sum / weights,
        (false, true) => 1.0,
        (false, false) => 0.0,
    };
    Outcome { value, passed }
}

impl Weighted {
    /// Runs the scorer. Below its bar at least one failing finding is added (or was found by the implicit checks);
    /// at its bar only what is recorded.
    fn judge(&self, view: &View<'_>, findings: &mut Vec<Finding>) -> Outcome {
        if let Scorer::Group(children) = &self.scorer {
            return self.judge_group(children, view, findings);
        }
        let (value, finding) = self.scorer.judge(view);
        let value = value.clamp(0.0, 1.0);
        let passed = value >= self.threshold.unwrap_or(1.0);
        self.tell(view, Outcome { value, passed }, finding.as_ref().or_else(|| self.scorer.implicit_finding(view)));
        findings.extend(finding.filter(|f| !passed || f.role != Role::Fails));
        Outcome { value, passed }
    }

    /// A group passes when all its children pass, or, with a `threshold`, when their weighted mean reaches it.
    fn judge_group(&self, children: &[Weighted], view: &View<'_>, findings: &mut Vec<Finding>) -> Outcome {
        let mut inner = Vec::new();
        let outcome = judge_all(children, view, &mut inner);
        let passed = self.threshold.map_or(outcome.passed, |t| outcome.value >= t);
        if passed {
            inner.retain(|f| f.role != Role::Fails);
        } else if !inner.iter().chain(view.implicit).any(|f| f.role == Role::Fails) {
            let what = format!("the group's score is {:.3}, below its threshold", outcome.value);
            inner.push(Finding::fails(Fault::WrongAnswer, "group:below_threshold", what));
        }
        findings.append(&mut inner);
        let outcome = Outcome { value: outcome.value, passed };
        self.tell(view, outcome, None);
        outcome
    }

    /// Notes what this scorer says, where each is told.
    fn tell(&self, view: &View<'_>, Outcome { value, passed }: Outcome, finding: Option<&Finding>) {
        let Some(results) = view.results else { return };
        let said = finding.map(|f| (f.own_type.as_deref().unwrap_or(f.error_type), f.explanation.as_str())).unzip();
        results.borrow_mut().push(ScorerResult {
            kind: self.kind.clone().into_owned(),
            // A value that is no number is none above 0.
            value: value.max(0.0),
            passed,
            error_type: said.0.map(str::to_owned),
            reason: said.1.map(|text| shorten(text, EXPLANATION_CHARS_MAX)).unwrap_or_default(),
        });
    }
}

impl Scorer {
    /// What an implicit check found that this scorer stands for.
    fn implicit_finding<'a>(&self, view: &View<'a>) -> Option<&'a Finding> {
        let Scorer::Implicit(faults) = self else { return None };
        view.implicit.iter().find(|f| f.role == Role::Fails && faults.contains(&f.fault))
    }

    /// The value in \[0,1\] and what was found.
    fn judge(&self, view: &View<'_>) -> (f64, Option<Finding>) {
        let answer = view.answer;
        match self {
            Scorer::ToolCalls(scorer) => scorer.judge(answer.calls),
            Scorer::ParallelCalls(min) => judge_parallel(*min, answer.calls),
            Scorer::ToolNames(scorer) => scorer.judge(answer.calls),
            Scorer::ToolTrigger(expected) => judge_trigger(*expected, answer.completion.finish_reason.as_deref()),
            Scorer::FinishReason(expected) => judge_finish_reason(expected, answer.completion.finish_reason.as_deref()),
            Scorer::Json(scorer) => scorer.judge(answer.text),
            Scorer::ContainsJson(scorer) => scorer.judge(answer.text),
            Scorer::Text(scorer) => scorer.judge(answer.text),
            Scorer::Stop(scorer) => scorer.judge(answer.text),
            Scorer::Needle(scorer) => scorer.judge(answer.text, answer.completion.usage),
            Scorer::Script(scorer) => scorer.judge(answer.text),
            Scorer::IfEval(scorer) => scorer.judge(answer.text),
            Scorer::Bfcl(scorer) => {
                let failing = view.implicit.iter().filter(|f| f.role == Role::Fails);
                scorer.judge(answer.completion, failing.min_by_key(|f| f.fault))
            }
            Scorer::Implicit(faults) => {
                let hit = view.implicit.iter().any(|f| f.role == Role::Fails && faults.contains(&f.fault));
                (if hit { 0.0 } else { 1.0 }, None)
            }
            Scorer::Custom(scorer) => scorer.judge(answer.completion).unwrap_or_else(|why| {
                view.broken.borrow_mut().get_or_insert(why);
                (0.0, None)
            }),
            Scorer::Wire(scorer) => scorer.judge(view.implicit, answer.completion),
            Scorer::Rubric(rubric) => rubric.judge(answer.completion, &view.testimony.votes).unwrap_or_else(|why| {
                view.no_verdict.borrow_mut().get_or_insert(why);
                (0.0, None)
            }),
            Scorer::Exec(exec) => exec.judge(&view.testimony.outputs).unwrap_or_else(|why| {
                view.no_verdict.borrow_mut().get_or_insert(why);
                (0.0, None)
            }),
            Scorer::Fact(fact) => fact.judge(answer.completion.took).unwrap_or_else(|why| {
                view.broken.borrow_mut().get_or_insert(why);
                (0.0, None)
            }),
            // Groups are judged by their weighted children.
            Scorer::Group(_) => (1.0, None),
        }
    }
}

/// An answer that ended without a finish reason is not judged any further.
fn truncated(completion: &Completion) -> Judgement {
    let what = "the answer ended without a finish reason";
    let mut findings = vec![Finding::fails(Fault::Truncated, "delivery:truncated", what)];
    for breach in &completion.breaches {
        findings.push(Finding::noted(breach.fault, "wire:breach", breach.what.clone()));
    }
    conclude(findings, 0.0, true, Rulings::default())
}
