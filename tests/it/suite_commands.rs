//! `suite new | check | schema` as commands.

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::world::{Ran, exactod};

async fn suite(args: &[&str]) -> Ran {
    Ran::of(exactod().arg("suite").args(args)).await
}

fn read(folder: &Path) -> [String; 2] {
    ["suite.toml", "cases.jsonl"].map(|file| std::fs::read_to_string(folder.join(file)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_suite_passes_the_check_and_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("parts").join("my-suite");
    let path = folder.display().to_string();
    let made = suite(&["new", &path, "--json"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(made.json(), json!({"created": path}));

    let checked = suite(&["check", &path, "--json"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let report = checked.json();
    assert_eq!((&report["findings"], report["suites"].as_array().unwrap().len()), (&json!([]), 1));
    let of_suite = &report["suites"][0];
    assert_eq!((&of_suite["suite"], &of_suite["findings"]), (&json!("my-suite"), &json!(0)));
    // A reference and a counter-example under five draws of each template.
    let (cases, proved) = (of_suite["cases"].as_u64().unwrap(), of_suite["proved"].as_u64().unwrap());
    assert!(cases >= 1 && proved >= 2 * 5 * of_suite["templates"].as_u64().unwrap(), "{report}");
    let table = suite(&["check", &path]).await;
    assert!(table.code == 0 && table.stdout.contains("my-suite"), "{table:?}");

    std::fs::write(folder.join("cases.jsonl"), "mine\n").unwrap();
    let before = read(&folder);
    let again = suite(&["new", &path]).await;
    assert_eq!((again.code, again.stdout.as_str()), (2, ""), "{again:?}");
    assert!(again.stderr.contains("exists already") && again.stderr.contains("choose another name"), "{again:?}");
    assert_eq!(read(&folder), before);

    // For people the next step is told.
    let other = dir.path().join("other").display().to_string();
    let told = suite(&["new", &other]).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains(&format!("exactod suite check {other}")), "{told:?}");
    let wrong = suite(&["new", &dir.path().join("No Name!").display().to_string()]).await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_finds_something_says_where_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("my-suite");
    let path = folder.display().to_string();
    suite(&["new", &path]).await;
    // The right answer stands where the wrong one should.
    let [_, cases] = read(&folder);
    let mut case: Value = serde_json::from_str(cases.lines().next().unwrap()).unwrap();
    case["counterexample"]["message"] = case["reference"].clone();
    std::fs::write(folder.join("cases.jsonl"), format!("{case}\n")).unwrap();
    let checked = suite(&["check", &path, "--json"]).await;
    assert_eq!(checked.code, 1, "{checked:?}");
    let finding = &checked.json()["findings"][0];
    assert_eq!((&finding["suite"], &finding["case"]), (&json!("my-suite"), &case["id"]));
    assert!(finding["what"].as_str().unwrap().contains("counter-example must be Fail"), "{finding}");
    // What is no suite is told with its place.
    std::fs::write(folder.join("cases.jsonl"), "{\"id\": \"a\",\n").unwrap();
    let broken = suite(&["check", &path]).await;
    assert_eq!(broken.code, 2, "{broken:?}");
    assert!(broken.stderr.contains("cases.jsonl:1:"), "{broken:?}");
}

fn errors(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_schemas_accept_the_shipped_suites_and_no_unknown_key() {
    let printed = suite(&["schema", "--json"]).await;
    assert_eq!(printed.code, 0, "{printed:?}");
    assert_eq!(suite(&["schema"]).await.stdout, printed.stdout, "it is JSON anyway");
    let schemas = printed.json();
    let schema = |file: &str| jsonschema::validator_for(&schemas[file]).expect("a schema");
    let (header_schema, case_schema) = (schema("suite.toml"), schema("cases.jsonl"));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_suites");
    let mut suites = 0;
    for folder in std::fs::read_dir(shipped).unwrap().map(|entry| entry.unwrap().path()) {
        let [header, cases] = read(&folder);
        let mut header: Value = toml::from_str(&header).unwrap();
        assert_eq!(errors(&header_schema, &header), [""; 0], "{}", folder.display());
        let cases: Vec<Value> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for case in &cases {
            assert_eq!(errors(&case_schema, case), [""; 0], "{}: {}", folder.display(), case["id"]);
        }
        header["revison"] = json!("2");
        assert!(!header_schema.is_valid(&header), "an unknown key of {}", folder.display());
        let mut case = cases[0].clone();
        case["messsages"] = json!([]);
        assert!(!case_schema.is_valid(&case), "an unknown key of {case}");
        suites += 1;
    }
    assert_eq!(suites, 4);
}

/// What is shown is what is sent: the client asks streams for their usage.
#[tokio::test(flavor = "multi_thread")]
async fn instances_are_shown_as_they_are_sent() {
    let shown = async |case: &str| {
        let ran = suite(&["show", "wire-contract", "--draw", "7", "--case", case, "--json"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()[0]["request"].clone()
    };
    let stream = shown("text-stream").await;
    assert_eq!(stream["stream_options"], json!({"include_usage": true}), "{stream}");
    assert_eq!((&stream["stream"], &stream["seed"], stream.get("messages")), (&json!(true), &json!(41), None));
    assert_eq!(shown("usage-unasked-stream").await["stream_options"], json!({"include_usage": false}));
    assert_eq!(shown("text-plain").await.get("stream_options"), None);
}
