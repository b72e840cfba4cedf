//! Acks of consumers, and what webhooks are to be told.

use std::slice::from_ref;

use exactod::store::{
    Ack, AckStatus, Alarm, AlarmKey, CurationCommit, DeliveryOutcome, Event, EventKind, EventSubject, NewState, Store,
};

use crate::kit::{DAY, Database, SECOND, T0, decision, id_at, model, step};

fn ack(client: &str, version: u64, status: AckStatus) -> Ack {
    Ack {
        client: client.to_owned(),
        model: model().to_string(),
        capability: String::new(),
        version,
        status,
        detail: "ünï \"quoted\"".to_owned(),
        token: "gateway".to_owned(),
        adopted: None,
        at_us: T0 + version as i64,
    }
}

pub async fn the_last_word_of_a_consumer_is_kept(db: Database) {
    let store = db.store().await;
    let first = store.set_ack(ack("b", 3, AckStatus::Adopted)).await.unwrap().unwrap();
    assert_eq!(first.adopted, Some(3));
    let second = store.set_ack(ack("b", 4, AckStatus::Rejected)).await.unwrap().unwrap();
    assert_eq!(second, Ack { adopted: Some(3), ..ack("b", 4, AckStatus::Rejected) }, "it still runs what it adopted");
    let of_tools = Ack { capability: "tools".to_owned(), ..ack("b", 1, AckStatus::Rejected) };
    assert_eq!(store.set_ack(of_tools.clone()).await.unwrap(), Some(of_tools.clone()));
    store.set_ack(ack("a", 1, AckStatus::Adopted)).await.unwrap();
    let kept = store.acks().await.unwrap();
    assert_eq!(kept.len(), 3);
    assert_eq!((kept[0].client.as_str(), &kept[1], &kept[2]), ("a", &second, &of_tools));
    assert_eq!(store.forget_acks(T0 + 2).await.unwrap(), 2);
    assert_eq!(store.acks().await.unwrap(), [second]);
}

fn alarm(n: u64) -> Alarm {
    Alarm {
        id: id_at(T0 + n as i64, n),
        key: AlarmKey { model: Some(model()), endpoint: None, capability: None, kind: format!("kind-{n}") },
        text: "the list is held".to_owned(),
        opened_at_us: T0 + n as i64 * SECOND,
        closed_at_us: None,
    }
}

/// A step with decisions; its mark is later than that of the step before, whatever the clock says.
async fn decide(store: &Store, base: u64, numbers: &[u64]) {
    let mut step = step(base);
    step.mark_us = T0 + 10 * SECOND * (base as i64 + 1);
    let curation = CurationCommit {
        state: Some(NewState { base, bytes: vec![1], step }),
        decisions: numbers.iter().map(|n| decision(*n, None)).collect(),
        ..CurationCommit::default()
    };
    store.commit_curation(&model(), T0, &curation).await.unwrap();
}

async fn queued(store: &Store, webhook: &str) -> Vec<String> {
    store.undelivered(webhook, 0, 100).await.unwrap().into_iter().map(|event| event.id).collect()
}

