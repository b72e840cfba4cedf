//! One conversation: several requests, one attempt. Every answer is stored as it arrives, so that whatever ends the process,
//! no answer that was paid for and stored is asked for again.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::execute::{Item, Lane, Shared, cost_of, key_of};
use super::prepared::Prepared;
use super::provenance;
use crate::domain::{
    Attempt, AttemptKey, CaseInstance, Completion, Exchange, Judgement, Micros, Part, Took, Transcript, Try, Usage,
};
use crate::provider::{Reply, read_answer};
use crate::scoring::judge_delivery;
use crate::worlds::{Conversation, Next, World};

/// The answers of a conversation, as its attempt keeps them: the request of its transcript is the last one, which holds all
/// that was said before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answers {
    /// The bodies as they came, in order.
    pub(super) steps: Vec<String>,
}

/// What a conversation has come to so far.
struct Course {
    key: AttemptKey,
    began: Micros,
    tries: Vec<Try>,
    started_at_us: Option<Micros>,
    ttft_us: Option<i64>,
    total_us: i64,
    usage: Usage,
    cost_nanousd: i64,
    finish_reason: Option<String>,
    request: Bytes,
    answers: Vec<String>,
    headers: String,
}

/// Holds a conversation to its end; `None` when it was given up in flight.
pub(super) async fn converse(
    shared: &Shared,
    lane: &Lane,
    item: &Item,
    prepared: &Prepared,
    world: &Arc<World>,
) -> Option<Attempt> {
    let run = &shared.run;
    let mut talk = Conversation::new(Arc::clone(world));
    let mut course = Course::new(key_of(run, lane, item), run.clock.now_us());
    let stored: Vec<&Exchange> = (0..).map_while(|step| run.kept(&course.key, Part::Step(step))).collect();
    if let Some(judgement) = course.resume(&mut talk, &stored, lane) {
        return Some(course.finish(shared, prepared, judgement));
    }
    let first_byte_min = run.first_byte_min.get(&item.suite).copied();
    loop {
        let instance = talk.instance();
        let asked =
            lane.client.attempt(&lane.endpoint.upstream_model, &instance, &lane.limiter, first_byte_min, &run.abort);
        let Reply { outcome, tries, transcript, started_at_us, ttft_us, total_us, cancelled } = asked.await;
        if cancelled {
            return None;
        }
        let doubt = provenance::doubt(&lane.endpoint, &outcome, &transcript.headers);
        let (key, part) = (course.key.clone(), Part::Step(talk.steps()));
        let mut exchange = Exchange { key, part, tries, started_at_us, ttft_us, total_us, cost_nanousd: 0, transcript };
        let judgement = match outcome {
            Err(delivery) => {
                let judgement = doubt.unwrap_or_else(|| judge_delivery(delivery.fault, &delivery.detail));
                exchange.cost_nanousd = cost_of(lane, &Usage::default(), &exchange.transcript, &judgement);
                course.add(&exchange, None);
                judgement
            }
            Ok(completion) => {
                exchange.cost_nanousd = cost_of(lane, &completion.usage, &exchange.transcript, &Judgement::pass(1.0));
                if let Err(error) = run.store.add_exchange(&exchange).await {
                    // The conversation goes on: what it comes to is stored by the writer, which goes on trying.
                    warn!(endpoint = %lane.endpoint.id, case = %item.case, %error, "failed to store an answer of a conversation");
                }
                course.add(&exchange, Some(&completion));
                match doubt.map_or_else(|| talk.take(&course.told(completion, lane)), Next::Ended) {
                    Next::Ask => continue,
                    Next::Ended(judgement) => judgement,
                }
            }
        };
        return Some(course.finish(shared, prepared, judgement));
    }
}

impl Course {
    fn new(key: AttemptKey, began: Micros) -> Course {
        Course {
            key,
            began,
            tries: Vec::new(),
            started_at_us: None,
            ttft_us: None,
            total_us: 0,
            usage: Usage::default(),
            cost_nanousd: 0,
            finish_reason: None,
            request: Bytes::new(),
            answers: Vec::new(),
            headers: String::new(),
        }
    }

