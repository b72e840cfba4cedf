//! Each class found, what only looks like one kept, and the laws.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Compiled once: in a debug build that takes longer than a test.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

fn redacted(text: &str) -> String {
    REDACTOR.case().text(text)
}

#[test]
fn every_shape_compiles() {
    let redactor = Redactor::new();
    assert_eq!(redactor.shapes.len(), SHAPES.len());
    assert!(redactor.placeholder.is_some() && redactor.announces.is_some());
}

#[test]
fn each_class_is_found_and_nothing_around_it() {
    for (text, expected) in [
        ("key sk-proj-abcDEF1234567890xyz!", "key [SECRET_1]!"),
        ("AKIAIOSFODNN7EXAMPLE", "[SECRET_1]"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [SECRET_1]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "[SECRET_1]\nrest"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "[SECRET_1]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig_-x", "[SECRET_1]"),
        (r#"so {"password": "hunter2", "user": "bo"}"#, r#"so {"password": "[SECRET_1]", "user": "bo"}"#),
        (r#"{"password":"correct horse","pay":4111111111111111}"#, r#"{"password":"[SECRET_1]","pay":"[CARD_1]"}"#),
        (
            r#"{"api_key": 12345678, "q": "{\"to\": \"a@b.org\"}"}"#,
            r#"{"api_key":"[SECRET_1]","q":"{\"to\":\"[EMAIL_1]\"}"}"#,
        ),
        (r#"{\"client_secret\":\"correcthorse\"}"#, r#"{\"client_secret\":\"[SECRET_1]\"}"#),
        ("the password is Tr0ub4dor&3.", "the password is [SECRET_1]"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=[SECRET_1]"),
        ("postgres://app:s3cr3t@db.local:5432/x", "postgres://[CREDENTIALS_1]@db.local:5432/x"),
        ("mail Jane.Doe+x@mail.example.org, jane.doe+x@mail.example.org", "mail [EMAIL_1], [EMAIL_1]"),
        ("DE89 3704 0044 0532 0130 00 please", "[IBAN_1] please"),
        ("pay 4111-1111-1111-1111 now", "pay [CARD_1] now"),
        ("4111 1111 1111 1111 12 2027", "[CARD_1] 12 2027"),
        ("call +49 170 1234567.", "call [PHONE_1]."),
        ("(212) 555-0143 or 212-555-0143", "[PHONE_1] or [PHONE_1]"),
        ("phone: 030 901820", "phone: [PHONE_1]"),
        ("from 203.0.113.9:8080 and 2001:db8::8a2e:370:7334", "from [IP_1]:8080 and [IP_2]"),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
    }
}

#[test]
fn what_only_looks_like_one_stays() {
    for text in [
        "max_tokens: 4096 and prompt_tokens=17",
        "the risk-management-framework-of-the-bank",
        r#"{"password": {"type": "string"}, "token": "string"}"#,
        "Password: required",
        "a basic understanding of bearer instruments",
        "the secret is out",
        "std::vec::Vec, a::b and 12:30:45",
        "listen on 127.0.0.1 or ::1",
        "at 1700000000000 on 2024-05-17, version 10.2.1",
        "order 4111111111111112",
        "3 + 4 = 7, 1,234,567.89",
        "GB00 0000 0000 0000 0000 00 is no account",
        "[EMAIL_3] wrote to [SECRET_1]: hello",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn equal_values_share_a_placeholder_and_taken_numbers_are_not_given_again() {
    let redactor = Redactor::new();
    let mut case = redactor.case();
    let mut value = json!({"messages": [{"content": "I am a@b.org, not [EMAIL_2]"}, {"arguments": "{\"to\": \"A@B.org\"}"}, {"c@d.org": {"api_key": "correct horse"}}]});
    case.value(&mut value);
    assert_eq!(
        value,
        json!({"messages": [{"content": "I am [EMAIL_3], not [EMAIL_2]"}, {"arguments": "{\"to\":\"[EMAIL_3]\"}"}, {"[EMAIL_4]": {"api_key": "[SECRET_1]"}}]})
    );
    assert_eq!(case.counts(), [(Class::Secret, 1), (Class::Email, 3)]);
}

#[test]
fn long_texts_of_half_shapes_take_linear_time() {
    for part in ["sk-", "bearer aaaaaaaa ", "001 ", "+1(", "password: none ", "1234 ", "a@b.", "x://y:", "::1 ", "AKIA"]
    {
        let text = part.repeat(40_000 / part.len());
        let _ = redacted(&text);
    }
}

/// Secrets of known shapes, drawn.
fn secret() -> impl Strategy<Value = String> {
    let tail = "[A-Za-z0-9]{24}";
    prop_oneof![
        ("sk-(proj-|ant-|)", tail, "[0-9]").prop_map(|(a, b, c)| format!("{a}{b}{c}")),
        "AKIA[A-Z0-9]{16}",
        "gh[po]_[A-Za-z0-9]{36}",
        "eyJ[A-Za-z0-9]{12}\\.[A-Za-z0-9]{12}\\.[A-Za-z0-9]{12}",
        "glpat-[A-Za-z0-9]{10}[0-9]{8}",
        "hf_[A-Za-z0-9]{30}",
    ]
}

fn surroundings() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        Just("password: ".to_owned()),
        Just("\"api_key\":\"".to_owned()),
        Just("https://u:p@".to_owned()),
        Just("x@y.org ".to_owned()),
        Just("+1 212 555 0143 ".to_owned()),
        Just("[SECRET_1]".to_owned()),
        Just("4111 1111 1111 1111 ".to_owned()),
        Just("10.1.2.3 ".to_owned()),
        "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn redacting_twice_changes_nothing_more(parts in prop::collection::vec(prop_oneof![surroundings(), secret()], 0..8)) {
        let once = redacted(&parts.concat());
        prop_assert_eq!(redacted(&once), once.clone(), "of {:?}", parts.concat());
    }

    #[test]
    fn a_known_secret_never_survives(before in surroundings(), secret in secret(), after in surroundings()) {
        let text = format!("{before}{secret}{after}");
        prop_assert!(!redacted(&text).contains(&secret), "{} -> {}", text, redacted(&text));
    }

    #[test]
    fn any_text_is_redacted_without_a_panic(text in "\\PC{0,200}") {
        let _ = redacted(&text);
    }

    #[test]
    fn addresses_never_survive(a in 1u8..=126, b: u8, c: u8, d: u8, user in "[a-z]{1,8}", host in "[a-z]{1,8}") {
        let (ip, mail) = (format!("{a}.{b}.{c}.{d}"), format!("{user}@{host}.com"));
        let out = redacted(&format!("{mail} at {ip}, again {mail}"));
        prop_assert_eq!(out, "[EMAIL_1] at [IP_1], again [EMAIL_1]");
    }
}
