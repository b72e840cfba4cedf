//! What is published follows from what is stored: `replay`, on both databases, after sweeps, orders, damage, pruning.

use exactod::store::Retention;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::world::{Settings, World, broken, good};

/// Decides within a few sweeps of few cases.
pub const FAST_POLICY: &str = "margin = 0.4\nadmission_margin = 0.3\nalpha = 0.2\nexclude_after_sweeps = 20\n\
    readmit_after_sweeps = 10\nsuspect_at = 5\nburst_at = 3\nmin_providers = 1\n\
    cases = { standard = 8, burst = 8, unknown = 8, cap = 1000 }";

fn fleet() -> Vec<exactod::sim::EndpointSpec> {
    vec![good("alder"), good("birch"), broken("cedar", &[("reasoning_only", 0.9)])]
}

pub fn fast() -> Settings {
    Settings { policy: FAST_POLICY.to_owned(), ..Settings::default() }
}

/// Runs SQL behind the program's back.
pub async fn raw(world: &World, sql: &'static str) {
    if world.database.starts_with("sqlite") {
        let mut conn = SqliteConnection::connect(&world.database).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    } else {
        let mut conn = PgConnection::connect(&world.database).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }
}

async fn decided(world: &World) {
    world.configure(&fast());
    let said = world.json(&["sweep", "--until-decided", "--json"]).await;
    assert_eq!(said["decided"], json!(true), "{said}");
}

