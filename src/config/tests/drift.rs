//! The tables of keys, the parser, the schema and the documentation say the same.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use toml::de::DeTable;

use super::{EVERYTHING, FakeEnv, MINIMAL, parse};
use crate::config::keys::{Kind, Need, ROOT, Section};
use crate::config::reader::{Reader, View};
use crate::config::{Config, load, schema};

/// Every `section.key` of the tables that this version understands.
fn all_keys(section: &Section, out: &mut BTreeSet<String>) {
    for key in section.keys.iter().filter(|k| !matches!(k.need, Need::Later(_))) {
        out.insert(format!("{}.{}", section.path, key.name));
        if let Kind::Table(below) | Kind::Tables(below) | Kind::NamedTables(below) = key.kind {
            all_keys(below, out);
        }
    }
}

#[test]
fn the_parser_asks_for_every_key_of_the_tables() {
    let env = FakeEnv::with(&[("KEY", "k3y")]);
    let tree = DeTable::parse(EVERYTHING).expect("TOML");
    let reader = Reader::new(EVERYTHING, Path::new("x"), "".into(), &env, tree.get_ref());
    let root = View::new(&reader, &ROOT, Some(tree.get_ref()), tree.span());
    load::assemble(&root, EVERYTHING, Path::new("x"));
    let mut known = BTreeSet::new();
    all_keys(&ROOT, &mut known);
    assert_eq!(*reader.asked.borrow(), known);
}

/// A config in which every key with a default is written out with it.
fn with_defaults_written(section: &Section, prefix: &str, out: &mut String) {
    for key in section.keys {
        if let Need::Default(default) = key.need {
            out.push_str(&format!("{prefix}{} = {default}\n", key.name));
        }
        if let Kind::Table(below) = key.kind {
            with_defaults_written(below, &format!("{prefix}{}.", key.name), out);
        }
    }
}

#[test]
fn the_documented_defaults_are_those_of_the_parser() {
    let mut top = String::new();
    let (mut provider, mut model, mut endpoint, mut schedule, mut judge) =
        (String::new(), String::new(), String::new(), String::new(), String::new());
    let (mut relay, mut sink, mut push, mut webhook) = (String::new(), String::new(), String::new(), String::new());
    let mut exec = String::new();
    for key in ROOT.keys {
        match key.kind {
            Kind::Table(s) => with_defaults_written(s, &format!("{}.", key.name), &mut top),
            Kind::Tables(s) if key.name == "provider" => with_defaults_written(s, "", &mut provider),
            Kind::Tables(s) if key.name == "model" => {
                with_defaults_written(s, "", &mut model);
                let below = s.key("endpoint").map(|k| k.kind);
                let Some(Kind::Tables(below)) = below else { panic!("endpoints are tables") };
                with_defaults_written(below, "", &mut endpoint);
            }
            Kind::Tables(s) if key.name == "judge" => with_defaults_written(s, "", &mut judge),
            Kind::Tables(s) if key.name == "schedule" => with_defaults_written(s, "", &mut schedule),
            Kind::Tables(s) if key.name == "relay" => with_defaults_written(s, "", &mut relay),
            Kind::Tables(s) if key.name == "sink" => with_defaults_written(s, "", &mut sink),
            Kind::Tables(s) if key.name == "push" => with_defaults_written(s, "", &mut push),
            Kind::Tables(s) if key.name == "webhook" => with_defaults_written(s, "", &mut webhook),
            Kind::Tables(s) if key.name == "exec" => with_defaults_written(s, "", &mut exec),
            _ => panic!("a new section `{}`: write its defaults out here", key.name),
        }
    }
    const RELAY: &str = "[[relay]]\nfrom = 'https://x.example'\nmodels = ['lab/relayed']\n";
    const SINK: &str = "[[sink]]\nformat = 'names'\nmodel = 'lab/relayed'\npath = 'x.json'\n";
    const PUSH: &str = "[[push]]\nname = 'x'\nadapter = 'litellm-db'\nmodel = 'lab/m'\nurl = 'https://x.example'\n";
    const WEBHOOK: &str = "[[webhook]]\nname = 'x'\nurl = 'https://x.example'\n";
    const EXEC: &str = "[[exec]]\nname = 'x'\ncommand = ['true']\n";
    const JUDGE: &str = "[[judge]]\nprovider = 'p'\nmodel = 'j'\n";
    let short = format!("{MINIMAL}\n{RELAY}{SINK}{PUSH}{WEBHOOK}{EXEC}\n{JUDGE}[[schedule]]\ncron = '0 0 * * *'\n");
    let long = short
        .replace("[[schedule]]", &format!("{judge}\n[[schedule]]"))
        .replace("[[model]]", &format!("{provider}\n[[model]]"))
        .replace("[[model.endpoint]]", &format!("{model}\n[[model.endpoint]]\n{endpoint}"));
    let long = [(RELAY, relay), (SINK, sink), (PUSH, push), (WEBHOOK, webhook), (EXEC, exec)]
        .into_iter()
        .fold(long, |long, (table, keys)| long.replace(table, &format!("{table}{keys}")));
    let long = format!("{top}\n{long}{schedule}");
    assert!(long.contains("limits.concurrency = 8") && long.contains("policy.cases.cap = 2500"), "{long}");
    let shown = |text: &str| {
        let config = parse(text).unwrap_or_else(|p| panic!("{p}\n{text}"));
        format!("{:#?}", Config { digest: String::new(), ..config })
    };
    assert_eq!(shown(&short), shown(&long));
}

