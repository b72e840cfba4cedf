//! Proving what a suite promises of its cases: reference answers pass, counter-examples fail as they say.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::domain::{
    CaseInstance, Completion, Fault, Judgement, ProgramOutputs, ProgramRun, Testimony, Took, UnscoredWhy, Verdict,
};
use crate::provider::{completion_from_message, read_answer};
use crate::scoring::{PreparedCase, judge_delivery, judges_of, programs_of};

/// What came of the answers that one drawn case brings along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Answers judged.
    pub proved: u64,
    /// Models judge the case, or programs that are not run: what they would say is not proved.
    pub needs_others: bool,
    /// Those that were not judged as the suite says, in words.
    pub wrong: Vec<String>,
}

/// Runs programs on an answer, or says that none are run.
pub type RunPrograms<'a> = &'a dyn Fn(&[ProgramRun]) -> Option<ProgramOutputs>;

/// Judges the reference, the counter-example and the further answers of a drawn case, without asking anybody. They come at
/// once and for nothing.
#[must_use]
pub fn prove(instance: &CaseInstance, prepared: &PreparedCase) -> Proof {
    prove_with(instance, prepared, &|_| None)
}

/// As [`prove`], with the programs that judge the case.
#[must_use]
pub fn prove_with(instance: &CaseInstance, prepared: &PreparedCase, programs: RunPrograms<'_>) -> Proof {
    let runs_programs = programs(&[]).is_some();
    let needs_others =
        !judges_of(&instance.scorers).is_empty() || (!runs_programs && !programs_of(&instance.scorers).is_empty());
    let mut proof = Proof { needs_others, ..Proof::default() };
    let judge = |completion: Completion| {
        let completion = Completion { took: Took::NOTHING, ..completion };
        let runs = prepared.runs(&completion);
        let outputs = if runs.is_empty() { None } else { programs(&runs) }.unwrap_or_default();
        prepared.judge_with(&completion, &Testimony { outputs, ..Testimony::default() })
    };
    let message = |message: &Value| judge(completion_from_message(message));
    if let Some(reference) = &instance.reference {
        proof.note("the reference answer", None, &message(&reference.value()));
    }
    if let Some(counter) = &instance.counterexample {
        proof.note("the counter-example", Some(counter.fault), &message(&counter.message.value()));
    }
    for (number, answer) in instance.answers.iter().flat_map(|answers| answers.items()).enumerate() {
        let Value::Object(answer) = answer else { continue };
        let judgement = match (answer.get("message"), wire_bytes(&answer)) {
            (Some(sent), _) => message(sent),
            (None, Some(bytes)) => match read_answer(&bytes, instance) {
                Ok(completion) => judge(completion),
                Err(delivery) => judge_delivery(delivery.fault, &delivery.detail),
            },
            (None, None) => continue,
        };
        let note = answer.get("note").and_then(Value::as_str).map(|note| format!(" ({note})")).unwrap_or_default();
        let fault = answer.get("fault").and_then(Value::as_str).and_then(|name| name.parse().ok());
        proof.note(&format!("answer {}{note}", number + 1), fault, &judgement);
    }
    proof
}

impl Proof {
    fn note(&mut self, what: &str, fault: Option<Fault>, judgement: &Judgement) {
        if self.needs_others && judgement.verdict == Verdict::Unscored(UnscoredWhy::Ours) {
            return;
        }
        self.proved += 1;
        let holds = match fault {
            None => judgement.verdict == Verdict::Pass,
            // What was not delivered is no failed answer, and has a Fault all the same.
            Some(fault) => judgement.fault == Some(fault) && judgement.verdict != Verdict::Pass,
        };
        if !holds {
            let must = fault.map_or_else(|| "must pass".to_owned(), |fault| format!("must be Fail({fault})"));
            self.wrong.push(format!("{what} {must} and is {}", told(judgement)));
        }
    }
}

fn told(judgement: &Judgement) -> String {
    let secondary: Vec<&str> = judgement.secondary.iter().map(|f| Fault::name(*f)).collect();
    format!("{} [{}]: {}", judgement.verdict, secondary.join(", "), judgement.explanation)
}

/// The bytes of an answer that is written as it comes over the wire.
///
/// `stream`: a list of frames, each an object or a text that follows `data: `, or all of it as one text. `body`: the
/// JSON of a plain answer, or its text. `None`: the answer has neither.
#[must_use]
pub fn wire_bytes(answer: &Map<String, Value>) -> Option<Bytes> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (answer.get("stream"), answer.get("body")) {
        (Some(Value::Array(frames)), _) => {
            Some(frames.iter().map(|frame| format!("data: {}\n\n", text(frame))).collect::<String>().into())
        }
        (Some(whole), _) => Some(text(whole).into()),
        (None, Some(body)) => Some(text(body).into()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(answer: &Value) -> Option<String> {
        Some(String::from_utf8(wire_bytes(answer.as_object().unwrap())?.to_vec()).unwrap())
    }

    #[test]
    fn answers_are_written_as_they_come_over_the_wire() {
        let frames = json!({"stream": [{"id": "c"}, "[DONE]", ""]});
        assert_eq!(bytes(&frames).unwrap(), "data: {\"id\":\"c\"}\n\ndata: [DONE]\n\ndata: \n\n");
        assert_eq!(bytes(&json!({"stream": ": hi\n\n"})).unwrap(), ": hi\n\n");
        assert_eq!(bytes(&json!({"body": {"choices": []}})).unwrap(), "{\"choices\":[]}");
        assert_eq!(bytes(&json!({"body": ""})).unwrap(), "");
        assert_eq!(bytes(&json!({"message": {}})), None);
    }
}
