//! Defects of whole HTTP responses (catalogue, section 9).

use super::{Act, Defect, Effect, Instead, Scene};
use crate::domain::Fault::{EmptyAnswer, MalformedBody, RateLimited, ServerError};
use crate::sim::draws::Draw;

/// Requests after a start that find the endpoint cold.
const COLD_REQUESTS: u64 = 5;
/// Microseconds without a request after which it is cold again.
const COLD_AFTER_US: i64 = 600_000_000;
/// What a rate limit asks to wait, in milliseconds: short, for simulated time is precious.
pub(in crate::sim) const RETRY_AFTER_MS: u64 = 20;

pub(super) const ROWS: &[Defect] = &[
    Defect {
        id: "ok_with_error_body",
        needs: &[],
        act: Act::Http(error_body),
        quality: &[ServerError, MalformedBody],
        wire: &[ServerError, MalformedBody],
        shows: "200 with an error object, with choices null, or without choices",
    },
    Defect {
        id: "ok_empty_body_for_429",
        needs: &[],
        act: Act::Http(empty_body),
        quality: &[MalformedBody],
        wire: &[MalformedBody],
        shows: "200 and an empty body",
    },
    Defect {
        id: "rate_limit_bursts",
        needs: &[],
        act: Act::Http(rate_limit),
        quality: &[RateLimited],
        wire: &[RateLimited],
        shows: "429, in half of the answers with Retry-After",
    },
    Defect {
        id: "cold_start_empty",
        needs: &[],
        act: Act::Http(cold_start),
        quality: &[MalformedBody, EmptyAnswer],
        wire: &[MalformedBody, EmptyAnswer],
        shows: "the first requests after a start or ten idle minutes come back empty",
    },
];

impl Instead {
    /// An OpenAI error object.
    #[must_use]
    pub fn error(status: u16, kind: &str, message: &str) -> Instead {
        let body = serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
        Instead { status, body: body.to_string(), retry_after_ms: None }
    }

    /// 429.
    #[must_use]
    pub fn rate_limited(retry_after_ms: Option<u64>) -> Instead {
        let error = Instead::error(429, "rate_limit_error", "too many requests: wait and try again");
        Instead { retry_after_ms, ..error }
    }

    fn ok(body: &str) -> Instead {
        Instead { status: 200, body: body.to_owned(), retry_after_ms: None }
    }
}

fn error_body(_: &Scene<'_>, draw: &mut Draw) -> Option<(Instead, Effect)> {
    Some(match draw.below(3) {
        0 => {
            let error = Instead::error(200, "server_error", "the upstream is overloaded");
            (error, Effect::both(ServerError))
        }
        1 => (Instead::ok("{\"object\":\"chat.completion\",\"choices\":null}"), Effect::both(MalformedBody)),
        _ => (Instead::ok("{\"object\":\"chat.completion\"}"), Effect::both(MalformedBody)),
    })
}

fn empty_body(_: &Scene<'_>, _: &mut Draw) -> Option<(Instead, Effect)> {
    Some((Instead::ok(""), Effect::both(MalformedBody)))
}

fn rate_limit(_: &Scene<'_>, draw: &mut Draw) -> Option<(Instead, Effect)> {
    let wait = draw.chance(0.5).then_some(RETRY_AFTER_MS);
    Some((Instead::rate_limited(wait), Effect::both(RateLimited)))
}

fn cold_start(scene: &Scene<'_>, draw: &mut Draw) -> Option<(Instead, Effect)> {
    if scene.ordinal >= COLD_REQUESTS && scene.idle_us.is_none_or(|idle| idle < COLD_AFTER_US) {
        return None;
    }
    if scene.prompt.stream || draw.chance(0.5) {
        return Some((Instead::ok(""), Effect::both(MalformedBody)));
    }
    let body = "{\"id\":\"chatcmpl-0\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"\",\"choices\":[{\"index\":0,\
                \"message\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"stop\"}]}";
    Some((Instead::ok(body), Effect::both(EmptyAnswer)))
}
