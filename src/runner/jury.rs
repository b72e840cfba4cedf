//! Asking judges: through the same client as endpoints, with limits of their own, each answer kept before the next is
//! asked for.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::warn;

use super::execute::{Execution, Lane, cost_by};
use crate::domain::jury::{Ask, JudgeId, Votes};
use crate::domain::{
    AttemptKey, Case, CaseId, CaseInstance, Endpoint, Exchange, Json, Part, Price, Provider, ScorerSpec, Transcript,
};
use crate::provider::{Client, Delivery, EndpointLimiter, Reply, read_answer};

/// A judge and the way to it.
#[derive(Clone)]
pub struct JudgeLane {
    /// The provider's client.
    pub client: Arc<Client>,
    /// Its limits, shared by all sweeps.
    pub limiter: EndpointLimiter,
    /// What it costs.
    pub price: Option<Price>,
}

/// Whether a judge is the endpoint under test: then it would judge its own answers. The same model at the same provider is,
/// unless both have a tag and these differ.
#[must_use]
pub fn is_endpoint(judge: &JudgeId, base_url: Option<&url::Url>, endpoint: &Endpoint, provider: &Provider) -> bool {
    let same_provider = judge.provider == endpoint.provider || base_url == Some(&provider.base_url);
    let tags_differ = matches!((&judge.tag, &endpoint.tag), (Some(a), Some(b)) if a != b);
    same_provider && judge.model == endpoint.upstream_model && !tags_differ
}

/// Why an endpoint cannot be judged by one of these; `None`: it can.
pub(super) fn why_not(run: &Execution, judges: &[JudgeId], lane: &Lane) -> Option<String> {
    judges.iter().find_map(|id| match run.judges.get(id) {
        None => Some(format!("judge missing: {id} is not configured; add it as [[judge]] to the config")),
        Some(judge) => {
            let url = &judge.client.provider().base_url;
            let is_self = is_endpoint(id, Some(url), &lane.endpoint, lane.client.provider());
            is_self.then(|| format!("judge missing: {id} is the endpoint under test, and judges nobody's own answers"))
        }
    })
}

/// Asks what an answer needs to be judged, except for what was kept. Gives the votes and what they cost; `None`: given
/// up in flight.
pub(super) async fn ask(run: &Execution, key: &AttemptKey, asks: &[Ask]) -> Option<(Votes, i64)> {
    let (mut votes, mut cost) = (Votes::new(), 0i64);
    for ask in asks {
        for vote in 0..ask.votes {
            let part = Part::Vote { scorer: ask.scorer, vote };
            let voted = match run.kept(key, part) {
                Some(kept) => kept.clone(),
                None => {
                    let Some(judge) = run.judges.get(&ask.judge) else { continue };
                    let question = question(&key.case, ask, vote);
                    let reply =
                        judge.client.attempt(&ask.judge.model, &question, &judge.limiter, None, &run.abort).await;
                    if reply.cancelled {
                        return None;
                    }
                    let usage = reply.outcome.as_ref().map(|c| c.usage).unwrap_or_default();
                    let cost = cost_by(judge.price, &usage, &reply.transcript, reply.outcome.is_ok());
                    let voted = exchange(key, part, &reply, cost);
                    if let Err(error) = run.store.add_exchange(&voted).await {
                        // The vote counts; after a crash it would be asked for again.
                        warn!(endpoint = %key.endpoint, case = %key.case, %error, "failed to store a vote");
                    }
                    voted
                }
            };
            cost = cost.saturating_add(voted.cost_nanousd);
            votes.extend(said(&voted, ask, vote).map(|text| ((ask.scorer, vote), text)));
        }
    }
    Some((votes, cost))
}

/// A reply as it is kept.
pub(super) fn exchange(key: &AttemptKey, part: Part, reply: &Reply, cost_nanousd: i64) -> Exchange {
    Exchange {
        key: key.clone(),
        part,
        tries: reply.tries.clone(),
        started_at_us: reply.started_at_us,
        ttft_us: reply.ttft_us,
        total_us: reply.total_us,
        cost_nanousd,
        transcript: reply.transcript.clone(),
    }
}

/// What an exchange was, read again.
pub(super) fn reply_of(kept: &Exchange, instance: &CaseInstance) -> Reply {
    let failed = kept.tries.last().and_then(|last| Some((last.fault?, last.detail.clone())));
    let outcome = match failed {
        Some((fault, detail)) => Err(Delivery { fault, detail }),
        None => read_answer(&kept.transcript.response, instance),
    };
    Reply {
        outcome,
        tries: kept.tries.clone(),
        transcript: kept.transcript.clone(),
        started_at_us: kept.started_at_us,
        ttft_us: kept.ttft_us,
        total_us: kept.total_us,
        cancelled: false,
    }
}

/// The text of a vote; `None` when none came.
fn said(voted: &Exchange, ask: &Ask, vote: u32) -> Option<String> {
    reply_of(voted, &question(&voted.key.case, ask, vote)).outcome.ok()?.content
}

/// The votes of stored exchanges that answer the very questions that are asked now.
#[must_use]
pub fn votes_of(asks: &[Ask], exchanges: &[Exchange]) -> Votes {
    let mut votes = Votes::new();
    for ask in asks {
        for vote in 0..ask.votes {
            let part = Part::Vote { scorer: ask.scorer, vote };
            let found = exchanges.iter().find(|e| e.part == part && asks_the_same(&e.transcript, ask));
            votes.extend(found.and_then(|e| said(e, ask, vote)).map(|text| ((ask.scorer, vote), text)));
        }
    }
    votes
}

fn asks_the_same(transcript: &Transcript, ask: &Ask) -> bool {
    let Ok(sent) = serde_json::from_slice::<Value>(&transcript.request) else { return false };
    sent["messages"] == messages(ask) && sent["model"] == ask.judge.model.as_str()
}

fn messages(ask: &Ask) -> Value {
    json!([{"role": "system", "content": ask.system}, {"role": "user", "content": ask.question}])
}

/// A vote as it is sent. No temperature: several votes at 0 would be the same vote. The seed tells them apart.
fn question(case: &CaseId, ask: &Ask, vote: u32) -> CaseInstance {
    let request =
        Map::from_iter([("max_tokens".to_owned(), json!(ask.max_tokens)), ("seed".to_owned(), json!(vote + 1))]);
    let messages = Json::from(messages(ask));
    let scorers: Arc<[ScorerSpec]> = Arc::new([]);
    let case = Case {
        id: case.clone(),
        category: None,
        tags: Vec::new(),
        messages: messages.clone(),
        tools: None,
        response_format: None,
        request: Arc::new(request),
        expected: None,
        scorers: Arc::clone(&scorers),
        metadata: None,
        params: Arc::default(),
        derive: Arc::default(),
        fixed: true,
        world: None,
        files: Arc::default(),
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
        tools: None,
        response_format: None,
        expected: None,
        scorers,
        world: None,
        reference: None,
        counterexample: None,
        answers: None,
    }
}