    /// Takes up what is stored of the conversation; the judgement, when it was over already.
    fn resume(&mut self, talk: &mut Conversation, stored: &[&Exchange], lane: &Lane) -> Option<Judgement> {
        for exchange in stored {
            // What was an answer then is one now; should it be none, the rest is asked again.
            let answer = read_answer(&exchange.transcript.response, &talk.instance());
            let doubt = provenance::doubt(&lane.endpoint, &answer, &exchange.transcript.headers);
            let completion = answer.ok()?;
            self.add(exchange, Some(&completion));
            let next = doubt.map_or_else(|| talk.take(&self.told(completion, lane)), Next::Ended);
            if let Next::Ended(judgement) = next {
                return Some(judgement);
            }
        }
        None
    }

    /// An answer that knows what the conversation took so far.
    fn told(&self, completion: Completion, lane: &Lane) -> Completion {
        let cost_nanousd = lane.endpoint.price.map(|_| self.cost_nanousd);
        let took = Took { total_us: Some(self.total_us), ttft_us: self.ttft_us, cost_nanousd };
        Completion { took, ..completion }
    }

    fn add(&mut self, exchange: &Exchange, completion: Option<&Completion>) {
        self.tries.extend(exchange.tries.iter().cloned());
        self.started_at_us.get_or_insert(exchange.started_at_us);
        self.ttft_us = exchange.ttft_us;
        self.total_us = self.total_us.saturating_add(exchange.total_us);
        self.cost_nanousd = self.cost_nanousd.saturating_add(exchange.cost_nanousd);
        self.request = exchange.transcript.request.clone();
        self.answers.push(String::from_utf8_lossy(&exchange.transcript.response).into_owned());
        self.headers.clone_from(&exchange.transcript.headers);
        if let Some(Completion { usage, finish_reason, .. }) = completion {
            let sum = |a: Option<u64>, b: Option<u64>| b.map(|b| a.unwrap_or(0).saturating_add(b)).or(a);
            self.usage.tokens_in = sum(self.usage.tokens_in, usage.tokens_in);
            self.usage.tokens_out = sum(self.usage.tokens_out, usage.tokens_out);
            self.usage.tokens_reasoning = sum(self.usage.tokens_reasoning, usage.tokens_reasoning);
            self.finish_reason.clone_from(finish_reason);
        }
    }

    fn finish(self, shared: &Shared, prepared: &Prepared, judgement: Judgement) -> Attempt {
        let started_at_us = self.started_at_us.unwrap_or(self.began);
        let response = serde_json::to_vec(&Answers { steps: self.answers }).unwrap_or_default();
        Attempt {
            id: shared.run.ids.attempt(started_at_us),
            key: self.key,
            judgement,
            tries: self.tries,
            started_at_us,
            ttft_us: self.ttft_us,
            total_us: self.total_us,
            usage: self.usage,
            cost_nanousd: self.cost_nanousd,
            finish_reason: self.finish_reason,
            draw: prepared.instance.draw.clone(),
            observed: None,
            sampled: None,
            transcript: Some(Transcript { request: self.request, response: response.into(), headers: self.headers }),
        }
    }
}

/// Judges the answers of a conversation that is over.
///
/// # Errors
/// The bytes are not those of a conversation.
pub(super) fn judge_stored(world: &Arc<World>, body: &[u8], took: Took) -> Result<Judgement, serde_json::Error> {
    let answers: Answers = serde_json::from_slice(body)?;
    let mut talk = Conversation::new(Arc::clone(world));
    for body in &answers.steps {
        let instance: CaseInstance = talk.instance();
        match read_answer(body.as_bytes(), &instance) {
            Err(delivery) => return Ok(judge_delivery(delivery.fault, &delivery.detail)),
            Ok(completion) => {
                if let Next::Ended(judgement) = talk.take(&Completion { took, ..completion }) {
                    return Ok(judgement);
                }
            }
        }
    }
    Ok(crate::worlds::unfinished(&talk))
}
