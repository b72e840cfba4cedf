//! Whether an answer is that of the endpoint that was asked. Through an aggregator another may have served it, it may come
//! from a cache of answers, or it was repaired on the way; then it says nothing about the endpoint, and is not scored.

use crate::domain::{Endpoint, FaultClass, Judgement, UnscoredWhy};
use crate::provider::Parsed;

/// Headers by which caches of answers tell of a hit. Caches of prompts are the provider's own business.
const CACHE_HEADERS: [&str; 7] = [
    "cf-aig-cache-status",
    "cf-cache-status",
    "helicone-cache",
    "x-cache",
    "x-cache-hit",
    "x-cache-status",
    "x-openrouter-cache-status",
];
/// Headers by which an answer tells that it was repaired.
const HEALED_HEADERS: [&str; 1] = ["x-response-healed"];
/// What such a header says where it means yes, alone or as one word of several (`Hit from ..`, `MISS, HIT`).
const YES: [&str; 2] = ["hit", "true"];
/// Characters of another's name that are told.
const NAME_CHARS_MAX: usize = 100;

/// Why an answer cannot be attributed to its endpoint; `None`: it can, or the endpoint is not known to be pinned (it has no
/// `served_by`). An answer that does not say who served it is taken as the endpoint's own. An open error is no answer.
///
/// `headers`: `name: value` lines, the names in lower case.
pub(super) fn doubt(endpoint: &Endpoint, outcome: &Parsed, headers: &str) -> Option<Judgement> {
    let pinned = endpoint.served_by.as_deref()?;
    let named = match outcome {
        Ok(completion) => completion.served_by.as_deref(),
        Err(delivery) if delivery.fault.class() == FaultClass::Infra => return None,
        Err(_) => None,
    };
    let told = |names: &[&str]| headers.lines().find(|line| says_yes(line, names));
    let why = if let Some(other) = named.filter(|name| !name.eq_ignore_ascii_case(pinned)) {
        let other: String = other.chars().take(NAME_CHARS_MAX).collect();
        format!("served by {other:?}, not by {pinned:?} as the endpoint is pinned (`served_by`)")
    } else if let Some(line) = told(&CACHE_HEADERS) {
        format!("the answer comes from a cache ({line}): switch it off for these requests")
    } else {
        let line = told(&HEALED_HEADERS)?;
        format!("the answer was repaired on the way ({line}): switch that off for these requests")
    };
    Some(Judgement::unscored(UnscoredWhy::Provenance, why))
}

fn says_yes(line: &str, names: &[&str]) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    let mut words = value.split(|c: char| !c.is_ascii_alphanumeric());
    names.contains(&name) && words.any(|word| YES.iter().any(|yes| word.eq_ignore_ascii_case(yes)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{Completion, EndpointId, Fault, ModelId, ProviderId, Verdict};
    use crate::provider::Delivery;

    fn pinned(served_by: Option<&str>) -> Endpoint {
        Endpoint {
            id: EndpointId::new("aggregator/groq").unwrap(),
            model: ModelId::new("lab/m").unwrap(),
            provider: ProviderId::new("aggregator").unwrap(),
            upstream_model: "lab/m".to_owned(),
            tag: None,
            price: None,
            slugs: BTreeMap::new(),
            served_by: served_by.map(str::to_owned),
        }
    }

    fn of(name: Option<&str>) -> Parsed {
        Ok(Completion { served_by: name.map(str::to_owned), ..Completion::default() })
    }

    fn why(outcome: &Parsed, headers: &str) -> Option<String> {
        let judgement = doubt(&pinned(Some("Groq")), outcome, headers)?;
        assert_eq!(judgement.verdict, Verdict::Unscored(UnscoredWhy::Provenance));
        assert_eq!((judgement.score, judgement.fault), (None, None), "no fault of the endpoint's");
        Some(judgement.explanation)
    }

    #[test]
    fn another_name_than_the_pinned_one_is_doubted() {
        assert_eq!(why(&of(Some("Groq")), ""), None);
        assert_eq!(why(&of(Some("gROQ")), ""), None);
        assert_eq!(why(&of(None), "server: nginx\n"), None, "who does not say is believed");
        let other = why(&of(Some("Novita")), "").unwrap();
        assert_eq!(other, "served by \"Novita\", not by \"Groq\" as the endpoint is pinned (`served_by`)");
        assert!(why(&of(Some("")), "").is_some());
        let long = why(&of(Some(&"é\n".repeat(10_000))), "").unwrap();
        assert!(long.chars().count() < 3 * NAME_CHARS_MAX && !long.contains('\n'), "{long}");
    }

    #[test]
    fn caches_and_repairs_are_doubted_by_their_headers() {
        for hit in ["x-cache: HIT", "x-cache: Hit from edge", "x-cache-hit: true", "cf-aig-cache-status: HIT"] {
            let said = why(&of(Some("Groq")), &format!("server: nginx\n{hit}\n")).unwrap();
            assert!(said.contains("from a cache") && said.contains(hit), "{said}");
        }
        let said = why(&of(None), "x-response-healed: true\n").unwrap();
        assert!(said.contains("repaired on the way"), "{said}");
        for none in
            ["x-cache: MISS", "x-cache: miss from hitech", "x-cache-hit: false", "x-hit: HIT", "x-response-healed: no"]
        {
            assert_eq!(why(&of(Some("Groq")), none), None, "{none}");
        }
    }

    #[test]
    fn an_open_error_stays_one_and_a_broken_success_is_doubted_first() {
        let failed = |fault| Err(Delivery { fault, detail: String::new() });
        assert_eq!(why(&failed(Fault::ServerError), "x-cache: HIT"), None);
        assert_eq!(why(&failed(Fault::MalformedBody), ""), None);
        assert!(why(&failed(Fault::MalformedBody), "x-cache: HIT").is_some());
    }

    #[test]
    fn who_is_not_pinned_by_name_is_not_asked() {
        assert_eq!(doubt(&pinned(None), &of(Some("Novita")), "x-cache: HIT\nx-response-healed: true"), None);
    }
}