pub async fn what_happens_is_queued_with_it_and_told_once_to_each_webhook(db: Database) {
    let store = db.store().await;
    // The later step's decisions have smaller ids: the clock had gone back.
    decide(&store, 0, &[5, 6]).await;
    decide(&store, 1, &[1]).await;
    let of = |n: u64| format!("decision-{}", decision(n, None).id);
    assert_eq!(queued(&store, "a").await, [of(5), of(6), of(1)], "the order of the steps");
    let events = store.undelivered("a", 0, 1).await.unwrap();
    let [Event { kind, at_us, subject, .. }] = events.as_slice() else { panic!("one was asked for: {events:?}") };
    assert_eq!((*kind, *at_us), (EventKind::Decision, decision(5, None).at_us));
    assert_eq!(*subject, EventSubject::Decision(Box::new(decision(5, None))));

    store.delivered("a", &of(5), DeliveryOutcome::Delivered, T0).await.unwrap();
    store.delivered("a", &of(5), DeliveryOutcome::GivenUp, T0).await.unwrap();
    store.delivered("a", &of(6), DeliveryOutcome::Skipped, T0).await.unwrap();
    assert_eq!(queued(&store, "a").await, [of(1)]);
    assert_eq!(queued(&store, "b").await.len(), 3, "another webhook has a queue of its own");
    assert_eq!(store.undelivered("b", T0 + 15 * SECOND, 10).await.unwrap().len(), 1, "what was before is not told");
    assert_eq!(store.forget_events(T0 + 15 * SECOND).await.unwrap(), 2);
    assert_eq!(queued(&store, "b").await, [of(1)]);
    assert_eq!(store.check().await.unwrap().problems, [""; 0]);
}

pub async fn a_refused_step_queues_nothing(db: Database) {
    let store = db.store().await;
    decide(&store, 0, &[1]).await;
    let stale = CurationCommit {
        state: Some(NewState { base: 0, bytes: vec![], step: step(0) }),
        decisions: vec![decision(2, None)],
        open: vec![alarm(1)],
        ..CurationCommit::default()
    };
    store.commit_curation(&model(), T0, &stale).await.unwrap_err();
    assert_eq!(queued(&store, "a").await.len(), 1);
}

pub async fn alarms_are_queued_as_they_open_and_close(db: Database) {
    let store = db.store().await;
    let (first, second) = (alarm(1), alarm(2));
    store.set_alarms(&[first.clone(), second.clone()], &[], T0).await.unwrap();
    store.set_alarms(from_ref(&first), &[], T0 + SECOND).await.unwrap();
    assert_eq!(queued(&store, "a").await.len(), 2, "one that is open already is no news");
    store.set_alarms(&[], &[first.key.clone(), alarm(9).key], T0 + 2 * SECOND).await.unwrap();
    let events = store.undelivered("a", 0, 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.id.clone())).collect();
    assert_eq!(
        kinds,
        [
            (EventKind::AlarmOpened, format!("alarm_opened-{}", first.id)),
            (EventKind::AlarmOpened, format!("alarm_opened-{}", second.id)),
            (EventKind::AlarmClosed, format!("alarm_closed-{}", first.id)),
        ]
    );
    let closed = Alarm { closed_at_us: Some(T0 + 2 * SECOND), ..first };
    assert_eq!(events[2].subject, EventSubject::Alarm(Box::new(closed)));
}

pub async fn a_lease_is_one_owners_until_it_ends(db: Database) {
    let store = db.store().await;
    let lease = async |owner: &str, now_us: i64| {
        let holder = store.lease("webhooks", owner, now_us, now_us + DAY).await.unwrap();
        assert!(holder.as_deref() != Some(owner));
        holder.is_none()
    };
    assert!(lease("a", T0).await);
    assert!(!lease("b", T0 + DAY - 1).await);
    assert!(lease("a", T0 + DAY - 1).await, "it is renewed");
    assert!(!lease("b", T0 + DAY).await);
    assert!(lease("b", T0 + 2 * DAY).await);
    assert!(!lease("a", T0 + 2 * DAY).await);
    assert_eq!(store.lease("another", "a", T0, T0 + 1).await.unwrap(), None);
    // Of an owner that is known to have ended it is taken at once, by one.
    assert!(!store.take_over_lease("webhooks", "c", T0 + 3 * DAY, "a").await.unwrap());
    assert!(store.take_over_lease("webhooks", "c", T0 + 3 * DAY, "b").await.unwrap());
    assert!(!store.take_over_lease("webhooks", "d", T0 + 3 * DAY, "b").await.unwrap());
    assert_eq!(store.lease("webhooks", "b", T0 + 2 * DAY, T0 + 3 * DAY).await.unwrap().as_deref(), Some("c"));
}
