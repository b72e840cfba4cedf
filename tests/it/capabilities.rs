//! Lists per capability at the front door: who breaks only what a tag stands for leaves that tag's list.

use std::sync::Arc;
use std::time::Duration;

use exactod::clock::{Clock, ManualClock};
use exactod::daemon::{Runtime, SweepOutcome, manual_request, read_config};
use exactod::domain::Standing;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::gate::Gate;
use crate::history::raw;
use crate::world::{MODEL, Settings, World, broken, eventually, good, model};

const LIST: &str = "/v1/models/lab/m/allowlist";
/// Far more than any of these decisions takes.
const SWEEPS_MAX: usize = 60;

/// Streams are a fifth of the cases: who answers them wrongly is within this margin.
const POLICY: &str = "margin = 0.5\nadmission_margin = 0.5\nalpha = 0.2\nexclude_after_sweeps = 20\n\
    readmit_after_sweeps = 10\nsuspect_at = 5\nburst_at = 3\nmin_providers = 1\n\
    cases = { standard = 8, burst = 8, unknown = 8, cap = 1000 }";

/// Dogwood answers rightly, but not in streams.
fn fleet() -> Vec<exactod::sim::EndpointSpec> {
    vec![good("alder"), good("birch"), good("cedar"), broken("dogwood", &[("stream_differs", 1.0)])]
}

fn asking_for(capabilities: &str) -> Settings {
    Settings { policy: format!("{POLICY}\ncapabilities = {capabilities}"), ..Settings::default() }
}

