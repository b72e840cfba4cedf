//! One simulated endpoint without its sockets: from the bytes of a request to the bytes of a response.
//!
//! What is drawn depends on the seed, the endpoint's name, the request without its volatile keys and how
//! often that request was seen: never on the time or the order in which other requests arrive. Only time
//! profiles, bursts and concurrency limits look at those, as they must.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::answer::{self, Answer};
use super::defects::{Act, DEFECTS, Effect, Expected, Instead, RETRY_AFTER_MS, Scene, choice};
use super::draws::{Draw, hash_text};
use super::exam;
use super::frames::{self, Frame};
use super::language::speak;
use super::library::Library;
use super::prompt::{BadRequest, Effort, Outline, Prompt};
use super::render::{self, Envelope};
use super::schedule::{HasHeader, Moment, Strike};
use super::spec::{Distribution, EndpointSpec, Fingerprint, Injection, Reasoning};
use super::wrong::{make_wrong, reword};
use crate::domain::{CaseId, Fault, Micros, SuiteName};

/// Different requests whose repeats are counted; beyond that, counting starts anew.
pub const REPEATS_KEPT_MAX: usize = 1_000_000;
/// Outcomes kept in the log of an endpoint, the latest.
pub const LOG_ENTRIES_MAX: usize = 200_000;
/// Cut of an exponential latency, in means.
const LATENCY_CUT: f64 = 10.0;

/// Lanes of the random stream of one request.
mod lane {
    pub const LATENCY: u64 = 0;
    pub const ERROR: u64 = 1;
    pub const BASE: u64 = 2;
    pub const CALLING: u64 = 3;
    pub const WORDING: u64 = 4;
    pub const LANGUAGE: u64 = 6;
    pub const INJECTIONS: u64 = 1_000;
}

/// What one request got: for tests that compare whole scorecards with the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Hash of the request without its volatile keys.
    pub request: u64,
    /// How often the request was seen before.
    pub repeats: u32,
    /// The case, when it was one.
    pub case: Option<(SuiteName, CaseId)>,
    /// Ids of the defects that struck, in order.
    pub fired: Vec<&'static str>,
    /// The base failure struck: a wrong answer without any defect.
    pub base_failure: bool,
    /// How a quality suite must judge it.
    pub quality: Expected,
    /// How the wire-contract suite must judge it.
    pub wire: Expected,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests to `/chat/completions`, refused ones included.
    pub requests: u64,
    /// Answered without a known case.
    pub unmatched: u64,
    /// Refused with 4xx for what they are.
    pub refused: u64,
    /// Refused with 429 for the concurrency cap.
    pub rate_limited: u64,
    /// Answered with 5xx by the base error rate.
    pub errors: u64,
    /// Wrong by the base rate.
    pub base_failures: u64,
    /// How often each defect struck, by id; those that never did are left out.
    pub fired: Vec<(&'static str, u64)>,
}

/// A response before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Server-sent events rather than JSON.
    pub is_stream: bool,
    /// The body in one or more parts.
    pub parts: Vec<Vec<u8>>,
    /// Microseconds before the first part.
    pub delay_us: u64,
    /// Microseconds between parts.
    pub gap_us: u64,
    /// `retry-after-ms` (and `Retry-After`, rounded up to seconds).
    pub retry_after_ms: Option<u64>,
    /// Further headers.
    pub headers: Vec<(&'static str, &'static str)>,
}

impl Response {
    fn of(instead: Instead, delay_us: u64) -> Response {
        Response {
            status: instead.status,
            is_stream: false,
            parts: vec![instead.body.into_bytes()],
            delay_us,
            gap_us: 0,
            retry_after_ms: instead.retry_after_ms,
            headers: Vec::new(),
        }
    }

    /// All parts joined.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.parts.concat()
    }
}

