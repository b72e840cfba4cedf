//! Whether an injection strikes a request: condition, time profile, correlation, masking, awareness.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::answer::Answer;
use super::defects::{self, Defect};
use super::draws::{Draw, Hash64};
use super::prompt::Prompt;
use super::spec::{Condition, Correlation, Injection, TimeProfile, TimeUnit};

/// Bursts remembered per injection; requests arrive nearly in order, so few are needed.
const BURSTS_KEPT_MAX: usize = 64;

/// What surrounds one request at one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Seed of the run and hash of the endpoint's name.
    pub home: [u64; 2],
    /// Requests that the endpoint received before.
    pub ordinal: u64,
    /// Seconds of the simulator's clock since the start.
    pub seconds: f64,
    /// How often this request was seen before.
    pub repeats: u32,
    /// Who asks.
    pub user: u64,
    /// Whether a header of this name came with the request.
    pub has_header: &'a dyn HasHeader,
}

/// Tells which headers a request bears.
pub trait HasHeader {
    /// Whether a header of this name (any case) is present.
    fn has(&self, name: &str) -> bool;
}

impl std::fmt::Debug for dyn HasHeader + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HasHeader")
    }
}

/// An injection ready to strike.
#[derive(Debug)]
pub struct Strike {
    /// As configured.
    pub injection: Injection,
    /// The defect.
    pub defect: &'static Defect,
    /// Its place in the catalogue.
    pub index: usize,
    /// Number among the endpoint's injections.
    number: u64,
    bursts: Mutex<Bursts>,
}

impl Strike {
    /// Compiles an injection; `None` when the catalogue has no such defect.
    #[must_use]
    pub fn new(injection: &Injection, number: usize) -> Option<Strike> {
        let index = defects::DEFECTS.iter().position(|defect| defect.id == injection.defect)?;
        Some(Strike {
            injection: injection.clone(),
            defect: &defects::DEFECTS[index],
            index,
            number: number as u64,
            bursts: Mutex::default(),
        })
    }

    /// Decides, from the request and the moment alone. `struck_before`: it struck the last repeat of this request.
    #[must_use]
    pub fn strikes(&self, prompt: &Prompt, moment: &Moment<'_>, struck_before: bool, draw: &mut Draw) -> bool {
        let Injection { prevalence, correlation, time_profile, time_unit, masking, audit_awareness, .. } =
            &self.injection;
        let time = match time_unit {
            TimeUnit::Requests => moment.ordinal as f64,
            TimeUnit::Seconds => moment.seconds,
        };
        let probability = prevalence * time_profile.factor(time);
        if let Some(awareness) = audit_awareness {
            let looks_like_a_test = (awareness.repeated_prompt && moment.repeats > 0)
                || awareness.header.as_deref().is_some_and(|name| moment.has_header.has(name));
            if looks_like_a_test && draw.chance(awareness.probability) {
                return false;
            }
        }
        if let (true, Some(masking)) = (struck_before && probability > 0.0, masking) {
            return !draw.chance(*masking);
        }
        let home = Hash64::default().number(moment.home[0]).number(moment.home[1]);
        match *correlation {
            Correlation::Iid => draw.chance(probability),
            Correlation::Sticky => {
                let fate = home.number(self.number).number(moment.user);
                Draw::new([fate.value(), 1, 0, 0]).chance(probability)
            }
            Correlation::ReplicaMixture { replicas, bad } => {
                // Not by injection: the defects of one replica strike together.
                let replica = Draw::new([home.number(prompt.prefix).value(), 2, 0, 0]).below(replicas as usize);
                (replica as u64) < u64::from(bad) && draw.chance(probability)
            }
            Correlation::Bursts { mean_length, gap } => {
                let start = || Draw::new([home.number(self.number).value(), 3, 0, 0]);
                let mut bursts = self.bursts.lock().unwrap_or_else(PoisonError::into_inner);
                bursts.holds(moment.ordinal, mean_length, gap, start) && draw.chance(probability)
            }
        }
    }
}

impl Condition {
    /// Whether all that is set holds; `answer` is the right answer.
    #[must_use]
    pub fn holds(&self, prompt: &Prompt, answer: &Answer) -> bool {
        let Condition {
            tools,
            reasoning,
            stream,
            calls_min,
            context_tokens_over,
            nested_schema,
            non_ascii,
            tool_choice,
            response_format,
            history_turns_over,
        } = self;
        let wide = || {
            prompt.non_ascii
                || answer.content.as_deref().is_some_and(|text| !text.is_ascii())
                || answer.calls.iter().any(|call| !call.arguments.text().is_ascii())
        };
        tools.is_none_or(|want| want != prompt.tools.is_empty())
            && reasoning.is_none_or(|want| want == answer.reasoning.is_some())
            && stream.is_none_or(|want| want == prompt.stream)
            && calls_min.is_none_or(|least| answer.calls.len() >= least as usize)
            && context_tokens_over.is_none_or(|most| prompt.tokens > most)
            && nested_schema.is_none_or(|want| want == prompt.nested_schema)
            && non_ascii.is_none_or(|want| want == wide())
            && tool_choice.is_none_or(|want| want == prompt.choice)
            && response_format.is_none_or(|want| want == prompt.format)
            && history_turns_over.is_none_or(|most| prompt.history_turns > most)
    }
}

