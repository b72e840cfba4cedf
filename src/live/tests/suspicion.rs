//! The test on live traffic: when it fires, when it must not.

use serde_json::{Value, json};

use super::kit::{MINUTE, NOW, Scene, lines, record};
use crate::clock::rfc3339;
use crate::domain::Micros;
use crate::live::Format;
use crate::live::watch::{Alarm, Level};

/// Reports answers as they come.
struct Traffic {
    scene: Scene,
    now_us: Micros,
    n: u64,
}

impl Traffic {
    fn new() -> Traffic {
        Traffic { scene: Scene::new(), now_us: NOW, n: 0 }
    }

    fn report(&mut self, source: &str, provider: &str, other: Value) {
        self.n += 1;
        // Within what weighs in a second.
        self.now_us += 100_000;
        let mut other = other;
        other["ts"] = json!(rfc3339(self.now_us));
        other["provider"] = json!(provider);
        let body = lines(&[record(&format!("{source}-{}", self.n), other)]);
        let reply = self.scene.take_at(self.now_us, source, Format::Native, &body);
        assert_eq!((reply.accepted, reply.unattributed), (1, 0));
    }

    fn good(&mut self, source: &str, provider: &str) {
        self.report(source, provider, json!({}));
    }

    fn bad(&mut self, source: &str, provider: &str) {
        self.report(source, provider, json!({"tool_call_valid": false, "invalid_reason": "json"}));
    }

    /// Some answers of everybody, all good.
    fn usual(&mut self, rounds: u32) {
        for _ in 0..rounds {
            ["one/fp8", "two", "two/eu"].into_iter().for_each(|provider| self.good("a", provider));
        }
    }

    fn alarms(&self) -> Vec<(String, Level)> {
        let name = |alarm: &Alarm| self.scene.intake.place(alarm.place).unwrap().endpoint.unwrap().to_string();
        self.scene.intake.alarms(self.now_us).iter().map(|alarm| (name(alarm), alarm.level)).collect()
    }
}

#[test]
fn ten_bad_answers_in_a_row_are_enough_and_the_alarm_says_why() {
    let mut traffic = Traffic::new();
    traffic.usual(10);
    for _ in 0..9 {
        traffic.bad("a", "two");
    }
    assert!(traffic.alarms().iter().all(|(_, level)| *level < Level::Quarantine), "{:?}", traffic.alarms());
    traffic.bad("a", "two");
    assert_eq!(traffic.alarms(), [("two".to_owned(), Level::Quarantine)]);
    let evidence = traffic.scene.intake.alarms(traffic.now_us)[0].evidence.clone();
    assert_eq!((evidence.requests.as_str(), evidence.bad), ("tools", 10));
    assert!(evidence.log_r >= evidence.log_threshold && evidence.own_rate <= 0.05 && evidence.peer_rate < 0.05);
    assert_eq!(evidence.sources.keys().collect::<Vec<_>>(), ["a"]);
    traffic.scene.intake.restart(traffic.scene.intake.alarms(traffic.now_us)[0].place, traffic.now_us);
    assert_eq!(traffic.alarms(), [], "it has had its consequence");
}

#[test]
fn what_all_endpoints_suffer_is_nobodys_fault() {
    let mut traffic = Traffic::new();
    traffic.usual(20);
    for _ in 0..300 {
        ["one/fp8", "two", "two/eu"].into_iter().for_each(|provider| traffic.bad("a", provider));
        traffic.now_us += 1_000_000;
        assert!(traffic.alarms().iter().all(|(_, level)| *level < Level::Quarantine), "{:?}", traffic.alarms());
    }
}

#[test]
fn an_endpoint_without_peers_or_with_few_answers_is_left_alone() {
    let mut traffic = Traffic::new();
    for _ in 0..60 {
        traffic.bad("a", "two");
    }
    assert_eq!(traffic.alarms(), [], "nobody to compare with");
    let mut traffic = Traffic::new();
    for _ in 0..30 {
        traffic.report("a", "one/fp8", json!({"tools_offered": 0}));
        traffic.report("a", "two/eu", json!({"tools_offered": 0}));
    }
    for _ in 0..60 {
        traffic.bad("a", "two");
    }
    assert_eq!(traffic.alarms(), [], "peers are those on the same kind of request");
}

#[test]
fn a_usual_rate_of_failures_is_no_news() {
    let mut traffic = Traffic::new();
    // One of eight fails, always; its peers are as good as they are.
    for i in 0..6_000_u32 {
        if i % 8 == 3 {
            traffic.bad("a", "two")
        } else {
            traffic.good("a", "two")
        }
        traffic.good("a", "one/fp8");
        traffic.now_us += 2_000_000;
        assert!(traffic.alarms().iter().all(|(_, level)| *level < Level::Quarantine), "{i} {:?}", traffic.alarms());
    }
}

#[test]
fn no_source_alone_takes_an_endpoint_down_while_another_reports_on_it() {
    let mut traffic = Traffic::new();
    traffic.usual(10);
    traffic.good("b", "two");
    for _ in 0..400 {
        traffic.bad("liar", "two");
    }
    assert_eq!(traffic.alarms(), [], "b has reported within a quarter of an hour");
    for _ in 0..6 {
        traffic.bad("b", "two");
    }
    assert_eq!(traffic.alarms(), [("two".to_owned(), Level::Quarantine)], "two see it");
    // A source that is alone is believed.
    let mut traffic = Traffic::new();
    traffic.usual(10);
    traffic.good("b", "two");
    traffic.now_us += 20 * MINUTE;
    traffic.usual(10);
    for _ in 0..10 {
        traffic.bad("a", "two");
    }
    assert_eq!(traffic.alarms().len(), 1);
}

#[test]
fn old_reports_and_failures_of_others_weigh_nothing() {
    let mut traffic = Traffic::new();
    traffic.usual(10);
    for _ in 0..60 {
        traffic.report("a", "two", json!({"ok": false, "http_status": 401, "tool_call_valid": null}));
    }
    assert_eq!(traffic.alarms(), []);
    let body: Vec<Value> = (0..60)
        .map(|i| {
            let ts = rfc3339(traffic.now_us - 3 * MINUTE);
            record(&format!("old-{i}"), json!({"ts": ts, "provider": "two", "ok": false, "http_status": 500}))
        })
        .collect();
    assert_eq!(traffic.scene.take_at(traffic.now_us, "a", Format::Native, &lines(&body)).accepted, 60);
    assert_eq!(traffic.alarms(), [], "a batch of old reports says nothing about now");
}

#[test]
fn redacted_traffic_delists_nobody() {
    let mut traffic = Traffic::new();
    for _ in 0..500 {
        for provider in ["one/fp8", "two", "two/eu"] {
            traffic.report("a", provider, json!({"tool_call_valid": null}));
        }
    }
    assert_eq!(traffic.alarms(), []);
}
