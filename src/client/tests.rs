//! The vectors of the specification, and what a consumer holds on to.

use secrecy::SecretString;
use serde_json::Value;

use super::*;
use crate::domain::Micros;
use crate::signing::{KeyRing, KeySet};

const VECTORS: &str = include_str!("../../tests/vectors/allowlist.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text is due: {value}"))
}

fn time(value: &Value) -> Micros {
    chrono::DateTime::parse_from_rfc3339(text(value)).unwrap().timestamp_micros()
}

fn keys(of: &Value) -> KeySet {
    KeySet::read(&of["public_keys"].to_string()).unwrap()
}

fn trust(case: &Value, keys: &KeySet) -> Trust {
    let believed: Vec<String> = case["believed"].as_array().unwrap().iter().map(|id| text(id).to_owned()).collect();
    Trust {
        model: text(&case["model"]).to_owned(),
        capability: case["capability"].as_str().map(str::to_owned),
        keys: keys.clone().only(&believed),
        signed: case["signed"].as_bool().unwrap(),
    }
}

/// What became of a case, in the words of the vectors.
fn outcome(case: &Value, keys: &KeySet) -> &'static str {
    let held = case["held"]
        .as_object()
        .map(|held| Held { revision: held["version"].as_u64().unwrap(), sha256: text(&held["sha256"]).to_owned() });
    let (document, signature) = (text(&case["document"]), case["signature"].as_str());
    match verify(document.as_bytes(), signature, &trust(case, keys), held.as_ref(), time(&case["now"])) {
        Ok(accepted) if accepted.known => "known",
        Ok(_) => "adopted",
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn every_vector_comes_out_as_the_specification_says() {
    let vectors = vectors();
    let keys = keys(&vectors);
    let cases = vectors["cases"].as_array().unwrap();
    let differ = |case: &&Value| outcome(case, &keys) != text(&case["outcome"]);
    let wrong: Vec<String> =
        cases.iter().filter(differ).map(|c| format!("{}: {}", c["name"], outcome(c, &keys))).collect();
    assert_eq!(wrong, [""; 0]);
    let outcomes: std::collections::BTreeSet<&str> = cases.iter().map(|case| text(&case["outcome"])).collect();
    assert_eq!(outcomes.len(), 14, "every outcome but `too_large` has a vector: {outcomes:?}");
    let (case, trust) = (&cases[0], trust(&cases[0], &keys));
    let long = " ".repeat(DOCUMENT_BYTES_MAX) + text(&case["document"]);
    let refused = verify(long.as_bytes(), case["signature"].as_str(), &trust, None, time(&case["now"])).unwrap_err();
    assert_eq!(refused.code(), "too_large");
}

#[test]
fn the_daemons_keys_make_the_signatures_of_the_vectors() {
    let vectors = vectors();
    let both = KeyRing::read(&SecretString::from(vectors["private_keys"].to_string())).unwrap();
    assert_eq!(both.public(), keys(&vectors));
    let document = &vectors["document"];
    let bytes = text(&document["bytes"]).as_bytes();
    assert_eq!(both.sign(bytes).as_deref(), document["signature_k1_k2"].as_str());
    assert_eq!(crate::publish::etag_of(bytes), text(&document["etag"]));
    // The document is as the daemon writes it.
    let list: crate::domain::Allowlist = serde_json::from_slice(bytes).unwrap();
    assert_eq!(crate::curation::render(&list).as_bytes(), bytes);
}

struct Case {
    document: String,
    signature: Option<String>,
    trust: Trust,
    now_us: Micros,
}

fn case(name: &str) -> Case {
    let vectors = vectors();
    let found = vectors["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
    Case {
        document: text(&found["document"]).to_owned(),
        signature: found["signature"].as_str().map(str::to_owned),
        trust: trust(found, &keys(&vectors)),
        now_us: time(&found["now"]),
    }
}

fn offer(consumer: &mut Consumer, case: &Case) -> Result<Offered, Refusal> {
    consumer.offer(case.document.as_bytes(), case.signature.as_deref(), case.now_us)
}

fn revision(consumer: &Consumer) -> Option<u64> {
    consumer.held().map(|accepted| accepted.held.revision)
}

#[test]
fn a_consumer_goes_on_with_the_last_good_document_whatever_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists/kept.json");
    let (first, later) = (case("a first document"), case("a later one"));
    let (mut consumer, problem) = Consumer::open(first.trust.clone(), &path);
    assert!(problem.is_none() && consumer.routing(first.now_us) == Routing::Open);
    assert_eq!(offer(&mut consumer, &first), Ok(Offered::Adopted));
    assert_eq!(offer(&mut consumer, &first), Ok(Offered::Known));
    assert_eq!(offer(&mut consumer, &later), Ok(Offered::Adopted));
    for name in ["one byte is another", "not signed", "nobody is listed", "half a document", "a first document"] {
        offer(&mut consumer, &case(name)).unwrap_err();
        assert_eq!(revision(&consumer), Some(18), "{name}");
    }
    // The next process begins where this one ended, and is not rolled back either.
    let (mut again, problem) = Consumer::open(first.trust.clone(), &path);
    assert!(problem.is_none());
    assert_eq!((revision(&again), again.etag()), (Some(18), consumer.etag()));
    assert!(matches!(offer(&mut again, &first), Err(Refusal::RolledBack { held: 18, got: 17 })));
    let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["kept.json"], "nothing half-written is left");
}

