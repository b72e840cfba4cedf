//! Plausible wrong answers: what a weaker model says.

use serde_json::Value;

use super::answer::{Answer, Arguments, from_message};
use super::draws::Draw;
use super::library::Known;
use super::prompt::Prompt;
use super::schema::neighbour;
use crate::domain::Fault;

/// Turns the right answer to a known case into one that surely fails; returns the Fault it fails with.
///
/// First choice: another value for an argument that is compared literally, valid under the tool's schema.
/// Then the case's own counter-example. Then another number or another text, for cases that have none.
/// `None`: nothing to get wrong (an unmatched request).
pub fn make_wrong(answer: &mut Answer, prompt: &Prompt, draw: &mut Draw) -> Option<Fault> {
    // A second change might make it right again.
    let known = prompt.known.as_ref().filter(|_| !answer.wrong)?;
    answer.wrong = true;
    if let Some(changed) = another_argument(answer, prompt, known, draw) {
        let (call, arguments) = changed;
        answer.calls[call].arguments = Arguments::Text(arguments.to_string());
        return Some(Fault::WrongAnswer);
    }
    if known.instance.world.is_some() {
        // Of one answer on the way nobody can say what becomes of the whole: this one leaves a task undone.
        let text = another_text(answer.content.as_deref().filter(|_| answer.calls.is_empty()).unwrap_or(UNDONE));
        answer.say(text);
        return Some(Fault::WrongAnswer);
    }
    if let Some(counter) = &known.instance.counterexample {
        let wrong = from_message(&counter.message.value(), prompt);
        (answer.content, answer.calls, answer.finish) = (wrong.content, wrong.calls, wrong.finish);
        answer.reasoning = wrong.reasoning.or(answer.reasoning.take());
        // The usage says that the whole prompt was read: then it is not the context that is missing.
        let read_whole = counter.fault == Fault::ContextTruncated;
        return Some(if read_whole { Fault::WrongAnswer } else { counter.fault });
    }
    if answer.calls.is_empty() {
        let text = another_text(answer.content.as_deref().unwrap_or_default());
        answer.say(text);
    } else {
        answer.calls.pop();
        if answer.calls.is_empty() {
            answer.say("I would rather not use a tool for this.");
            return Some(Fault::MissingCall);
        }
    }
    Some(Fault::WrongAnswer)
}

/// Another text of the same form, where the form alone is judged: no answer to such a case is wrong. Calls stay.
pub fn reword(answer: &mut Answer) {
    if answer.calls.is_empty()
        && let Some(content) = &mut answer.content
    {
        *content = another_text(content);
    }
}

/// One argument changed: which call, and its arguments.
fn another_argument(answer: &Answer, prompt: &Prompt, known: &Known, draw: &mut Draw) -> Option<(usize, Value)> {
    let expected = known.expected_calls()?;
    if expected.len() != answer.calls.len() || answer.calls.is_empty() {
        return None;
    }
    let mut options = Vec::new();
    for (i, call) in answer.calls.iter().enumerate() {
        let Some(Value::Object(arguments)) = call.arguments.parsed() else { continue };
        // Several expected calls of one tool: the changed value must differ from all of theirs.
        let wanted: Vec<&Value> =
            expected.iter().filter(|e| e["name"] == *call.name).map(|e| &e["arguments"]).collect();
        let schema = prompt.parameters(&call.name)?;
        for (key, value) in &arguments {
            let literal = wanted.iter().all(|w| w.get(key).is_some_and(is_literal));
            let Some(other) = neighbour(value, &schema["properties"][key]).filter(|_| literal) else { continue };
            if wanted.iter().all(|w| !same(&w[key], &other)) {
                let mut changed = arguments.clone();
                changed.insert(key.clone(), other);
                options.push((i, Value::Object(changed)));
            }
        }
    }
    draw.pick(&options).cloned()
}

/// What a model says that does not act.
const UNDONE: &str = "I am sorry, that is more than I can do for you today.";

/// Compared as it is, not by a matcher.
fn is_literal(expected: &Value) -> bool {
    !expected.is_object() && !expected.is_array()
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(x, y)| x == y)
}

/// Another number in place of the last one; without a number, another text.
fn another_text(text: &str) -> String {
    let end = text.rfind(|c: char| c.is_ascii_digit());
    let Some(end) = end else { return "I am not sure about that, to be honest.".to_owned() };
    let digit = text.as_bytes()[end] - b'0';
    format!("{}{}{}", &text[..end], (digit + 3) % 10, &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_changes_and_a_text_without_one_is_replaced() {
        assert_eq!(another_text("It is 12.50 euros."), "It is 12.53 euros.");
        assert_eq!(another_text("7"), "0");
        assert_ne!(another_text("Paris"), "Paris");
        assert!(!another_text("Paris").contains("Paris"));
    }
}