/// One endpoint: its spec, its memory and its counters.
#[derive(Debug)]
pub struct Player {
    spec: EndpointSpec,
    model: String,
    home: [u64; 2],
    library: Arc<Library>,
    started_us: Micros,
    strikes: ArcSwap<Vec<Strike>>,
    repeats: Mutex<HashMap<u64, Repeat>>,
    ordinal: AtomicU64,
    last_us: AtomicI64,
    in_flight: AtomicU32,
    tally: Tally,
    log: Mutex<VecDeque<Outcome>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Repeat {
    seen: u32,
    /// Bits of the injections that struck last time.
    struck: u64,
}

#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    unmatched: AtomicU64,
    refused: AtomicU64,
    rate_limited: AtomicU64,
    errors: AtomicU64,
    base_failures: AtomicU64,
    fired: Mutex<HashMap<usize, u64>>,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request in flight; the concurrency cap counts them.
#[derive(Debug)]
pub struct InFlight(Arc<Player>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is common to all decisions about one request.
struct Turn<'a> {
    prompt: &'a Prompt,
    moment: Moment<'a>,
    draw: Draw,
    struck_before: u64,
    idle_us: Option<i64>,
    now_us: Micros,
}

/// What the strikes have done so far.
struct Damage {
    fired: Vec<&'static str>,
    struck: u64,
    quality: Expected,
    wire: Expected,
}

impl Damage {
    fn add(&mut self, effect: Effect) {
        if effect.instead {
            (self.quality, self.wire) = (effect.quality, effect.wire);
        } else {
            (self.quality, self.wire) = (self.quality.and(effect.quality), self.wire.and(effect.wire));
        }
    }
}

impl Player {
    /// Sets up an endpoint.
    #[must_use]
    pub fn new(spec: EndpointSpec, model: &str, seed: u64, library: Arc<Library>, now_us: Micros) -> Self {
        let home = [seed, hash_text(spec.name.as_str())];
        Player {
            strikes: ArcSwap::from_pointee(compile(&spec.injections)),
            model: model.to_owned(),
            home,
            library,
            started_us: now_us,
            repeats: Mutex::default(),
            ordinal: AtomicU64::new(0),
            last_us: AtomicI64::new(i64::MIN),
            in_flight: AtomicU32::new(0),
            tally: Tally::default(),
            log: Mutex::default(),
            spec,
        }
    }

    /// Its spec, as configured at the start.
    #[must_use]
    pub fn spec(&self) -> &EndpointSpec {
        &self.spec
    }

    /// Breaks or heals the endpoint from now on.
    pub fn set_injections(&self, injections: &[Injection]) {
        self.strikes.store(Arc::new(compile(injections)));
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Tally { requests, unmatched, refused, rate_limited, errors, base_failures, fired } = &self.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut fired: Vec<(usize, u64)> = lock(fired).iter().map(|(index, count)| (*index, *count)).collect();
        fired.sort_unstable();
        Counts {
            requests: read(requests),
            unmatched: read(unmatched),
            refused: read(refused),
            rate_limited: read(rate_limited),
            errors: read(errors),
            base_failures: read(base_failures),
            fired: fired.into_iter().map(|(index, count)| (DEFECTS[index].id, count)).collect(),
        }
    }

    /// The outcomes so far, at most the last [`LOG_ENTRIES_MAX`].
    #[must_use]
    pub fn log(&self) -> Vec<Outcome> {
        lock(&self.log).iter().cloned().collect()
    }

    /// Takes a place among the requests in flight, or says 429.
    ///
    /// # Errors
    /// The response of an endpoint at its concurrency cap.
    pub fn enter(self: &Arc<Self>) -> Result<InFlight, Response> {
        add(&self.tally.requests);
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = InFlight(self.clone());
        if self.spec.concurrency.is_some_and(|cap| before >= cap) {
            add(&self.tally.rate_limited);
            return Err(Response::of(Instead::rate_limited(Some(RETRY_AFTER_MS)), 0));
        }
        Ok(place)
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, body: &[u8], headers: &dyn HasHeader, authorization: u64, now_us: Micros) -> Response {
        match self.read(body) {
            Ok((prompt, user)) => self.respond(&prompt, headers, user.unwrap_or(authorization), now_us),
            Err(error) => {
                add(&self.tally.refused);
                let status = if matches!(error, BadRequest::Model { .. }) { 404 } else { 400 };
                Response::of(Instead::error(status, "invalid_request_error", &error.to_string()), 0)
            }
        }
    }

