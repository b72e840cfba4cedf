//! Every shipped suite loads; under several draws each reference passes and each counter-example fails as stated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use exactod::domain::{Case, CaseInstance, Suite, Verdict};
use exactod::provider::completion_from_message;
use exactod::runner::prove;
use exactod::scoring::Judge;
use exactod::suites::{Drawer, load_suite, shipped};
use exactod::worlds::{self, World};
use serde_json::Value;

const DRAWS: u32 = 4;
const CASES_MIN: usize = 150;

fn prove_all(suite: Arc<Suite>) -> Vec<String> {
    let drawer = Drawer::new(Arc::clone(&suite)).unwrap();
    let judge = Judge::new();
    let mut wrong = Vec::new();
    for case in &suite.cases {
        for round in 0..if case.is_template() { DRAWS } else { 1 } {
            let instance = drawer.draw(&case.id, &format!("{round:032x}"), 0).unwrap();
            if instance.world.is_some() {
                wrong.extend(prove_world(&judge, &instance));
                continue;
            }
            let prepared = judge.prepare(&instance).unwrap();
            let reference = instance.reference.as_ref().expect("a shipped case has a reference");
            let judged = prepared.judge(&completion_from_message(&reference.value()));
            if judged.verdict != Verdict::Pass {
                wrong.push(format!("{}/{} reference: {} {}", suite.name, case.id, judged.verdict, judged.explanation));
            }
            let counter = instance.counterexample.as_ref().expect("a shipped case has a counter-example");
            let judged = prepared.judge(&completion_from_message(&counter.message.value()));
            if judged.verdict != Verdict::Fail(counter.fault) {
                let what = format!("{} instead of Fail({}): {}", judged.verdict, counter.fault, judged.explanation);
                wrong.push(format!("{}/{} counter-example: {what}", suite.name, case.id));
            }
            let further = prove(&instance, &prepared).wrong;
            wrong.extend(further.into_iter().map(|what| format!("{}/{} {what}", suite.name, case.id)));
        }
    }
    wrong
}

/// Plays a conversation's reference and counter-example.
fn prove_world(judge: &Judge, instance: &CaseInstance) -> Vec<String> {
    let world = Arc::new(World::new(judge, instance).unwrap());
    let judged = |messages: Vec<Value>| worlds::play(&world, messages.iter().map(completion_from_message));
    let reference = judged(World::reference(instance).unwrap());
    let counter = judged(World::counterexample(instance).unwrap());
    let fault = instance.counterexample.as_ref().expect("a shipped case has a counter-example").fault;
    let mut wrong = Vec::new();
    if reference.verdict != Verdict::Pass {
        wrong.push(format!("{} reference: {}", instance.case.id, reference.explanation));
    }
    if counter.verdict != Verdict::Fail(fault) {
        wrong.push(format!("{} counter-example: {} {}", instance.case.id, counter.verdict, counter.explanation));
    }
    wrong
}

#[test]
fn every_reference_passes_and_every_counter_example_fails_as_stated() {
    let names: Vec<String> = shipped().unwrap().iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["output-quality", "tool-use", "wire-contract", "worlds"]);
    let wrong: Vec<String> = shipped().unwrap().into_iter().flat_map(prove_all).collect();
    assert!(wrong.is_empty(), "{} problems:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_shipped_suites_cover_what_they_promise() {
    for suite in shipped().unwrap().into_iter().filter(|suite| suite.by_default) {
        assert!(suite.cases.len() >= CASES_MIN, "{} has {} cases", suite.name, suite.cases.len());
        let templates = suite.cases.iter().filter(|c| c.is_template()).count();
        assert!(templates * 2 > suite.cases.len(), "most cases of {} are drawn fresh", suite.name);
        assert!(suite.cases.iter().any(|c| c.is_template() && c.fixed), "{} has a hold-out part", suite.name);
        let streamed = suite.cases.iter().filter(|c| c.request.get("stream") == Some(&true.into())).count();
        assert!(streamed >= 10, "{} has {streamed} streamed cases", suite.name);
        let categories: BTreeSet<&str> = suite.cases.iter().filter_map(|c| c.category.as_deref()).collect();
        assert!(categories.len() >= 6, "{}: {categories:?}", suite.name);
    }
}

