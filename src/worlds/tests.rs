//! The engine on the shipped worlds and on small ones made for a question.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{CaseInstance, Completion, Fault, Judgement, ToolCall, UnscoredWhy, Verdict};
use crate::provider::completion_from_message;
use crate::scoring::Judge;
use crate::suites::{Drawer, parse_suite_with};

const HEADER: &str = "version = 1\nname = \"w\"\nkind = [\"tool_use\"]\nrevision = \"1\"\n";
/// A till: coins go in, and come out.
const TILL: &str = r#"
def put(state, args):
    state["coins"] = state["coins"] + args["n"]
    state["log"].append(args["n"])
    return {"coins": state["coins"]}

def look(state, args):
    return "there are %d" % state["coins"]

def spin(state, args):
    for i in range(1000000):
        for j in range(1000000):
            pass

def flood(state, args):
    return "x" * 5000

def boom(state, args):
    return state["nothing"]

def has_five(state, setup):
    if state["coins"] == setup["coins"] + 5:
        return ""
    return "there are %d coins" % state["coins"]

def says_no(state, setup):
    return False
"#;

fn tool(name: &str, properties: Value) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties,
        "required": properties.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()), "additionalProperties": false}}})
}

fn case(world: Value, reference: Value) -> Value {
    json!({"id": "c", "messages": [{"role": "user", "content": "Put five coins in."}],
        "tools": [tool("put", json!({"n": {"type": "integer"}})), tool("look", json!({})), tool("spin", json!({})),
            tool("flood", json!({})), tool("boom", json!({}))],
        "world": world, "reference": {"messages": reference}})
}

fn world_of(case: &Value) -> Result<Arc<World>, String> {
    let files = [("till.star".to_owned(), Arc::from(TILL))].into();
    let suite = parse_suite_with(Path::new("w"), HEADER.as_bytes(), case.to_string().as_bytes(), files);
    let drawer = Drawer::new(Arc::new(suite.map_err(|problems| problems.to_string())?)).unwrap();
    let instance: CaseInstance = drawer.draw(&"c".parse().unwrap(), "0", 0).unwrap();
    World::new(&Judge::new(), &instance).map(Arc::new).map_err(|e| e.to_string())
}

fn put(n: i64) -> Value {
    json!({"tool_calls": [{"id": "a", "function": {"name": "put", "arguments": {"n": n}}}]})
}

fn call(name: &str, arguments: &str) -> Value {
    json!({"tool_calls": [{"id": "a", "function": {"name": name, "arguments": arguments}}]})
}

fn say(text: &str) -> Value {
    json!({"content": text})
}

fn setup() -> Value {
    json!({"coins": 2, "log": []})
}

/// The till with its reference of two calls and an answer.
fn till(more: Value) -> Arc<World> {
    let mut spec = json!({"file": "till.star", "setup": setup()});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world_of(&case(spec, json!([put(2), put(3), say("Done.")]))).unwrap()
}

fn played(world: &Arc<World>, answers: &[Value]) -> Judgement {
    play(world, answers.iter().map(completion_from_message))
}

fn error_type(judgement: &Judgement) -> &str {
    judgement.error_type.as_deref().unwrap_or("")
}

#[test]
fn the_final_state_decides_and_not_the_way_to_it() {
    let world = till(json!({}));
    assert_eq!(played(&world, &[put(2), put(3), say("Done.")]).verdict, Verdict::Pass);
    assert_eq!(played(&world, &[call("look", "{}"), put(2), put(3), say("ok")]).verdict, Verdict::Pass);
    let other = played(&world, &[put(3), put(2), say("Done.")]);
    assert_eq!((other.verdict, error_type(&other)), (Verdict::Fail(Fault::WrongAnswer), "world:state"));
    // With a goal only what the goal looks at counts.
    let goal = till(json!({"goal": "has_five"}));
    assert_eq!(played(&goal, &[put(5), say("Done.")]).verdict, Verdict::Pass);
    let wrong = played(&goal, &[put(4), say("Done.")]);
    assert_eq!((error_type(&wrong), wrong.explanation.as_str()), ("world:goal", "there are 6 coins"));
    assert_eq!(error_type(&played(&till(json!({"goal": "says_no"})), &[put(5), say("x")])), "world:goal");
}

#[test]
fn no_call_at_all_is_a_missing_call() {
    let judgement = played(&till(json!({})), &[say("All done!")]);
    assert_eq!((judgement.verdict, judgement.score), (Verdict::Fail(Fault::MissingCall), Some(0.0)));
}

