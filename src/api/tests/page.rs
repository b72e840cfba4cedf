use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::kit::*;
use crate::domain::{Standing, SweepKind};
use crate::progress::SweepProgress;
use crate::store::{Alarm, AlarmKey, CurationCommit};

const HOSTILE: &str = "<script>alert(1)</script>\"onload='x' &amp;";

#[tokio::test]
async fn what_others_wrote_is_escaped_everywhere() {
    let kit = Kit::new().await;
    kit.publish(7);
    *kit.daemon.standings.lock().unwrap() =
        vec![view(0, Standing::Admitted, HOSTILE), view(1, Standing::Excluded, HOSTILE)];
    let mut hostile = card(0, 0.9);
    hostile.suites[0].faults = [(HOSTILE.to_owned(), 9)].into();
    *kit.daemon.cards.lock().unwrap() = vec![hostile];
    let commit = CurationCommit { decisions: vec![decision(0, HOSTILE)], ..CurationCommit::default() };
    kit.state.store.commit_curation(&model(), NOW, &commit).await.unwrap();
    let alarm = Alarm {
        id: id_at(NOW, 1),
        key: AlarmKey { model: None, endpoint: None, capability: None, kind: HOSTILE.to_owned() },
        text: HOSTILE.to_owned(),
        opened_at_us: NOW,
        closed_at_us: None,
    };
    kit.state.store.set_alarms(&[alarm], &[], NOW).await.unwrap();
    for path in ["/", "/page/fragment"] {
        let page = kit.get(path).await;
        assert_eq!(page.status, 200);
        assert!(!page.text().contains("<script>alert"), "{path}");
        assert!(!page.text().contains("\"onload"), "{path}");
        assert!(page.text().matches("script&#62;alert(1)").count() >= 5, "{path}: {}", page.text());
    }
}

#[tokio::test]
async fn the_page_shows_the_list_the_endpoints_and_the_sweep_in_flight() {
    let kit = Kit::new().await;
    kit.publish(7);
    *kit.daemon.standings.lock().unwrap() =
        vec![view(0, Standing::Admitted, "not worse"), view(1, Standing::Excluded, "much worse")];
    *kit.daemon.cards.lock().unwrap() = vec![card(0, 0.97), card(1, 0.71)];
    let progress = SweepProgress {
        sweep: kit.sweep(1).await,
        model: model(),
        kind: SweepKind::Onboarding,
        planned_at_us: NOW,
        planned: 40,
        done: AtomicU64::new(10),
        endpoints: BTreeMap::new(),
    };
    kit.state.progress.begin(Arc::new(progress));
    let page = kit.get("/page/fragment").await;
    let text = page.text();
    for part in [
        "revision 7",
        "97.0\u{202f}%",
        "71.0\u{202f}%",
        "much worse",
        "InvalidJson <b>7</b>",
        "max=\"40\" value=\"10\"",
        "data-summary=\"lab/m:free: revision 7, 1 listed, 1 excluded; lab/other: no list yet\"",
        "exactod sweep --model lab/other",
        "<svg class=\"plot\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.find("good/fp8").unwrap() < text.find("much worse").unwrap());
    // No style of its own would pass the policy.
    assert!(!text.contains("style="));
}

#[tokio::test]
async fn the_page_survives_what_it_cannot_read() {
    let kit = Kit::new().await;
    kit.publish(7);
    *kit.daemon.broken.lock().unwrap() = true;
    let page = kit.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Some figures cannot be read"));
    assert!(!page.text().contains("secret path"));
}

#[tokio::test]
async fn browsers_are_kept_on_a_short_lead() {
    let kit = Kit::new().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page/fragment", "text/html; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let answer = kit.get(path).await;
        assert_eq!(answer.header("content-type"), kind);
        assert!(answer.header("content-security-policy").starts_with("default-src 'self'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    kit.get("/page/secrets.txt").await.is_problem(404, "unknown-path");
    let page = kit.get("/").await;
    for file in page.text().split(['"', '\'']).filter(|w| w.starts_with("/page/")) {
        assert_eq!(kit.get(file).await.status, 200, "{file}");
    }
}
