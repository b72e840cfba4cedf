//! What the store promises, each promise one function, run on SQLite and on PostgreSQL.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "store_contract/attempts.rs"]
mod attempts;
#[path = "store_contract/curation.rs"]
mod curation;
#[path = "store_contract/gateways.rs"]
mod gateways;
#[path = "store_contract/history.rs"]
mod history;
#[path = "store_contract/kit.rs"]
mod kit;
#[path = "store_contract/live.rs"]
mod live;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "store_contract/postgres_only.rs"]
mod postgres_only;
#[path = "store_contract/sqlite_only.rs"]
mod sqlite_only;
#[path = "store_contract/sweeps.rs"]
mod sweeps;
#[path = "store_contract/upkeep.rs"]
mod upkeep;
#[path = "store_contract/writer.rs"]
mod writer;

/// Makes two tests of every contract: one per database. Neither is ever skipped.
macro_rules! contracts {
    ($($group:ident: $($name:ident),+;)+) => {
        mod on_sqlite {
            $(mod $group { $(
                #[tokio::test]
                async fn $name() {
                    crate::$group::$name(crate::kit::Database::sqlite().await).await;
                }
            )+ })+
        }
        mod on_postgres {
            $(mod $group { $(
                #[tokio::test]
                async fn $name() {
                    crate::$group::$name(crate::kit::Database::postgres().await).await;
                }
            )+ })+
        }
    };
}

contracts! {
    sweeps: a_fire_happens_once, an_ordinal_is_taken_once, a_plan_comes_back, a_lease_keeps_others_away,
        a_stale_owner_can_do_nothing, a_reservation_must_fit_the_budget, money_is_summed_from_attempts,
        sweeps_are_listed_newest_first, a_label_stands_for_one_content;
    attempts: every_field_comes_back, a_score_that_is_no_share_is_skipped_and_noted_on_every_database,
        appending_again_counts_nothing_twice,
        another_answer_for_the_same_key_changes_nothing, batches_of_any_size_arrive_whole,
        what_comes_after_the_end_is_refused, pages_stay_as_they_are_while_others_write, filters_choose,
        a_window_in_pages_is_the_whole_window, progress_counts_by_endpoint, a_foreign_cursor_is_refused,
        hostile_text_is_stored, a_round_of_sampled_answers_is_read_whole,
        conversations_are_kept_until_their_attempts_are_stored, what_an_attempt_asked_besides_is_kept_once;
    curation: the_end_of_a_sweep_is_stored_whole, a_failing_piece_leaves_nothing, a_sweep_ends_once,
        two_ends_from_the_same_state_cannot_both_count, two_states_are_kept, a_revision_never_goes_back,
        an_alarm_is_open_once, decisions_are_listed_newest_first, a_capability_has_lists_and_revisions_of_its_own,
        a_capability_has_alarms_and_decisions_of_its_own;
    gateways: the_last_word_of_a_consumer_is_kept, what_happens_is_queued_with_it_and_told_once_to_each_webhook,
        a_refused_step_queues_nothing, alarms_are_queued_as_they_open_and_close, a_lease_is_one_owners_until_it_ends;
    history: a_step_is_stored_with_its_state, a_refused_step_leaves_no_history, checkpoints_are_kept_from_time_to_time,
        what_other_rules_made_leaves_a_checkpoint, a_store_from_before_the_history_begins_it_with_a_checkpoint,
        pruned_attempts_leave_a_checkpoint_at_the_horizon;
    live: live_cells_are_replaced_by_their_key_and_read_by_time, live_cells_are_pruned_by_age,
        live_cells_of_version_12_are_there_after_the_upgrade;
    upkeep: every_statement_prepares, migrating_again_changes_nothing, two_daemons_may_migrate_at_once,
        a_newer_schema_is_refused, an_altered_migration_is_refused, foreign_tables_are_refused, check_finds_nothing_wrong,
        check_finds_orphans, pruning_keeps_what_it_should, facts_are_kept, a_database_of_version_2_is_upgraded,
        sweeps_of_version_2_go_on_after_the_upgrade, the_newest_sweeps_are_those_of_the_last_places,
        pruning_leaves_a_round_of_sampled_answers_whole, a_version_is_found_by_its_digest,
        conversations_of_version_9_go_on_after_the_upgrade, votes_are_pruned_with_what_they_are_about;
    writer: what_was_flushed_is_stored, a_full_disk_is_waited_out, a_shutdown_writes_what_is_queued,
        a_shutdown_on_a_full_disk_tells_what_was_lost, a_small_queue_loses_nothing;
}

/// Not only do all statements prepare on both databases: their tables are the same.
#[tokio::test]
async fn both_databases_have_the_same_layout() {
    let sqlite = kit::Database::sqlite().await.store().await.layout().await.unwrap();
    let postgres = kit::Database::postgres().await.store().await.layout().await.unwrap();
    assert!(sqlite.len() > 9, "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

/// A statement outside `statements.rs` would be prepared by no test.
#[test]
fn no_statement_stands_outside_its_place() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let sql = regex::Regex::new(r#""(SELECT|INSERT|UPDATE|DELETE|WITH) "#).unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if file.is_dir() || name == "statements.rs" || name == "pool.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!sql.is_match(&text), "{name} has a statement of its own: move it to statements.rs");
        seen += 1;
    }
    assert!(seen > 9);
}
