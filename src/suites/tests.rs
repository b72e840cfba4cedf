//! Suites from text to instances, as a user meets them.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::diagnostics::Diagnostics;
use crate::domain::canonical::hex;
use crate::domain::{CaseId, Suite, SuiteName};

const HEADER: &str = "version = 1\nname = \"trip\"\nkind = [\"tool_use\"]\nrevision = \"1\"\n";

const TRIP: &str = r#"{"id": "trip", "params": {"city": {"one_of": ["Oslo", "Lima", "Busan"]}, "nights": {"int": [2, 29]}, "price": {"decimal": [40, 300, 2]}, "two": {"sample": [["a", "b", "c"], 2]}}, "derive": {"total": "nights * price", "shown": "fixed(total, 2)"}, "input": "{{nights}} nights in {{city}} at {{price}}: {{shown}} {{two}}", "expected": {"number": "{{total}}", "answers": ["{{nights}}"]}, "scorers": [{"type": "equals", "value": "{{city}}"}, {"type": "number"}, {"type": "answer-in-text"}]}"#;

fn load(header: &str, cases: &str) -> Result<Suite, Diagnostics> {
    parse_suite(Path::new("suites/trip"), header.as_bytes(), cases.as_bytes())
}

fn problems(header: &str, cases: &str) -> String {
    load(header, cases).map(|_| String::new()).unwrap_or_else(|found| found.to_string())
}

fn drawer(cases: &str) -> Drawer {
    let suite = load(HEADER, cases).unwrap_or_else(|found| panic!("{found}"));
    Drawer::new(Arc::new(suite)).unwrap()
}

fn id(text: &str) -> CaseId {
    CaseId::new(text).unwrap()
}

fn seed(n: u64) -> String {
    hex(&u128::from(n).to_be_bytes())
}

#[test]
fn a_template_is_drawn_derived_and_filled() {
    let drawer = drawer(TRIP);
    let instance = drawer.draw(&id("trip"), &seed(1), 0).unwrap();
    let draw = instance.draw.clone().unwrap();
    let total = draw["nights"].as_i64().unwrap() as f64 * draw["price"].as_f64().unwrap();
    assert!((draw["total"].as_f64().unwrap() - total).abs() < 1e-9, "{draw}");
    let price = format!("{:.2}", draw["price"].as_f64().unwrap());
    let text = format!(
        "{} nights in {} at {price}: {total:.2} {}",
        draw["nights"],
        draw["city"].as_str().unwrap(),
        draw["two"]
    );
    assert_eq!(instance.messages.items(), [json!({"role": "user", "content": text})]);
    assert_eq!(instance.expected.unwrap().value(), json!({"number": draw["total"], "answers": [draw["nights"]]}));
    assert_eq!(instance.scorers[0].options["value"], draw["city"]);
    assert_eq!(Value::Object(drawer.values(&id("trip"), &seed(1), 0).unwrap()), draw);
}

#[test]
fn a_drawer_serves_many_threads() {
    let drawer = drawer(TRIP);
    let drawn: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| drawer.values(&id("trip"), &seed(5), 0).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(drawn.iter().all(|values| *values == drawn[0]));
}

#[test]
fn what_messages_say_is_text_whatever_is_drawn() {
    let drawer = drawer(
        r#"{"id": "c", "params": {"n": {"int": [7, 7]}}, "derive": {"args": "{\"n\": n}"}, "messages": [{"role": "user", "content": "{{n}}"}], "expected": {"number": "{{n}}"}, "scorers": [{"type": "number"}], "reference": {"content": "{{n}}", "tool_calls": [{"function": {"name": "f", "arguments": "{{args}}"}}]}, "counterexample": {"fault": "WrongAnswer", "message": {"content": "{{n}}{{n}}"}}}"#,
    );
    let instance = drawer.draw(&id("c"), &seed(1), 0).unwrap();
    assert_eq!(instance.messages.items()[0]["content"], "7");
    assert_eq!(instance.expected.unwrap().value(), json!({"number": 7}));
    let reference = instance.reference.unwrap().value();
    assert_eq!(reference["content"], "7");
    assert_eq!(reference.pointer("/tool_calls/0/function/arguments"), Some(&json!("{\"n\":7}")));
    assert_eq!(instance.counterexample.unwrap().message.value()["content"], "77");
}