impl TimeProfile {
    /// The factor at a time, in \[0, 1\].
    #[must_use]
    pub fn factor(&self, time: f64) -> f64 {
        let on = |flag: bool| f64::from(u8::from(flag));
        match *self {
            TimeProfile::Constant => 1.0,
            TimeProfile::Step { at } => on(time >= at),
            TimeProfile::Recovered { at } => on(time < at),
            TimeProfile::Transient { start, end } => on((start..end).contains(&time)),
            TimeProfile::Ramp { from, to, start, end } => {
                let share = ((time - start) / (end - start)).clamp(0.0, 1.0);
                from + (to - from) * share
            }
            TimeProfile::Flapping { period, duty } => on(time.rem_euclid(period) < duty * period),
            TimeProfile::Diurnal { period, peak } => 0.5 + 0.5 * ((time - peak) / period * std::f64::consts::TAU).cos(),
        }
    }
}

/// Runs of bad requests, drawn as far as they are needed.
#[derive(Debug, Default)]
struct Bursts {
    draw: Option<Draw>,
    /// Ordinals from..to of the runs drawn last.
    runs: VecDeque<(u64, u64)>,
    drawn_to: u64,
}

impl Bursts {
    fn holds(&mut self, ordinal: u64, mean_length: f64, gap: f64, start: impl Fn() -> Draw) -> bool {
        let draw = self.draw.get_or_insert_with(start);
        while self.drawn_to <= ordinal {
            let from = self.drawn_to + geometric(gap, draw);
            let to = from + geometric(mean_length, draw);
            self.runs.push_back((from, to));
            self.drawn_to = to;
            if self.runs.len() > BURSTS_KEPT_MAX {
                self.runs.pop_front();
            }
        }
        self.runs.iter().any(|(from, to)| (*from..*to).contains(&ordinal))
    }
}

