//! From the two files of a folder to a [`Suite`], or to the list of everything that is wrong in them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::diagnostics::{Diagnostic, Diagnostics, Place, nearest};
use crate::domain::suite::SuiteFiles;
use crate::domain::{Case, CaseId, Suite, SuiteDigest, SuiteName};
use crate::sandbox::limits::SOURCE_BYTES_MAX;
use crate::sandbox::{Problem, Program};

use super::case::{self, Draft};
use super::check::{Checker, Origin};
use super::chunks;
use super::drawer::{self, DrawError, Programs};
use super::header::{self, Header};
use super::limits::{CASES_BYTES_MAX, CASES_MAX, HEADER_BYTES_MAX, LINE_BYTES_MAX, PROGRAMS_MAX};
use super::source::{self, At, Findings, Path as ValuePath, clip, type_name};
use super::strict_json::{self, JsonLocator};
use super::strict_text::{self, Texts};
use super::{digest, pair, shipped};

/// The header's file name.
pub const HEADER_FILE: &str = "suite.toml";
/// The cases' file name.
pub const CASES_FILE: &str = "cases.jsonl";
/// How the names of Starlark files end.
const PROGRAM_EXTENSION: &str = "star";

/// Loads one suite folder.
///
/// # Errors
/// Everything that is wrong in its files, with file, line and column.
pub fn load_suite(dir: &Path) -> Result<Suite, Diagnostics> {
    let mut problems = Vec::new();
    let header = read_bounded(&dir.join(HEADER_FILE), HEADER_BYTES_MAX, &mut problems);
    let cases = read_bounded(&dir.join(CASES_FILE), CASES_BYTES_MAX, &mut problems);
    match (header, cases) {
        (Some(header), Some(cases)) => {
            let files = read_programs(dir, &mut problems);
            Diagnostics(problems).into_result(())?;
            parse_suite_with(dir, &header, &cases, files)
        }
        _ => Diagnostics(problems).into_result(()).and_then(|()| Err(Diagnostics::default())),
    }
}

/// The Starlark files of a folder.
fn read_programs(dir: &Path, problems: &mut Vec<Diagnostic>) -> SuiteFiles {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.is_file() && path.extension().is_some_and(|e| e == PROGRAM_EXTENSION)).collect();
    paths.sort();
    if paths.len() > PROGRAMS_MAX {
        let message = format!("a suite has at most {PROGRAMS_MAX} Starlark files, not {}", paths.len());
        problems.push(Diagnostic::file(dir, message));
        paths.truncate(PROGRAMS_MAX);
    }
    let mut files = SuiteFiles::new();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(bytes) = read_bounded(&path, SOURCE_BYTES_MAX as u64, problems) else { continue };
        match utf8(&path, &bytes) {
            Ok(text) => {
                files.insert(name.to_owned(), Arc::from(text));
            }
            Err(problem) => problems.push(*problem),
        }
    }
    files
}

