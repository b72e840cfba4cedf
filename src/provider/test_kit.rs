//! For the tests of this module: a case, a provider, and a server that writes exactly the bytes it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::domain::{Case, CaseId, CaseInstance, Json, Limits, Protocol, Provider, ProviderId, Retry, Timeouts};

/// A case with these request keys.
pub(super) fn instance(request: Value) -> CaseInstance {
    let messages = Json::from(vec![json!({"role": "user", "content": "hi"})]);
    let case = Case {
        id: CaseId::new("c1").unwrap(),
        category: None,
        tags: vec![],
        messages: messages.clone(),
        tools: None,
        response_format: None,
        request: Arc::new(request.as_object().cloned().unwrap()),
        expected: None,
        scorers: Arc::default(),
        metadata: None,
        params: Arc::default(),
        derive: Arc::default(),
        fixed: false,
        world: None,
        files: Default::default(),
        reference: None,
        counterexample: None,
        answers: None,
        pair: None,
        hash: String::new(),
    };
    CaseInstance {
        case: Arc::new(case),
        draw: None,
        messages,
        tools: Some(vec![json!({"type": "function", "function": {"name": "f"}})].into()),
        response_format: Some(json!({"type": "json_object"}).into()),
        expected: None,
        scorers: Arc::default(),
        world: None,
        reference: None,
        counterexample: None,
        answers: None,
    }
}

/// A provider with time limits that no test reaches, and no retries.
pub(super) fn provider(base_url: &str) -> Provider {
    let long = Duration::from_secs(3600);
    Provider {
        id: ProviderId::new("prov1").unwrap(),
        base_url: base_url.parse().unwrap(),
        protocol: Protocol::OpenAiChat,
        api_key: Some("sk-key-of-prov1".into()),
        headers: BTreeMap::new(),
        extra_body: Arc::new(Map::new()),
        limits: Limits::default(),
        timeouts: Timeouts { connect: long, first_byte: long, idle: long, total: long },
        retry: Retry { attempts: 0, over: Duration::from_millis(20) },
        proxy: None,
        ca_file: None,
    }
}

/// What the server does on a request, one after another.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Writes bytes and flushes.
    Send(Vec<u8>),
    /// Waits for the test.
    Await(Arc<Notify>),
    /// Tells the test.
    Tell(Arc<Notify>),
    /// Never does anything again.
    Hang,
    /// Closes the connection in order.
    Close,
    /// Resets the connection.
    Reset,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Request line and headers, in lower case.
    pub(super) head: String,
    /// The body.
    pub(super) body: String,
}

/// An HTTP/1.1 server whose n-th request gets the n-th list of steps, the last one again and again.
pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(super) async fn start(script: Vec<Vec<Step>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(vec![]));
        let (all, script) = (Arc::clone(&seen), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all), Arc::clone(&script)));
            }
        });
        Server { url, seen }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, script: Arc<Vec<Vec<Step>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            seen.len() - 1
        };
        for step in &script[number.min(script.len() - 1)] {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
                Step::Await(notify) => notify.notified().await,
                Step::Tell(notify) => notify.notify_one(),
                Step::Hang => std::future::pending().await,
                Step::Close => return,
                Step::Reset => {
                    stream.set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = vec![];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let body = &bytes[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                return Some(Seen { head, body: String::from_utf8(body.to_vec()).unwrap() });
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// An answer with a length.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    vec![Step::Send(head.into_bytes()), Step::Send(body.as_bytes().to_vec())]
}

/// A healthy plain answer.
pub(super) fn healthy(content: &str) -> Vec<Step> {
    answer("200 OK", "content-type: application/json\r\n", &plain(content))
}

/// The body of a healthy plain answer.
pub(super) fn plain(content: &str) -> String {
    json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})
    .to_string()
}

/// The frames of a healthy stream: role, content, finish, usage, `[DONE]`.
pub(super) fn frames(content: &str) -> Vec<String> {
    let frame = |choices: Value, usage: Value| {
        let frame = json!({"id": "s1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage});
        format!("data: {frame}\n\n")
    };
    let choice = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    vec![
        frame(choice(json!({"role": "assistant"}), Value::Null), Value::Null),
        frame(choice(json!({"content": content}), Value::Null), Value::Null),
        frame(choice(json!({}), json!("stop")), Value::Null),
        frame(json!([]), usage),
        "data: [DONE]\n\n".to_owned(),
    ]
}

/// The head of a chunked stream.
pub(super) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// One chunk of a chunked body.
pub(super) fn chunk(bytes: &[u8]) -> Step {
    Step::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// The end of a chunked body.
pub(super) fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}
