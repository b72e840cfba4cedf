//! A provider's key is nowhere but in the request: not in the store, the log, a transcript, a message; also when the
//! provider sends it back, in the clear or in disguise.

use serde_json::json;

use crate::odd_server::{Asked, http, http_until_close, serve};
use crate::world::{Ran, Settings, World, good};

/// The key. No other text of a test holds any eight of its characters in a row.
const CANARY: &str = "sk-canary-Zq8vR2mXw7Lk4TnB9dJc";

/// The value of the request's `authorization` header.
fn credentials(asked: &Asked) -> String {
    let line = asked.head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
    line.map(|line| line["authorization:".len()..].trim().to_owned()).unwrap_or_default()
}

/// Echoes the key in every place of an answer that is kept: errors, texts, calls, headers, streams, redirects.
fn echo(asked: &Asked) -> Vec<u8> {
    let seen = credentials(asked);
    let key = seen.strip_prefix("Bearer ").unwrap_or(&seen).to_owned();
    let error = json!({"error": {"message": format!("Incorrect API key provided: {key} ({seen})"), "code": key}});
    let message = json!({"role": "assistant", "content": format!("Your key is {key}.")});
    let answer = json!({"id": key, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": key}]});
    let escaped: String = key.bytes().map(|b| format!("\\u{b:04x}")).collect();
    match asked.number % 10 {
        0 => http("401 Unauthorized", "application/json", error.to_string().as_bytes()),
        1 => http("429 Too Many Requests", "text/plain", seen.as_bytes()),
        2 => http("500 Internal Server Error", &format!("text/html; x={key}"), asked.head.as_bytes()),
        3 => http("200 OK", "application/json", answer.to_string().as_bytes()),
        4 => http("200 OK", "application/json", format!("{{\"choices\": \"{escaped}\"").as_bytes()),
        5 => {
            let message = format!("{{\"role\": \"assistant\", \"content\": \"The key is {escaped}.\"}}");
            let choice = format!("{{\"index\": 0, \"message\": {message}, \"finish_reason\": \"stop\"}}");
            let answer = format!("{{\"id\": \"1\", \"model\": \"m\", \"choices\": [{choice}]}}");
            http("200 OK", "application/json", answer.as_bytes())
        }
        6 => {
            let arguments = json!(format!("{{\"key\": \"{escaped}\"}}"));
            let call = json!({"id": "c", "type": "function", "function": {"name": "tell", "arguments": arguments}});
            let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
            let answer = json!({"id": "1", "model": "m", "choices": [{"index": 0, "message": message}]});
            http("200 OK", "application/json", answer.to_string().as_bytes())
        }
        7 => {
            let (before, after) = key.split_at(key.len() / 2);
            let delta = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
            let stream = format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", delta(before), delta(after));
            http_until_close("text/event-stream", stream.as_bytes())
        }
        8 => {
            let head = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/{key}\r\n");
            format!("{head}x-request-id: {key}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
        }
        _ => format!("HTTP/1.1 999 {key}\r\n{key}: {key}\r\n\r\n{seen}").into_bytes(),
    }
}

/// Looks at the bytes as they are and with their escapes read, once and twice.
fn assert_clean(what: &str, bytes: &[u8]) {
    let read = |text: &[u8]| {
        let mut text = String::from_utf8_lossy(text).replace("\\\\", "\\");
        for b in b' '..=b'~' {
            text = text.replace(&format!("\\u{b:04x}"), &char::from(b).to_string());
        }
        text.into_bytes()
    };
    let once = if bytes.windows(2).any(|w| w == b"\\u") { read(bytes) } else { vec![] };
    for bytes in [bytes, &once, &read(&once)] {
        assert_literally_clean(what, bytes);
    }
}

fn assert_literally_clean(what: &str, bytes: &[u8]) {
    for needle in [CANARY, &CANARY[10..20]] {
        let found = bytes.windows(needle.len()).position(|w| w == needle.as_bytes());
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(80)..(at + 120).min(bytes.len())];
            panic!("{what} holds {needle:?}: {}", String::from_utf8_lossy(around));
        }
    }
}

async fn run(world: &World, args: &[&str]) -> Ran {
    let mut command = world.exactod(args);
    let command = command.env("CANARY_KEY", CANARY).env("EXACTOD_LOG", "trace,sqlx=debug");
    let ran = Ran::of(command).await;
    assert_clean(&format!("stdout of {args:?}"), ran.stdout.as_bytes());
    assert_clean(&format!("stderr of {args:?}"), ran.stderr.as_bytes());
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_never_kept_or_shown_even_when_the_provider_echoes_it() {
    let world = World::new(vec![good("alder")]).await;
    let simulated = world.fleet.base_url("alder").unwrap();
    let providers = [
        ("alder".to_owned(), simulated),
        ("echo".to_owned(), serve(echo).await),
        // Nobody listens there.
        ("nobody".to_owned(), "http://127.0.0.1:1/v1".to_owned()),
    ];
    let provider = "api_key = { env = \"CANARY_KEY\" }\nheaders = { X-Team = { env = \"CANARY_KEY\" } }\n\
                    limits = { concurrency = 2 }\nretry = { attempts = 1, over = \"10ms\" }";
    world.configure_for(&providers, &Settings { provider: provider.to_owned(), ..Settings::default() });

    let swept = run(&world, &["sweep", "--full", "--epochs", "2", "--json"]).await;
    assert_eq!(swept.code, 0, "{swept:?}");
    let asked = swept.json()["endpoints"].as_array().unwrap().iter().all(|row| row["attempts"] == json!(28));
    assert!(asked, "{swept:?}");
    for args in [&["sweep"][..], &["attempts", "--limit", "200"], &["scorecard"], &["decisions"], &["allowlist"]] {
        assert_eq!(run(&world, args).await.code, 0);
    }
    let attempts = world.attempts().await;
    let echoed = attempts.iter().filter(|a| a.attempt.key.endpoint.as_str() == "echo").count();
    assert!(echoed >= 28, "{echoed} of {}", attempts.len());
    // Decompressed and decoded, as anything that reads the store gets them.
    for stored in &attempts {
        assert_clean("an attempt", format!("{:?}", stored.attempt).as_bytes());
        let transcript = stored.attempt.transcript.as_ref().unwrap();
        assert_clean("a stored request", &transcript.request);
        assert_clean("a stored answer", &transcript.response);
    }
    let one_of_each = |id: &str| attempts.iter().find(|a| a.attempt.key.endpoint.as_str() == id).unwrap().attempt.id;
    for id in ["alder", "echo", "nobody"].map(one_of_each).map(|id| id.to_string()) {
        run(&world, &["attempt", &id, "--json"]).await;
        run(&world, &["attempt", &id, "--raw"]).await;
        let curl = run(&world, &["attempt", &id, "--curl"]).await;
        assert!(curl.stdout.contains("$API_KEY") && curl.stdout.contains("$HEADER_X_TEAM"), "{curl:?}");
    }
    for entry in std::fs::read_dir(world.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
    // The provider did get it, or all this would show nothing.
    assert!(
        attempts.iter().any(|a| a.attempt.judgement.explanation.contains("401")
            || a.attempt.tries.iter().any(|t| t.status == Some(401)))
    );
}
