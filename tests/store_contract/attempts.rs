//! Attempts: appended once, listed, read as windows.

use std::collections::BTreeMap;

use bytes::Bytes;
use exactod::domain::{
    Attempt, AttemptId, Exchange, Fault, Judgement, Outcome, Part, ScorerResult, SweepState, Transcript, Try,
    UnscoredWhy, Usage, Verdict,
};
use exactod::store::{Appended, AttemptColumns, AttemptFilter, StoreError, SweepEnd};

use crate::kit::{Database, SECOND, T0, attempt, attempts, endpoint, id_at, model, suite, sweep};

/// An attempt in which nothing is left out.
fn full(sweep: exactod::domain::SweepId) -> Attempt {
    let mut full = attempt(sweep, 0);
    full.key.epoch = 7;
    full.judgement = Judgement {
        verdict: Verdict::Fail(Fault::InvalidJson),
        score: Some(0.25),
        fault: Some(Fault::InvalidJson),
        secondary: vec![Fault::BadCallId, Fault::MarkupLeak],
        error_type: Some("tool_calls:invalid_json".to_owned()),
        explanation: "line\nand \"quote\" and ünïcode 🙂".to_owned(),
        scorers: vec![
            ScorerResult {
                kind: "group/tool-calls".to_owned(),
                value: 0.25,
                passed: false,
                error_type: Some("tool_calls:invalid_json".to_owned()),
                reason: "nul \0 and 🙂".to_owned(),
            },
            ScorerResult {
                kind: "group".to_owned(),
                value: 1.0,
                passed: true,
                error_type: None,
                reason: String::new(),
            },
        ],
    };
    full.tries.insert(
        0,
        Try {
            started_at_us: T0 - 5,
            took_us: 4,
            status: Some(429),
            fault: Some(Fault::RateLimited),
            detail: "slow down".to_owned(),
            retry_after_us: Some(2_000_000),
        },
    );
    full.usage = Usage { tokens_in: Some(1), tokens_out: Some(2), tokens_reasoning: Some(3) };
    full.draw = Some(serde_json::json!({"z": 1, "a": [1.5, "x", null]}));
    full.transcript = Some(Transcript {
        request: Bytes::from_static(b"{\"a\":1}"),
        response: Bytes::from_static(b"\x00\xff not UTF-8 \xfe"),
        headers: "server: x\n".to_owned(),
    });
    full
}

pub async fn every_field_comes_back(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let full = full(sweep);
    let mut bare = attempt(sweep, 1);
    bare.judgement = Judgement::unscored(UnscoredWhy::Ours, "cancelled");
    bare.tries.clear();
    (bare.ttft_us, bare.finish_reason, bare.transcript) = (None, None, None);
    bare.usage = Usage::default();
    let written = store.append_attempts(vec![full.clone(), bare.clone()]).await.unwrap();
    assert_eq!(written, Appended { new: 2, known: 0, late: 0 });
    let found = store.attempt(full.id).await.unwrap().unwrap();
    assert_eq!((&found.attempt, found.model, found.delivered), (&full, model(), true));
    let found = store.attempt(bare.id).await.unwrap().unwrap();
    assert_eq!((found.attempt, found.delivered), (bare, false));
    assert_eq!(store.attempt(AttemptId(id_at(T0, 99))).await.unwrap(), None);

    let rows = store.sweep_rows(sweep).await.unwrap();
    let row = rows.iter().find(|row| row.id == full.id).unwrap();
    assert_eq!(row.verdict, Verdict::Fail(Fault::InvalidJson));
    assert_eq!(row.secondary, [Fault::BadCallId, Fault::MarkupLeak]);
    assert!(!row.first_try_ok && row.delivered);
    assert_eq!(row.outcome(false).outcome, Outcome::Scored(0.0));
    assert_eq!(row.outcome(true).outcome, Outcome::Scored(0.25));
    let skipped = rows.iter().find(|row| row.id != full.id).unwrap();
    assert_eq!(skipped.outcome(true).outcome, Outcome::Skipped { provenance: false });
}

