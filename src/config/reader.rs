//! The file being read: its text, its problems, and typed views of its tables.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::{Diagnostic, Diagnostics, LINE_CHARS_MAX, Place};

use super::durations;
use super::keys::{Kind, Section};
use super::mask;
use super::secrets::Env;

/// A byte range of the file.
pub(super) type Span = Range<usize>;

/// Most problems reported at once.
pub(super) const PROBLEMS_MAX: usize = 100;

/// The file, and what was found wrong in it.
pub(super) struct Reader<'a> {
    path: &'a Path,
    source: &'a str,
    masked: Vec<String>,
    base: PathBuf,
    /// Where environment, key files and key commands are asked.
    pub(super) env: &'a dyn Env,
    line_starts: Vec<usize>,
    found: RefCell<Diagnostics>,
    /// Problems beyond [`PROBLEMS_MAX`].
    unshown: Cell<usize>,
    /// Starts of values already reported as wrong: views skip them, so that one mistake gives one problem.
    blamed: RefCell<BTreeSet<usize>>,
    #[cfg(test)]
    pub(super) asked: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a str, path: &'a Path, base: PathBuf, env: &'a dyn Env, tree: &DeTable<'_>) -> Self {
        Reader {
            path,
            source,
            masked: mask::source(source, tree).split('\n').map(str::to_owned).collect(),
            base,
            env,
            line_starts: std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect(),
            found: RefCell::default(),
            unshown: Cell::new(0),
            blamed: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// The folder that relative paths are relative to.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// A path of the file, made relative to its folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// The exact text of a span.
    pub(super) fn text(&self, span: &Span) -> &str {
        self.source.get(span.clone()).unwrap_or("")
    }

    /// The line of a span, from 1.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.line_starts.partition_point(|start| *start <= span.start).max(1)
    }

    /// The place of a span, secrets hidden.
    pub(super) fn place(&self, span: &Span) -> Place {
        let place = Place::of(self.source, span.clone());
        let text = self.masked.get(place.line - 1).map_or("", String::as_str);
        Place { text: text.trim_end_matches('\r').chars().take(LINE_CHARS_MAX).collect(), ..place }
    }

    /// Reports a problem at a place.
    pub(super) fn problem(&self, span: &Span, message: impl AsRef<str>, hint: impl AsRef<str>) {
        if self.has_room() {
            self.push(Some(self.place(span)), message.as_ref(), hint.as_ref());
        }
    }

    /// Reports a problem with a value that the second pass must not look at again.
    pub(super) fn wrong(&self, span: &Span, message: impl AsRef<str>, hint: impl AsRef<str>) {
        self.blame(span);
        self.problem(span, message, hint);
    }

    /// Reports a problem of the whole file.
    pub(super) fn file_problem(&self, message: impl AsRef<str>, hint: impl AsRef<str>) {
        if self.has_room() {
            self.push(None, message.as_ref(), hint.as_ref());
        }
    }

    fn has_room(&self) -> bool {
        let room = self.found.borrow().0.len() < PROBLEMS_MAX;
        self.unshown.set(self.unshown.get() + usize::from(!room));
        room
    }

    fn push(&self, place: Option<Place>, message: &str, hint: &str) {
        self.found.borrow_mut().push(Diagnostic {
            file: self.path.to_owned(),
            place,
            message: mask::message(message),
            hint: (!hint.is_empty()).then(|| mask::message(hint)),
        });
    }

    fn is_blamed(&self, value: &Spanned<DeValue<'_>>) -> bool {
        self.blamed.borrow().contains(&value.span().start)
    }

    /// Takes a value out of the second pass without a problem of its own.
    pub(super) fn blame(&self, span: &Span) {
        self.blamed.borrow_mut().insert(span.start);
    }

    /// Number of problems so far, shown or not.
    pub(super) fn problems(&self) -> usize {
        self.found.borrow().0.len() + self.unshown.get()
    }

    pub(super) fn into_problems(self) -> Diagnostics {
        let mut found = self.found.into_inner();
        if self.unshown.get() > 0 {
            let message = format!("{} further problems are not shown", self.unshown.get());
            found.push(Diagnostic::file(self.path, message).hint("mend the others first"));
        }
        found
    }
}