#[test]
fn a_stored_draw_gives_the_same_instance_again() {
    let drawer = drawer(TRIP);
    let instance = drawer.draw(&id("trip"), &seed(7), 2).unwrap();
    let stored: Value = serde_json::from_str(&instance.draw.clone().unwrap().to_string()).unwrap();
    let again = drawer.instantiate(&id("trip"), stored.as_object().unwrap()).unwrap();
    assert_eq!(format!("{instance:?}"), format!("{again:?}"));
    // A derived value is computed, whatever is given for it.
    let mut other = stored.as_object().unwrap().clone();
    other.insert("total".into(), json!(0));
    assert_eq!(format!("{:?}", drawer.instantiate(&id("trip"), &other).unwrap()), format!("{instance:?}"));
    other.insert("nights".into(), json!(30));
    assert_eq!(
        drawer.instantiate(&id("trip"), &other).unwrap_err().to_string(),
        "case `trip`: parameter `nights`: 30 cannot have been drawn"
    );
    other.remove("nights");
    assert!(matches!(drawer.instantiate(&id("trip"), &other), Err(DrawError::Value { .. })));
    assert!(matches!(drawer.draw(&id("none"), &seed(1), 0), Err(DrawError::UnknownCase { .. })));
}

#[test]
fn an_expression_that_fails_for_some_draws_names_case_and_expression() {
    let case = r#"{"id": "c", "params": {"n": {"int": [0, 1]}}, "derive": {"q": "10 // n"}, "input": "{{q}}"}"#;
    let outcome = load(HEADER, case).map(|suite| Drawer::new(Arc::new(suite)).unwrap());
    // The trial draw of the loader may have met the zero; else a sweep's draw does.
    match outcome {
        Err(found) => assert!(found.to_string().contains("`q`"), "{found}"),
        Ok(drawer) => {
            let failed = (0..64).find_map(|n| drawer.draw(&id("c"), &seed(n), 0).err()).unwrap();
            let text = failed.to_string();
            assert!(text.starts_with("case `c`: derive `q` = `10 // n`: "), "{text}");
        }
    }
}

#[test]
fn all_problems_are_listed_with_line_caret_and_hint() {
    let header = "version = 2\nname = \"other\"\nkind = [\"tool_usage\"]\nrevisoin = \"1\"\nexclude = [\"gone\"]\n[epochs]\ncount = \"3\"\n";
    let cases = concat!(
        r#"{"id": "a", "massages": [], "input": "x"}"#,
        "\n{\"id\": \"a\", \"input\": 1}\n\n",
        r#"{"id": "b", "input": "x", "messages": [], "scorers": [{"type": "equalz"}], "assert": []}"#,
        "\n{\"id\": \"c\" \"input\": 1}\n",
        r#"{"id": "d", "input": "{{nigths}} {{nights}}", "params": {"nights": {"int": [9, 1]}}}"#,
        "\n",
        r#"{"id": "e", "input": "x", "counterexample": {"message": {"content": "y"}, "fault": "WrongAnser"}, "request": {"stream": 1, "model": "m"}}"#,
    );
    let text = problems(header, cases);
    for wanted in [
        "error: version 2 of the suite format is not known\n  --> suites/trip/suite.toml:1:11\n  |\n1 | version = 2\n  |           ^\n  hint: this program reads version 1",
        "the suite `other` lies in a folder named `trip`",
        "`tool_usage` is not a kind of suite",
        "hint: did you mean `tool_use`?",
        "unknown key `revisoin` in the header\n  --> suites/trip/suite.toml:4:1",
        "hint: did you mean `revision`?",
        "the header has no `revision`",
        "`gone` is excluded, but no case has this id",
        "`epochs.count` must be an integer, not a string",
        "unknown key `massages` in a case\n  --> suites/trip/cases.jsonl:1:13",
        "hint: did you mean `messages`?",
        "the id `a` stands in line 1 already\n  --> suites/trip/cases.jsonl:2:8",
        "`input` must be a string, not an integer",
        "a case has either `messages` or `input`, not both\n  --> suites/trip/cases.jsonl:4:13",
        "scorer `equalz`",
        "a case has either `scorers` or `assert`, not both",
        "suites/trip/cases.jsonl:5:12",
        "`{{nigths}}` names no parameter, derived value or entry of [vars]",
        "hint: did you mean `{{nights}}`?",
        "the bounds are reversed: 9 is greater than 1",
        "hint: did you mean `WrongAnswer`?",
        "`request.stream` must be true or false, not an integer",
        "`model` does not belong into `request`",
    ] {
        assert!(text.contains(wanted), "missing {wanted:?} in\n{text}");
    }
    assert!(text.ends_with("errors"), "{text}");
}