    fn read(&self, body: &[u8]) -> Result<(Arc<Prompt>, Option<u64>), BadRequest> {
        let outline = Outline::scan(body)?;
        match outline.model() {
            Some(asked) if asked == self.model => {}
            Some(asked) => return Err(BadRequest::Model { asked, served: self.model.clone() }),
            None => return Err(BadRequest::Key { key: "model", want: "a string" }),
        }
        let hash = outline.hash();
        let prompt = match self.library.recall(hash) {
            Some(prompt) => prompt,
            None => {
                let values = outline.read()?;
                self.library.learn(Prompt::read(hash, &values)?, &values)
            }
        };
        Ok((prompt, outline.user()))
    }

    fn respond(&self, prompt: &Prompt, headers: &dyn HasHeader, user: u64, now_us: Micros) -> Response {
        let before = self.remember(prompt.hash);
        let last_us = self.last_us.swap(now_us, Ordering::Relaxed);
        let turn = Turn {
            prompt,
            moment: Moment {
                home: self.home,
                ordinal: self.ordinal.fetch_add(1, Ordering::Relaxed),
                seconds: (now_us - self.started_us) as f64 / 1e6,
                repeats: before.seen,
                user,
                has_header: headers,
            },
            draw: Draw::new([self.home[0], self.home[1], prompt.hash, u64::from(before.seen)]),
            struck_before: before.struck,
            idle_us: (last_us != i64::MIN).then(|| now_us - last_us),
            now_us,
        };
        let mut damage = Damage { fired: Vec::new(), struck: 0, quality: Expected::Pass, wire: Expected::Pass };
        let mut base_failure = false;
        let response = self.play(&turn, &mut damage, &mut base_failure);
        self.note(&turn, damage, base_failure);
        response
    }

    fn remember(&self, hash: u64) -> Repeat {
        let mut repeats = lock(&self.repeats);
        if repeats.len() >= REPEATS_KEPT_MAX {
            repeats.clear();
        }
        let entry = repeats.entry(hash).or_default();
        let before = *entry;
        entry.seen = entry.seen.saturating_add(1);
        before
    }

    fn note(&self, turn: &Turn<'_>, damage: Damage, base_failure: bool) {
        if let Some(entry) = lock(&self.repeats).get_mut(&turn.prompt.hash) {
            entry.struck = damage.struck;
        }
        if base_failure {
            add(&self.tally.base_failures);
        }
        let known = turn.prompt.known.as_ref();
        if known.is_none() {
            add(&self.tally.unmatched);
        }
        let mut log = lock(&self.log);
        if log.len() >= LOG_ENTRIES_MAX {
            log.pop_front();
        }
        log.push_back(Outcome {
            request: turn.prompt.hash,
            repeats: turn.moment.repeats,
            case: known.map(|k| (k.suite.clone(), k.instance.case.id.clone())),
            fired: damage.fired,
            base_failure,
            quality: damage.quality,
            wire: damage.wire,
        });
    }

    fn play(&self, turn: &Turn<'_>, damage: &mut Damage, base_failure: &mut bool) -> Response {
        let delay_us = self.latency_us(&mut turn.draw.lane(lane::LATENCY));
        let mut error = turn.draw.lane(lane::ERROR);
        if error.chance(self.spec.error_rate) {
            add(&self.tally.errors);
            let status = *error.pick(&[500, 502, 503]).unwrap_or(&500);
            damage.add(both(Fault::ServerError));
            return Response::of(
                Instead::error(status, "server_error", "the server had an error, try again"),
                delay_us,
            );
        }
        let mut answer = self.healthy(turn);
        let right = answer.clone();
        let strikes = self.strikes.load();
        let struck: Vec<(usize, &Strike)> =
            strikes.iter().enumerate().filter(|(i, s)| self.strikes(*i, s, &right, turn)).collect();
        let scene = Scene {
            prompt: turn.prompt,
            call_due: answer::is_call_due(turn.prompt),
            ordinal: turn.moment.ordinal,
            idle_us: turn.idle_us,
        };
        for (i, strike) in &struck {
            if let Act::Http(act) = strike.defect.act
                && let Some((instead, effect)) = act(&scene, &mut injection_draw(turn, *i).lane_two())
            {
                self.fired(damage, *i, strike, effect);
                return Response::of(instead, delay_us);
            }
        }
        *base_failure = self.base(&mut answer, &scene, turn, damage);
        self.damage_answer(&mut answer, &struck, &scene, turn, damage, false);
        answer::dress(&mut answer, &self.spec.benign, &mut turn.draw.lane(lane::WORDING));
        self.damage_answer(&mut answer, &struck, &scene, turn, damage, true);
        self.write(&answer, &struck, &scene, turn, damage, delay_us)
    }