/// A table of the file under the keys of its section; an absent table reads as an empty one.
#[derive(Clone)]
pub(super) struct View<'r> {
    pub(super) reader: &'r Reader<'r>,
    section: &'static Section,
    table: Option<&'r DeTable<'r>>,
    span: Span,
}

impl<'r> View<'r> {
    pub(super) fn new(
        reader: &'r Reader<'r>,
        section: &'static Section,
        table: Option<&'r DeTable<'r>>,
        span: Span,
    ) -> Self {
        View { reader, section, table, span }
    }

    /// The table's own place: its header, or the braces of an inline table.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The raw value of a key, unless it was already reported as wrong.
    pub(super) fn value(&self, name: &str) -> Option<&'r Spanned<DeValue<'r>>> {
        debug_assert!(self.section.key(name).is_some(), "`{name}` is not in the table of {}", self.section.heading);
        #[cfg(test)]
        self.reader.asked.borrow_mut().insert(format!("{}.{name}", self.section.path));
        self.table?.get(name).filter(|v| !self.reader.is_blamed(v))
    }

    /// Whether the key is in the file, right or wrong.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(name))
    }

    /// The place of a key's value, or of the table where it is absent.
    pub(super) fn span_of(&self, name: &str) -> Span {
        self.table.and_then(|t| t.get(name)).map_or_else(|| self.span(), Spanned::span)
    }

    pub(super) fn text(&self, name: &str) -> Option<(&'r str, Span)> {
        let value = self.value(name)?;
        value.get_ref().as_str().map(|s| (s, value.span()))
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        durations::parse(self.text(name)?.0).ok()
    }

    pub(super) fn count(&self, name: &str) -> Option<u32> {
        integer(self.value(name)?.get_ref()).and_then(|n| u32::try_from(n).ok())
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        number(self.value(name)?.get_ref())
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.value(name)?.get_ref().as_bool()
    }

    /// The texts of an array; `None` when the key is absent.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<(&'r str, Span)>> {
        let items = self.value(name)?.get_ref().as_array()?;
        let good = items.iter().filter(|i| !self.reader.is_blamed(i));
        Some(good.filter_map(|i| Some((i.get_ref().as_str()?, i.span()))).collect())
    }

    /// The entries of a free table: name, place of the name, value.
    pub(super) fn entries(&self, name: &str) -> Vec<(&'r str, Span, &'r Spanned<DeValue<'r>>)> {
        let table = self.value(name).and_then(|v| v.get_ref().as_table());
        let entries = table.into_iter().flat_map(DeTable::iter).filter(|(_, v)| !self.reader.is_blamed(v));
        entries.map(|(k, v)| (k.get_ref().as_ref(), k.span(), v)).collect()
    }

    /// A table below.
    pub(super) fn child(&self, name: &str) -> View<'r> {
        let section = self.section_of(name);
        let value = self.value(name);
        let table = value.and_then(|v| v.get_ref().as_table());
        View::new(self.reader, section, table, self.span_of(name))
    }

    /// The tables of an array of tables below.
    pub(super) fn children(&self, name: &str) -> Vec<View<'r>> {
        let section = self.section_of(name);
        let items = self.value(name).and_then(|v| v.get_ref().as_array());
        let tables = items.into_iter().flat_map(|a| a.iter());
        tables.filter_map(|i| Some(View::new(self.reader, section, Some(i.get_ref().as_table()?), i.span()))).collect()
    }

    /// The tables of a table of tables below, by name.
    pub(super) fn named_children(&self, name: &str) -> Vec<(&'r str, Span, View<'r>)> {
        let section = self.section_of(name);
        let view = |v: &'r Spanned<DeValue<'r>>| {
            Some(View::new(self.reader, section, Some(v.get_ref().as_table()?), v.span()))
        };
        self.entries(name).into_iter().filter_map(|(k, span, v)| Some((k, span, view(v)?))).collect()
    }

    fn section_of(&self, name: &str) -> &'static Section {
        match self.section.key(name).map(|k| k.kind) {
            Some(Kind::Table(s) | Kind::Tables(s) | Kind::NamedTables(s)) => s,
            _ => self.section,
        }
    }
}

/// The integer of a value.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok(),
        _ => None,
    }
}

/// The finite number of a value; integers are numbers too.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(_) => integer(value).map(|i| i as f64),
        DeValue::Float(f) => f.as_str().parse::<f64>().ok().filter(|f| f.is_finite()),
        _ => None,
    }
}