pub async fn a_score_that_is_no_share_is_skipped_and_noted_on_every_database(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let odd = [f64::NAN, 1.5, -0.5, f64::INFINITY];
    let mut written = attempts(sweep, 0..odd.len() as u64 + 1);
    for (attempt, score) in written.iter_mut().zip(odd) {
        attempt.judgement = Judgement::pass(score);
    }
    store.append_attempts(written.clone()).await.unwrap();
    let rows = store.sweep_rows(sweep).await.unwrap();
    for graded in [false, true] {
        for (i, attempt) in written.iter().enumerate() {
            let row = rows.iter().find(|row| row.id == attempt.id).unwrap().outcome(graded);
            // Not passed, not failed: what curation skips, and what it writes into its log as a grader's error.
            let is_error = matches!(row.outcome, Outcome::Scored(y) if y.is_nan());
            assert_eq!(is_error, i < odd.len(), "{graded} {i} {row:?}");
        }
    }
}

pub async fn appending_again_counts_nothing_twice(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let first = store.append_attempts(attempts(sweep, 0..100)).await.unwrap();
    assert_eq!(first, Appended { new: 100, known: 0, late: 0 });
    let second = store.append_attempts(attempts(sweep, 50..130)).await.unwrap();
    assert_eq!(second, Appended { new: 30, known: 50, late: 0 });
    let keys = store.done_keys(sweep).await.unwrap();
    assert_eq!(keys.len(), 130);
    assert!(attempts(sweep, 0..130).iter().all(|a| keys.contains(&a.key)));
    assert_eq!(store.check().await.unwrap().rows["transcripts"], 130);
}

pub async fn another_answer_for_the_same_key_changes_nothing(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let first = attempt(sweep, 0);
    store.append_attempts(vec![first.clone()]).await.unwrap();
    let mut second = attempt(sweep, 0);
    second.id = AttemptId(id_at(T0 + 9 * SECOND, 1));
    second.judgement = Judgement::fail(Fault::WrongAnswer, 0.0, "text", "other");
    let mut batch = attempts(sweep, 1..9);
    batch.push(second.clone());
    assert_eq!(store.append_attempts(batch).await.unwrap(), Appended { new: 8, known: 1, late: 0 });
    assert_eq!(store.attempt(first.id).await.unwrap().unwrap().attempt, first);
    assert_eq!(store.attempt(second.id).await.unwrap(), None);
    assert_eq!(store.transcript(second.id).await.unwrap(), None);
    assert!(store.check().await.unwrap().problems.is_empty());
}

pub async fn batches_of_any_size_arrive_whole(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let mut from = 0;
    for size in [0, 1, 7, 8, 9, 63, 64, 65, 150] {
        let written = store.append_attempts(attempts(sweep, from..from + size)).await.unwrap();
        assert_eq!(written, Appended { new: size, known: 0, late: 0 });
        from += size;
    }
    let rows = store.sweep_rows(sweep).await.unwrap();
    assert_eq!(rows.len() as u64, from);
    assert!(rows.is_sorted_by_key(|r| (r.key.case.clone(), r.key.endpoint.clone())));
    let last = attempt(sweep, from - 1);
    assert_eq!(store.attempt(last.id).await.unwrap().unwrap().attempt, last);
}

pub async fn what_comes_after_the_end_is_refused(db: Database) {
    let store = db.store().await;
    let (ended, running) = (sweep(&store, 1).await, sweep(&store, 2).await);
    store.append_attempts(attempts(ended, 0..3)).await.unwrap();
    let fence = store.claim_sweep(ended, "a", T0 + 10, T0).await.unwrap().unwrap();
    let end = SweepEnd {
        sweep: ended,
        model: model(),
        fence,
        state: SweepState::Done,
        at_us: T0 + 5,
        note: String::new(),
        curation: Default::default(),
    };
    store.commit_sweep_end(&end).await.unwrap();
    let mut batch = attempts(ended, 2..5);
    batch.extend(attempts(running, 10..12));
    assert_eq!(store.append_attempts(batch).await.unwrap(), Appended { new: 2, known: 0, late: 3 });
    assert_eq!(store.done_keys(ended).await.unwrap().len(), 3, "decisions were made from these three");
}