/// Everything that the suites promise to ask, each often enough to show a weakness there.
#[test]
fn every_promised_category_has_its_cases() {
    const TOOL_USE: [(&str, usize); 12] = [
        ("simple", 20),
        ("multiple", 15),
        ("parallel", 15),
        ("nested", 12),
        ("enum", 10),
        ("optional", 10),
        ("no-call", 12),
        ("forced-choice", 8),
        ("forbidden-choice", 8),
        ("history", 10),
        ("unicode", 12),
        ("long-list", 8),
    ];
    const OUTPUT_QUALITY: [(&str, usize); 7] = [
        ("arithmetic", 20),
        ("facts", 15),
        ("extraction", 25),
        ("instructions", 20),
        ("long-context", 12),
        ("multilingual", 20),
        ("stop-and-length", 15),
    ];
    let suites = shipped().unwrap();
    for (name, promised) in [("tool-use", &TOOL_USE[..]), ("output-quality", &OUTPUT_QUALITY[..])] {
        let suite = suites.iter().find(|suite| suite.name.as_str() == name).unwrap();
        let mut cases: BTreeMap<&str, usize> = BTreeMap::new();
        for case in &suite.cases {
            *cases.entry(case.category.as_deref().expect("a shipped case has a category")).or_default() += 1;
        }
        for (category, least) in promised {
            let found = cases.remove(category).unwrap_or_default();
            assert!(found >= *least, "{name}: {found} cases of {category}, at least {least} are promised");
        }
        assert_eq!(cases, BTreeMap::new(), "{name}: categories that the table above does not know");
    }
    // What the names say is what the drawn requests hold.
    let tool_use = suites.iter().find(|suite| suite.name.as_str() == "tool-use").unwrap();
    let drawer = Drawer::new(Arc::clone(tool_use)).unwrap();
    for case in &tool_use.cases {
        let instance = drawer.draw(&case.id, &format!("{:032x}", 7), 0).unwrap();
        let tools = instance.tools.as_ref().map_or(0, |tools| tools.items().len());
        let (choice, messages) = (case.request.get("tool_choice"), instance.messages.text());
        let keeps_its_name = match case.category.as_deref().unwrap_or_default() {
            "parallel" => calls_wanted(case) >= 2,
            "no-call" => calls_wanted(case) == 0 && choice.is_none(),
            "forbidden-choice" => calls_wanted(case) == 0 && choice == Some(&"none".into()),
            "forced-choice" => calls_wanted(case) >= 1 && choice.is_some_and(|c| *c == "required" || c.is_object()),
            "multiple" => tools >= 3,
            "long-list" => tools >= 20,
            "history" => messages.contains("\"tool\""),
            // Letters that ASCII does not have, or characters that JSON or Python escapes.
            "unicode" => {
                let wanted = instance.expected.as_ref().expect("calls are compared with those expected");
                !messages.is_ascii() || !wanted.text().is_ascii() || wanted.text().contains(['\\', '\''])
            }
            _ => tools >= 1,
        };
        assert!(keeps_its_name, "{}: {:?}", case.id, case.category);
    }
}

#[test]
fn the_worlds_are_on_demand_and_ask_for_enough() {
    let suites = shipped().unwrap();
    let by_default: Vec<&str> = suites.iter().filter(|s| s.by_default).map(|s| s.name.as_str()).collect();
    assert_eq!(by_default, ["output-quality", "tool-use"]);
    let worlds = suites.iter().find(|s| s.name.as_str() == "worlds").unwrap();
    let (mut files, mut tasks, mut turns, mut refusals) = (BTreeMap::new(), 0, 0, 0);
    for case in worlds.cases.iter().filter(|case| case.world.is_some()) {
        let world = case.world.as_ref().unwrap().value();
        *files.entry(world["file"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        tasks += 1;
        turns += usize::from(world.get("turns").is_some());
        refusals += usize::from(case.category.as_deref().is_some_and(|c| c.ends_with("-refuse")));
    }
    assert!(tasks >= 30 && turns >= 5 && refusals >= 8, "{tasks} tasks, {turns} with turns, {refusals} refused");
    assert!(files.len() == 2 && files.values().all(|n| *n >= 15), "{files:?}");
    let long = worlds.cases.iter().filter(|case| case.world.is_none() && case.messages.items().len() >= 12);
    assert!(long.count() >= 3, "long histories with one scored turn");
}

/// A policy may ask for a list of each: what carries a tag is what is asked in that way, and nothing else.
#[test]
fn the_tags_of_capabilities_are_carried_where_they_apply() {
    let mut carried: BTreeMap<String, usize> = BTreeMap::new();
    for suite in shipped().unwrap() {
        for case in &suite.cases {
            let carries = |tag: &str| case.tags.iter().any(|t| t == tag);
            let who = format!("{}/{}", suite.name, case.id);
            assert_eq!(carries("streaming"), case.request.get("stream") == Some(&true.into()), "{who}");
            assert_eq!(carries("tools"), case.tools.is_some(), "{who}");
            assert_eq!(carries("json_schema"), case.response_format.is_some(), "{who}");
            // The request ends with what a tool has said: what follows from it is to be concluded.
            assert_eq!(carries("reasoning_tools"), ends_with_a_result(case), "{who}");
            assert!(!carries("reasoning_tools") || carries("tools"), "{who}");
            assert!(!carries("parallel_tools") || carries("tools"), "{who}");
            assert!(carries("parallel_tools") || calls_wanted(case) < 2, "{who}");
            case.tags.iter().for_each(|tag| *carried.entry(tag.clone()).or_default() += 1);
        }
    }
    for tag in ["tools", "parallel_tools", "json_schema", "streaming", "long_context"] {
        assert!(carried.get(tag).is_some_and(|n| *n >= 15), "{tag}: {carried:?}");
    }
    assert!(carried["reasoning_tools"] >= 10, "{carried:?}");
}

fn ends_with_a_result(case: &Case) -> bool {
    let messages = case.messages.value();
    messages.as_array().and_then(|all| all.last()).is_some_and(|message| message["role"] == "tool")
}

/// Calls in the right answer.
fn calls_wanted(case: &Case) -> usize {
    let reference = case.reference.as_ref().expect("a shipped case has a reference").value();
    reference["tool_calls"].as_array().map_or(0, Vec::len)
}

#[test]
fn what_is_in_the_binary_is_what_is_in_the_folder() {
    for suite in shipped().unwrap() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval_suites").join(suite.name.as_str());
        assert_eq!(load_suite(&dir).unwrap().digest, suite.digest);
    }
}
