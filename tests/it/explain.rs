//! `explain` and `plan` at the front door: before any store, with undecided endpoints and with decided ones.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::history::fast;
use crate::world::{MODEL, Settings, World, broken, good};

fn aliased() -> Settings {
    Settings { model: "aliases = [\"kimi\"]".to_owned(), ..Settings::default() }
}

fn fast_settings() -> Settings {
    Settings { model: "aliases = [\"kimi\"]".to_owned(), ..fast() }
}

fn row<'a>(said: &'a Value, id: &str) -> &'a Value {
    said["endpoints"].as_array().unwrap().iter().find(|e| e["endpoint"] == id || e["id"] == id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_have_something_to_say_before_there_is_a_store() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    world.configure(&aliased());
    let plan = world.json(&["plan", "--json"]).await;
    let model = &plan["models"][0];
    assert_eq!(model["model"], json!(MODEL));
    assert_eq!(model["next_sweep"]["requests"], json!(3 * crate::suites::CASES));
    assert!(model["next_sweep"]["worst_usd"].as_f64().unwrap() > 0.0, "{model}");
    assert_eq!(model["next_sweep"]["expected_usd"], Value::Null, "nothing was measured");
    assert!(model["undecided"]["sweeps"].as_u64().unwrap() > 1, "{model}");
    let said = world.json(&["explain", "kimi", "--json"]).await;
    assert_eq!(said["endpoints"].as_array().unwrap().len(), 3);
    assert_eq!(row(&said, "birch")["standing"], json!("Unknown"));
    assert!(!world.path("store.db").exists(), "neither makes a store");
    assert_eq!(world.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nearly_right_is_told_the_right_one() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.configure(&aliased());
    for (args, near) in [
        (vec!["explain", "lab/n"], "did you mean \"lab/m\"?"),
        (vec!["explain", "kimmi"], "did you mean \"kimi\"?"),
        (vec!["explain", "kimi", "adler"], "did you mean \"alder\"?"),
        (vec!["plan", "--model", "lab/n"], "did you mean \"lab/m\"?"),
    ] {
        let ran = world.run(&args).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(near) && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decided_and_undecided_endpoints_are_explained_alike_everywhere() {
    let world = World::new(vec![good("alder"), good("birch"), broken("cedar", &[("reasoning_only", 0.9)])]).await;
    world.configure(&fast_settings());
    // One sweep is the cold start: nobody is admitted.
    world.json(&["sweep", "--json"]).await;
    let early = world.json(&["explain", MODEL, "alder", "--json"]).await;
    let alder = row(&early, "alder");
    assert_eq!(alder["standing"], json!("Unknown"), "{alder}");
    let clean = &alder["outlooks"][0];
    assert_eq!((&clean["goal"], &clean["further"]), (&json!("admit"), &json!("clean")));
    assert!(clean["cases"].as_u64().unwrap() > 0 && clean["sweeps"].as_u64().unwrap() > 0, "{clean}");
    assert!(alder["change"].as_str().unwrap().contains("more clean case"), "{alder}");

    world.json(&["sweep", "--until-decided", "--json"]).await;
    let said = world.json(&["explain", "kimi", "--json"]).await;
    let cedar = row(&said, "cedar");
    assert_eq!((&cedar["standing"], &cedar["rank"]), (&json!("Excluded"), &Value::Null));
    assert!(cedar["reason"].as_str().unwrap().starts_with("excluded"), "{cedar}");
    assert!(cedar["guarantee"].as_str().unwrap().contains("false re-admissions"), "{cedar}");
    for part in ["attempts", "missing", "worse", "equal", "better", "rate", "gap", "tests"] {
        assert!(row(&said, "alder")["suites"][0].get(part).is_some(), "{part}: {said}");
    }
    let text = world.run(&["explain", "kimi"]).await;
    assert_eq!(text.code, 0, "{text:?}");
    for part in ["why ", "change ", "guarantee ", "n+ ", "anchors ", cedar["reason"].as_str().unwrap()] {
        assert!(text.stdout.contains(part), "{part}: {}", text.stdout);
    }

    // The same words over HTTP, in the allowlist's detail and on the page.
    let daemon = Daemon::start(&world).await;
    let one = daemon.get("/v1/models/kimi/endpoints/cedar", None).await.json();
    assert_eq!(one["explanation"], cedar["explanation"]);
    let detail = daemon.get("/v1/models/kimi/allowlist?detail=1", None).await.json();
    let listed = detail["excluded"].as_array().unwrap().iter().find(|e| e["id"] == "cedar").unwrap();
    assert_eq!(listed["evidence"]["explanation"], cedar["explanation"]);
    let page = daemon.get("/page/fragment", None).await.body;
    assert!(page.contains("What would change it: "), "{page}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_measured_model_expects_what_attempts_cost_and_says_when_money_is_short() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let every_six_hours =
        || Settings { schedule: "cron = \"17 */6 * * *\"\nspread = \"0s\"".to_owned(), ..fast_settings() };
    world.configure(&every_six_hours());
    let swept = world.json(&["sweep", "--json"]).await;
    let plan = world.json(&["plan", "--model", "kimi", "--json"]).await;
    let model = &plan["models"][0];
    assert!((model["sweeps_per_day"].as_f64().unwrap() - 4.0).abs() < 0.2, "{model}");
    let next = &model["next_sweep"];
    let (worst, expected) = (next["worst_usd"].as_f64().unwrap(), next["expected_usd"].as_f64().unwrap());
    assert!(expected > 0.0 && expected <= worst, "{next}");
    let cost: f64 = swept["endpoints"].as_array().unwrap().iter().map(|e| e["cost_usd"].as_f64().unwrap()).sum();
    assert!((expected / cost - 1.0).abs() < 0.2, "as much as the sweep before: {expected} {cost}");
    assert!(model["month"]["requests"].as_u64().unwrap() > 1000, "{model}");
    assert!(model["onboarding"]["requests"].as_u64().unwrap() > 0, "{model}");
    let pace = &model["undecided"]["at_pace"];
    assert_eq!((&pace["pause_s"], &pace["limited_by"]), (&json!(1800), &json!("pause")), "{pace}");
    let hours = pace["hours"].as_f64().unwrap();
    assert!(hours / 24.0 < model["undecided"]["days"].as_f64().unwrap() / 4.0, "{model}");
    assert!(model["onboarding"]["at_pace"]["expected_usd"].as_f64().unwrap() > 0.0, "{model}");
    // Where no tick comes in between, which would serve as well.
    let yearly = "cron = \"0 0 1 1 *\"\nspread = \"0s\"\nonboarding = \"30m\"".to_owned();
    world.configure(&Settings { schedule: yearly, ..fast_settings() });
    let plan = world.json(&["plan", "--json"]).await;
    let pace = &plan["models"][0]["undecided"]["at_pace"];
    let (sweeps, alone) = (pace["sweeps"].as_u64().unwrap(), pace["hours"].as_f64().unwrap());
    assert!(alone >= 0.5 * (sweeps - 1) as f64, "a pause between each two: {pace}");
    assert!(hours <= alone, "{hours} {alone}");

    for (budget, key) in [
        (format!("usd_per_sweep = {}", worst / 2.0), "usd_per_sweep"),
        (format!("usd_per_day = {}", expected), "usd_per_day"),
    ] {
        world.configure(&Settings { budget, ..every_six_hours() });
        let plan = world.json(&["plan", "--json"]).await;
        assert_eq!(plan["budget"]["suffices"], json!(false), "{plan}");
        assert!(plan["budget"]["advice"][0].as_str().unwrap().contains(&format!("set {key} = ")), "{plan}");
        let pace = &plan["models"][0]["undecided"]["at_pace"];
        assert_eq!(pace["limited_by"], json!(key), "{pace}");
        assert!(pace["hours"].as_f64().is_none_or(|shrunk| shrunk > hours), "{pace}");
        // Of a day's money the part of its three or four ticks is no onboarding sweep's.
        let held = pace["held_for_ticks_usd"].as_f64();
        assert_eq!(held.is_some_and(|usd| usd > 2.0 * expected), key == "usd_per_day", "{pace}");
        let said = world.run(&["plan"]).await.stdout;
        assert_eq!(said.contains("a day is left to the ticks"), key == "usd_per_day", "{said}");
    }
    world.configure(&Settings { budget: "usd_per_day = 1000.0".to_owned(), ..every_six_hours() });
    let ran = world.run(&["plan"]).await;
    assert!(ran.stdout.contains("the budget suffices: no sweep is shrunk"), "{}", ran.stdout);
    for part in [
        "4 sweeps a day",
        "at the onboarding pace (30m between sweeps)",
        "next sweep",
        "undecided",
        "onboarding",
        "a month",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_the_lists_weights_do_to_the_price_of_a_token() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    world.configure(&fast_settings());
    // Alder is the dear one, birch has no price.
    let price = Settings::default().endpoint;
    let dear = "price = { input_per_mtok = 2.0, output_per_mtok = 6.0 }";
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let parts: Vec<&str> = text.splitn(4, &price).collect();
    std::fs::write(world.config_path(), format!("{}{dear}{}{}{price}{}", parts[0], parts[1], parts[2], parts[3]))
        .unwrap();
    world.json(&["sweep", "--json"]).await;
    let list = world.json(&["allowlist", "--json"]).await;
    let weight = |id: &str| {
        let listed = list["providers"].as_array().unwrap().iter().find(|p| p["id"] == id).unwrap();
        listed["weight"].as_f64().unwrap()
    };
    // Three prompt tokens to one answer token.
    let (alder, cedar) = (0.75 * 2.0 + 0.25 * 6.0, 0.75 * 0.5 + 0.25 * 1.5);
    let weighted = (weight("alder") * alder + weight("cedar") * cedar) / (weight("alder") + weight("cedar"));
    let plan = world.json(&["plan", "--json"]).await;
    let routing = &plan["models"][0]["routing"];
    for (key, usd) in
        [("usd_per_mtok", weighted), ("even_usd_per_mtok", (alder + cedar) / 2.0), ("cheapest_usd_per_mtok", cedar)]
    {
        assert!((routing[key].as_f64().unwrap() - usd).abs() < 1e-9, "{key} {usd}: {routing}");
    }
    let said = world.run(&["plan"]).await.stdout;
    assert!(said.contains("routing     by the list's weights $"), "{said}");
    assert!(said.contains("with even weights $1.88, the cheapest listed $0.75"), "{said}");
}
