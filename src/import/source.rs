//! From a path to an importer: reads files, chooses a name, and proves that the suite loads.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::common::{Files, SOURCE_BYTES_MAX, refused, short_hash};
use super::graders::Grader;
use super::{ImportError, Imported, inspect, jsonschemabench, k2vv, openai_evals, promptfoo, requests};
use crate::suites::parse_suite;

/// The configuration that is looked for in a folder of promptfoo's.
const PROMPTFOO_FILE: &str = "promptfooconfig.yaml";
/// The samples that are looked for in a folder of the K2 verifier's.
const SAMPLES_FILE: &str = "samples.jsonl";
/// Longest name that is made from a file's name, in bytes.
const NAME_BYTES_MAX: usize = 60;

/// What the user says about a source.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The suite's name; made from the file's name without it.
    pub name: Option<&'a str>,
    /// Results of a reference run (`k2vv`).
    pub results: Option<&'a Path>,
    /// How answers are compared with targets (`openai-evals`, `inspect`); the source's usual way without it.
    pub grader: Option<&'a str>,
    /// Go on where something cannot be taken over, and mark it (`promptfoo`).
    pub allow_unsupported: bool,
}

/// The kinds of source that this module reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Kimi K2 Vendor Verifier.
    K2vv,
    /// A promptfoo configuration.
    Promptfoo,
    /// OpenAI evals samples.
    OpenaiEvals,
    /// inspect samples.
    Inspect,
    /// JSONSchemaBench.
    Jsonschemabench,
    /// Request logs.
    Requests,
}

/// Reads a source and makes a suite of it.
///
/// The caller proves that the suite loads ([`prove`]).
///
/// # Errors
/// A file cannot be read, or the importer refuses what is in it.
pub fn import(kind: SourceKind, path: &Path, wanted: &Wanted<'_>) -> Result<Imported, ImportError> {
    let path = match kind {
        SourceKind::K2vv if path.is_dir() => path.join(SAMPLES_FILE),
        SourceKind::Promptfoo if path.is_dir() => path.join(PROMPTFOO_FILE),
        _ => path.to_owned(),
    };
    let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let made;
    let name = match wanted.name {
        Some(name) => name,
        None => {
            made = suite_name(&path);
            &made
        }
    };
    let bytes = read(&path)?;
    let grader = |read: fn(&str) -> Result<Grader, String>, usual: Grader| {
        wanted.grader.map_or(Ok(usual), |word| read(word).map_err(|why| refused("--grader", why)))
    };
    match kind {
        SourceKind::K2vv => {
            let results = wanted.results.map(read).transpose()?;
            k2vv::import(name, &file, &bytes, results.as_deref())
        }
        SourceKind::Promptfoo => {
            let folder = Folder(path.parent().unwrap_or(Path::new(".")).to_owned());
            promptfoo::import(name, &file, &bytes, &folder, wanted.allow_unsupported)
        }
        SourceKind::OpenaiEvals => openai_evals::import(name, &file, &bytes, grader(Grader::of_evals, Grader::Match)?),
        SourceKind::Inspect => {
            inspect::import(name, &file, &bytes, grader(Grader::of_inspect, Grader::IncludesAnyCase)?)
        }
        SourceKind::Jsonschemabench => jsonschemabench::import(name, &file, &bytes),
        SourceKind::Requests => requests::import(name, &file, &bytes),
    }
}

/// A suite that does not load is never handed out.
///
/// # Errors
/// What the suite's own check says.
pub fn prove(imported: &Imported) -> Result<(), ImportError> {
    let cases = imported.cases.join("\n");
    match parse_suite(Path::new(&imported.name), imported.header.as_bytes(), cases.as_bytes()) {
        Ok(_) => Ok(()),
        Err(problems) => Err(refused(
            &imported.name,
            format!("the source holds what a suite cannot; report this, please:\n{problems}"),
        )),
    }
}

/// The file's name without its ending, or that of its folder where the file's says nothing.
fn suite_name(path: &Path) -> String {
    let stem = |path: &Path| path.file_stem().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let file = stem(path);
    let common = ["promptfooconfig", "samples", "data", "test", "train"].contains(&file.as_str());
    let folder = path.parent().map(stem).filter(|name| common && !name.is_empty());
    let name: String = folder
        .unwrap_or_else(|| file.clone())
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    match name.len() {
        1..=NAME_BYTES_MAX => name.to_owned(),
        _ => format!("import-{}", short_hash(&file)),
    }
}

/// A whole file, unless it is larger than a source may be; also of a pipe no more than that is read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let failed = |error: io::Error| ImportError::file("read", path, &error);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        return Err(refused(path.display().to_string(), format!("the file is larger than {SOURCE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The folder of a configuration: what it names must lie inside.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(path).components().all(inside) {
            return Err("only files in the configuration's own folder are read".to_owned());
        }
        let full = self.0.join(path);
        let folder = self.0.canonicalize().map_err(|e| e.to_string())?;
        // A link could lead out of the folder.
        match full.canonicalize() {
            Ok(real) if !real.starts_with(&folder) => {
                return Err("it is a link out of the configuration's folder".to_owned());
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err("there is no such file".to_owned()),
            Err(e) => return Err(e.to_string()),
        }
        read(&full).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files_or_their_folders() {
        for (path, name) in [
            ("/x/My Samples_v2.jsonl", "my-samples-v2"),
            ("/x/k2vv/samples.jsonl", "k2vv"),
            ("translate/promptfooconfig.yaml", "translate"),
            ("samples.jsonl", "samples"),
        ] {
            assert_eq!(suite_name(Path::new(path)), name);
        }
        assert!(suite_name(Path::new("/äöü.jsonl")).starts_with("import-"));
    }

    #[test]
    fn a_configuration_reads_its_own_folder_only() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(dir.path().join("secret.txt"), "s").unwrap();
        std::fs::write(inner.join("a.txt"), "a").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret.txt"), inner.join("link.txt")).unwrap();
        let folder = Folder(inner);
        assert_eq!(folder.read("./a.txt").unwrap(), b"a");
        for path in ["../secret.txt", "/etc/hostname", "link.txt", "none.txt"] {
            assert!(folder.read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_source_becomes_a_suite_and_a_wrong_grader_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facts.jsonl");
        std::fs::write(&path, "{\"input\": \"2+2?\", \"ideal\": \"4\"}\n").unwrap();
        let imported = import(SourceKind::OpenaiEvals, &path, &Wanted::default()).unwrap();
        assert_eq!((imported.name.as_str(), imported.cases.len()), ("facts", 1));
        let wanted = Wanted { grader: Some("exact"), ..Wanted::default() };
        let error = import(SourceKind::OpenaiEvals, &path, &wanted).unwrap_err().to_string();
        assert!(error.contains("known: match, includes, fuzzy, json"), "{error}");
        assert!(matches!(import(SourceKind::K2vv, dir.path(), &wanted), Err(ImportError::File { .. })));
    }
}
