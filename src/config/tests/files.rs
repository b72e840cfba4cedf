//! Reading from real files.

use std::path::Path;

use super::MINIMAL;
use crate::config::{CONFIG_BYTES_MAX, Config, PolicyFile};

fn problem(path: &Path) -> String {
    let problems = Config::load(path).expect_err("refused");
    assert_eq!(problems.0.len(), 1, "{problems}");
    problems.0[0].message.clone()
}

#[test]
fn a_file_is_loaded_and_its_paths_are_absolute() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("exactod.toml");
    std::fs::write(folder.path().join("key"), "from-file\n").expect("written");
    let text = MINIMAL.replace(
        "id = \"p\"",
        "id = \"p\"\napi_key = { file = \"key\" }\nheaders = { x-key = { command = [\"cat\", \"key\"] } }",
    );
    std::fs::write(&path, &text).expect("written");
    let config = Config::load(&path).unwrap_or_else(|p| panic!("{p}"));
    use secrecy::ExposeSecret as _;
    assert_eq!(config.providers[0].api_key.as_ref().map(|k| k.expose_secret()), Some("from-file"));
    assert_eq!(config.providers[0].headers["x-key"].expose_secret(), "from-file");
    assert_eq!(config.store.url.expose(), format!("sqlite://{}/data/exactod.db", folder.path().display()));
    // Windows line ends and a byte-order mark are what some editors write.
    std::fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).expect("written");
    assert!(Config::load(&path).is_ok());
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("exactod.toml");
    assert_eq!(problem(&path), "there is no such file");
    assert_eq!(problem(folder.path()), "this is a folder, not a config file");
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("written");
    write(b"");
    assert_eq!(problem(&path), "the config is empty");
    write(b"a = 1\nb = \"\xff\"\n");
    assert_eq!(problem(&path), "the config is not UTF-8 text: a wrong byte stands in line 2");
    write(&vec![b'#'; CONFIG_BYTES_MAX + 1]);
    assert_eq!(problem(&path), "a config has at most 1048576 bytes");
    write(b"# only a comment\n");
    let problems = Config::load(&path).expect_err("refused").to_string();
    assert!(problems.contains("no [[provider]] is configured") && problems.contains("no [[model]] is configured"));
}

#[test]
fn many_problems_are_cut_with_a_word_on_it() {
    let text: String = (0..150).map(|i| format!("zzzzz{i} = 1\n")).collect();
    let problems = super::parse(&format!("{text}{MINIMAL}")).expect_err("refused");
    assert_eq!(problems.0.len(), 101);
    assert!(problems.to_string().contains("50 further problems are not shown"), "{problems}");
}

#[test]
fn the_policies_of_a_file_are_read_without_the_rest_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).expect("written");
        PolicyFile::load(&path)
    };
    let file =
        load("[policy]\nmargin = 0.03\n[[model]]\nid = \"lab/m\"\npolicy = { alpha = 0.05 }\n[unheard]\nof = 1\n");
    let file = file.unwrap_or_else(|p| panic!("{p}"));
    assert_eq!((file.of("lab/m").margin, file.of("lab/m").alpha), (0.03, 0.05));
    assert_eq!((file.of("lab/n").margin, file.of("lab/n").alpha), (0.03, 0.01), "absent keys have their defaults");
    let told = |text: &str| load(text).expect_err("refused").to_string();
    let several = told("[policy]\nmargni = 1\nalpha = 0.7\n[[model]]\nid = \"m\"\npolicy = { anchors = 0 }\n");
    for part in ["did you mean `margin`?", "alpha", "anchors"] {
        assert!(several.contains(part), "{several}");
    }
    assert!(told("margin = 0.1").contains("there is no [policy]"));
    assert!(told("policy = 3").contains("`policy` must be a table"));
    assert!(told("[policy").contains("this is not TOML"));
}
