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
    assert_eq!(redactor.keys.len(), KEYS.len());
    assert!(redactor.placeholder.is_some() && redactor.announces.is_some() && redactor.encoded.compiles());
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
fn keys_of_json_announce_what_stands_below_them() {
    for key in [
        "token",
        "pwd",
        "session_token",
        "id_token",
        "bot_token",
        "secret_key",
        "authorization",
        "account_key",
        "password_hash",
        "db_password_prod",
        "sessionToken",
        "passwordHash",
        "Ocp-Apim-Subscription-Key",
        "OPENAI_KEY",
        "api key",
        "client-secret",
    ] {
        let (flat, list) =
            (json!({key: "tea for two"}), json!({key: ["tea for two", {"of": "four more", "n": 12345}]}));
        assert_eq!(redacted(&flat.to_string()), json!({key: "[SECRET_1]"}).to_string(), "{key}");
        let expected = json!({key: ["[SECRET_1]", {"of": "[SECRET_2]", "n": "[SECRET_3]"}]});
        assert_eq!(redacted(&list.to_string()), expected.to_string(), "{key}");
    }
    let pairs =
        json!({"headers": [{"name": "X-Api-Key", "value": "tea for two"}, {"name": "Accept", "value": "text/html"}]});
    let expected =
        json!({"headers": [{"name": "X-Api-Key", "value": "[SECRET_1]"}, {"name": "Accept", "value": "text/html"}]});
    assert_eq!(redacted(&pairs.to_string()), expected.to_string());
    for kept in [
        json!({"max_tokens": 4096, "token_count": 12345, "prompt_tokens": 99999}),
        json!({"password": {"type": "string", "description": "The password of the account", "minLength": 12345}}),
        json!({"secret": true, "token": null, "password": "required"}),
    ] {
        assert_eq!(redacted(&kept.to_string()), kept.to_string());
    }
}

#[test]
fn other_classes_are_told_by_their_keys() {
    let value = json!({"phone": "5551234567", "home_phone": 5551234567_u64, "email": "bo@localhost", "ssn": "123456789", "Cookie": "sid=1; a=b"});
    let expected = json!({"phone": "[PHONE_1]", "home_phone": "[PHONE_1]", "email": "[EMAIL_1]", "ssn": "[SSN_1]", "Cookie": "[SECRET_1]"});
    assert_eq!(redacted(&value.to_string()), expected.to_string());
}