/// What is wrong in a suite's programs.
fn program_problems(dir: &Path, files: &SuiteFiles) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, source) in files {
        let file = dir.join(name);
        for Problem { span, message, hint } in Program::compile(source).err().unwrap_or_default() {
            let problem = Diagnostic::at(&file, source, span, message);
            found.push(match hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
    }
    found
}

/// Loads suites: each path is a suite folder, or a folder of suite folders (other entries in it are passed over).
/// The shipped suites are added unless a loaded one has the same name. Sorted by name.
///
/// # Errors
/// Everything that is wrong in all of them; two suites of one name; a path without any suite.
pub fn load_all(paths: &[PathBuf]) -> Result<Vec<Arc<Suite>>, Diagnostics> {
    let mut problems = Vec::new();
    let mut suites = load_folders(paths, &mut problems);
    let taken: Vec<SuiteName> = suites.iter().map(|suite| suite.name.clone()).collect();
    match shipped::shipped_but(&taken) {
        Ok(shipped) => suites.extend(shipped),
        Err(found) => problems.extend(found.0),
    }
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    Diagnostics(problems).into_result(suites)
}

/// As [`load_all`], without the shipped suites.
///
/// # Errors
/// As [`load_all`].
pub fn load_given(paths: &[PathBuf]) -> Result<Vec<Arc<Suite>>, Diagnostics> {
    let mut problems = Vec::new();
    let mut suites = load_folders(paths, &mut problems);
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    Diagnostics(problems).into_result(suites)
}

fn load_folders(paths: &[PathBuf], problems: &mut Vec<Diagnostic>) -> Vec<Arc<Suite>> {
    let mut loaded: Vec<(PathBuf, Arc<Suite>)> = Vec::new();
    for dir in paths.iter().flat_map(|path| suite_folders(path, problems)).collect::<Vec<_>>() {
        match load_suite(&dir) {
            Ok(suite) => match loaded.iter().find(|(_, other)| other.name == suite.name) {
                Some((first, _)) => {
                    let message = format!("the suite `{}` is loaded from {} already", suite.name, first.display());
                    problems.push(Diagnostic::file(&dir, message).hint("give each suite folder a name of its own"));
                }
                None => loaded.push((dir, Arc::new(suite))),
            },
            Err(found) => problems.extend(found.0),
        }
    }
    loaded.into_iter().map(|(_, suite)| suite).collect()
}

fn suite_folders(path: &Path, problems: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    if path.join(HEADER_FILE).is_file() {
        return vec![path.to_owned()];
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            let hint = "a path of suites is a suite folder, or a folder of suite folders";
            problems.push(Diagnostic::file(path, format!("cannot read the folder: {error}")).hint(hint));
            return Vec::new();
        }
    };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|dir| dir.join(HEADER_FILE).is_file()).collect();
    folders.sort();
    if folders.is_empty() {
        let hint = format!("a suite is a folder with {HEADER_FILE} and {CASES_FILE}: `exactod suite new` makes one");
        problems.push(Diagnostic::file(path, "there is no suite here").hint(hint));
    }
    folders
}

fn read_bounded(path: &Path, limit: u64, problems: &mut Vec<Diagnostic>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        // Room at once: a buffer that grows is copied, and its pages are made anew, again and again.
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        bytes.reserve_exact(usize::try_from(length.min(limit)).unwrap_or(0) + 1);
        file.take(limit + 1).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) if bytes.len() as u64 <= limit => Some(bytes),
        Ok(_) => {
            problems.push(Diagnostic::file(path, format!("the file is larger than {limit} bytes")));
            None
        }
        Err(error) => {
            let hint = format!("a suite is a folder with {HEADER_FILE} and {CASES_FILE}");
            problems.push(Diagnostic::file(path, format!("cannot read the file: {error}")).hint(hint));
            None
        }
    }
}

/// Parses the two files of the folder `dir`, which is named in messages and gives the suite's name, but is not read.
///
/// # Errors
/// As [`load_suite`].
pub fn parse_suite(dir: &Path, header: &[u8], cases: &[u8]) -> Result<Suite, Diagnostics> {
    parse_suite_with(dir, header, cases, SuiteFiles::new())
}

/// As [`parse_suite`], with the Starlark files of the folder by their names.
///
/// # Errors
/// As [`load_suite`].
pub fn parse_suite_with(dir: &Path, header: &[u8], cases: &[u8], files: SuiteFiles) -> Result<Suite, Diagnostics> {
    let broken = program_problems(dir, &files);
    Diagnostics(broken).into_result(())?;
    let (header_file, cases_file) = (dir.join(HEADER_FILE), dir.join(CASES_FILE));
    let (header_text, mut problems) = match utf8(&header_file, header) {
        Ok(text) => (text, Vec::new()),
        Err(problem) => ("", vec![*problem]),
    };
    let folder = folder_name(dir);
    let (mut header, found) = match problems.is_empty() {
        true => header::read(&header_file, header_text, folder.as_deref()),
        false => (Header::default(), Vec::new()),
    };
    problems.extend(found);
    header.files = Arc::new(files);
    let mut lines = Lines { file: &cases_file, header: &header, problems, cases: Vec::new(), places: Vec::new() };
    lines.read(cases);
    lines.finish(&header_file, header_text)
}

/// The name of a folder, also of `.`.
fn folder_name(dir: &Path) -> Option<String> {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    name.or_else(|| Some(dir.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned()))
}

