//! What operators may do to a model's curation by hand. Each act is an audited Decision: who, when, why.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::EndpointId;
use super::standing::UnknownName;

/// Longest name of an operator, in characters.
pub const BY_CHARS_MAX: usize = 100;
/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 500;

/// An act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// The endpoint is listed whatever its standing; its evidence goes on.
    Pin,
    /// Its standing rules again.
    Unpin,
    /// The endpoint is neither listed nor asked, whatever its standing.
    Ban,
    /// Its standing rules again.
    Unban,
    /// Its evidence is forgotten and it is measured afresh.
    Reset,
    /// A remark in the decision log; changes nothing.
    Note,
    /// Ends the hold of a common alarm; the evidence is kept.
    Ack,
}

impl Verb {
    /// All acts.
    pub const ALL: [Verb; 7] = [Verb::Pin, Verb::Unpin, Verb::Ban, Verb::Unban, Verb::Reset, Verb::Note, Verb::Ack];

    /// As typed, stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verb::Pin => "pin",
            Verb::Unpin => "unpin",
            Verb::Ban => "ban",
            Verb::Unban => "unban",
            Verb::Reset => "reset",
            Verb::Note => "note",
            Verb::Ack => "ack",
        }
    }

    /// It concerns one endpoint; else the whole model.
    #[must_use]
    pub fn takes_endpoint(self) -> bool {
        self != Verb::Ack
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Verb {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Verb::ALL.into_iter().find(|v| v.name() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

/// An act with its particulars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// To whom; `None` exactly for [`Verb::Ack`].
    pub endpoint: Option<EndpointId>,
    /// Who says so.
    pub by: String,
    /// Why; may be empty, but for [`Verb::Note`].
    pub note: String,
}

/// Why an order cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The verb needs an endpoint, or takes none.
    #[error("`{0}` {needs}", needs = if .0.takes_endpoint() { "needs an endpoint" } else { "concerns the whole model: name no endpoint" })]
    Endpoint(Verb),
    /// A text that is too long or holds control characters.
    #[error("{what} {why}")]
    Text {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Order {
    /// Checks and builds an order. Texts lose white space at their ends.
    ///
    /// # Errors
    /// [`OrderError`] when the endpoint does not fit the verb, the operator has no name, a note says nothing, or a text
    /// is too long or holds control characters.
    pub fn new(verb: Verb, endpoint: Option<EndpointId>, by: &str, note: &str) -> Result<Order, OrderError> {
        if endpoint.is_some() != verb.takes_endpoint() {
            return Err(OrderError::Endpoint(verb));
        }
        let by = text("the operator's name", by, BY_CHARS_MAX)?;
        let note = text("the note", note, NOTE_CHARS_MAX)?;
        let missing = |what, why: &str| Err(OrderError::Text { what, why: why.to_owned() });
        if by.is_empty() {
            return missing("the operator's name", "is empty: decisions say who made them");
        }
        if verb == Verb::Note && note.is_empty() {
            return missing("the note", "is empty: say what is to be remembered");
        }
        Ok(Order { verb, endpoint, by, note })
    }
}

fn text(what: &'static str, text: &str, most: usize) -> Result<String, OrderError> {
    let text = text.trim();
    let wrong = |why: String| Err(OrderError::Text { what, why });
    match (text.chars().find(|c| c.is_control()), text.chars().count()) {
        (Some(c), _) => wrong(format!("holds the control character {c:?}: write it in one line of plain text")),
        (None, n) if n > most => wrong(format!("has {n} characters, at most {most} are kept")),
        (None, _) => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_its_operator_and_fits_its_verb() {
        let endpoint = || EndpointId::new("a/b").ok();
        let order = Order::new(Verb::Pin, endpoint(), " ann ", " why\u{fc} ").unwrap();
        assert_eq!((order.by.as_str(), order.note.as_str()), ("ann", "why\u{fc}"));
        assert_eq!(Order::new(Verb::Pin, None, "ann", ""), Err(OrderError::Endpoint(Verb::Pin)));
        assert_eq!(Order::new(Verb::Ack, endpoint(), "ann", ""), Err(OrderError::Endpoint(Verb::Ack)));
        assert!(Order::new(Verb::Ack, None, "ann", "").is_ok());
        for (by, note) in [("", "x"), ("ann", ""), ("a\0b", "x"), ("ann", "two\nlines"), ("ann", &"x".repeat(501))] {
            assert!(Order::new(Verb::Note, endpoint(), by, note).is_err(), "{by:?} {note:?}");
        }
    }

    #[test]
    fn verbs_are_read_as_they_are_written() {
        assert!(Verb::ALL.iter().all(|v| v.name().parse() == Ok(*v)));
        assert!("Pin".parse::<Verb>().is_err());
        assert_eq!(serde_json::to_string(&Verb::Unban).unwrap(), "\"unban\"");
    }
}