async fn all_ids(store: &exactod::store::Store, filter: &AttemptFilter, limit: usize) -> Vec<AttemptId> {
    let (mut ids, mut cursor) = (vec![], None);
    loop {
        let page = store.attempts(filter, limit, cursor.as_deref()).await.unwrap();
        assert!(page.items.len() <= limit);
        ids.extend(page.items.iter().map(|row| row.attempt.id));
        cursor = page.next;
        if cursor.is_none() {
            return ids;
        }
    }
}

pub async fn pages_stay_as_they_are_while_others_write(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    store.append_attempts(attempts(sweep, 0..30)).await.unwrap();
    let expected: Vec<AttemptId> = attempts(sweep, 0..30).iter().rev().map(|a| a.id).collect();
    assert_eq!(all_ids(&store, &AttemptFilter::default(), 7).await, expected);
    assert_eq!(all_ids(&store, &AttemptFilter { sweep: Some(sweep), ..Default::default() }, 30).await, expected);

    let first = store.attempts(&AttemptFilter::default(), 10, None).await.unwrap();
    store.append_attempts(attempts(sweep, 30..60)).await.unwrap();
    let second = store.attempts(&AttemptFilter::default(), 500, first.next.as_deref()).await.unwrap();
    let seen: Vec<AttemptId> = first.items.iter().chain(&second.items).map(|row| row.attempt.id).collect();
    assert_eq!(seen, expected);
    assert!(second.items.iter().all(|row| row.attempt.transcript.is_none()));
}

pub async fn filters_choose(db: Database) {
    let store = db.store().await;
    let (first, second) = (sweep(&store, 1).await, sweep(&store, 2).await);
    store.append_attempts(attempts(first, 0..30)).await.unwrap();
    let mut missing = attempt(second, 40);
    missing.judgement = Judgement::undelivered(Fault::TimedOut, "no byte within 60 s");
    store.append_attempts(vec![missing.clone()]).await.unwrap();
    let none = AttemptFilter::default;
    let count = async |filter: AttemptFilter| all_ids(&store, &filter, 500).await.len();
    assert_eq!(count(none()).await, 31);
    assert_eq!(count(AttemptFilter { sweep: Some(second), ..none() }).await, 1);
    assert_eq!(count(AttemptFilter { sweep: Some(first), verdict: Some("fail".to_owned()), ..none() }).await, 10);
    assert_eq!(count(AttemptFilter { endpoint: Some(endpoint(3)), ..none() }).await, 3);
    assert_eq!(count(AttemptFilter { fault: Some(Fault::TimedOut), ..none() }).await, 1);
    assert_eq!(count(AttemptFilter { suite: Some(suite()), model: Some(model()), ..none() }).await, 31);
    assert_eq!(count(AttemptFilter { since_us: Some(T0 + 25 * SECOND), ..none() }).await, 6);
    let nowhere = exactod::domain::ModelId::new("lab/nowhere").unwrap();
    assert_eq!(count(AttemptFilter { model: Some(nowhere), ..none() }).await, 0);
    let row = store.sweep_rows(second).await.unwrap().remove(0);
    assert_eq!((row.outcome(false).outcome, row.fault), (Outcome::Missing, Some(Fault::TimedOut)));
}

pub async fn a_window_in_pages_is_the_whole_window(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let mut all = attempts(sweep, 0..60);
    for (n, attempt) in all.iter_mut().enumerate() {
        // Four attempts start at the very same time: pages must not lose or repeat them.
        attempt.started_at_us = T0 + (n as i64 / 4) * SECOND;
    }
    store.append_attempts(all.clone()).await.unwrap();
    let (from, to) = (T0 + 2 * SECOND, T0 + 12 * SECOND);
    let whole = store.window(&model(), from, to).next().await.unwrap().unwrap();
    assert_eq!(whole.len(), 40);
    for rows in [1, 3, 4, 7, 40, 100] {
        let mut window = store.window(&model(), from, to).page_rows(rows);
        let mut joined = AttemptColumns::default();
        while let Some(page) = window.next().await.unwrap() {
            assert!(page.len() <= rows && !page.is_empty());
            joined.id.extend(page.id);
            joined.started_at_us.extend(page.started_at_us);
            joined.endpoint.extend(page.endpoint);
        }
        assert_eq!((&joined.id, &joined.endpoint), (&whole.id, &whole.endpoint), "{rows} rows a page");
        assert!(joined.started_at_us.is_sorted() && joined.started_at_us[0] == from);
    }
    assert_eq!(store.window(&model(), T0 - 2, T0 - 1).next().await.unwrap(), None);
    let row = store.sweep_rows(sweep).await.unwrap().into_iter().find(|r| r.id == whole.id[0]).unwrap();
    let mut columns = AttemptColumns::default();
    columns.push(row);
    assert_eq!((columns.score[0], columns.total_us[0]), (whole.score[0], whole.total_us[0]));
}