#[test]
fn tools_schemas_and_patterns_are_checked_on_the_filled_case() {
    let tool = |parameters: &str| {
        format!(r#"{{"type": "function", "function": {{"name": "t", "parameters": {parameters}}}}}"#)
    };
    let case = |rest: &str| format!(r#"{{"id": "c", "input": "x", {rest}}}"#);
    let check = |rest: String, wanted: &str| {
        let text = problems(HEADER, &case(&rest));
        assert!(text.contains(wanted), "missing {wanted:?} in\n{text}");
    };
    check(format!(r#""tools": [{}]"#, tool(r#"{"type": "strng"}"#)), "not a JSON Schema at /type");
    check(format!(r#""tools": [{}]"#, tool(r#"{"$ref": "https://example.org/s.json"}"#)), "only references within it");
    check(format!(r##""tools": [{}]"##, tool(r##"{"$ref": "#/$defs/missing"}"##)), "not a JSON Schema");
    check(format!(r#""tools": [{0}, {0}]"#, tool("{}")), "two tools are named `t`");
    check(r#""tools": [{"type": "function", "function": {"name": "a b"}}]"#.into(), "cannot name a tool");
    check(r#""tools": [{"type": "function", "function": {"nam": "a"}}]"#.into(), "did you mean `name`?");
    check(r#""request": {"tool_choice": "required"}"#.into(), "`tool_choice` without `tools`");
    check(
        format!(
            r#""tools": [{}], "request": {{"tool_choice": {{"type": "function", "function": {{"name": "u"}}}}}}"#,
            tool("{}")
        ),
        "forces `u`, which is not among the tools",
    );
    check(r#""expected": {"calls": [{"name": "t", "arguments": {"a": {"$regex": "("}}}]}, "scorers": [{"type": "tool-calls"}]"#.into(), "regular expression");
    check(r#""scorers": [{"type": "regex", "pattern": "[a"}]"#.into(), "regular expression");
    check(
        r#""response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": 1}}}"#.into(),
        "not a JSON Schema",
    );
    // What only compiling tells, by the scorer's own table, by `expected`, within groups, negated and under a draft.
    let scorer = |scorer: &str| format!(r#""scorers": [{scorer}]"#);
    check(scorer(r#"{"type": "json-schema", "schema": {"$ref": "https://example.org/s.json"}}"#), "does not compile");
    check(scorer(r#"{"type": "not-contains-json", "schema": {"type": "obj"}}"#), "the JSON Schema does not compile");
    check(scorer(r#"{"type": "group", "scorers": [{"type": "contains-json", "schema": {"type": "obj"}}]}"#), "compile");
    check(
        r#""scorers": [{"type": "json-schema"}], "expected": {"schema": {"type": "obj"}}"#.into(),
        "does not compile",
    );
    check(scorer(r#"{"type": "json-schema", "draft": "4", "schema": {"required": []}}"#), "does not compile");
    let long = "x".repeat(2_001);
    check(scorer(&format!(r#"{{"type": "levenshtein", "value": "{long}", "max": 3}}"#)), "more than 2000 characters");
    let good =
        scorer(r#"{"type": "json-schema", "schema": {"pattern": "^a"}}, {"type": "contains-json", "schema": {}}"#);
    assert_eq!(problems(HEADER, &case(&good)), "");
    // No call is due, said once.
    assert_eq!(problems(HEADER, &case(r#""scorers": [{"type": "tool-calls"}], "expected": {"none": true}"#)), "");
    check(r#""scorers": [{"type": "tool-calls"}], "expected": {"none": true, "calls": []}"#.into(), "exactly one of");
    check(scorer(r#"{"type": "tool-calls", "none": false}"#), "expected true (or leave it out)");
    check(r#""messages": []"#.into(), "not both");
    check(r#""request": {"stop": ["{{x}}"]}"#.into(), "a request is fixed");
    // A placeholder where a schema wants a list is right once it is filled.
    let good = r#""params": {"names": {"sample": [["a", "b", "c"], 2]}}, "tools": [{"type": "function", "function": {"name": "t", "parameters": {"enum": "{{names}}"}}}]"#;
    assert_eq!(problems(HEADER, &case(good)), "");
}

const HEADER_OF_ASSERTS: &str =
    "version = 1\nname = \"trip\"\nkind = [\"output_quality\"]\nrevision = \"1\"\n[vars]\nland = \"Norway\"\n";

#[test]
fn asserts_of_promptfoo_judge_as_their_scorers() {
    let cases = r#"{"id": "a", "params": {"city": {"one_of": ["Oslo"]}}, "input": "Where?", "assert": [
        {"type": "contains", "value": "{{city}}", "weight": 2},
        {"type": "not-icontains-any", "value": ["{{land}}", "Sweden"], "metric": "tone"},
        {"type": "starts-with", "value": " O"}, {"type": "regex", "value": "^\\d{{city}}$", "weight": 0},
        {"type": "is-json", "value": {"type": "object"}}, {"type": "latency", "threshold": 900},
        {"type": "assert-set", "threshold": 0.5, "assert": [{"type": "cost", "threshold": 0.01}, {"type": "equals", "value": "x"}]}]}"#
        .replace('\n', " ");
    let suite = load(HEADER_OF_ASSERTS, &cases).unwrap();
    let instance = Drawer::new(Arc::new(suite)).unwrap().draw(&id("a"), &seed(1), 0).unwrap();
    let scorers: Vec<Value> = instance
        .scorers
        .iter()
        .map(|spec| {
            let mut whole = json!({"type": spec.kind});
            whole.as_object_mut().unwrap().extend(spec.options.clone());
            whole
        })
        .collect();
    let draft = "http://json-schema.org/draft-07/schema#";
    assert_eq!(
        json!(scorers),
        json!([
            {"type": "contains", "value": "Oslo", "weight": 2.0},
            {"type": "not-icontains", "any": ["Norway", "Sweden"]},
            {"type": "starts-with", "value": " O", "trim": false},
            {"type": "regex", "pattern": "^[0-9]Oslo$", "weight": 0.0, "threshold": 0},
            {"type": "json-schema", "schema": {"type": "object", "$schema": draft}, "strip_fences": "none"},
            {"type": "latency", "max_ms": 900.0},
            {"type": "group", "threshold": 0.5, "scorers": [
                {"type": "cost", "max_usd": 0.01}, {"type": "equals", "value": "x", "trim": false}]},
        ])
    );
}

#[test]
fn asserts_that_cannot_be_judged_are_named_at_their_places() {
    let cases = [
        r#"{"id": "a", "input": "x", "assert": [{"type": "javascript", "value": "1"}, {"type": "contain", "value": "x"}]}"#,
        r#"{"id": "b", "input": "x", "assert": [{"type": "latency"}, {"type": "contains", "value": "file://x"}]}"#,
        r#"{"id": "c", "input": "x", "assert": [{"type": "regex", "value": "(?=x)"}, {"type": "equals", "value": "x", "transform": "y"}]}"#,
        r#"{"id": "d", "input": "x", "assert": [{"type": "assert-set", "assert": [{"type": "assert-set", "assert": []}]}]}"#,
        r#"{"id": "e", "input": "x", "assert": [{"type": "is-json", "value": {"type": "nothing"}}, 1, {"value": "x"}]}"#,
        r#"{"id": "f", "input": "x", "assert": [{"type": "contains", "value": "{{nobody}}"}]}"#,
    ];
    insta::assert_snapshot!(problems(HEADER_OF_ASSERTS, &cases.join("\n")));
}

#[test]
fn cases_that_differ_in_their_names_alone_are_as_if_read_one_by_one() {
    let good = TRIP.replace("\"id\": \"trip\"", "\"id\": \"NAME\"");
    // Another order of keys is another text, and the same case.
    let moved =
        |name: &str| format!("{{\"category\": \"c\", \"id\": \"{name}\", {}", &TRIP["{\"id\": \"trip\", ".len()..]);
    let wrong = r#"{"id": "NAME", "input": "{{nobody}}"}"#;
    let named = |text: &str, name: &str| text.replace("NAME", name);
    let cases: Vec<String> = vec![named(&good, "a"), moved("b"), named(&good, "c"), named(&good, "d")];
    let suite = load(HEADER, &cases.join("\n")).unwrap();
    let ids: Vec<&str> = suite.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    assert!(suite.cases.iter().all(|case| case.hash == suite.cases[0].hash));
    let alone = load(HEADER, &cases[3]).unwrap();
    assert_eq!(alone.cases[0].hash, suite.cases[3].hash);
    let drawer = Drawer::new(Arc::new(suite)).unwrap();
    let draw = |name: &str| drawer.values(&id(name), &seed(3), 0).unwrap();
    assert_ne!(draw("c"), draw("d"), "each is drawn by itself");

    // What is wrong is told of each, in the order of the lines; a name that is none, too.
    let cases = [
        named(wrong, "a"),
        named(&good, "b"),
        named(wrong, "c"),
        named(&good, "b"),
        named(&good, "no good"),
        named(wrong, "e"),
    ];
    let told = problems(HEADER, &cases.join("\n"));
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("-->")).collect();
    let at = |line: &str| line.rsplit(':').nth(1).unwrap().to_owned();
    let mut sorted: Vec<String> = lines.iter().map(|line| at(line)).collect();
    sorted.sort();
    assert_eq!(sorted, ["1", "3", "4", "5", "6"], "{told}");
}

#[test]
fn variables_hold_what_cases_share() {
    let header = format!(
        "{HEADER}[vars]\nstory = \"long {{{{who}}}} text\"\ntools = [{{ type = \"function\", function = {{ name = \"t\", parameters = {{ type = \"object\" }} }} }}]\nprices = {{ Oslo = 3 }}\n"
    );
    let case = r#"{"id": "c", "params": {"who": {"one_of": ["Ann"]}}, "derive": {"p": "prices[\"Oslo\"]"}, "input": "{{story}} {{p}}", "tools": "{{tools}}"}"#;
    let suite = load(&header, case).unwrap_or_else(|found| panic!("{found}"));
    let hash = suite.cases[0].hash.clone();
    let instance = Drawer::new(Arc::new(suite)).unwrap().draw(&id("c"), &seed(1), 0).unwrap();
    assert_eq!(instance.messages.items()[0]["content"], "long Ann text 3");
    assert_eq!(instance.tools.unwrap().items()[0]["function"]["name"], "t");
    // The hash covers the variables that the case uses.
    let changed = header.replace("long", "short");
    assert_ne!(load(&changed, case).unwrap().cases[0].hash, hash);
    let unused = format!("{header}more = 1\n");
    assert_eq!(load(&unused, case).unwrap().cases[0].hash, hash);
    assert!(problems(&header, &case.replace("{{p}}", "{{price}}")).contains("did you mean `{{prices}}`?"));
}

#[test]
fn the_suites_request_stands_under_the_cases_own() {
    let header = format!("{HEADER}[request]\ntemperature = 0\ntool_choice = \"auto\"\nmax_tokens = 9\n");
    let suite = load(&header, r#"{"id": "c", "input": "x", "request": {"max_tokens": 5, "stream": true}}"#).unwrap();
    let request = Value::Object((*suite.cases[0].request).clone());
    let empty = load(&header, r#"{"id": "c", "input": "x", "tools": []}"#).unwrap();
    assert!(empty.cases[0].tools.is_none() && !empty.cases[0].request.contains_key("tool_choice"));
    assert_eq!(request, json!({"temperature": 0, "max_tokens": 5, "stream": true}));
}

#[test]
fn excluded_cases_are_left_out_and_known() {
    let cases = format!("{TRIP}\n{{\"id\": \"broken\", \"input\": \"x\"}}");
    let whole = load(HEADER, &cases).unwrap();
    let header = HEADER.replace("revision", "exclude = [\"broken\"]\nrevision");
    let suite = load(&header, &cases).unwrap();
    assert_eq!((suite.cases.len(), suite.excluded.as_slice()), (1, [id("broken")].as_slice()));
    assert_ne!(suite.digest, whole.digest);
    assert_eq!(suite.digest, load(HEADER, TRIP).unwrap().digest);
}

#[test]
fn the_identity_of_a_suite_is_its_content() {
    let plain = r#"{"id": "p", "input": "x"}"#;
    let digest = |header: &str, cases: String| load(header, &cases).unwrap().digest;
    let base = digest(HEADER, format!("{TRIP}\n{plain}"));
    assert_eq!(digest(HEADER, format!("{plain}\r\n\n{TRIP}\n")), base, "order of lines and white space");
    let noted = plain.replace("{\"id\"", "{\"metadata\": {\"by\": 1}, \"category\": \"k\", \"id\"");
    assert_eq!(digest(HEADER, format!("{TRIP}\n{noted}")), base, "what changes no verdict");
    assert_eq!(digest(&HEADER.replace("\"1\"", "\"2\""), format!("{TRIP}\n{plain}")), base, "the label");
    for (what, other) in [
        ("a bound", TRIP.replace("[2, 29]", "[2, 28]")),
        ("an expression", TRIP.replace("nights * price", "price * nights")),
        ("an option", TRIP.replace("\"value\": \"{{city}}\"", "\"value\": \"{{city}}!\"")),
        (
            "the order of parameters",
            TRIP.replace(
                "\"nights\": {\"int\": [2, 29]}, \"price\": {\"decimal\": [40, 300, 2]}",
                "\"price\": {\"decimal\": [40, 300, 2]}, \"nights\": {\"int\": [2, 29]}",
            ),
        ),
        ("the request", TRIP.replace("{\"id\"", "{\"request\": {\"seed\": 1}, \"id\"")),
    ] {
        assert_ne!(other, TRIP, "{what}");
        assert_ne!(digest(HEADER, format!("{other}\n{plain}")), base, "{what}");
    }
}

#[test]
fn the_fixed_share_is_drawn_once_and_the_rest_afresh() {
    let cases: String = (0..40)
        .map(|i| {
            format!(
                "{{\"id\": \"t{i}\", \"params\": {{\"n\": {{\"int\": [0, 1000000]}}}}, \"input\": \"{{{{n}}}}\"}}\n"
            )
        })
        .chain((0..10).map(|i| format!("{{\"id\": \"p{i}\", \"input\": \"x\"}}\n")))
        .collect();
    let header = format!("{HEADER}[fresh]\nfixed_share = 0.2\n");
    let suite = Arc::new(load(&header, &cases).unwrap());
    assert_eq!(suite.cases.iter().filter(|case| case.fixed).count(), 8);
    let drawer = Drawer::new(Arc::clone(&suite)).unwrap();
    for case in &suite.cases {
        let [a, b] = [1, 2].map(|n| drawer.draw(&case.id, &seed(n), 0).unwrap());
        assert_eq!(a.draw.is_some(), case.is_template());
        let same = case.fixed || !case.is_template();
        assert_eq!(a.messages == b.messages, same, "{}", case.id);
    }
    // Other cases in the file move few marks: the order is by a hash of each case alone.
    let fewer: String = cases.lines().skip(5).map(|line| format!("{line}\n")).collect();
    let fixed =
        |suite: &Suite| -> Vec<String> { suite.cases.iter().filter(|c| c.fixed).map(|c| c.id.to_string()).collect() };
    let (before, after) = (fixed(&suite), fixed(&load(&header, &fewer).unwrap()));
    assert!(before.iter().filter(|name| after.contains(name)).count() >= 5, "{before:?} {after:?}");
}

#[test]
fn a_new_suite_loads_and_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let name = SuiteName::new("my-suite").unwrap();
    let folder = new_suite(dir.path(), &name).unwrap();
    let suite = load_suite(&folder).unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(suite.name, name);
    let case = &suite.cases[0];
    assert!(case.is_template() && case.reference.is_some() && case.counterexample.is_some());
    let instance = Drawer::new(Arc::new(suite.clone())).unwrap().draw(&case.id, &seed(3), 0).unwrap();
    let reference = instance.reference.as_ref().unwrap().value();
    let call = reference.pointer("/tool_calls/0/function/arguments").unwrap();
    let arguments: Value = serde_json::from_str(call.as_str().unwrap()).unwrap();
    assert_eq!(Some(&arguments), instance.expected.as_ref().unwrap().value().pointer("/calls/0/arguments"));
    assert!(matches!(new_suite(dir.path(), &name), Err(ScaffoldError::Exists(_))));
    // As a suite folder, and as a folder of suite folders.
    for path in [folder.clone(), dir.path().to_owned()] {
        let loaded = load_all(std::slice::from_ref(&path)).unwrap();
        assert!(loaded.iter().any(|suite| suite.name == name));
    }
    let twice = load_all(&[folder, dir.path().to_owned()]).unwrap_err().to_string();
    assert!(twice.contains("is loaded from"), "{twice}");
}

#[test]
fn missing_folders_and_files_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let text = load_all(&[dir.path().join("nope"), dir.path().to_owned()]).unwrap_err().to_string();
    assert!(text.contains("cannot read the folder") && text.contains("there is no suite here"), "{text}");
    let text = load_suite(dir.path()).unwrap_err().to_string();
    assert!(text.contains("suite.toml") && text.contains("cases.jsonl") && text.ends_with("2 errors"), "{text}");
    assert!(problems(HEADER, "\n").contains("the suite has no cases"));
}

#[test]
fn text_that_is_not_utf8_is_shown_by_line() {
    let found =
        parse_suite(Path::new("trip"), HEADER.as_bytes(), b"{\"id\": \"a\", \"input\": \"x\"}\n{\"id\": \"\xff\"}\n");
    let text = found.unwrap_err().to_string();
    assert!(text.contains("cases.jsonl:2:9") && text.contains("UTF-8"), "{text}");
}

#[test]
fn the_list_of_problems_is_bounded() {
    let cases = "{\"id\": 1}\n".repeat(2 * limits::PROBLEMS_MAX);
    let found = load(HEADER, &cases).unwrap_err();
    assert_eq!(found.0.len(), limits::PROBLEMS_MAX + 1);
    assert!(found.to_string().contains("more problems"));
}

#[test]
fn the_published_schemas_know_the_keys_of_the_loader_and_accept_what_it_accepts() {
    let properties = |schema: &Value, at: &str| -> Vec<String> {
        let mut keys: Vec<String> = schema.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let sorted = |keys: &[&str]| -> Vec<String> {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    };
    let (header, case) = (header_schema(), case_schema());
    for (schema, at, known) in [
        (&header, "/properties", keys::HEADER),
        (&header, "/properties/source/properties", keys::SOURCE),
        (&header, "/properties/epochs/properties", keys::EPOCHS),
        (&header, "/properties/sampling/properties", keys::SAMPLING),
        (&header, "/properties/fresh/properties", keys::FRESH),
        (&header, "/properties/metrics/items/properties", keys::METRIC),
        (&case, "/properties", keys::CASE),
        (&case, "/properties/counterexample/properties", keys::COUNTEREXAMPLE),
    ] {
        assert_eq!(properties(schema, at), sorted(known), "{at}");
    }
    let validator = jsonschema::validator_for(&case).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = new_suite(dir.path(), &SuiteName::new("n").unwrap()).unwrap();
    let made = std::fs::read_to_string(folder.join(CASES_FILE)).unwrap();
    for line in [
        TRIP,
        made.as_str(),
        r#"{"id": "c", "input": "x", "tools": "{{big}}", "params": {"p": {"one_of": "{{list}}"}}}"#,
    ] {
        let value: Value = serde_json::from_str(line).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{line}");
    }
    for wrong in
        [r#"{"id": "c"}"#, r#"{"id": "c", "input": "x", "messages": []}"#, r#"{"id": "c", "input": "x", "nope": 1}"#]
    {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
        assert!(load(HEADER, wrong).is_err(), "{wrong}");
    }
    assert_eq!(schema(), json!({"suite.toml": header, "cases.jsonl": case}));
}

#[test]
fn the_schemas_in_the_repository_are_those_of_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    for (name, schema) in [("suite.toml.json", header_schema()), ("cases.jsonl.json", case_schema())] {
        let (path, expected) = (folder.join(name), serde_json::to_string_pretty(&schema).unwrap() + "\n");
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        if published != expected && std::env::var_os("EXACTOD_UPDATE_DOCS").is_some() {
            std::fs::write(&path, &expected).unwrap();
            continue;
        }
        assert_eq!(published, expected, "{name}: EXACTOD_UPDATE_DOCS=1 cargo test --lib suites writes it anew");
    }
}

#[test]
fn shipped_suites_load() {
    let suites = shipped().unwrap_or_else(|found| panic!("{found}"));
    for suite in suites {
        let drawer = Drawer::new(Arc::clone(&suite)).unwrap();
        for case in &suite.cases {
            assert!(case.reference.is_some() && case.counterexample.is_some(), "{}", case.id);
            for n in 0..20 {
                drawer.draw(&case.id, &seed(n), 0).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
}

/// Two drawers of one suite, as two processes have them.
static PAIR: LazyLock<[Drawer; 2]> = LazyLock::new(|| {
    let cases = format!("{TRIP}\n{}", TRIP.replace("\"trip\"", "\"trip2\""));
    [drawer(&cases), drawer(&cases)]
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn draws_depend_on_seed_case_and_epoch_alone(n in any::<u64>(), epoch in 0_u32..5) {
        let [first, second] = &*PAIR;
        let values = |drawer: &Drawer, case: &str, n: u64, epoch: u32| drawer.values(&id(case), &seed(n), epoch).unwrap();
        let drawn = values(first, "trip", n, epoch);
        // Another process, after other draws: the same.
        values(second, "trip2", n, 9);
        prop_assert_eq!(&values(second, "trip", n, epoch), &drawn);
        // Any change draws anew; two of three may fall together by chance (one in two million), not all.
        let others = [values(first, "trip", n ^ 1, epoch), values(first, "trip", n, epoch + 1), values(first, "trip2", n, epoch)];
        prop_assert!(others.iter().filter(|other| **other == drawn).count() < 2);
        prop_assert!((2..=29).contains(&drawn["nights"].as_i64().unwrap()));
        prop_assert!((40.0..=300.0).contains(&drawn["price"].as_f64().unwrap()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(header in proptest::collection::vec(any::<u8>(), 0..200), cases in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_suite(Path::new("trip"), &header, &cases);
        let _ = parse_suite(Path::new("trip"), HEADER.as_bytes(), &cases);
    }

    #[test]
    fn damaged_suites_never_panic(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let damage = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            bytes
        };
        let header = format!("{HEADER}[epochs]\ncount = 3\nreducer = \"pass_at(2)\"\n[vars]\na = [1, {{ b = 2 }}]\n[[scorers]]\ntype = \"equals\"\n");
        let _ = parse_suite(Path::new("trip"), &damage(&header), TRIP.as_bytes());
        let _ = parse_suite(Path::new("trip"), header.as_bytes(), &damage(TRIP));
    }

    #[test]
    fn a_case_keeps_its_hash_when_its_text_is_written_anew(text in "[a-zé\" {}0-9]{0,20}", number in any::<f64>(), integer in any::<i64>()) {
        prop_assume!(number.is_finite());
        let case = json!({"id": "c", "input": text.replace("{{", "{"), "expected": {"json": {"b": number, "a": [integer, null, text.replace("{{", "{")]}}, "scorers": [{"type": "json-schema", "schema": {}}]});
        let loaded = load(HEADER, &case.to_string()).unwrap();
        let reordered = format!(" {{ \"scorers\":{}, \"expected\" : {} , \"input\": {} ,\"id\":\"c\"}}", case["scorers"], case["expected"], case["input"]);
        let again = load(HEADER, &reordered).unwrap();
        prop_assert_eq!(&loaded.cases[0].hash, &again.cases[0].hash);
        prop_assert_eq!(loaded.digest, again.digest);
    }
}
