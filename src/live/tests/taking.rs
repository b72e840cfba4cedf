//! Native records: read, attributed, counted once, stored by minute, hour and day.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::kit::{MINUTE, NOW, Scene, lines, record};
use crate::live::{Cell, Count, Format, IDS_KEPT_US, Named, Stratum, WIDTHS_S};

fn codes(scene: &Scene, records: &[Value]) -> Vec<(u64, &'static str, Option<&'static str>)> {
    let reply = scene.take(Format::Native, &lines(records));
    reply.errors.iter().map(|e| (e.line, e.why.code, e.why.field)).collect()
}

#[test]
fn one_bad_record_among_many_costs_itself_alone_and_is_named() {
    let scene = Scene::new();
    let mut body = lines(&[record("a", json!({})), record("b", json!({}))]);
    body.extend_from_slice(b"{\"id\": \"c\", \n");
    body.extend(lines(&[record("a", json!({})), record("d", json!({"latency_ms": "soon"}))]));
    let reply = scene.take(Format::Native, &body);
    assert_eq!((reply.accepted, reply.duplicate, reply.rejected), (2, 1, 2));
    assert_eq!(
        reply.to_json(),
        json!({"accepted": 2, "duplicate": 1, "rejected": 2, "unattributed": 0, "errors": [
            {"line": 3, "code": "not_json"}, {"line": 5, "code": "bad_type", "field": "latency_ms"}]})
    );
    let array = serde_json::to_vec(&[record("e", json!({})), json!(7), record("f", json!({}))]).unwrap();
    let reply = scene.take(Format::Native, &array);
    assert_eq!((reply.accepted, reply.rejected, reply.errors[0].line), (2, 1, 2));
    assert_eq!(reply.errors[0].why.code, "not_an_object");
    assert_eq!(scene.counted("two").get(Count::Requests), 4);
}

#[test]
fn what_cannot_be_meant_is_refused_by_field() {
    let scene = Scene::new();
    let at = |us: i64| crate::clock::rfc3339(NOW + us);
    let refused = [
        (json!({"v": 2}), "unknown_version", "v"),
        (json!({"id": null}), "missing", "id"),
        (json!({"id": ""}), "missing", "id"),
        (json!({"id": "x".repeat(600)}), "too_long", "id"),
        (json!({"model": null}), "missing", "model"),
        (json!({"provider": "x".repeat(600)}), "too_long", "provider"),
        (json!({"ts": "yesterday"}), "bad_value", "ts"),
        (json!({"ts": at(-24 * 60 * MINUTE - 1_000_000)}), "too_old", "ts"),
        (json!({"ts": at(5 * MINUTE + 1_000_000)}), "too_new", "ts"),
        (json!({"ttft_ms": -1}), "bad_value", "ttft_ms"),
        (json!({"latency_ms": 1e300}), "bad_value", "latency_ms"),
        (json!({"output_tokens": 1_u64 << 60}), "bad_value", "output_tokens"),
        (json!({"input_tokens": -3}), "bad_type", "input_tokens"),
        (json!({"cost_usd": -0.1}), "bad_value", "cost_usd"),
        (json!({"http_status": 70000}), "bad_type", "http_status"),
        (json!({"ok": "yes"}), "bad_type", "ok"),
    ];
    let records: Vec<Value> =
        refused.iter().enumerate().map(|(i, (o, ..))| record(&format!("r{i}"), o.clone())).collect();
    let expected: Vec<_> = (1..).zip(&refused).map(|(line, (_, code, field))| (line, *code, Some(*field))).collect();
    assert_eq!(codes(&scene, &records), expected);
    let taken = [json!({"ts": at(-24 * 60 * MINUTE)}), json!({"ts": at(5 * MINUTE)}), json!({"unheard": {"of": []}})];
    let records: Vec<Value> = taken.iter().enumerate().map(|(i, o)| record(&format!("t{i}"), o.clone())).collect();
    assert_eq!(codes(&scene, &records), []);
    assert_eq!(scene.take(Format::Native, b"[1,[]]{}").rejected, 2);
}

#[test]
fn an_endpoint_is_found_by_its_own_names_only() {
    let scene = Scene::new();
    let by = |model: &str, name: &str| scene.found(model, &[Named::Name(name)]);
    for (model, name) in [("lab/m", "prov1"), ("kimi", "one/fp8"), ("kimi:exacto", "one"), ("m:exacto", "prov1")] {
        assert_eq!(by(model, name), "lab/m one/fp8", "{model} {name}");
    }
    // An id goes before a provider's name, of which two endpoints are.
    assert_eq!(by("kimi", "two"), "lab/m two");
    assert_eq!(by("kimi", "openai"), "lab/m -");
    assert_eq!(by("lab/m-unknown", "prov1"), "- -");
    assert_eq!(by("m-eu", "two/eu"), "lab/m two/eu", "by the provider's own name of the model");
    assert_eq!(by("lab/other", "prov1"), "lab/other -", "names are those of one model");
    let host = |text: &str| scene.found("kimi", &[Named::Host(text)]);
    assert_eq!(host("https://API.one.example/v2/chat"), "lab/m one/fp8");
    assert_eq!(host("eu.two.example:8443"), "lab/m two/eu");
    assert_eq!(host("eu.two.example"), "lab/m -");
    assert_eq!(host("not a host"), "lab/m -");
    let both = [Named::Name("nobody"), Named::Host("api.two.example")];
    assert_eq!(scene.found("kimi", &both), "lab/m two", "the first that means one");
}