pub async fn progress_counts_by_endpoint(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    store.append_attempts(attempts(sweep, 0..30)).await.unwrap();
    let progress = store.progress(sweep).await.unwrap();
    assert_eq!(progress.len(), 10);
    assert!(progress.iter().all(|p| (p.pass, p.fail, p.unscored) == (2, 1, 0)), "{progress:?}");
    assert_eq!(progress[3].endpoint, endpoint(3));
}

pub async fn a_foreign_cursor_is_refused(db: Database) {
    let store = db.store().await;
    let refused = store.attempts(&AttemptFilter::default(), 5, Some("' OR 1=1 --")).await;
    assert!(matches!(refused, Err(StoreError::BadCursor(_))));
}

pub async fn hostile_text_is_stored(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let mut hostile = attempt(sweep, 0);
    hostile.judgement = Judgement::fail(Fault::CorruptText, 0.0, "text", "NUL \0 and '; DROP TABLE attempts; --");
    hostile.finish_reason = Some(format!("stop\0{}", "x".repeat(1_000_000)));
    hostile.tries[0].detail = "in JSON a \0 is escaped".to_owned();
    hostile.draw = Some(serde_json::json!({"nul": "\0"}));
    assert_eq!(store.append_attempts(vec![hostile.clone()]).await.unwrap().new, 1);
    let found = store.attempt(hostile.id).await.unwrap().unwrap().attempt;
    assert_eq!(found.judgement.explanation, "NUL \u{fffd} and '; DROP TABLE attempts; --");
    assert!(found.finish_reason.unwrap().len() < 10_000);
    assert_eq!((found.tries, found.draw), (hostile.tries, hostile.draw));
}

/// The sweep that ends a round finds the answers of the sweeps before it, and of no others.
pub async fn a_round_of_sampled_answers_is_read_whole(db: Database) {
    let store = db.store().await;
    let samples = exactod::domain::SuiteName::new("fingerprint-samples").unwrap();
    let last = exactod::domain::SweepPlan {
        samples: Some(exactod::domain::SampleShare { from: 2, closes: true }),
        ..crate::kit::plan(&model(), 4)
    };
    for ordinal in 1..=4 {
        let sweep = sweep(&store, ordinal).await;
        let of = |n: u64| {
            let mut attempt = attempt(sweep, 100 * ordinal + n);
            attempt.key.suite = samples.clone();
            attempt.sampled = Some(format!("a\u{0}b {ordinal}"));
            attempt
        };
        let mut all: Vec<_> = (0..3).map(of).collect();
        all.push(attempt(sweep, 100 * ordinal + 50));
        store.append_attempts(all).await.unwrap();
    }
    // The third is folded after the last: at the last one's step, and in every replay of it, its answers were not there.
    db.raw("UPDATE sweeps SET state = 'done', finished_at_us = 9").await;
    db.raw(
        "INSERT INTO settings (digest, json) VALUES ('s', '{}'); \
         INSERT INTO history (model, seq, at_us, mark_us, kind, rules, setting, sweep, record, decisions, state_digest) \
         SELECT model, CASE ordinal WHEN 3 THEN 5 ELSE ordinal END, 1, ordinal, 'sweep', 1, 's', id, '{}', 0, 'd' \
         FROM sweeps",
    )
    .await;
    let rows = store.rows_to_fold(&last).await.unwrap();
    let texts: Vec<_> = rows.iter().filter_map(|r| r.sampled.as_deref()).collect();
    assert_eq!(texts, ["a\u{fffd}b 4", "a\u{fffd}b 4", "a\u{fffd}b 4", "a\u{fffd}b 2", "a\u{fffd}b 2", "a\u{fffd}b 2"]);
    assert_eq!(rows.len(), 7, "and the sweep's own case");
    let open = exactod::domain::SweepPlan { samples: None, ..last };
    assert_eq!(store.rows_to_fold(&open).await.unwrap().len(), 4);
}

