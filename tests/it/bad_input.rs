//! What the user gets wrong: one clear message, the right exit code, nothing done.

use std::net::TcpListener;
use std::path::Path;

use exactod::store::{Store, StoreOptions};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::postgres;
use crate::world::{Ran, Settings, World, exactod, good};

/// A world whose config is this text.
async fn with_config(text: &str) -> World {
    let world = World::new(vec![good("alder")]).await;
    std::fs::write(world.config_path(), text).unwrap();
    world
}

/// Standard error with the temporary folder as `DIR`.
fn told(world: &World, ran: &Ran) -> String {
    let folder = world.path("").display().to_string();
    ran.stderr.replace(folder.trim_end_matches('/'), "DIR")
}

/// Both the check and a real command refuse it with 2, and say the same.
async fn refused(text: &str) -> String {
    let world = with_config(text).await;
    let checked = world.run(&["config", "check"]).await;
    let swept = world.run(&["sweep", "--json"]).await;
    for ran in [&checked, &swept] {
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    }
    assert_eq!(checked.stderr, swept.stderr);
    assert!(!world.path("store.db").exists(), "nothing was begun");
    told(&world, &checked)
}

const PROVIDER: &str = "[[provider]]\nid = \"p\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";
const MODEL: &str = "[[model]]\nid = \"lab/m\"\n[[model.endpoint]]\nprovider = \"p\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_of_a_config_is_told_at_once_with_its_place_and_a_hint() {
    let text = format!(
        "[server]\nlissten = \"127.0.0.1:0\"\n\n{PROVIDER}{PROVIDER}\n{MODEL}price = {{ input_per_mtok = -1.0 }}\n\n\
         [policy]\nmargin = 0.02\nadmission_margin = 0.5\n\n[[schedule]]\ncron = \"61 * * * *\"\nsuites = [\"tool-uze\"]\n"
    );
    insta::assert_snapshot!(refused(&text).await, @r#"
    error: unknown key `lissten` in [server]
      --> DIR/exactod.toml:2:1
      |
    2 | lissten = "127.0.0.1:0"
      | ^^^^^^^
      hint: did you mean `listen`?

    error: duplicate provider id `p`
      --> DIR/exactod.toml:8:6
      |
    8 | id = "p"
      |      ^^^
      hint: the first stands in line 5; for a second set of settings choose another id

    error: [[model.endpoint]] price lacks the key `output_per_mtok`
       --> DIR/exactod.toml:15:9
       |
    15 | price = { input_per_mtok = -1.0 }
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: For a million answer tokens.

    error: `input_per_mtok` must be a number from 0 to 1000000000
       --> DIR/exactod.toml:15:28
       |
    15 | price = { input_per_mtok = -1.0 }
       |                            ^^^^
      hint: For a million prompt tokens.

    error: impossible policy: admission_margin: 0.5 is outside (0, margin = 0.02]: the flap bound needs admission_margin <= margin
       --> DIR/exactod.toml:19:20
       |
    19 | admission_margin = 0.5
       |                    ^^^
      hint: Admission must show a gap below this. In (0, margin].

    error: `61` cannot be read as the minute of a cron line
       --> DIR/exactod.toml:22:9
       |
    22 | cron = "61 * * * *"
       |         ^^
      hint: minute: 0 to 59; also *, lists 1,2, ranges 1-5 and steps */6

    error: unknown suite `tool-uze`
       --> DIR/exactod.toml:23:11
       |
    23 | suites = ["tool-uze"]
       |           ^^^^^^^^^^
      hint: did you mean `tool-use`?

    7 errors
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_suite_is_told_with_the_known_ones() {
    let text = format!("{PROVIDER}{MODEL}[[schedule]]\ncron = \"0 * * * *\"\nsuites = [\"tool-uze\"]\n");
    insta::assert_snapshot!(refused(&text).await, @r#"
    error: unknown suite `tool-uze`
       --> DIR/exactod.toml:10:11
       |
    10 | suites = ["tool-uze"]
       |           ^^^^^^^^^^
      hint: did you mean `tool-use`?

    1 error
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_environment_does_not_hold_is_told_by_its_name() {
    let text = format!("{PROVIDER}api_key = {{ env = \"EXACTOD_TEST_NO_SUCH_KEY\" }}\n{MODEL}");
    insta::assert_snapshot!(refused(&text).await, @r#"
    error: `api_key`: the environment variable `EXACTOD_TEST_NO_SUCH_KEY` is not set
      --> DIR/exactod.toml:4:19
      |
    4 | api_key = { env = "EXACTOD_TEST_NO_SUCH_KEY" }
      |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: set it where exactod starts: export EXACTOD_TEST_NO_SUCH_KEY=...

    1 error
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_clear_is_refused_and_not_repeated() {
    let text = format!("{PROVIDER}api_key = \"sk-live-4f9a7c21d0b84e66\"\n{MODEL}");
    let told = refused(&text).await;
    assert!(!told.contains("4f9a7c21"), "{told}");
    insta::assert_snapshot!(told, @r#"
    error: `api_key` holds a secret in the clear
      --> DIR/exactod.toml:4:11
      |
    4 | api_key = "************************"
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^
      hint: write api_key = { env = "NAME_OF_A_VARIABLE" }; take it out of this file and revoke it if anybody else can read the file

    1 error
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_problems_of_a_config_as_json() {
    let text = format!("{PROVIDER}{MODEL}[[schedule]]\ncron = \"61 * * * *\"\nsuites = [\"tool-uze\"]\n");
    let world = with_config(&text).await;
    let ran = world.run(&["config", "check", "--json"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (2, ""), "{ran:?}");
    let said = ran.json();
    assert_eq!(said["ok"], json!(false));
    let places: Vec<(i64, i64)> = said["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["line"].as_i64().unwrap(), e["column"].as_i64().unwrap()))
        .collect();
    assert_eq!(places, [(9, 9), (10, 11)], "{said}");
    for error in said["errors"].as_array().unwrap() {
        assert!(error["file"].as_str().unwrap().ends_with("exactod.toml"), "{error}");
        assert!(error["message"].is_string() && error["hint"].is_string(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_config_is_told_with_the_way_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Ran::of(exactod().current_dir(folder.path()).arg("serve")).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("exactod.toml"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_suite_is_told_with_file_line_and_place() {
    let world = World::new(vec![good("alder")]).await;
    let cases = world.path("suites/tool-use/cases.jsonl");
    let text = std::fs::read_to_string(&cases).unwrap().replace("\"nights\": {\"int\"", "\"nights\": {\"imt\"");
    std::fs::write(&cases, text.replacen("{{nights}}", "{{nihgts}}", 1)).unwrap();
    let ran = world.run(&["sweep", "--json"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("cases.jsonl:"), "{ran:?}");
    assert_eq!(world.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_that_changed_under_the_same_label_are_refused_by_name() {
    let world = World::new(vec![good("alder")]).await;
    world.json(&["sweep", "--json"]).await;
    let cases = world.path("suites/output-quality/cases.jsonl");
    let text = std::fs::read_to_string(&cases).unwrap().replace("One word.", "In one word.");
    std::fs::write(&cases, text).unwrap();
    let ran = world.run(&["sweep"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    insta::assert_snapshot!(told(&world, &ran), @r#"error: suite output-quality still calls itself revision "1" but 1 case(s) changed (capital): give it a new revision, so that results of different contents are never pooled"#);
}

/// A world whose database is an SQLite file that something else has made; what a sweep says to it.
async fn on_foreign_database(prepare: &str) -> (World, Ran) {
    let world = World::new(vec![good("alder")]).await;
    let path = world.path("store.db");
    let mut database = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare.to_owned())).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    let ran = world.run(&["sweep", "--json"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "a database of somebody else is not touched");
    assert_eq!(world.requests(), 0);
    (world, ran)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_another_program_is_left_alone() {
    let (world, ran) = on_foreign_database("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('x')").await;
    insta::assert_snapshot!(told(&world, &ran), @"error: DIR/store.db is not exactod's: it is a SQLite file of another program (application id 0x0, 1 tables and indexes); nothing was changed, give the store another place ([store] url)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_a_newer_version_is_left_alone() {
    let world = World::new(vec![good("alder")]).await;
    world.store().await.close().await;
    let mut database = SqliteConnection::connect(&world.database).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9000, 'from the future', 1, x'00', 1)",
    )
    .execute(&mut database)
    .await
    .unwrap();
    database.close().await.unwrap();
    for args in [&["sweep"][..], &["serve"], &["db", "migrate"], &["attempts"]] {
        let ran = world.run(args).await;
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains("newer"), "{args:?}: {ran:?}");
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_told() {
    let world = World::new(vec![good("alder")]).await;
    std::fs::create_dir(world.path("store.db")).unwrap();
    let ran = world.run(&["sweep"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    insta::assert_snapshot!(told(&world, &ran), @"error: cannot open the database DIR/store.db: it is a folder: name a file in it");

    let world = World::new(vec![good("alder")]).await;
    std::fs::write(world.path("store.db"), "This is a letter, not a database. ".repeat(100)).unwrap();
    let ran = world.run(&["sweep"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    insta::assert_snapshot!(told(&world, &ran), @"error: DIR/store.db is not exactod's: file is not a database; nothing was changed, give the store another place ([store] url)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_ends_the_start_before_anything_is_touched() {
    let world = World::new(vec![good("alder")]).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    world.configure(&Settings { server: format!("listen = \"{address}\""), ..Settings::default() });
    let ran = world.run(&["serve"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&address.to_string()) && ran.stderr.contains("another daemon"), "{ran:?}");
    assert!(!Path::new(&world.path("store.db")).exists());
    assert_eq!(world.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_makes_no_database() {
    for world in
        [World::new(vec![good("alder")]).await, World::on(postgres::empty_database().await, vec![good("alder")]).await]
    {
        for args in [
            &["scorecard"][..],
            &["allowlist"],
            &["decisions"],
            &["attempts"],
            &["attempt", "01890000-0000-7000-8000-000000000000"],
            &["db", "check"],
            &["db", "prune"],
        ] {
            let ran = world.run(args).await;
            assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{args:?}: {ran:?}");
            assert!(ran.stderr.contains("no database at") && ran.stderr.contains("exactod serve"), "{args:?}: {ran:?}");
            assert!(!world.path("store.db").exists(), "{args:?}");
        }
        assert_eq!(world.run(&["sweep"]).await.code, 0, "nothing stands in the way of the first sweep");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_commands_say_what_they_find() {
    let world = World::new(vec![good("alder")]).await;
    let unmigrated = world.run(&["db", "check"]).await;
    assert_ne!(unmigrated.code, 0, "{unmigrated:?}");
    let migrated = world.json(&["db", "migrate", "--json"]).await;
    assert_eq!(migrated["schema"], migrated["schema_known"]);
    world.json(&["sweep", "--json"]).await;
    let checked = world.json(&["db", "check", "--json"]).await;
    assert_eq!(checked["problems"], json!([]));
    let rows = checked["rows"].to_string();
    assert!(rows.contains("attempts") && rows.contains("14"), "{checked}");
    // Nothing is old enough to go.
    let pruned = world.json(&["db", "prune", "--json"]).await;
    assert_eq!((&pruned["attempts"], &pruned["transcripts"]), (&json!(0), &json!(0)));
    let store = Store::open(&world.database, &StoreOptions::default()).await.unwrap();
    assert!(store.check().await.unwrap().problems.is_empty());
    store.close().await;
}

/// What a sweep says to a store at a URL.
async fn swept_on(database: String) -> Ran {
    let world = World::on(database, vec![good("alder")]).await;
    let ran = world.run(&["sweep", "--json"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_eq!(world.requests(), 0);
    assert!(!ran.stderr.contains("locked"), "{ran:?}");
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_cannot_be_used_is_told_with_its_cause() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let ran = swept_on(format!("postgres://exactod@{address}/exactod")).await;
    assert!(ran.stderr.contains("does not answer") && ran.stderr.contains("refused"), "{ran:?}");

    let there = postgres::empty_database().await;
    let (server, rest) = there.split_at(there.find("exactod_test_").unwrap());
    let tail = rest.find('?').map_or("", |at| &rest[at..]);
    let ran = swept_on(format!("{server}no_such_database{tail}")).await;
    assert!(ran.stderr.contains("\"no_such_database\" does not exist") && ran.stderr.contains("createdb"), "{ran:?}");
}
