//! Reading a body: time, size, how it ends. No sockets, so that paused time is the only time.

use futures_util::stream;

use super::super::test_kit::{frames, plain};
use super::*;

const LIMITS: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    first_byte: Duration::from_secs(20),
    idle: Duration::from_secs(5),
    total: Duration::from_secs(60),
};

const STREAMED: Want = Want { stream: true, usage: true };
const PLAIN: Want = Want { stream: false, usage: true };

/// After a wait, a piece of the body or its breaking off (`closed_early`).
enum Piece {
    Bytes(u64, Vec<u8>),
    Breaks { closed_early: bool },
    Hangs,
}

fn body(pieces: impl IntoIterator<Item = Piece>) -> impl Stream<Item = Result<Bytes, Broken>> {
    stream::iter(pieces).then(|piece| async move {
        match piece {
            Piece::Bytes(seconds, bytes) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(Bytes::from(bytes))
            }
            Piece::Breaks { closed_early } => Err(Broken { closed_early, detail: "gone".to_owned() }),
            Piece::Hangs => std::future::pending().await,
        }
    })
}

struct Read {
    raw: Bytes,
    outcome: Parsed,
    first_content: Option<Duration>,
    took: Duration,
}

impl Read {
    fn fault(&self) -> Fault {
        self.outcome.as_ref().unwrap_err().fault
    }
}

async fn read(want: Want, pieces: impl IntoIterator<Item = Piece>) -> Read {
    let start = Instant::now();
    let form = if want.stream { Form::Stream } else { Form::Plain };
    let mut reader = Reader::new(form, want, BODY_BYTES_MAX);
    let end = reader.read(body(pieces), start, &LIMITS).await;
    let took = start.elapsed();
    let first_content = reader.first_content_at.map(|at| at - start);
    let (raw, outcome) = reader.conclude(end, &LIMITS, want, false, &Scrubber::default());
    Read { raw, outcome, first_content, took }
}