#[test]
fn what_is_kept_is_verified_again_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.json");
    let first = case("a first document");
    let (mut consumer, _) = Consumer::open(first.trust.clone(), &path);
    offer(&mut consumer, &first).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, written.replace("prov3", "prov4")).unwrap();
    let (tampered, problem) = Consumer::open(first.trust.clone(), &path);
    assert!(matches!(problem, Some(KeptError::Refused(Refusal::BadSignature(_)))), "{problem:?}");
    assert_eq!(tampered.routing(first.now_us), Routing::Open);
    for damage in ["", "{", "[1]", &written.replace("exacto.kept/v1", "exacto.kept/v9")] {
        std::fs::write(&path, damage).unwrap();
        let (damaged, problem) = Consumer::open(first.trust.clone(), &path);
        assert!(matches!(problem, Some(KeptError::Damaged(_))) && damaged.held().is_none(), "{damage}");
    }
    // A damaged file is replaced by the next good document.
    let (mut mended, _) = Consumer::open(first.trust.clone(), &path);
    assert_eq!(offer(&mut mended, &first), Ok(Offered::Adopted));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn an_expired_document_is_kept_or_opens_as_the_operator_wants() {
    let first = case("a first document");
    let mut consumer = Consumer::in_memory(first.trust.clone());
    offer(&mut consumer, &first).unwrap();
    let day_us = 24 * 3600 * 1_000_000;
    assert!(matches!(consumer.routing(first.now_us), Routing::Listed { expired: false, .. }));
    assert!(matches!(consumer.routing(first.now_us + day_us), Routing::Listed { expired: true, .. }));
    let consumer = consumer.on_expired(OnExpired::Open);
    assert_eq!(consumer.routing(first.now_us + day_us), Routing::Open);
    assert!(matches!(consumer.routing(first.now_us), Routing::Listed { .. }));
}

#[test]
fn a_document_that_cannot_be_written_is_used_and_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("blocked");
    std::fs::write(&blocked, "a file where a folder is due").unwrap();
    let first = case("a first document");
    let (mut consumer, _) = Consumer::open(first.trust.clone(), blocked.join("kept.json"));
    assert_eq!(offer(&mut consumer, &first), Ok(Offered::Adopted));
    assert!(consumer.unwritten().is_some() && revision(&consumer) == Some(17));
    std::fs::remove_file(&blocked).unwrap();
    assert_eq!(offer(&mut consumer, &first), Ok(Offered::Known));
    assert!(consumer.unwritten().is_none());
    assert!(Kept::read(&blocked.join("kept.json")).unwrap().is_some());
}