fn ids(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        list["providers"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn list_of(world: &World, capability: &str) -> Value {
    world.json(&["allowlist", "--capability", capability, "--json"]).await
}

async fn standing(world: &World, args: &[&str], id: &str) -> String {
    let args: Vec<&str> = ["explain", MODEL, "--json"].iter().chain(args).copied().collect();
    let said = world.json(&args).await;
    let row = said["endpoints"].as_array().unwrap().iter().find(|e| e["endpoint"] == id).unwrap().clone();
    row["standing"].as_str().unwrap().to_owned()
}

/// Sweeps until dogwood is out of the list of `streaming`, and everybody is decided on the model's own.
async fn decided(world: &World) {
    world.json(&["sweep", "--until-decided", "--json"]).await;
    for _ in 0..SWEEPS_MAX {
        let list = list_of(world, "streaming").await;
        if list["excluded"][0]["id"] == "dogwood" && ids(&list) == ["alder", "birch", "cedar"] {
            return;
        }
        world.json(&["sweep", "--json"]).await;
    }
    panic!("not after {SWEEPS_MAX} sweeps: {}", list_of(world, "streaming").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_streams_alone_leaves_the_list_of_streaming_on_sqlite() {
    left(World::new(fleet()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_streams_alone_leaves_the_list_of_streaming_on_postgres() {
    left(World::on_postgres(fleet()).await).await;
}

async fn left(world: World) {
    world.configure(&asking_for("[\"streaming\", \"tools\"]"));
    decided(&world).await;
    let own = world.json(&["allowlist", "--json"]).await;
    assert_eq!(ids(&own), ["alder", "birch", "cedar", "dogwood"], "the model's own list forgives it");
    let streaming = list_of(&world, "streaming").await;
    assert_eq!(streaming["capability"], json!("streaming"));
    let why = streaming["excluded"][0]["reason"].as_str().unwrap();
    assert!(why.starts_with("capability streaming: excluded: "), "{why}");
    assert_eq!(standing(&world, &[], "dogwood").await, Standing::Admitted.name());
    assert_eq!(standing(&world, &["--capability", "streaming"], "dogwood").await, Standing::Excluded.name());
    let decisions = world.json(&["decisions", "--json"]).await;
    let of_streaming =
        decisions["items"].as_array().unwrap().iter().find(|d| d["capability"] == "streaming" && d["to"] == "Excluded");
    assert_eq!(of_streaming.expect("it is in the log")["endpoint"], json!("dogwood"));

    let daemon = Daemon::start(&world).await;
    served(&daemon, &world).await;
    filtered(&daemon, &world).await;
    // A pin holds on every list; the order says what it did to each.
    let said = world.json(&["pin", MODEL, "dogwood", "--by", "ann", "--json"]).await;
    let listed = &said["decisions"][0]["evidence"]["capabilities"]["streaming"]["listed"];
    assert_eq!(*listed, json!({"before": false, "after": true}), "{said}");
    eventually("the pin is served", async || {
        let list = daemon.get(&format!("{LIST}?capability=streaming"), None).await.json();
        ids(&list).contains(&"dogwood".to_owned()).then_some(())
    })
    .await;
    world.json(&["unpin", MODEL, "dogwood", "--json"]).await;
    world.json(&["ban", MODEL, "alder", "--json"]).await;
    assert_eq!(ids(&list_of(&world, "streaming").await), ["birch", "cedar"]);
    assert_eq!(ids(&list_of(&world, "tools").await), ["birch", "cedar", "dogwood"]);
    daemon.stop().await;

    let replayed = world.json(&["replay", "--json"]).await;
    assert_eq!(replayed["equal"], json!(true), "{replayed}");
    assert!(replayed["models"][0]["capability_revisions"].as_u64().unwrap() > 3, "{replayed}");
    withdrawn(&world).await;
}

/// What gateways and people are served.
async fn served(daemon: &Daemon, world: &World) {
    let path = format!("{LIST}?capability=streaming");
    let answer = daemon.get(&path, None).await;
    let printed = world.run(&["allowlist", "--capability", "streaming", "--json"]).await;
    assert_eq!(printed.stdout.trim_end(), answer.body, "the same bytes");
    let etag = answer.header("etag");
    assert_eq!(daemon.get(&path, Some(("if-none-match", etag))).await.status, 304);
    assert_eq!(daemon.get(LIST, Some(("if-none-match", etag))).await.status, 200);
    let detail = daemon.get(&format!("{path}&detail=1"), None).await.json();
    assert_eq!(detail["excluded"][0]["standing"], json!("Excluded"), "{detail}");
    let of = format!("/v1/models/{MODEL}/endpoints/dogwood?capability=streaming");
    let endpoint = daemon.get(&of, None).await.json();
    assert_eq!((&endpoint["standing"], &endpoint["rank"]), (&json!("Excluded"), &Value::Null), "{endpoint}");
    let unknown = daemon.get(&format!("{LIST}?capability=stream"), None).await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json()["type"]),
        (404, &json!("urn:exactod:problem:unknown-capability"))
    );
    assert!(unknown.body.contains("streaming, tools"), "{}", unknown.body);
    let metric = format!("exactod_capability_allowlist_providers{{model=\"{MODEL}\",capability=\"streaming\"}}");
    assert_eq!(daemon.metric(&metric).await, Some(3.0));
    assert!(daemon.get("/", None).await.body.contains("list for streaming"));
}

/// Decisions of one list, endpoint and kind, on the command line and over HTTP alike.
async fn filtered(daemon: &Daemon, world: &World) {
    let wanted = [("capability", "streaming"), ("endpoint", "dogwood"), ("kind", "transition")];
    for n in 1..=wanted.len() {
        let mut args = vec!["decisions".to_owned(), "--limit".to_owned(), "500".to_owned(), "--json".to_owned()];
        args.extend(wanted[..n].iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]));
        let printed = world.json(&args.iter().map(String::as_str).collect::<Vec<_>>()).await["items"].take();
        let all = printed.as_array().unwrap();
        assert!(!all.is_empty(), "{args:?}");
        assert!(all.iter().all(|d| wanted[..n].iter().all(|(name, value)| d[name] == *value)), "{args:?} {printed}");
        let query: Vec<String> = wanted[..n].iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = format!("/v1/models/{MODEL}/decisions?limit=500&{}", query.join("&"));
        let served = daemon.get(&path, None).await.json()["items"].take();
        let ids = |of: &Value| of.as_array().unwrap().iter().map(|d| d["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&served), ids(&printed), "{path}");
    }
    let path = format!("/v1/models/{MODEL}/decisions?kind=transitions");
    let refused = daemon.get(&path, None).await;
    assert_eq!(refused.status.as_u16(), 400, "{refused:?}");
    assert!(refused.body.contains("did you mean `transition`?"), "{refused:?}");
    let refused = world.run(&["decisions", "--kind", "transitions"]).await;
    assert!(refused.code == 2 && refused.stderr.contains("did you mean `transition`?"), "{refused:?}");
}

/// A capability that the policy no longer names has no list any more; what was published stays in the store, and the
/// history that holds it is made again.
async fn withdrawn(world: &World) {
    world.configure(&asking_for("[\"tools\"]"));
    let unknown = world.run(&["allowlist", "--capability", "streaming"]).await;
    assert!(unknown.code == 2 && unknown.stderr.contains("known: tools"), "{unknown:?}");
    let daemon = Daemon::start(world).await;
    assert_eq!(daemon.get(&format!("{LIST}?capability=streaming"), None).await.status, 404);
    let metric = format!("exactod_capability_allowlist_providers{{model=\"{MODEL}\",capability=\"streaming\"}}");
    assert_eq!(daemon.metric(&metric).await, None);
    daemon.stop().await;
    world.json(&["sweep", "--json"]).await;
    let version = async || {
        let store = world.store().await;
        let streaming = exactod::domain::Capability::new("streaming").unwrap();
        let stored = store.capability_list(&crate::world::model(), &streaming).await.unwrap().unwrap();
        store.close().await;
        stored.list.revision
    };
    let before = version().await;
    world.configure(&asking_for("[\"streaming\", \"tools\"]"));
    world.json(&["sweep", "--json"]).await;
    assert!(version().await > before, "it begins anew, and its revisions go on");
    assert_eq!(list_of(world, "streaming").await["mode"], json!("bootstrap"));
    assert_eq!(world.run(&["replay"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_no_case_carries_is_told_with_the_nearest_one() {
    let world = World::new(vec![good("alder"), good("birch")]).await;
    world.configure(&asking_for("[\"streming\"]"));
    let ran = world.run(&["config", "check"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    for part in [
        "no case of the suites that judge lab/m has the tag `streming`",
        "capabilities = [\"streming\"]",
        "did you mean `streaming`?",
        "^",
    ] {
        assert!(ran.stderr.contains(part), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_how_long_and_how_much_each_capability_takes() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    world.configure(&asking_for("[\"streaming\"]"));
    let planned = async || world.json(&["plan", "--json"]).await["models"][0].clone();
    let before = planned().await;
    let streaming = &before["capabilities"][0];
    assert_eq!(streaming["capability"], json!("streaming"));
    assert_eq!(streaming["undecided"]["endpoints"], json!(["alder", "birch", "cedar"]), "{before}");
    let (own, of_streaming) = (&before["undecided"], &streaming["undecided"]);
    for part in ["sweeps", "requests"] {
        assert!(of_streaming[part].as_u64() > own[part].as_u64(), "a fifth of the cases: {part} {before}");
    }
    assert!(of_streaming["worst_usd"].as_f64() > own["worst_usd"].as_f64(), "{before}");

    // Decided on the model's own list, and not about streams.
    world.json(&["sweep", "--until-decided", "--json"]).await;
    let plan = planned().await;
    assert_eq!(plan["undecided"], Value::Null, "{plan}");
    let told = plan["capabilities"][0]["undecided"]["sweeps"].as_u64().expect("undecided, and within sight") as usize;
    assert!(plan["capabilities"][0]["onboarding"]["requests"].as_u64().unwrap() > 0, "{plan}");
    let text = world.run(&["plan"]).await.stdout;
    assert!(text.contains("list of     streaming (") && text.contains("undecided alder, birch, cedar: "), "{text}");

    let mut swept = 0;
    while planned().await["capabilities"][0]["undecided"] != Value::Null {
        world.json(&["sweep", "--json"]).await;
        swept += 1;
        assert!(swept <= 3 * told + 5, "{told} sweeps were told");
    }
    assert!(3 * swept + 5 >= told, "{swept} were enough, {told} were told");
    assert!(world.run(&["plan"]).await.stdout.contains(": all decided"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_a_capability_counts_as_long_as_it_is_open() {
    let world = World::new(vec![good("alder"), good("birch"), good("cedar")]).await;
    let gate = Gate::before(&world.fleet, 2).await;
    world.configure_for(&gate.providers, &asking_for("[]"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(crate::ticks::HALF_PAST_TEN));
    // It does not serve: nobody but the sweep's end looks at the alarms.
    let service = world.service(Arc::clone(&clock), "only").await;
    raw(
        &world,
        "INSERT INTO alarms (id, model, endpoint, kind, capability, text, opened_at_us, closed_at_us) VALUES \
         ('019a0000-0000-7000-8000-000000000001', 'lab/m', 'alder', 'reference', 'streaming', 'is in doubt', 1, NULL)",
    )
    .await;
    let sweeping = tokio::spawn({
        let service = Arc::clone(&service);
        async move {
            let runtime = service.runtime.load_full();
            let request = manual_request(Duration::from_secs(3600));
            service.sweeper.run(&runtime, &runtime.models[&model()], &request, &service.signals).await.unwrap()
        }
    });
    eventually("requests are in flight", async || (world.requests() > 0).then_some(())).await;
    // A capability that comes in mid-sweep gets no evidence by it, so that its alarm is neither set nor ended.
    world.configure_for(&gate.providers, &asking_for("[\"streaming\"]"));
    let config = read_config(&world.config_path()).unwrap();
    service.runtime.store(Arc::new(Runtime::build(config, &clock).unwrap()));
    gate.open();
    assert!(matches!(sweeping.await.unwrap(), SweepOutcome::Done { .. }));
    let open = service.sweeper.store.open_alarms().await.unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    let counted = format!("exactod_alarms_open{{model=\"{MODEL}\",kind=\"reference\"}} 1");
    let metrics = service.sweeper.metrics.encode().unwrap();
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    service.close().await;
}