/// The frames of a healthy stream, each so many seconds after the one before.
fn every(seconds: u64) -> Vec<Piece> {
    frames("x").into_iter().map(|frame| Piece::Bytes(seconds, frame.into_bytes())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_content_is_timed() {
    let read = read(STREAMED, every(4)).await;
    assert_eq!(read.outcome.unwrap().content.as_deref(), Some("x"));
    assert_eq!(read.first_content, Some(Duration::from_secs(8)), "the role is no content");
    assert_eq!(read.raw, frames("x").concat());
    let whole = plain("x").into_bytes();
    let read = super::tests::read(PLAIN, whole.chunks(7).map(|piece| Piece::Bytes(0, piece.to_vec()))).await;
    assert_eq!((read.first_content, read.raw), (Some(Duration::ZERO), Bytes::from(plain("x"))));
    assert_eq!(read.outcome.unwrap().breaches, []);
}

#[tokio::test(start_paused = true)]
async fn every_time_limit_holds() {
    let late = read(STREAMED, vec![Piece::Hangs]).await;
    assert_eq!((late.fault(), late.took), (Fault::TimedOut, LIMITS.first_byte));
    assert!(late.outcome.unwrap_err().detail.contains("first_byte"));

    let stalled = read(STREAMED, every(0).into_iter().take(2).chain([Piece::Hangs])).await;
    assert_eq!((stalled.fault(), stalled.took), (Fault::TimedOut, LIMITS.idle));
    assert!(stalled.outcome.unwrap_err().detail.contains("idle"));

    let keep_alive = (0..100).map(|_| Piece::Bytes(4, b": wait\n\n".to_vec()));
    let endless = read(STREAMED, keep_alive).await;
    assert_eq!((endless.fault(), endless.took), (Fault::TimedOut, LIMITS.total));
    assert!(endless.outcome.unwrap_err().detail.contains("total"));

    let stalled = read(PLAIN, vec![Piece::Bytes(19, b"{\"choices\"".to_vec()), Piece::Hangs]).await;
    assert_eq!((stalled.fault(), stalled.took.as_secs()), (Fault::TimedOut, 24));
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_survives_what_follows_it() {
    for (taken, breaches) in [(5, 0), (4, 1), (3, 2)] {
        let hangs = read(STREAMED, every(0).into_iter().take(taken).chain([Piece::Hangs])).await;
        assert_eq!(hangs.took, if taken == 5 { DONE_GRACE } else { LIMITS.idle });
        let completion = hangs.outcome.unwrap();
        assert_eq!((completion.content.as_deref(), completion.breaches.len()), (Some("x"), breaches));
        for closed_early in [true, false] {
            let broken = [Piece::Breaks { closed_early }];
            let read = read(STREAMED, every(0).into_iter().take(taken).chain(broken)).await;
            assert_eq!(read.outcome.unwrap().breaches.len(), breaches);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_cut_in_its_midst() {
    let cut = |want: Want, taken: usize, closed_early: bool| {
        let pieces: Vec<Piece> = match want.stream {
            true => every(0).into_iter().take(taken).collect(),
            false => vec![Piece::Bytes(0, plain("x").into_bytes()[..20 * taken].to_vec())],
        };
        read(want, pieces.into_iter().chain([Piece::Breaks { closed_early }]))
    };
    assert_eq!(cut(STREAMED, 2, false).await.fault(), Fault::Unreachable, "reset");
    let closed = cut(STREAMED, 2, true).await.outcome.unwrap();
    assert!(closed.truncated && closed.content.as_deref() == Some("x"));
    assert_eq!(cut(STREAMED, 0, true).await.fault(), Fault::Unreachable, "nothing had come");
    assert_eq!(cut(PLAIN, 2, true).await.fault(), Fault::Unreachable);
    assert_eq!(cut(PLAIN, 0, false).await.fault(), Fault::Unreachable);
    assert_eq!(read(STREAMED, vec![]).await.fault(), Fault::MalformedBody);
    assert_eq!(read(PLAIN, vec![]).await.fault(), Fault::MalformedBody);
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_tells_the_form() {
    let plain_for_stream = read(STREAMED, vec![Piece::Bytes(0, plain("x").into_bytes())]).await.outcome.unwrap();
    assert!(!plain_for_stream.streamed);
    assert_eq!(plain_for_stream.breaches[0].fault, Fault::WireShape);
    let error = br#" {"error":{"message":"no","code":500}}"#.to_vec();
    assert_eq!(read(STREAMED, vec![Piece::Bytes(0, error)]).await.fault(), Fault::ServerError);
    let spaced: Vec<Piece> =
        [Piece::Bytes(0, b" \n".to_vec()), Piece::Bytes(1, b"\n".to_vec())].into_iter().chain(every(0)).collect();
    assert_eq!(read(STREAMED, spaced).await.outcome.unwrap().breaches, []);
}

#[tokio::test(start_paused = true)]
async fn size_limits_stop_the_reading() {
    /// A start, then for ever the same mebibyte.
    fn endless(first: &[u8], more: Vec<u8>) -> impl Iterator<Item = Piece> {
        let more = more.repeat((1 << 20) / more.len());
        [first.to_vec()].into_iter().chain(std::iter::repeat(more)).map(|bytes| Piece::Bytes(0, bytes))
    }
    let comment = [vec![b':'; 32 << 10], b"\n".to_vec()].concat();
    let long = read(PLAIN, endless(b"{\"choices\":", b"[".to_vec())).await;
    assert_eq!(long.fault(), Fault::MalformedBody);
    assert!(long.raw.len() > BODY_BYTES_MAX && long.raw.len() < BODY_BYTES_MAX + (2 << 20));
    let long = read(STREAMED, endless(b"data: {}\n\n", comment)).await;
    assert_eq!(long.fault(), Fault::MalformedBody);
    assert!(long.raw.len() > STREAM_BYTES_MAX && long.raw.len() < STREAM_BYTES_MAX + (2 << 20));
    let one_event = read(STREAMED, endless(b"data: ", b"x".to_vec())).await;
    assert!(one_event.outcome.unwrap_err().detail.contains("event"));
    assert!(one_event.raw.len() < 6 << 20, "reading stops at the limit of an event");
}

#[test]
fn kept_headers_hold_no_credentials() {
    let headers = [
        ("set-cookie", "session=1"),
        ("authorization", "Bearer x"),
        ("www-authenticate", "x"),
        ("content-type", "application/json"),
        ("x-request-id", "req-secret-key-1"),
        ("x-ratelimit-remaining-requests", "7"),
        ("server", "nginx"),
        ("x-provider-name", "other"),
        ("x-cache", "HIT"),
        ("x-response-healed", "true"),
        ("x-openrouter-cache-status", "MISS"),
        ("x-unknown", "1"),
    ];
    let map =
        headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>();
    let mut kept: Vec<String> = kept_headers(&map, &Scrubber::new(["secret-key"])).lines().map(str::to_owned).collect();
    kept.sort_unstable();
    let expected = [
        "content-type: application/json",
        "server: nginx",
        "x-cache: HIT",
        "x-openrouter-cache-status: MISS",
        "x-provider-name: other",
        "x-ratelimit-remaining-requests: 7",
        "x-request-id: req-[redacted]-1",
        "x-response-healed: true",
    ];
    assert_eq!(kept, expected);
}

#[test]
fn statuses_become_faults() {
    let refused = |code: u16, body: &str| {
        let refusal = Refusal { status: StatusCode::from_u16(code).unwrap(), location: Some("https://b".to_owned()) };
        refusal.into_delivery(body.as_bytes())
    };
    for (code, fault) in [
        (429, Fault::RateLimited),
        (408, Fault::TimedOut),
        (500, Fault::ServerError),
        (502, Fault::ServerError),
        (503, Fault::ServerError),
        (504, Fault::ServerError),
        (529, Fault::ServerError),
        (400, Fault::Rejected),
        (401, Fault::Rejected),
        (404, Fault::Rejected),
        (422, Fault::Rejected),
        (307, Fault::Rejected),
    ] {
        assert_eq!(refused(code, "").fault, fault, "{code}");
    }
    assert_eq!(refused(503, r#"{"error":{"message":"busy"}}"#).detail, "status 503 Service Unavailable: busy");
    assert_eq!(refused(529, "").detail, "status 529");
    let redirect = refused(308, "").detail;
    assert!(redirect.contains("base_url") && redirect.contains("https://b"), "{redirect}");
}