#[test]
fn required_calls_and_outputs_are_looked_for() {
    let five = json!([{"name": "put", "arguments": {"n": 5}}]);
    let world = till(json!({"goal": "has_five", "required": five, "outputs": ["1,205 coins"]}));
    assert_eq!(played(&world, &[put(5), say("That makes 1205 COINS.")]).verdict, Verdict::Pass);
    assert_eq!(error_type(&played(&world, &[put(2), put(3), say("1205 coins")])), "world:required");
    assert_eq!(error_type(&played(&world, &[put(5), say("That is all.")])), "world:output");
}

#[test]
fn the_users_turns_come_one_by_one() {
    let world = till(json!({"turns": ["And three more.", "Thanks."]}));
    let mut talk = Conversation::new(Arc::clone(&world));
    let mut tell = |message: Value| talk.take(&completion_from_message(&message));
    assert_eq!(tell(put(2)), Next::Ask);
    assert_eq!(tell(say("Two are in.")), Next::Ask);
    assert_eq!(tell(put(3)), Next::Ask);
    assert_eq!(tell(say("Five now.")), Next::Ask);
    assert!(matches!(tell(say("You are welcome.")), Next::Ended(j) if j.verdict == Verdict::Pass));
    let asked = talk.instance().messages.items();
    let roles: Vec<&str> = asked.iter().map(|m| m["role"].as_str().unwrap()).collect();
    let wanted =
        ["user", "assistant", "tool", "assistant", "user", "assistant", "tool", "assistant", "user", "assistant"];
    assert_eq!(roles, wanted);
    assert_eq!((&asked[4]["content"], &asked[8]["content"]), (&json!("And three more."), &json!("Thanks.")));
    assert_eq!(asked[2]["tool_call_id"], asked[1]["tool_calls"][0]["id"]);
}

#[test]
fn what_is_said_goes_back_with_its_reasoning_and_gets_ids() {
    let world = till(json!({}));
    let mut talk = Conversation::new(world);
    let call = ToolCall { id: None, name: "look".into(), arguments: Some("{}".into()), arguments_as_value: false };
    let completion = Completion {
        tool_calls: vec![call.clone(), call],
        tool_calls_present: true,
        reasoning: Some("First look.".into()),
        finish_reason: Some("tool_calls".into()),
        ..Completion::default()
    };
    assert_eq!(talk.take(&completion), Next::Ask);
    let messages = talk.instance().messages.items();
    assert_eq!(messages[1]["reasoning_content"], "First look.");
    let ids = [&messages[1]["tool_calls"][0]["id"], &messages[1]["tool_calls"][1]["id"]];
    assert!(ids[0] != ids[1] && [&messages[2]["tool_call_id"], &messages[3]["tool_call_id"]] == ids);
    assert_eq!(messages[2]["content"], "there are 2");
}

#[test]
fn a_fault_on_the_way_ends_it() {
    let world = till(json!({}));
    for (answer, fault) in [
        (call("steal", "{}"), Fault::UnknownName),
        (call("put", "{\"n\": "), Fault::InvalidJson),
        (call("put", "{\"n\": \"two\"}"), Fault::SchemaMismatch),
        (json!({"content": "<tool_call>{\"name\": \"put\"}</tool_call>"}), Fault::MarkupLeak),
        (say(""), Fault::EmptyAnswer),
    ] {
        let judgement = played(&world, &[put(2), answer.clone(), put(3), say("Done.")]);
        assert_eq!(judgement.verdict, Verdict::Fail(fault), "{answer}");
    }
}

#[test]
fn what_the_world_holds_may_be_said() {
    let answer = [put(2), put(3), say("The coins are in box Roomя now, as you wished.")];
    assert_eq!(played(&till(json!({})), &answer).verdict, Verdict::Fail(Fault::CorruptText));
    let with_box = json!({"coins": 2, "log": [], "box": "Roomя"});
    assert_eq!(played(&till(json!({"setup": with_box})), &answer).verdict, Verdict::Pass);
}

#[test]
fn it_lasts_no_longer_than_it_may() {
    let world = till(json!({"max_steps": 3}));
    let looks = vec![call("look", "{}"); 9];
    assert_eq!(error_type(&played(&world, &looks)), "world:max_steps");
    assert_eq!(error_type(&played(&world, &looks[..2])), "world:unfinished");
    assert_eq!(played(&world, &[put(2), put(3), say("Done.")]).verdict, Verdict::Pass, "the third may be the last");
    let many: Vec<Value> = (0..40).map(|_| json!({"function": {"name": "put", "arguments": {"n": 1}}})).collect();
    let mut talk = Conversation::new(till(json!({})));
    assert_eq!(talk.take(&completion_from_message(&json!({"tool_calls": many}))), Next::Ask);
    assert_eq!(talk.state()["coins"], 2 + CALLS_PER_STEP_MAX as i64);
    assert_eq!(talk.instance().messages.items().len(), 2 + 40, "every call gets its answer");
}