/// The bytes as text, without a byte order mark.
fn utf8<'b>(file: &Path, bytes: &'b [u8]) -> Result<&'b str, Box<Diagnostic>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let end = before.len();
        Box::new(Diagnostic::at(file, &before, end..end, "these bytes are not UTF-8").hint("save the file as UTF-8"))
    })
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a case stands, and what the loader must remember about it.
struct CasePlace<'a> {
    line: usize,
    text: &'a str,
    origin: Origin,
    named: bool,
    drawable: bool,
    /// The index of a case that says the very same under another name.
    twin_of: Option<usize>,
}

/// What `work` gives and reports about a line.
fn reported<T>(
    file: &Path,
    number: usize,
    text: &str,
    work: impl FnOnce(&mut Findings<'_>) -> T,
) -> (T, Vec<Diagnostic>) {
    let locator = JsonLocator(text);
    let mut findings = Findings::new(file, text, number, &locator);
    let result = work(&mut findings);
    (result, findings.into_list())
}

type ReadCases<'a> = (Vec<Diagnostic>, Vec<(Case, CasePlace<'a>)>);

/// Reads numbered lines, each by itself. Lines that differ in the names of their cases alone, as generated suites have them,
/// are read once.
fn read_lines<'a>(file: &Path, header: &Header, lines: &[(usize, &'a [u8])]) -> ReadCases<'a> {
    let mut problems = Vec::new();
    let mut cases: Vec<(Case, CasePlace<'a>)> = Vec::with_capacity(lines.len());
    let mut known: HashMap<(&'a str, &'a str), usize> = HashMap::new();
    for &(number, line) in lines {
        if line.len() > LINE_BYTES_MAX {
            let message = format!("a line has at most {LINE_BYTES_MAX} bytes, this one has {}", line.len());
            let hint = format!("long texts that several cases share belong into [vars] of {HEADER_FILE}");
            problems.extend(reported(file, number, "", |f| f.at_span(0..0, message, Some(hint))).1);
            continue;
        }
        match utf8(file, line) {
            Ok(text) => {
                let text = text.strip_suffix('\r').unwrap_or(text);
                let parts = around_the_name(text);
                let first = parts.as_ref().and_then(|(rest, _)| known.get(rest)).copied();
                if let Some((twin, (_, name))) = first.zip(parts.as_ref())
                    && let Ok(id) = CaseId::new(name)
                {
                    let (case, place) = &cases[twin];
                    let (case, origin) = (Case { id, ..case.clone() }, place.origin);
                    let place = CasePlace { line: number, text, origin, twin_of: Some(twin), ..*place };
                    cases.push((case, place));
                    continue;
                }
                let (read, found) = reported(file, number, text, |f| read_line(number, text, header, f));
                if let (Some((rest, _)), true, true) = (parts, found.is_empty(), read.is_some()) {
                    known.insert(rest, cases.len());
                }
                problems.extend(found);
                cases.extend(read);
            }
            Err(mut problem) => {
                problem.place = problem.place.map(|place| Place { line: number, ..place });
                problems.push(*problem);
            }
        }
    }
    (problems, cases)
}

/// What stands before and after the name of a case, and the name; `None` where the line does not begin with a plain one.
fn around_the_name(text: &str) -> Option<((&str, &str), &str)> {
    let rest = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix("\"id\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let start = text.len() - rest.len();
    let (name, after) = rest.split_once('"')?;
    let is_plain = !name.contains('\\') && after.trim_start().starts_with(',');
    is_plain.then(|| ((&text[..start], after), name))
}

fn read_line<'a>(number: usize, text: &'a str, header: &Header, f: &mut Findings<'_>) -> Option<(Case, CasePlace<'a>)> {
    // Variables are filled in trees.
    if let Some((map, texts)) = header.vars.is_empty().then(|| strict_text::split(text)).flatten() {
        return case::read(map, texts, number, header, f).map(|draft| placed(draft, number, text));
    }
    let draft = match strict_json::parse(text) {
        Ok(Value::Object(map)) => case::read(map, Texts::default(), number, header, f),
        Ok(other) => {
            f.at_span(0..text.len(), format!("a case is an object, not {}", type_name(&other)), None);
            None
        }
        Err(error) => {
            let hint = "one case per line: a JSON object without line breaks".to_owned();
            f.at_span(error.at..error.at + 1, format!("not valid JSON: {}", error.message), Some(hint));
            None
        }
    };
    draft.map(|draft| placed(draft, number, text))
}