    fn strikes(&self, number: usize, strike: &Strike, right: &Answer, turn: &Turn<'_>) -> bool {
        let needs = strike.defect.needs.iter().all(|need| need.holds(turn.prompt, right));
        let before = turn.struck_before >> number.min(63) & 1 == 1;
        needs
            && strike.injection.condition.holds(turn.prompt, right)
            && strike.strikes(turn.prompt, &turn.moment, before, &mut injection_draw(turn, number).lane_one())
    }

    fn fired(&self, damage: &mut Damage, number: usize, strike: &Strike, effect: Effect) {
        damage.fired.push(strike.defect.id);
        damage.struck |= 1 << number.min(63);
        damage.add(effect);
        *lock(&self.tally.fired).entry(strike.index).or_default() += 1;
    }

    /// The right answer, with reasoning where it belongs.
    fn healthy(&self, turn: &Turn<'_>) -> Answer {
        let mut answer = answer::right(turn.prompt, &mut self.wording(turn));
        if let (Some(language), None, true) = (self.spec.language, &turn.prompt.known, answer.calls.is_empty()) {
            let who = (self.model.as_str(), self.home);
            speak(language, &mut answer, who, turn.prompt, turn.draw.lane(lane::LANGUAGE));
        }
        let effort = match self.spec.reasoning {
            Reasoning::WhenAsked => turn.prompt.effort,
            Reasoning::Always => Some(turn.prompt.effort.unwrap_or(Effort::Medium)),
            Reasoning::Never => None,
        };
        match effort {
            Some(effort) => {
                answer.reasoning.get_or_insert_with(|| answer::reasoning(effort));
            }
            None => answer.reasoning = None,
        }
        answer
    }

    /// The wording of free answers: the same for the same request, however often it is asked.
    fn wording(&self, turn: &Turn<'_>) -> Draw {
        Draw::new([self.home[0], self.home[1], turn.prompt.hash, u64::MAX])
    }

    /// Calling propensity and base rate, before any defect. True: the answer was made wrong.
    fn base(&self, answer: &mut Answer, scene: &Scene<'_>, turn: &Turn<'_>, damage: &mut Damage) -> bool {
        let Some(known) = &turn.prompt.known else {
            damage.quality = Expected::Unknown;
            return self.examine(answer, turn);
        };
        let calling = self.spec.calling;
        let mut draw = turn.draw.lane(lane::CALLING);
        let slip = draw.unit();
        let slipped = if scene.call_due && slip >= calling.when_due {
            choice::under_calling(answer, scene, &mut draw)
        } else if !scene.call_due && slip < calling.when_not_due && !turn.prompt.tools.is_empty() {
            choice::over_calling(answer, scene, &mut draw)
        } else {
            None
        };
        if let Some(effect) = slipped {
            answer.wrong = true;
            damage.add(effect);
        }
        let mut draw = turn.draw.lane(lane::BASE);
        if draw.chance(self.spec.rate(known.suite.as_str(), known.category())) || known.answer.is_none() {
            return false;
        }
        if known.judges("wire") {
            reword(answer);
            return true;
        }
        match make_wrong(answer, turn.prompt, &mut draw) {
            Some(fault) => {
                damage.quality = Expected::Fault(fault);
                true
            }
            None => false,
        }
    }

    /// As a judge: what is right by the truth, with the base rate of being right oneself.
    fn examine(&self, answer: &mut Answer, turn: &Turn<'_>) -> bool {
        let Some(exam) = &turn.prompt.exam else { return false };
        let errs = !turn.draw.lane(lane::BASE).chance(self.spec.base);
        answer.say(exam::reply(&exam.ticket, exam.right != errs));
        errs
    }

