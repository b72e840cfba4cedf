//! The library finds every case by what its request shows.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::kit::{DRAWERS, LIBRARY, body_of, instances};
use crate::domain::suite::{Epochs, Param, Sampling};
use crate::domain::{Case, CaseId, CaseInstance, Suite, SuiteDigest, SuiteName};
use crate::sim::Library;
use crate::suites::Drawer;

#[test]
fn every_shipped_case_is_found_by_its_messages_and_tools() {
    let mut missed = Vec::new();
    for seed in 0..4 {
        for (drawer, instance) in instances(seed) {
            let found = LIBRARY.find(&body_of(&instance));
            let right = found.as_ref().is_some_and(|known| {
                known.suite == drawer.suite().name
                    && known.instance.case.id == instance.case.id
                    && known.instance.reference == instance.reference
            });
            if !right {
                let got = found.map(|k| k.instance.case.id.to_string());
                missed.push(format!("{} -> {got:?}", instance.case.id));
            }
        }
    }
    assert_eq!(missed, Vec::<String>::new());
}

#[test]
fn what_is_no_case_is_not_found() {
    for (_, instance) in instances(1).into_iter().step_by(7) {
        let mut body = body_of(&instance);
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "user", "content": "one more thing"}));
        assert!(LIBRARY.find(&body).is_none(), "{}", instance.case.id);
        let mut body = body_of(&instance);
        body.insert("messages".to_owned(), json!([{"role": "user", "content": "Hello {{name}}"}]));
        assert!(LIBRARY.find(&body).is_none());
    }
    assert!(LIBRARY.find(&Map::new()).is_none());
}

pub(super) fn case(id: &str, content: &str, params: Vec<(&str, Param)>, derive: &[(&str, &str)], answer: &str) -> Case {
    Case {
        id: CaseId::new(id).unwrap(),
        category: None,
        tags: vec![],
        messages: vec![json!({"role": "user", "content": content})].into(),
        tools: None,
        response_format: None,
        request: Arc::default(),
        expected: None,
        scorers: Arc::default(),
        metadata: None,
        params: params.into_iter().map(|(name, param)| (name.to_owned(), param)).collect(),
        derive: derive.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        fixed: false,
        world: None,
        files: Default::default(),
        reference: Some(json!({"role": "assistant", "content": answer}).into()),
        counterexample: None,
        answers: None,
        pair: None,
        hash: id.to_owned(),
    }
}

pub(super) fn library(cases: Vec<Case>) -> (Arc<Drawer>, Library) {
    let suite = Suite {
        name: SuiteName::new("own").unwrap(),
        kind: vec![],
        revision: "1".to_owned(),
        license: None,
        digest: SuiteDigest::new("ab").unwrap(),
        epochs: Epochs::default(),
        sampling: Sampling::default(),
        fixed_share: 0.0,
        by_default: true,
        cases: cases.into_iter().map(Arc::new).collect(),
        excluded: vec![],
        broken: vec![],
        metrics: vec![],
    };
    let drawer = Arc::new(Drawer::new(Arc::new(suite)).expect("it compiles"));
    (drawer.clone(), Library::new(vec![drawer]))
}

fn words(list: &[&str]) -> Vec<Value> {
    list.iter().map(|word| json!(word)).collect()
}

/// Draws a case from many seeds and looks each draw up again.
fn round_trips(case: Case) {
    let id = case.id.clone();
    let (drawer, library) = library(vec![case]);
    for seed in 0..60u32 {
        let instance: CaseInstance = drawer.draw(&id, &format!("{seed:032x}"), 0).expect("a draw");
        let found = library.find(&body_of(&instance));
        let reference = found.map(|known| known.instance.reference);
        assert_eq!(reference, Some(instance.reference.clone()), "{:?}", instance.messages);
    }
}