fn placed(draft: Draft, line: usize, text: &str) -> (Case, CasePlace<'_>) {
    let Draft { mut case, named, messages_key, scorers_key, drawable } = draft;
    case.hash = digest::case_hash(&case);
    let origin = Origin { messages_key, scorers_key };
    (case, CasePlace { line, text, origin, named, drawable, twin_of: None })
}

/// The cases of a suite while they are read.
struct Lines<'a> {
    file: &'a Path,
    header: &'a Header,
    problems: Vec<Diagnostic>,
    cases: Vec<Case>,
    places: Vec<CasePlace<'a>>,
}

impl<'a> Lines<'a> {
    fn read(&mut self, bytes: &'a [u8]) {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let lines = bytes.split(|b| *b == b'\n').enumerate().map(|(i, line)| (i + 1, line));
        let mut lines: Vec<(usize, &[u8])> =
            lines.filter(|(_, line)| !line.trim_ascii().is_empty()).take(CASES_MAX + 1).collect();
        let beyond = (lines.len() > CASES_MAX).then(|| lines.pop()).flatten();
        let (file, header) = (self.file, self.header);
        for (problems, cases) in chunks::map(&lines, |lines| read_lines(file, header, lines)) {
            self.problems.extend(problems);
            let before = self.cases.len();
            for (case, place) in cases {
                self.cases.push(case);
                self.places.push(CasePlace { twin_of: place.twin_of.map(|twin| before + twin), ..place });
            }
        }
        if let Some((number, _)) = beyond {
            let message = format!("a suite has at most {CASES_MAX} cases");
            self.problems.extend(reported(file, number, "", |f| f.at_span(0..0, message, None)).1);
        }
        if self.cases.is_empty() && self.problems.iter().all(|p| p.file != self.file) {
            self.problems.push(Diagnostic::file(self.file, "the suite has no cases").hint("write one case per line"));
        }
    }

    fn finish(mut self, header_file: &Path, header_text: &str) -> Result<Suite, Diagnostics> {
        self.duplicates();
        self.pairs();
        let header = self.header;
        let excluded: HashSet<&str> = header.exclude.iter().map(String::as_str).collect();
        let ids: HashSet<&str> = self.cases.iter().map(|case| case.id.as_str()).collect();
        let unknown = unknown_exclusions(&header.exclude, &ids);
        self.problems.extend(header::unknown_exclusions(header_file, header_text, &unknown));
        if let Some(name) = &header.name {
            digest::mark_fixed(name, header.fixed_share, &mut self.cases, &excluded);
        }
        let cases: Vec<Arc<Case>> = std::mem::take(&mut self.cases).into_iter().map(Arc::new).collect();
        self.check(&cases);
        let (broken, kept): (Vec<Arc<Case>>, Vec<Arc<Case>>) =
            cases.into_iter().partition(|case| excluded.contains(case.id.as_str()));
        if kept.is_empty() && !excluded.is_empty() && self.problems.is_empty() {
            self.problems.push(Diagnostic::file(header_file, "every case of the suite is excluded"));
        }
        let suite = build(header, kept, broken);
        source::bounded(self.file, self.problems).into_result(())?;
        // Without a problem every part of the header is there.
        suite.ok_or_else(|| Diagnostics(vec![Diagnostic::file(header_file, "the header is not complete")]))
    }