/// The document of a replay that ends with a code.
async fn replay(world: &World, args: &[&str], code: i32) -> Value {
    let args: Vec<&str> = ["replay", "--json"].iter().chain(args).copied().collect();
    let ran = world.run(&args).await;
    assert_eq!(ran.code, code, "{ran:?}");
    let said = ran.json();
    assert_eq!(said["equal"], json!(code == 0));
    said["models"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_recomputed_on_sqlite() {
    recomputed(World::new(fleet()).await, "no database at").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_recomputed_on_postgres() {
    recomputed(World::on_postgres(fleet()).await, "no step of lab/m is stored").await;
}

/// `nothing_yet`: what a replay says before anything is stored.
async fn recomputed(world: World, nothing_yet: &str) {
    world.configure(&fast());
    let nothing = world.run(&["replay", "--model", "lab/m"]).await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.contains(nothing_yet), "{nothing:?}");

    decided(&world).await;
    for (verb, endpoint) in [("ban", "alder"), ("note", "birch"), ("unban", "alder"), ("reset", "cedar")] {
        world.json(&[verb, "lab/m", endpoint, "--note", "why not", "--by", "ann", "--json"]).await;
    }
    // The policy is edited between sweeps: every step was made by the policy of its time.
    let edited =
        Settings { policy: format!("{FAST_POLICY}\nrank_by = \"latency\"\ngraded = true"), ..Settings::default() };
    world.configure(&edited);
    world.json(&["sweep", "--json"]).await;
    let whole = replay(&world, &[], 0).await;
    let list = world.json(&["allowlist", "--json"]).await;
    assert_eq!((&whole["from_step"], &whole["difference"]), (&json!(0), &Value::Null));
    assert!(whole["sweeps"].as_u64().unwrap() > 2 && whole["decisions"].as_u64().unwrap() > 8, "{whole}");
    assert_eq!(whole["revisions"], list["version"]);

    // One revision alone, and one that is not there.
    let one = replay(&world, &["--revision", "2"], 0).await;
    assert!(one["to_step"].as_u64() < whole["to_step"].as_u64(), "{one}");
    let unknown = world.run(&["replay", "--revision", "999"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("there is no such revision"), "{unknown:?}");

    damaged(&world).await;
}

/// One verdict is turned round behind the program's back: what follows from it is no longer what was published.
async fn damaged(world: &World) {
    raw(
        world,
        "UPDATE attempts SET verdict = 'fail', fault = 'WrongAnswer', score = 0.0 WHERE id = \
         (SELECT MIN(id) FROM attempts WHERE verdict = 'pass' AND endpoint = 'birch')",
    )
    .await;
    let said = replay(world, &[], 1).await;
    let difference = &said["difference"];
    assert!(difference["step"].as_u64().unwrap() >= 1, "{said}");
    assert_ne!(difference["stored"], difference["replayed"]);
    let text = world.run(&["replay"]).await;
    assert!(text.code == 1 && text.stdout.contains("DIFFERENT") && text.stdout.contains("- stored:"), "{text:?}");
    raw(world, "DELETE FROM attempts WHERE id = (SELECT MIN(id) FROM attempts)").await;
    let said = replay(world, &[], 1).await;
    assert!(said["difference"]["what"].as_str().unwrap().starts_with("attempts of sweep 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_found() {
    let world = World::new(fleet()).await;
    decided(&world).await;
    for (damage, repair, what) in [
        (
            "UPDATE decisions SET reason = reason || '!' WHERE id = (SELECT MAX(id) FROM decisions)",
            "UPDATE decisions SET reason = substr(reason, 1, length(reason) - 1) WHERE reason LIKE '%!'",
            "decision",
        ),
        (
            "UPDATE allowlists SET document = replace(document, '\"weight\":100', '\"weight\":99') WHERE revision = 2",
            "UPDATE allowlists SET document = replace(document, '\"weight\":99', '\"weight\":100') WHERE revision = 2",
            "allowlist revision 2",
        ),
        (
            "UPDATE states SET bytes = x'00' WHERE seq = (SELECT MAX(seq) FROM states)",
            "SELECT 1",
            "bytes of the newest state",
        ),
    ] {
        replay(&world, &[], 0).await;
        raw(&world, damage).await;
        let said = replay(&world, &[], 1).await;
        assert!(said["difference"]["what"].as_str().unwrap().starts_with(what), "{said}");
        raw(&world, repair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_tells_what_it_would_have_changed() {
    let world = World::new(fleet()).await;
    decided(&world).await;
    // The same policy: nothing would be otherwise. A copy of the config does.
    let config = world.config_path();
    let same = replay(&world, &["--policy", config.to_str().unwrap()], 0).await;
    assert_eq!(same["counterfactual"], json!({"lists": [], "standings": []}), "{same}");

    let other = world.path("other.toml");
    std::fs::write(&other, format!("[policy]\n{}", FAST_POLICY.replace("alpha = 0.2", "alpha = 0.000000001"))).unwrap();
    let said = replay(&world, &["--policy", other.to_str().unwrap()], 0).await;
    let standings = said["counterfactual"]["standings"].as_array().unwrap();
    assert!(
        standings.iter().any(|s| s["endpoint"] == "cedar" && s["was"] == "Excluded" && s["would"] == "Unknown"),
        "{said}"
    );
    assert!(!said["counterfactual"]["lists"].as_array().unwrap().is_empty(), "{said}");
    let text = world.run(&["replay", "--policy", other.to_str().unwrap()]).await;
    assert_eq!(text.code, 0);
    assert!(text.stdout.contains("cedar stands Excluded and would stand Unknown"), "{text:?}");
    let lines: Vec<&str> = text.stdout.lines().filter(|l| l.trim_start().starts_with(['-', '+'])).collect();
    assert!(
        lines.iter().any(|l| l.contains("- normal: ")) && lines.iter().any(|l| l.contains("+ bootstrap: ")),
        "{lines:?}"
    );

    std::fs::write(&other, "[policy]\nmargni = 0.1\nalpha = 2.0\n").unwrap();
    let wrong = world.run(&["replay", "--policy", other.to_str().unwrap()]).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("did you mean `margin`?") && wrong.stderr.contains("alpha"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_pruning_the_rest_is_still_recomputed_on_sqlite() {
    pruned(World::new(fleet()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_pruning_the_rest_is_still_recomputed_on_postgres() {
    pruned(World::on_postgres(fleet()).await).await;
}

async fn pruned(world: World) {
    decided(&world).await;
    let whole = replay(&world, &[], 0).await;
    let store = world.store().await;
    let all = Retention { transcripts_before_us: None, attempts_before_us: Some(i64::MAX / 2), ..Retention::default() };
    assert!(store.prune(&all).await.unwrap().attempts > 0);
    store.close().await;
    let end = whole["to_step"].as_u64().unwrap();
    let said = replay(&world, &[], 0).await;
    assert_eq!(
        (said["from_step"].as_u64(), said["to_step"].as_u64()),
        (Some(end), Some(end)),
        "nothing is left to make again"
    );
    assert!(said["note"].as_str().unwrap().contains("pruned"), "{said}");

    world.json(&["sweep", "--json"]).await;
    world.json(&["pin", "lab/m", "cedar", "--json"]).await;
    let said = replay(&world, &[], 0).await;
    assert_eq!((said["from_step"].as_u64(), said["sweeps"].as_u64()), (Some(end), Some(1)), "{said}");
    let early = world.run(&["replay", "--revision", "1"]).await;
    assert_eq!(early.code, 1);
    assert!(early.stderr.contains("were pruned"), "{early:?}");
}
