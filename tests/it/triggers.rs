//! Trigger similarity in scorecards: against what is expected, against the reference, and the reference against itself.

use serde_json::{Value, json};

use crate::suites::TOOL_CASES;
use crate::world::{Settings, World, broken, good};

const EPOCHS: usize = 3;
const SWEEPS: usize = 2;

/// The tool cases judged by whether a call came, and nothing else.
fn judge_triggers(world: &World) {
    let folder = world.path("suites/tool-use");
    let text = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut case: Value = serde_json::from_str(line).unwrap();
        let call = case["id"] != "no-call";
        case["expected"] = json!({"call": call});
        case["scorers"] = json!([{"type": "tool-trigger"}]);
        case.as_object_mut().unwrap().remove("counterexample");
        case.to_string()
    });
    std::fs::write(folder.join("cases.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scorecards_tell_where_tools_are_called() {
    let world = World::new(vec![good("alder"), broken("birch", &[("under_calling", 0.5)])]).await;
    judge_triggers(&world);
    let model = "reference = \"alder\"".to_owned();
    world.configure(&Settings { model, ..Settings::default() });
    let epochs = EPOCHS.to_string();
    for _ in 0..SWEEPS {
        world.json(&["sweep", "--suite", "tool-use", "--full", "--epochs", &epochs, "--json"]).await;
    }
    let silent = world.fleet.log("birch").unwrap().iter().filter(|outcome| !outcome.fired.is_empty()).count();
    let (samples, due) = (TOOL_CASES * EPOCHS * SWEEPS, (TOOL_CASES - 1) * EPOCHS * SWEEPS);
    assert!(silent > 0 && silent < due, "{silent}");
    let cards = world.json(&["scorecard", "--json"]).await;
    let trigger = |id: &str| {
        let card = cards["items"].as_array().unwrap().iter().find(|card| card["endpoint"] == id).unwrap();
        card["suites"][0]["trigger"].clone()
    };
    let (alder, birch) = (trigger("alder"), trigger("birch"));
    assert_eq!((&alder["expectation"]["f1"], &alder["reference"]), (&json!(1.0), &Value::Null), "{alder}");
    let both = (due - silent) as f64;
    for against in ["expectation", "reference"] {
        let figures = &birch[against];
        assert_eq!(figures["samples"], json!(samples), "{birch}");
        let (f1, share) = (figures["f1"].as_f64().unwrap(), figures["disagreement"].as_f64().unwrap());
        assert!((f1 - 2.0 * both / (2.0 * both + silent as f64)).abs() < 1e-12, "{birch}");
        assert!((share - silent as f64 / samples as f64).abs() < 1e-12, "{birch}");
        let (lo, hi) = (figures["interval"]["lo"].as_f64().unwrap(), figures["interval"]["hi"].as_f64().unwrap());
        assert!(lo < share && share < hi, "{birch}");
    }
    // What asks the same again: the case that draws nothing, and one that is drawn once.
    assert_eq!((&birch["noise"]["f1"], &birch["noise"]["disagreement"]), (&json!(1.0), &json!(0.0)), "{birch}");
    let told = world.run(&["scorecard"]).await.stdout;
    assert!(
        told.contains("birch: tool-use calls tools as expected: F1 ") && told.contains("as the reference"),
        "{told}"
    );
    let csv = world.run(&["scorecard", "--format", "csv", "--out", "-"]).await.stdout;
    let mut lines = csv.lines();
    let column = lines.next().unwrap().split(',').position(|name| name == "trigger_f1").unwrap();
    let row = lines.find(|line| line.contains("birch")).unwrap();
    assert_eq!(row.split(',').nth(column).unwrap(), format!("{:.5}", birch["expectation"]["f1"].as_f64().unwrap()));
}