    fn duplicates(&mut self) {
        let mut first: HashMap<CaseId, usize> = HashMap::new();
        let mut again = Vec::new();
        for (i, (case, place)) in self.cases.iter().zip(&self.places).enumerate().filter(|(_, (_, p))| p.named) {
            match first.get(&case.id) {
                Some(line) => again.push((i, format!("the id `{}` stands in line {line} already", case.id))),
                None => {
                    first.insert(case.id.clone(), place.line);
                }
            }
        }
        for (i, message) in again {
            let (line, text) = (self.places[i].line, self.places[i].text);
            let at_id = |f: &mut Findings<'_>| {
                let hint = "ids are unique in a suite: give each case one of its own".to_owned();
                f.at(&ValuePath::ROOT.key("id"), At::Value, message, Some(hint));
            };
            self.problems.extend(reported(self.file, line, text, at_id).1);
        }
    }

    /// Gives every case with `pair` what the other one asks, the other way.
    fn pairs(&mut self) {
        let known: HashMap<CaseId, usize> = self.cases.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
        for i in 0..self.cases.len() {
            let Some(pair) = self.cases[i].pair.clone() else { continue };
            let other = known.get(&pair.with).map(|at| (*at, &self.cases[*at]));
            let paired = match other {
                None => Err(format!("no case has the id `{}`", clip(pair.with.as_str()))),
                Some((_, other)) if other.pair.is_some() => Err(format!("`{}` is paired itself", other.id)),
                Some((_, other)) if other.world.is_some() => {
                    Err(format!("`{}` is a conversation: only cases of one answer can be paired", other.id))
                }
                Some((_, other)) if pair.content && !is_repeatable(other) => {
                    Err("`content` can be compared only where `temperature` is 0 and a `seed` is sent".to_owned())
                }
                Some((at, other)) => Ok((at, pair::asked_the_other_way(other, &self.cases[i]))),
            };
            match paired {
                Ok((at, case)) => {
                    self.cases[i] = case;
                    self.places[i].origin.scorers_key = self.places[at].origin.scorers_key;
                    self.places[i].drawable = self.places[at].drawable;
                }
                Err(message) => {
                    let (line, text) = (self.places[i].line, self.places[i].text);
                    let at_pair = |f: &mut Findings<'_>| f.value(&ValuePath::ROOT.key("pair").key("with"), message);
                    self.problems.extend(reported(self.file, line, text, at_pair).1);
                    self.places[i].drawable = false;
                }
            }
        }
    }

    /// Placeholders, expressions, one trial draw per case, and what the instance sends and expects.
    fn check(&mut self, cases: &[Arc<Case>]) {
        let places = std::mem::take(&mut self.places);
        let placed: Vec<Placed<'_>> = cases.iter().zip(&places).enumerate().map(|(i, (c, p))| (i, c, p)).collect();
        let (file, header) = (self.file, self.header);
        self.problems.extend(chunks::map(&placed, |placed| check_cases(file, header, placed)).into_iter().flatten());
    }
}

/// A case with its index and its place.
type Placed<'a> = (usize, &'a Arc<Case>, &'a CasePlace<'a>);