#[test]
fn what_cannot_be_attributed_is_counted_and_not_scored() {
    let scene = Scene::new();
    let bad = json!({"provider": "openai", "ok": false, "http_status": 500});
    let nowhere = json!({"model": "who", "provider": null, "ok": false, "http_status": 500});
    let records: Vec<Value> = (0..40)
        .flat_map(|i| [record(&format!("a{i}"), bad.clone()), record(&format!("b{i}"), nowhere.clone())])
        .collect();
    let reply = scene.take(Format::Native, &lines(&records));
    assert_eq!((reply.accepted, reply.unattributed, reply.rejected), (80, 80, 0));
    assert_eq!(scene.counted("").get(Count::Requests), 80);
    assert_eq!(scene.intake.alarms(NOW), []);
    let names = scene.intake.unattributed();
    assert_eq!(
        names.iter().map(|n| (n.model.as_str(), n.provider.as_str(), n.records)).collect::<Vec<_>>(),
        [("kimi", "openai", 40), ("who", "", 40)]
    );
}

#[test]
fn only_what_the_provider_did_is_held_against_it() {
    let outcome = |other: Value| {
        let scene = Scene::new();
        assert_eq!(scene.take(Format::Native, &lines(&[record("x", other)])).accepted, 1);
        let cell = scene.counted("two");
        let names = [Count::Good, Count::BadAnswers, Count::Undelivered, Count::Unscored];
        let sum = names.into_iter().find(|c| cell.get(*c) == 1).unwrap().name();
        let class = Count::ALL[Count::RateLimit as usize..=Count::Other as usize].iter().find(|c| cell.get(**c) == 1);
        (sum, class.map(|c| c.name()))
    };
    let failed = |class: &str| json!({"ok": false, "error_class": class, "http_status": null, "tool_call_valid": null});
    for class in ["rate_limit", "timeout", "network", "server"] {
        assert_eq!(outcome(failed(class)), ("undelivered", Some(class)));
    }
    for class in ["malformed", "empty"] {
        assert_eq!(outcome(failed(class)), ("bad_answers", Some(class)));
    }
    for class in ["auth", "client", "context_length", "content_filter", "cancelled"] {
        assert_eq!(outcome(failed(class)), ("unscored", Some(class)));
    }
    assert_eq!(outcome(failed("nobody knows")), ("unscored", Some("other")));
    let status = |code: u16| {
        outcome(json!({"ok": false, "error_class": null, "http_status": code, "tool_call_valid": null})).1.unwrap()
    };
    let by_status = [401, 403, 404, 422, 429, 499, 500, 503, 504].map(status);
    let expected = ["auth", "auth", "client", "client", "rate_limit", "cancelled", "server", "server", "timeout"];
    assert_eq!(by_status, expected);
    assert_eq!(outcome(json!({})), ("good", None));
    assert_eq!(outcome(json!({"tool_call_valid": null})), ("good", None), "not judged is not invalid");
    assert_eq!(outcome(json!({"tool_call_valid": false, "invalid_reason": "json"})), ("bad_answers", None));
    assert_eq!(outcome(json!({"ok": null, "http_status": 502, "tool_call_valid": null})).1, Some("server"));
    assert_eq!(outcome(json!({"ok": null, "http_status": null, "tool_call_valid": null})), ("good", None));
}

#[test]
fn tool_errors_are_counted_as_auto_exacto_counts_them() {
    let scene = Scene::new();
    let invalid = |why: &str| json!({"tool_call_valid": false, "invalid_reason": why});
    let all = [
        json!({}),
        json!({"tool_call_valid": null}),
        invalid("json"),
        invalid("unknown_tool"),
        invalid("schema"),
        invalid("leaked_text"),
        json!({"tool_call_valid": null, "finish_reason": "stop"}),
        json!({"tool_call_valid": false, "invalid_reason": "schema", "finish_reason": "stop"}),
    ];
    let records: Vec<Value> = all.iter().enumerate().map(|(i, o)| record(&format!("r{i}"), o.clone())).collect();
    scene.take(Format::Native, &lines(&records));
    let cell = scene.counted("two");
    let n = |count| cell.get(count);
    assert_eq!((n(Count::Called), n(Count::CalledJudged)), (6, 5));
    let classes = [Count::CalledInvalidJson, Count::CalledUnknownTool, Count::CalledSchema].map(n);
    assert_eq!(classes, [1, 1, 1]);
    assert_eq!((n(Count::Schema), n(Count::LeakedText), n(Count::ToolsJudged)), (2, 1, 6));
    assert_eq!((n(Count::TokensIn), n(Count::CostNanousd), n(Count::Streamed)), (8 * 700, 8 * 400_000, 8));
    let latency = cell.latency.quantile_us(0.5).unwrap();
    assert!(latency.abs_diff(900_000) < 15_000 && cell.ttft.total() == 8, "{latency}");
}