/// A TOML text as JSON, for the schema.
fn as_json(text: &str) -> Value {
    let value: toml::Value = toml::from_str(text).expect("TOML");
    serde_json::to_value(value).expect("JSON")
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema = jsonschema::validator_for(&schema()).expect("a schema");
    for text in [MINIMAL, EVERYTHING, include_str!("../../../examples/exactod.toml")] {
        let errors: Vec<String> = schema.iter_errors(&as_json(text)).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
}

#[test]
fn the_schema_refuses_what_the_first_pass_refuses() {
    let schema = jsonschema::validator_for(&schema()).expect("a schema");
    let (top, below) = ("[server]\nlisten = 1\n", "marign = 0.1\n");
    for text in [
        String::from("[server]\n"),
        format!("{top}{MINIMAL}"),
        format!("{below}{MINIMAL}"),
        MINIMAL.replace("provider = \"p\"", ""),
        MINIMAL.replace("id = \"p\"", "id = \"p\"\napi_key = \"clear\""),
        MINIMAL.replace("id = \"p\"", "id = \"p\"\napi_key = { env = \"A\", file = \"b\" }"),
        MINIMAL.replace("id = \"p\"", "id = \"p\"\nprotocol = \"gemini\""),
        MINIMAL.replace("id = \"p\"", "id = \"p\"\ntimeouts = { idle = \"1 h\" }"),
        MINIMAL.replace("id = \"p\"", "id = \"p\"\nlimits = { concurrency = 0 }"),
        MINIMAL.replace("[[model.endpoint]]", "[[model.discover]]\nvia = \"openrouter\"\n[[model.endpoint]]"),
    ] {
        assert!(parse(&text).is_err(), "{text}");
        assert!(!schema.is_valid(&as_json(&text)), "{text}");
    }
}

/// Between these lines `docs/config.md` is generated.
const BEGIN: &str =
    "<!-- keys: begin (generated from src/config/keys.rs; EXACTOD_UPDATE_DOCS=1 cargo test --lib config) -->\n";
const END: &str = "<!-- keys: end -->\n";

#[test]
fn the_documentation_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let text = std::fs::read_to_string(&path).expect("docs/config.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("the line that begins the generated part");
    let (listed, after) = rest.split_once(END).expect("the line that ends the generated part");
    let expected = format!("\n{}", schema::reference_markdown());
    if listed != expected && std::env::var_os("EXACTOD_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("written");
        return;
    }
    assert_eq!(listed, expected, "docs/config.md differs from src/config/keys.rs");
}

#[test]
fn the_configs_in_the_documentation_are_valid() {
    let set = [("GROQ_API_KEY", "k"), ("MOONSHOT_API_KEY", "k"), ("DATABASE_URL", "postgres://u:p@h/d")];
    let env = FakeEnv::with(&set);
    let valid = |text: &str| {
        Config::parse(text, Path::new("exactod.toml"), &env).unwrap_or_else(|p| panic!("{p}"));
    };
    for document in [include_str!("../../../docs/config.md"), include_str!("../../../README.md")] {
        let blocks = document.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(""));
        let whole: Vec<&str> = blocks.filter(|block| block.contains("[[provider]]")).collect();
        assert!(!whole.is_empty());
        whole.into_iter().for_each(valid);
    }
    valid(include_str!("../../../examples/fleet/exactod.toml"));
}
