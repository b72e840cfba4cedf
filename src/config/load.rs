//! From a path or a text to a [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, Error};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::domain::Policy;
use crate::domain::canonical::sha256_hex;

use super::reader::{Reader, View};
use super::secrets::{Env, SystemEnv};
use super::{
    Budget, Config, Refused, check, gateways, judges, keys, models, policy, programs, providers, pushes, schedules,
    server,
};

/// Longest config file, in bytes.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;

impl Config {
    /// Reads the config file at a path; secrets come from the machine's environment.
    ///
    /// # Errors
    /// All problems of the file, or the one that kept it from being read.
    pub fn load(path: &Path) -> Result<Config, Diagnostics> {
        Config::read(path).map_err(|refused| refused.problems)
    }

    /// As [`Config::load`]; a refused file tells what it says of suites.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(path: &Path) -> Result<Config, Refused> {
        let text = read(path).map_err(|problem| Refused::alone(path, Diagnostics(vec![problem])))?;
        // Absolute, so that a later change of the working folder moves nothing.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        build(&text, path, folder_of(&absolute), &SystemEnv)
    }

    /// Reads a config from its text. `path` is shown in problems, and relative paths are relative to its folder.
    ///
    /// # Errors
    /// All problems of the text, ordered by line.
    pub fn parse(text: &str, path: &Path, env: &dyn Env) -> Result<Config, Diagnostics> {
        build(text, path, folder_of(path), env).map_err(|refused| refused.problems)
    }
}

/// The policies of a file: its `[policy]`, and for each of its models the own keys over it.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyFile {
    /// `[policy]`; keys that are not there have their defaults.
    pub base: Policy,
    /// By model id: the keys of `[[model]] policy` over the base.
    pub models: BTreeMap<String, Policy>,
}

impl PolicyFile {
    /// Reads the policies of a file: one with a `[policy]` alone, or a whole config of which nothing else is looked at.
    ///
    /// # Errors
    /// All problems of the policies, or the one that kept the file from being read.
    pub fn load(path: &Path) -> Result<PolicyFile, Diagnostics> {
        let text = read(path).map_err(|problem| Diagnostics(vec![problem]))?;
        policies(&text, path)
    }

    /// The policy of a model.
    #[must_use]
    pub fn of(&self, model: &str) -> &Policy {
        self.models.get(model).unwrap_or(&self.base)
    }
}

fn policies(text: &str, path: &Path) -> Result<PolicyFile, Diagnostics> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let r = Reader::new(text, path, folder_of(path), &SystemEnv, tree.get_ref());
    for error in &errors {
        syntax_problem(&r, error, text.len());
    }
    if !errors.is_empty() {
        return Err(r.into_problems());
    }
    if !tree.get_ref().contains_key("policy") {
        let diagnostic = Diagnostic::file(path, "there is no [policy] in this file");
        return Err(Diagnostics(vec![diagnostic.hint("begin it with [policy], or pass a copy of exactod.toml")]));
    }
    check::policies(&r, tree.get_ref());
    let root = View::new(&r, &keys::ROOT, Some(tree.get_ref()), tree.span());
    let mut named_suites = Vec::new();
    let base = policy::read_base(&root, &mut named_suites);
    let own = |view: &View<'_>| {
        let id = view.text("id")?.0.to_owned();
        Some((id, policy::read_model(view, &root, &base, &mut Vec::new())))
    };
    let models = root.children("model").iter().filter_map(own).collect();
    r.into_problems().into_result(PolicyFile { base, models })
}

/// Reads a policy alone: a file that holds the keys of `[policy]`, with that header or without. Of a whole config the
/// other tables are left aside.
///
/// # Errors
/// All problems of the policy, or the one that kept the file from being read.
pub fn load_policy(path: &Path) -> Result<Policy, Diagnostics> {
    let text = read(path).map_err(|problem| Diagnostics(vec![problem]))?;
    parse_policy(&text, path)
}