    fn damage_answer(
        &self,
        answer: &mut Answer,
        struck: &[(usize, &Strike)],
        scene: &Scene<'_>,
        turn: &Turn<'_>,
        damage: &mut Damage,
        dressed: bool,
    ) {
        for (i, strike) in struck {
            let act = match (strike.defect.act, dressed) {
                (Act::Content(act), false) | (Act::Answer(act), true) => act,
                _ => continue,
            };
            let possible = strike.defect.needs.iter().all(|need| need.holds(turn.prompt, answer));
            let mut draw = injection_draw(turn, *i).lane_two();
            if possible && let Some(effect) = act(answer, scene, &mut draw) {
                self.fired(damage, *i, strike, effect);
            }
        }
    }

    fn write(
        &self,
        answer: &Answer,
        struck: &[(usize, &Strike)],
        scene: &Scene<'_>,
        turn: &Turn<'_>,
        damage: &mut Damage,
        delay_us: u64,
    ) -> Response {
        let mut wording = turn.draw.lane(lane::WORDING + 1);
        let envelope = Envelope {
            id: wording.word(),
            created: turn.now_us.div_euclid(1_000_000),
            model: &self.model,
            fingerprint: self.fingerprint(answer, &mut wording),
            benign: &self.spec.benign,
            logprobs: turn.prompt.logprobs,
        };
        let mut response = Response {
            status: 200,
            is_stream: turn.prompt.stream,
            parts: Vec::new(),
            delay_us,
            gap_us: 0,
            retry_after_ms: None,
            headers: answer.headers.clone(),
        };
        if !turn.prompt.stream {
            response.parts.push(render::plain(answer, &envelope));
            return response;
        }
        let mut frames: Vec<Frame> = frames::cut(answer, &self.spec.benign, turn.prompt.include_usage);
        for (i, strike) in struck {
            let Act::Frames(act) = strike.defect.act else { continue };
            let possible = strike.defect.needs.iter().all(|need| need.holds(turn.prompt, answer));
            let mut draw = injection_draw(turn, *i).lane_two();
            if possible && let Some(effect) = act(&mut frames, answer, scene, &mut draw) {
                self.fired(damage, *i, strike, effect);
            }
        }
        let parts = render::stream(&frames, answer, &envelope);
        let spread_us = self.spec.latency.stream_ms * 1_000.0;
        if spread_us > 0.0 {
            response.gap_us = (spread_us / parts.len().max(1) as f64) as u64;
            response.parts = parts;
        } else {
            response.parts.push(parts.concat());
        }
        response
    }

    fn fingerprint(&self, answer: &Answer, draw: &mut Draw) -> Option<String> {
        let of = |number: u64| format!("fp_{:010x}", number & 0xFF_FFFF_FFFF);
        answer.fingerprint.clone().or_else(|| match self.spec.benign.fingerprint {
            Fingerprint::None => None,
            Fingerprint::Constant => Some(of(self.home[1])),
            Fingerprint::Changing => Some(of(draw.word())),
        })
    }

    fn latency_us(&self, draw: &mut Draw) -> u64 {
        let latency = &self.spec.latency;
        let share = match latency.distribution {
            Distribution::Uniform => draw.unit(),
            Distribution::Exponential => (-(1.0 - draw.unit()).ln()).min(LATENCY_CUT),
        };
        ((latency.base_ms + latency.jitter_ms * share) * 1_000.0) as u64
    }
}

fn both(fault: Fault) -> Effect {
    Effect { quality: Expected::Fault(fault), wire: Expected::Fault(fault), instead: true }
}

fn compile(injections: &[Injection]) -> Vec<Strike> {
    injections.iter().enumerate().filter_map(|(number, injection)| Strike::new(injection, number)).collect()
}

/// The two lanes of one injection: whether it strikes, and what it does.
struct InjectionDraw<'a>(&'a Draw, u64);

impl InjectionDraw<'_> {
    fn lane_one(&self) -> Draw {
        self.0.lane(self.1)
    }

    fn lane_two(&self) -> Draw {
        self.0.lane(self.1 + 1)
    }
}

fn injection_draw<'a>(turn: &'a Turn<'_>, number: usize) -> InjectionDraw<'a> {
    InjectionDraw(&turn.draw, lane::INJECTIONS + 2 * number as u64)
}
