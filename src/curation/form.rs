//! Forms of a state: what it holds, and how exactly.
//!
//! A state is folded, rounded and written by its form. Every step's record names the form that the program of its time
//! used, so that a replay makes old steps again to the last byte, and new ones by what is held since. A form is named by
//! the version of the [codec](super::codec) that first wrote it.

use serde::{Deserialize, Serialize};

/// A form. Later forms hold all that earlier ones hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Form(u8);

impl Form {
    /// Versions 1 to 3 of the codec: evidence in double precision, clusters by 16 bits of their cases' hashes.
    pub const FIRST: Form = Form(3);
    /// Evidence in single precision, clusters by 12 bits, and the own history of each suite ([`super::levels`]).
    pub const COMPACT: Form = Form(4);
    /// That of this program's steps.
    pub const NEWEST: Form = Form::COMPACT;

    /// That of records which name none.
    pub(super) fn unnamed() -> Form {
        Form::FIRST
    }

    pub(super) fn is_unnamed(&self) -> bool {
        *self == Form::FIRST
    }
}

impl Default for Form {
    fn default() -> Form {
        Form::NEWEST
    }
}

impl From<Form> for u8 {
    fn from(form: Form) -> u8 {
        form.0
    }
}

impl TryFrom<u8> for Form {
    type Error = String;

    fn try_from(number: u8) -> Result<Form, String> {
        let known = Form::FIRST.0..=Form::NEWEST.0;
        let later = || format!("its state has form {number}, this program knows {known:?}: use the newer program");
        if known.contains(&number) { Ok(Form(number)) } else { Err(later()) }
    }
}