/// A twin of a case in which nothing is wrong is not looked at.
fn check_cases(file: &Path, header: &Header, placed: &[Placed<'_>]) -> Vec<Diagnostic> {
    let own: HashSet<usize> = placed.iter().map(|(i, ..)| *i).collect();
    let (twins, first): (Vec<Placed<'_>>, Vec<Placed<'_>>) =
        placed.iter().partition(|(_, _, place)| place.twin_of.is_some_and(|twin| own.contains(&twin)));
    let mut found = check_each(file, header, &first);
    let wrong: HashSet<usize> = found.iter().map(|(i, _)| *i).collect();
    let rest = twins.into_iter().filter(|(_, _, place)| place.twin_of.is_some_and(|twin| wrong.contains(&twin)));
    found.extend(check_each(file, header, &rest.collect::<Vec<_>>()));
    found.sort_by_key(|(i, _)| *i);
    found.into_iter().map(|(_, problem)| problem).collect()
}

/// What is wrong, each problem with the index of its case.
fn check_each(file: &Path, header: &Header, placed: &[Placed<'_>]) -> Vec<(usize, Diagnostic)> {
    let drawable = placed.iter().filter(|(_, _, place)| place.drawable).map(|(_, case, _)| case.as_ref());
    let mut programs = drawer::compile_all(drawable).into_iter();
    let (mut checker, trial) = (Checker::default(), trial_digest());
    let mut problems = Vec::new();
    for (index, case, place) in placed {
        let programs = if place.drawable { programs.next() } else { None };
        let check = |f: &mut Findings<'_>| check_case(case, place, programs, header, &trial, &mut checker, f);
        let found = reported(file, place.line, place.text, check).1;
        problems.extend(found.into_iter().map(|problem| (*index, problem)));
    }
    problems
}

/// Seed of the draw that the loader tries.
const TRIAL_SEED: &str = "load";

/// The digest under which the loader tries a draw: the suite's own is not known before all cases are read.
fn trial_digest() -> Option<SuiteDigest> {
    SuiteDigest::new("0").ok()
}

fn check_case(
    case: &Arc<Case>,
    place: &CasePlace<'_>,
    programs: Option<Programs>,
    header: &Header,
    trial: &Option<SuiteDigest>,
    checker: &mut Checker,
    f: &mut Findings<'_>,
) {
    let template = drawer::compile_template(case, place.origin.messages_key, &mut |path, error| {
        template_problem(case, header, path, error, f);
    });
    let programs = match programs {
        Some(Ok(programs)) => programs,
        Some(Err(errors)) => {
            errors.iter().for_each(|(_, error)| expression_problem(error, f));
            return;
        }
        None => return,
    };
    let (Ok(template), Some(digest)) = (template, trial) else { return };
    match drawer::draw_slots(case, &programs, TRIAL_SEED, digest, 0) {
        Ok(slots) => checker.instance(&drawer::instance(case, &template, &slots), &place.origin, f),
        Err(error) => expression_problem(&error, f),
    }
}

fn template_problem(case: &Case, header: &Header, path: &ValuePath<'_>, error: &DrawError, f: &mut Findings<'_>) {
    match error {
        DrawError::Placeholder { name, .. } if header.whole => {
            let names = case.params.iter().map(|(name, _)| name).chain(case.derive.iter().map(|(name, _)| name));
            let hint = match nearest(name, names.chain(header.vars.keys()).map(String::as_str)) {
                Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
                None => format!("for the text itself write \\\\{{{{{name}}}}}"),
            };
            let message = format!("`{{{{{}}}}}` names no parameter, derived value or entry of [vars]", clip(name));
            f.at(path, At::Value, message, Some(hint));
        }
        DrawError::PlaceholderInKey { key, .. } => {
            let message = format!("the key `{}` holds a placeholder; only values are filled", clip(key));
            f.at(path, At::Key, message, None);
        }
        _ => {}
    }
}

fn expression_problem(error: &DrawError, f: &mut Findings<'_>) {
    if let DrawError::Expression { name, expression, reason, .. } = error {
        let hint = format!("a Starlark expression over parameters and earlier derived values: {}", clip(expression));
        let path = ValuePath::ROOT;
        f.at(&path.key("derive").key(name), At::Value, format!("`{}`: {reason}", clip(name)), Some(hint));
    }
}

/// Its answers are the same whenever it is asked, as far as the request can say so.
fn is_repeatable(case: &Case) -> bool {
    case.request.get("temperature").and_then(Value::as_f64) == Some(0.0) && case.request.contains_key("seed")
}

fn unknown_exclusions(exclude: &[String], ids: &HashSet<&str>) -> Vec<(usize, String)> {
    let unknown = exclude.iter().enumerate().filter(|(_, id)| !ids.contains(id.as_str()));
    unknown.map(|(i, id)| (i, format!("`{}` is excluded, but no case has this id", clip(id)))).collect()
}

fn build(header: &Header, cases: Vec<Arc<Case>>, broken: Vec<Arc<Case>>) -> Option<Suite> {
    let name: SuiteName = header.name.clone()?;
    Some(Suite {
        name,
        kind: header.kind.clone(),
        revision: header.revision.clone(),
        license: header.license.clone(),
        digest: SuiteDigest::new(&digest::suite_digest(&cases)).ok()?,
        epochs: header.epochs.clone(),
        sampling: header.sampling.clone(),
        fixed_share: header.fixed_share,
        by_default: !header.on_request,
        cases,
        excluded: header.exclude.iter().filter_map(|id| CaseId::new(id).ok()).collect(),
        broken,
        metrics: header.metrics.clone(),
    })
}