#[test]
fn an_id_is_counted_once_within_its_window_and_source() {
    let scene = Scene::new();
    let body = lines(&[record("same", json!({}))]);
    let take = |now_us: i64, source: &str| {
        let reply = scene.take_at(now_us, source, Format::Native, &body);
        (reply.accepted, reply.duplicate)
    };
    assert_eq!(take(NOW, "a"), (1, 0));
    assert_eq!(take(NOW, "a"), (0, 1));
    assert_eq!(take(NOW, "b"), (1, 0), "another source may use the same ids");
    assert_eq!(take(NOW + IDS_KEPT_US / 2 - 1, "a"), (0, 1), "for an hour at least");
    assert_eq!(take(NOW + IDS_KEPT_US + MINUTE, "a"), (1, 0), "not for ever");
    let sources = scene.intake.sources();
    assert_eq!(
        sources.iter().map(|s| (s.name.as_str(), s.accepted, s.duplicate)).collect::<Vec<_>>(),
        [("a", 2, 2), ("b", 1, 0)]
    );
}

#[test]
fn minutes_hours_and_days_are_sums_of_the_same_answers() {
    let scene = Scene::new();
    let of = |i: i64| {
        let ts = crate::clock::rfc3339(NOW - i * 20_000_000);
        record(&format!("r{i}"), json!({"ts": ts, "input_tokens": if i % 2 == 0 { 10 } else { 9_000 }}))
    };
    scene.take(Format::Native, &lines(&(0..400).map(of).collect::<Vec<_>>()));
    let rows = scene.intake.harvest();
    for width_s in WIDTHS_S {
        let of_width: Vec<_> = rows.iter().filter(|row| row.width_s == width_s).collect();
        let sum: u64 = of_width.iter().map(|row| Cell::decode(&row.bytes).unwrap().get(Count::Requests)).sum();
        assert_eq!(sum, 400, "{width_s}");
        assert!(of_width.iter().all(|row| row.start_us % (i64::from(width_s) * 1_000_000) == 0));
    }
    let mut strata: Vec<String> = rows.iter().map(|row| row.stratum.name()).collect();
    strata.sort_unstable();
    strata.dedup();
    assert_eq!(strata, ["tools-long", "tools-short"]);
    assert!(strata.iter().all(|name| Stratum::parse(name).unwrap().name() == *name));
    // What was given out is not given out again, unless it could not be stored; and a span that grows is the same part.
    assert_eq!(scene.intake.harvest(), []);
    scene.intake.put_back(&rows);
    assert_eq!(scene.intake.harvest().len(), rows.len());
    scene.take(Format::Native, &lines(&[record("late", json!({"input_tokens": 10}))]));
    let again = scene.intake.harvest();
    assert_eq!(again.len(), WIDTHS_S.len());
    for row in &again {
        let before =
            rows.iter().find(|r| (r.width_s, r.start_us, r.stratum) == (row.width_s, row.start_us, row.stratum));
        let before = before.unwrap();
        let count = |bytes: &[u8]| Cell::decode(bytes).unwrap().get(Count::Requests);
        assert_eq!((row.part, count(&row.bytes)), (before.part, count(&before.bytes) + 1));
    }
    // Spans that are over are forgotten once they are stored: what comes late is another part.
    scene.intake.forget_over(NOW + 48 * 60 * MINUTE);
    assert_eq!(scene.intake.held(), 0);
    scene.take(Format::Native, &lines(&[record("later", json!({"input_tokens": 10}))]));
    assert!(scene.intake.harvest().iter().all(|row| again.iter().all(|r| r.part != row.part)));
}

#[test]
fn cells_are_read_as_they_are_written_and_nothing_else_is() {
    let scene = Scene::new();
    let records: Vec<Value> = (0..50).map(|i| record(&format!("r{i}"), json!({"latency_ms": i * i * 7}))).collect();
    scene.take(Format::Native, &lines(&records));
    let cell = scene.counted("two");
    let bytes = cell.encode();
    assert_eq!(Cell::decode(&bytes), Ok(cell));
    assert!(bytes.len() < 250, "{}", bytes.len());
    for cut in 0..bytes.len() {
        assert!(Cell::decode(&bytes[..cut]).is_err(), "{cut}");
    }
    let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert!(Cell::decode(&longer).is_err());
}

proptest! {
    #[test]
    fn no_bytes_break_the_reading_of_cells(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(cell) = Cell::decode(&bytes) {
            prop_assert_eq!(Cell::decode(&cell.encode()), Ok(cell));
        }
    }

    #[test]
    fn every_record_of_any_body_is_accepted_repeated_or_refused(body in "[\\[\\]{}\",:a-z0-9\n ]{0,80}") {
        let scene = Scene::new();
        for format in [Format::Native, Format::LiteLlm] {
            let reply = scene.take(format, body.as_bytes());
            prop_assert_eq!(reply.accepted + reply.duplicate, 0, "nothing in it is a record");
        }
    }
}