/// As [`load_policy`], from a text; `path` is shown in problems.
///
/// # Errors
/// As [`load_policy`].
pub fn parse_policy(text: &str, path: &Path) -> Result<Policy, Diagnostics> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let r = Reader::new(text, path, folder_of(path), &SystemEnv, tree.get_ref());
    if !errors.is_empty() {
        for error in errors {
            syntax_problem(&r, &error, text.len());
        }
        return r.into_problems().into_result(Policy::default());
    }
    let below = tree.get_ref().get("policy").map(|value| (value.get_ref().as_table(), value.span()));
    let (table, span) = match below {
        Some((Some(table), span)) => (table, span),
        _ => (tree.get_ref(), tree.span()),
    };
    check::table(&r, &keys::POLICY, table, &span);
    let policy = policy::read_alone(&View::new(&r, &keys::POLICY, Some(table), span));
    r.into_problems().into_result(policy)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn read(path: &Path) -> Result<String, Diagnostic> {
    let problem = |message: String, hint: &str| Diagnostic::file(path, message).hint(hint);
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            problem("there is no such file".to_owned(), "name the config with --config, or write ./exactod.toml")
        }
        _ => problem(format!("cannot read the config: {e}"), "the user who runs exactod must be able to read it"),
    })?;
    if metadata.is_dir() {
        return Err(problem("this is a folder, not a config file".to_owned(), "name the file in it"));
    }
    if metadata.len() > CONFIG_BYTES_MAX as u64 {
        return Err(problem(format!("a config has at most {CONFIG_BYTES_MAX} bytes"), "is this the right file?"));
    }
    let bytes = std::fs::read(path).map_err(|e| {
        problem(format!("cannot read the config: {e}"), "the user who runs exactod must be able to read it")
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        problem(format!("the config is not UTF-8 text: a wrong byte stands in line {line}"), "save it as UTF-8")
    })
}

fn build(text: &str, path: &Path, base: PathBuf, env: &dyn Env) -> Result<Config, Refused> {
    let refuse = |problems: Diagnostics| Err(Refused::alone(path, problems));
    let alone = |message: &str, hint: &str| refuse(Diagnostics(vec![Diagnostic::file(path, message).hint(hint)]));
    if text.len() > CONFIG_BYTES_MAX {
        return alone(&format!("a config has at most {CONFIG_BYTES_MAX} bytes"), "is this the right file?");
    }
    if text.trim().is_empty() {
        return alone("the config is empty", "start from examples/exactod.toml");
    }
    let (tree, errors) = DeTable::parse_recoverable(text);
    let r = Reader::new(text, path, base, env, tree.get_ref());
    if !errors.is_empty() {
        // What was recovered from broken TOML would only give problems that are not there.
        for error in errors {
            syntax_problem(&r, &error, text.len());
        }
        return match r.into_problems().into_result(()) {
            Err(problems) => refuse(problems),
            Ok(()) => alone("the config is not TOML", ""),
        };
    }
    check::table(&r, &keys::ROOT, tree.get_ref(), &tree.span());
    let root = View::new(&r, &keys::ROOT, Some(tree.get_ref()), tree.span());
    let config = assemble(&root, text, path);
    r.into_problems().into_result(()).map_err(|problems| Refused {
        problems,
        suites: config.suites.clone(),
        path: path.to_owned(),
        named_suites: config.named_suites.clone(),
    })?;
    Ok(config)
}

fn budget(root: &View<'_>) -> Budget {
    let section = root.child("budget");
    let budget = Budget { usd_per_day: section.number("usd_per_day"), usd_per_sweep: section.number("usd_per_sweep") };
    if let (Some(day), Some(sweep)) = (budget.usd_per_day, budget.usd_per_sweep)
        && sweep > day
    {
        let message =
            format!("`usd_per_sweep` is more than `usd_per_day`: no sweep can cost {sweep} on a day of {day}");
        let hint = format!("a sweep's cap lies within the day's: at most {day} here, or a higher `usd_per_day`");
        section.reader.problem(&section.span_of("usd_per_sweep"), message, hint);
    }
    budget
}

fn syntax_problem(r: &Reader<'_>, error: &Error, end: usize) {
    let span = error.span().unwrap_or(end..end);
    let hint = if error.message().contains("must be quoted") {
        "texts stand in quotes: key = \"text\""
    } else if error.message().contains("duplicate key") {
        "each key stands once in its table"
    } else {
        ""
    };
    r.problem(&span, format!("this is not TOML: {}", error.message()), hint);
}

/// The second pass. Parts that are wrong are left out here; their problems are already reported.
pub(super) fn assemble(root: &View<'_>, text: &str, path: &Path) -> Config {
    let mut named_suites = Vec::new();
    let policy = policy::read_base(root, &mut named_suites);
    let providers = providers::read(root);
    let models = models::read(root, &policy, &providers, &mut named_suites);
    let judges = judges::read(root, &providers);
    let schedules = schedules::read(root, &models, &mut named_suites);
    let relays = gateways::relays(root, &models.good);
    let sinks = gateways::sinks(root, &models.good, &relays);
    let pushes = pushes::pushes(root, &models.good, &relays);
    Config {
        path: path.to_owned(),
        server: server::read(root),
        store: server::read_store(root),
        suites: server::read_suite_paths(root),
        signing: server::read_signing(root),
        providers: providers.good,
        models: models.good,
        judges,
        programs: programs::read(root),
        schedules,
        policy,
        budget: budget(root),
        relays,
        sinks,
        pushes,
        webhooks: gateways::webhooks(root),
        digest: sha256_hex(text.as_bytes()),
        named_suites,
        named_capabilities: policy::named_capabilities(root),
    }
}