#[test]
fn tricky_placeholders_round_trip() {
    let cities = Param::OneOf(words(&["São", "São Paulo", "Łódź", "東京", "new\nline", "a \"b\" \\c", "{{n}}", ""]));
    let n = Param::Int { min: -20, max: 1_500 };
    let price = Param::Decimal { min_units: -500, max_units: 12_345, digits: 2 };
    round_trips(case(
        "adjacent",
        "{{city}}{{n}}x{{city}}",
        vec![("city", cities.clone()), ("n", n.clone())],
        &[],
        "{{n}}",
    ));
    round_trips(case(
        "unicode",
        "é{{city}}ü — {{price}}€{{n}}",
        vec![("city", cities), ("price", price.clone()), ("n", n.clone())],
        &[],
        "{{price}}/{{n}}",
    ));
    round_trips(case(
        "digits",
        "1{{n}}2 3{{price}}4",
        vec![("n", n.clone()), ("price", price.clone())],
        &[],
        "{{price}} {{n}}",
    ));
    round_trips(case("whole", "{{n}}", vec![("n", Param::OneOf(words(&["a", "b"])))], &[], "{{n}}"));
    round_trips(case("escaped", "\\{{n}} {{ n }} {{{n}}", vec![("n", n)], &[], "{{n}}"));
}

#[test]
fn parameters_behind_derived_texts_are_found() {
    let fruits = Param::Sample { of: words(&["apple", "pineapple", "fig", "pear", "kiwi"]), count: 3 };
    round_trips(case(
        "joined",
        "Sort: {{list}}.",
        vec![("items", fruits)],
        &[("list", "\", \".join(items)")],
        "{{items}}",
    ));
    let price = Param::Decimal { min_units: 100, max_units: 99_999, digits: 2 };
    round_trips(case(
        "shown",
        "It costs {{text}} EUR",
        vec![("price", price)],
        &[("text", "fixed(price, 2)")],
        "{{price}}",
    ));
    let name = Param::OneOf(words(&["ada", "bob", "bobby"]));
    round_trips(case("title", "{{shown}}!", vec![("name", name)], &[("shown", "title(name)")], "{{name}}"));
    let small = Param::Int { min: 1, max: 9 };
    round_trips(case("computed", "Twice it is {{twice}}.", vec![("n", small)], &[("twice", "n * 2")], "{{n}}"));
}

#[test]
fn equal_messages_are_told_apart_by_the_rest_of_the_request() {
    let with = |id: &str, key: &str, value: Value| {
        let mut case = case(id, "Same words", vec![], &[], id);
        std::sync::Arc::make_mut(&mut case.request).insert(key.to_owned(), value);
        case
    };
    let (_, library) = library(vec![
        with("auto", "tool_choice", json!("auto")),
        with("required", "tool_choice", json!("required")),
        with("short", "max_tokens", json!(5)),
    ]);
    let find = |key: &str, value: Value| {
        let body = json!({"messages": [{"role": "user", "content": "Same words"}], key: value});
        library.find(body.as_object().unwrap()).unwrap().instance.case.id.to_string()
    };
    assert_eq!(find("tool_choice", json!("required")), "required");
    assert_eq!(find("tool_choice", json!("auto")), "auto");
    assert_eq!(find("max_tokens", json!(5)), "short");
}

#[test]
fn the_most_special_template_wins() {
    let any = || Param::OneOf(words(&["x", "the word y"]));
    let (_, library) = library(vec![
        case("loose", "Say {{w}}", vec![("w", any())], &[], "loose"),
        case("strict", "Say the word {{w}}", vec![("w", Param::OneOf(words(&["y"])))], &[], "strict"),
    ]);
    let body = json!({"messages": [{"role": "user", "content": "Say the word y"}]});
    assert_eq!(library.find(body.as_object().unwrap()).unwrap().instance.case.id.as_str(), "strict");
}

#[test]
fn the_library_knows_all_shipped_suites() {
    assert!(DRAWERS.len() >= 2);
    assert!(format!("{LIBRARY:?}").contains("exact"));
}