/// What an attempt's part was answered.
pub fn exchange(attempt: &Attempt, part: Part, cost_nanousd: i64) -> Exchange {
    let number = part.place().1;
    let transcript = Transcript {
        request: Bytes::from(vec![number as u8; 40]),
        response: Bytes::from_static(b"\x00 an answer \xff"),
        headers: "server: x\n".to_owned(),
    };
    Exchange {
        key: attempt.key.clone(),
        part,
        tries: full(attempt.key.sweep).tries,
        started_at_us: T0 + i64::from(number),
        ttft_us: Some(7),
        total_us: 9,
        cost_nanousd,
        transcript,
    }
}

fn in_order(exchanges: &BTreeMap<Part, Exchange>) -> Vec<Exchange> {
    exchanges.values().cloned().collect()
}

pub async fn conversations_are_kept_until_their_attempts_are_stored(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let (over, open) = (attempt(sweep, 0), attempt(sweep, 1));
    for (attempt, cost) in [(&over, 3), (&open, 50)] {
        // In any order, and one of them twice: what is stored first stays.
        for number in [1, 0] {
            store.add_exchange(&exchange(attempt, Part::Step(number), cost)).await.unwrap();
        }
        store.add_exchange(&exchange(attempt, Part::Step(0), 1_000_000)).await.unwrap();
    }
    let found = store.open_exchanges(sweep).await.unwrap();
    assert_eq!(found.len(), 2);
    let steps = [exchange(&open, Part::Step(0), 50), exchange(&open, Part::Step(1), 50)];
    assert_eq!(in_order(&found[&open.key]), steps);
    assert_eq!(store.spend_since(T0).await.unwrap().spent_nanousd, 106, "paid for, though not over");

    let cost = over.cost_nanousd;
    store.append_attempts(vec![over.clone()]).await.unwrap();
    let found = store.open_exchanges(sweep).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&open.key]);
    assert_eq!(store.spend_since(T0).await.unwrap().spent_nanousd, 100 + cost, "nothing counts twice");
    assert_eq!(store.clear_exchanges(sweep).await.unwrap(), 2);
    assert_eq!(store.open_exchanges(sweep).await.unwrap()[&open.key].len(), 2, "what was given up was paid for");
    store.close().await;
}

pub async fn what_an_attempt_asked_besides_is_kept_once(db: Database) {
    let store = db.store().await;
    let sweep = sweep(&store, 1).await;
    let attempt = full(sweep);
    let vote = |scorer, vote, cost| exchange(&attempt, Part::Vote { scorer, vote }, cost);
    let answer = exchange(&attempt, Part::Answer, 20);
    for kept in [&vote(1, 0, 4), &answer, &vote(0, 10, 5), &vote(0, 2, 6), &vote(0, 2, 99)] {
        store.add_exchange(kept).await.unwrap();
    }
    let votes = [vote(0, 2, 6), vote(0, 10, 5), vote(1, 0, 4)];
    let open = store.open_exchanges(sweep).await.unwrap();
    let all: Vec<Exchange> = [answer].into_iter().chain(votes.clone()).collect();
    assert_eq!(in_order(&open[&attempt.key]), all, "the first stays");
    assert_eq!(store.votes(&attempt.key).await.unwrap(), votes, "by scorer and number");
    assert_eq!(store.spend_since(T0).await.unwrap().spent_nanousd, 35, "paid for, though not judged");
    store.append_attempts(vec![attempt.clone()]).await.unwrap();
    assert!(store.open_exchanges(sweep).await.unwrap().is_empty(), "its attempt is stored");
    assert_eq!(store.spend_since(T0).await.unwrap().spent_nanousd, attempt.cost_nanousd, "nothing counts twice");
    assert_eq!(store.clear_exchanges(sweep).await.unwrap(), 1, "the attempt holds its answer");
    assert_eq!(store.votes(&attempt.key).await.unwrap(), votes, "votes stay beside it");
    assert_eq!(store.check().await.unwrap().rows["exchanges"], 3);
    store.close().await;
}