#[test]
fn announced_values_go_whole() {
    for (text, expected) in [
        (r#"so "password": "correct horse battery staple", ok"#, r#"so "password": "[SECRET_1]", ok"#),
        (r#"see {"password":"x;9kQ!zzTop"} there"#, r#"see {"password":"[SECRET_1]"} there"#),
        (r#"PASSWORD="two words here" run"#, r#"PASSWORD="[SECRET_1]" run"#),
        ("password=p@s<s>word1 and", "password=[SECRET_1] and"),
        ("Authorization: Token 9944b09199c62bcf", "Authorization: Token [SECRET_1]"),
        ("Authorization: ApiKey abc def", "Authorization: ApiKey [SECRET_1]"),
        (
            "Authorization: Digest username=\"bo\", response=\"6629\"\nHost: x",
            "Authorization: Digest [SECRET_1]\nHost: x",
        ),
        ("see \"password\":\n  \"hunter22\" there", "see \"password\":\n  \"[SECRET_1]\" there"),
        ("password:\n  hunter22\nuser: bo", "password:\n  [SECRET_1]\nuser: bo"),
        ("run --password hunter22 now", "run --password [SECRET_1] now"),
        ("a <password>hunter22</password> b", "a <password>[SECRET_1]</password> b"),
        (r#"with "name":"password","value":"hunter22" in"#, r#"with "name":"password","value":"[SECRET_1]" in"#),
        ("SERVICE_KEY=tea-for-two", "SERVICE_KEY=[SECRET_1]"),
        (r#"the "api key": "tea for two""#, r#"the "api key": "[SECRET_1]""#),
        ("Cookie: sid=31d4; theme=dark\nAccept: x", "Cookie: [SECRET_1]\nAccept: x"),
        ("?X-Amz-Signature=fe5f80f77d5fa3&x=1", "?X-Amz-Signature=[SECRET_1]&x=1"),
        ("https://a.blob.example/x?sv=1&sig=abcd%2Fefgh%3D&se=2", "https://a.blob.example/x?sv=1&sig=[SECRET_1]&se=2"),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
        assert_eq!(redacted(expected), expected, "{expected}");
    }
}

#[test]
fn what_is_encoded_is_found_too() {
    for (text, expected) in [
        ("mail user%40example.com now", "mail [EMAIL_1] now"),
        (r"mail jane\u0040example.org now", "mail [EMAIL_1] now"),
        ("mail bo&#64;example.org or bo&#x40;example.org", "mail [EMAIL_1] or [EMAIL_1]"),
        ("twice bo%2540example.org", "twice [EMAIL_1]"),
        ("go?q=password%3Dhunter2", "go?q=password=[SECRET_1]"),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
    }
    for text in ["100%25 of it", "a%20b%2Fc", r"caf\u00e9", "R&amp;D", "5%2B5"] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn further_shapes_are_found() {
    for text in [
        "GOCSPX-4f7aB2cD9eF1gH3iJ5kL",
        "dapi0123456789abcdef0123456789abcdef",
        "hvs.CAESIJ1x2y3z4a5b6c7d8e9f",
        "dckr_pat_a1B2c3D4e5F6g7H8i9J0",
        "lin_api_a1B2c3D4e5F6g7H8i9J0",
    ] {
        assert_eq!(redacted(&format!("with {text} in")), "with [SECRET_1] in");
    }
    let base64 = "QUJDx0/a".repeat(40);
    for (text, expected) in [
        ("https://hooks.slack.com/services/T000/B000/XXXXyyyy", "https://hooks.slack.com/services/[SECRET_1]"),
        ("https://discord.com/api/webhooks/123456/aBcDeFgH_1", "https://discord.com/api/webhooks/[SECRET_1]"),
        ("ssn 123-45-6789, ok", "ssn [SSN_1], ok"),
        ("000-45-6789 and 2024-05-17", "000-45-6789 and 2024-05-17"),
        ("call 555 123 4567 or 06 12 34 56 78 or 0170 1234567", "call [PHONE_1] or [PHONE_2] or [PHONE_3]"),
        ("pay 4111.1111.1111.1111 now", "pay [CARD_1] now"),
        ("![x](data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==)", "![x](data:image/png;base64,[DATA_1])"),
        (base64.as_str(), "[DATA_1]"),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
    }
    assert_eq!(redacted(&"-".repeat(500)), "-".repeat(500));
    assert_eq!(redacted(&"ACGT".repeat(100)), "ACGT".repeat(100));
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
    fn prose_and_json_agree(
        before in "(db_|X-|prod_|)",
        word in "(password|secret|api_key|access_key|session_token|id_token|account_key|credential|pwd|passphrase)",
        after in "(_prod|_hash|-2|Old|)",
        value in r"[a-zA-Z0-9!@#$%^*()+?~|/]{2}[ -!#-\[\]-~]{0,12}[0-9]{3}",
    ) {
        let (key, value) = (format!("{before}{word}{after}"), value.trim().to_owned());
        prop_assume!(is_assigned(&value) && !value.contains("sk-"));
        let json = json!({key.as_str(): value.as_str()}).to_string();
        let whole = redacted(&json);
        prop_assert_eq!(&whole, &json!({key.as_str(): "[SECRET_1]"}).to_string(), "{}", json);
        prop_assert_eq!(redacted(&format!("see {json} there")), format!("see {whole} there"), "{}", json);
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