/// A length of at least 1 with a mean (geometric distribution).
fn geometric(mean: f64, draw: &mut Draw) -> u64 {
    if mean <= 1.0 {
        return 1;
    }
    let tail = (1.0 - draw.unit()).ln() / (1.0 - 1.0 / mean).ln();
    1 + tail.min(1e12) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::spec::AuditAwareness;
    use serde_json::json;

    struct Headers(&'static str);
    impl HasHeader for Headers {
        fn has(&self, name: &str) -> bool {
            name == self.0
        }
    }

    fn prompt(text: &str) -> Prompt {
        Prompt::read(0, json!({"messages": [{"role": "user", "content": text}]}).as_object().unwrap()).unwrap()
    }

    fn moment(ordinal: u64) -> Moment<'static> {
        Moment { home: [5, 6], ordinal, seconds: 0.0, repeats: 0, user: 1, has_header: &Headers("x-canary") }
    }

    /// Share of struck requests among many.
    fn share(injection: &Injection, requests: u64) -> f64 {
        let strike = Strike::new(injection, 0).unwrap();
        let prompts: Vec<Prompt> = (0..500).map(|i| prompt(&format!("case {i}"))).collect();
        let hits = (0..requests)
            .filter(|i| {
                let moment = Moment { user: *i, ..moment(*i) };
                strike.strikes(&prompts[*i as usize % 500], &moment, false, &mut Draw::new([*i, 0, 0, 0]))
            })
            .count();
        hits as f64 / requests as f64
    }

    fn with(correlation: Correlation) -> Injection {
        Injection { correlation, ..Injection::new("call_id_empty", 0.4) }
    }

    #[test]
    fn prevalence_holds_under_every_correlation() {
        assert!((share(&with(Correlation::Iid), 20_000) - 0.4).abs() < 0.02);
        assert!((share(&with(Correlation::Sticky), 20_000) - 0.4).abs() < 0.02, "by user");
        let mixture = share(&with(Correlation::ReplicaMixture { replicas: 4, bad: 1 }), 20_000);
        assert!((mixture - 0.1).abs() < 0.03, "{mixture}");
        let bursts = share(&with(Correlation::Bursts { mean_length: 10.0, gap: 30.0 }), 200_000);
        assert!((bursts - 0.1).abs() < 0.01, "{bursts}");
    }

    #[test]
    fn sticky_users_share_one_fate_and_prompts_one_replica() {
        let fate = |injection: &Injection, user: u64, text: &str, ordinal: u64| {
            let strike = Strike::new(injection, 0).unwrap();
            strike.strikes(
                &prompt(text),
                &Moment { user, ..moment(ordinal) },
                false,
                &mut Draw::new([ordinal, 1, 1, 1]),
            )
        };
        let sticky = with(Correlation::Sticky);
        for user in 0..50 {
            assert_eq!(fate(&sticky, user, "a", 1), fate(&sticky, user, "b", 999));
        }
        let mixture = Injection { prevalence: 1.0, ..with(Correlation::ReplicaMixture { replicas: 2, bad: 1 }) };
        for text in ["a", "b", "c", "d", "e", "f"] {
            assert_eq!(fate(&mixture, 1, text, 1), fate(&mixture, 2, text, 77));
        }
    }

    #[test]
    fn bursts_come_in_runs() {
        let strike = Strike::new(
            &Injection { prevalence: 1.0, ..with(Correlation::Bursts { mean_length: 20.0, gap: 20.0 }) },
            0,
        );
        let strike = strike.unwrap();
        let prompt = prompt("x");
        let hits: Vec<bool> =
            (0..4_000).map(|i| strike.strikes(&prompt, &moment(i), false, &mut Draw::new([i, 0, 0, 0]))).collect();
        let changes = hits.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((120..300).contains(&changes), "independent strikes would change about 2000 times, not {changes}");
    }

    #[test]
    fn profiles_have_their_shapes() {
        let at = |profile: TimeProfile, times: &[f64]| times.iter().map(|t| profile.factor(*t)).collect::<Vec<_>>();
        assert_eq!(at(TimeProfile::Step { at: 10.0 }, &[9.0, 10.0, 99.0]), [0.0, 1.0, 1.0]);
        assert_eq!(at(TimeProfile::Recovered { at: 10.0 }, &[9.0, 10.0]), [1.0, 0.0]);
        assert_eq!(at(TimeProfile::Transient { start: 5.0, end: 7.0 }, &[4.0, 5.0, 6.9, 7.0]), [0.0, 1.0, 1.0, 0.0]);
        let ramp = TimeProfile::Ramp { from: 0.2, to: 1.0, start: 10.0, end: 20.0 };
        assert_eq!(at(ramp, &[0.0, 30.0]), [0.2, 1.0]);
        assert!((ramp.factor(15.0) - 0.6).abs() < 1e-9);
        let flapping = TimeProfile::Flapping { period: 10.0, duty: 0.3 };
        assert_eq!(at(flapping, &[0.0, 2.9, 3.0, 12.0]), [1.0, 1.0, 0.0, 1.0]);
        let diurnal = TimeProfile::Diurnal { period: 24.0, peak: 18.0 };
        assert!((diurnal.factor(18.0) - 1.0).abs() < 1e-9 && diurnal.factor(6.0).abs() < 1e-9);
    }

    #[test]
    fn masking_and_awareness_hide_it() {
        let masked = Injection { masking: Some(0.9), ..Injection::new("call_id_empty", 1.0) };
        let strike = Strike::new(&masked, 0).unwrap();
        let prompt = prompt("x");
        let count = |before: bool| {
            (0..2_000).filter(|i| strike.strikes(&prompt, &moment(0), before, &mut Draw::new([*i, 0, 0, 0]))).count()
        };
        assert_eq!(count(false), 2_000);
        assert!((140..260).contains(&count(true)));
        let aware = |repeated_prompt, header: Option<&str>| Injection {
            audit_awareness: Some(AuditAwareness {
                probability: 1.0,
                repeated_prompt,
                header: header.map(str::to_owned),
            }),
            ..Injection::new("call_id_empty", 1.0)
        };
        let strikes = |injection: &Injection, repeats| {
            let moment = Moment { repeats, ..moment(0) };
            Strike::new(injection, 0).unwrap().strikes(&prompt, &moment, false, &mut Draw::new([1; 4]))
        };
        assert!(strikes(&aware(true, None), 0) && !strikes(&aware(true, None), 1));
        assert!(!strikes(&aware(false, Some("x-canary")), 0) && strikes(&aware(false, Some("x-other")), 0));
    }

    #[test]
    fn healed_by_its_profile_means_healed_even_for_a_repeat() {
        let injection = Injection {
            masking: Some(0.0),
            time_profile: TimeProfile::Recovered { at: 5.0 },
            ..Injection::new("call_id_empty", 1.0)
        };
        let strike = Strike::new(&injection, 0).unwrap();
        assert!(!strike.strikes(&prompt("x"), &moment(6), true, &mut Draw::new([1; 4])));
    }
}