#[test]
fn a_world_that_breaks_leaves_the_outcome_unscored() {
    let world = till(json!({}));
    for (name, word) in [("spin", "limit"), ("flood", "bytes"), ("boom", "nothing")] {
        let judgement = played(&world, &[call(name, "{}"), put(2), put(3), say("Done.")]);
        assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Ours), "{name}");
        assert!(judgement.explanation.contains(word), "{name}: {}", judgement.explanation);
    }
}

#[test]
fn a_broken_case_is_told_of_when_it_is_loaded() {
    let good = json!([put(5), say("x")]);
    for (world, reference, word) in [
        (json!({"setup": setup()}), good.clone(), "`file` is missing"),
        (json!({"file": "none.star"}), good.clone(), "no file `none.star`"),
        (json!({"file": "till.star", "setup": setup(), "goal": "nope"}), good.clone(), "no function `nope"),
        (json!({"file": "till.star", "setup": setup(), "max_steps": 99}), good.clone(), "max_steps"),
        (json!({"file": "till.star", "setup": setup(), "turns": [1, {}]}), good.clone(), "turns"),
        (json!({"file": "till.star", "setup": setup(), "required": [{"nam": "x"}]}), good.clone(), "required"),
        (json!({"file": "till.star", "setup": setup(), "turn": []}), good.clone(), "did you mean `turns`?"),
        (json!({"file": "till.star", "setup": setup()}), json!([call("boom", "{}")]), "boom"),
        (json!({"file": "till.star", "setup": setup()}), json!([]), "messages"),
    ] {
        let told = world_of(&case(world.clone(), reference)).err().unwrap_or_default();
        assert!(told.contains(word), "{world}: {told}");
    }
    let mut other = case(json!({"file": "till.star", "setup": setup()}), good);
    other["tools"].as_array_mut().unwrap().push(tool("fly", json!({})));
    assert!(world_of(&other).err().unwrap().contains("no function `fly(state, args)`"));
}

#[test]
fn what_asks_for_one_answer_is_refused_in_a_conversation() {
    let good = case(json!({"file": "till.star", "setup": setup()}), json!([put(5), say("x")]));
    let told = |more: Value| {
        let mut case = good.clone();
        case.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world_of(&case).err().unwrap_or_default()
    };
    assert_eq!(told(json!({})), "");
    let judge = json!({"type": "judge", "rubric": "Polite.", "provider": "lab", "model": "m"});
    assert!(told(json!({"scorers": [judge.clone()]})).contains("not judged by a model"));
    assert!(told(json!({"scorers": [{"type": "group", "scorers": [judge]}]})).contains("not judged by a model"));
    assert!(told(json!({"answers": [{"message": {"content": "x"}}]})).contains("no further answers"));
    let files = [("till.star".to_owned(), Arc::from(TILL))].into();
    let cases = format!("{good}\n{}", json!({"id": "d", "pair": {"with": "c"}}));
    let paired = parse_suite_with(Path::new("w"), HEADER.as_bytes(), cases.as_bytes(), files);
    assert!(paired.unwrap_err().to_string().contains("`c` is a conversation"));
}

#[test]
fn the_content_of_the_file_is_part_of_the_suites_digest() {
    let case = case(json!({"file": "till.star", "setup": setup()}), json!([put(5), say("x")])).to_string();
    let digest = |source: &str| {
        let files =
            [("till.star".to_owned(), Arc::from(source)), ("other.star".to_owned(), Arc::from("X = 1\n"))].into();
        parse_suite_with(Path::new("w"), HEADER.as_bytes(), case.as_bytes(), files).unwrap().digest
    };
    assert_eq!(digest(TILL), digest(TILL));
    assert_ne!(digest(TILL), digest(&TILL.replace("there are", "I see")));
}

/// Some answer that an assistant could give.
fn answer() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3i64..9).prop_map(put),
        Just(call("look", "{}")),
        Just(say("Let me see.")),
        Just(call("steal", "{}")),
        Just(call("put", "{")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever was said: told again, also from the middle on, it comes to the same.
    #[test]
    fn equal_answers_lead_to_equal_conversations(answers in prop::collection::vec(answer(), 1..12)) {
        let world = till(json!({"turns": ["Go on."]}));
        let completions: Vec<Completion> = answers.iter().map(completion_from_message).collect();
        let mut whole = Conversation::new(Arc::clone(&world));
        for completion in &completions {
            let mut copy = whole.clone();
            let next = whole.take(completion);
            prop_assert_eq!(&copy.take(completion), &next);
            prop_assert_eq!(copy.instance().messages, whole.instance().messages);
            prop_assert_eq!(copy.state(), whole.state());
            if next != Next::Ask {
                break;
            }
        }
        prop_assert_eq!(play(&world, completions.clone()), play(&world, completions));
    }
}
