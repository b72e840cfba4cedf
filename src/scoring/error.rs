//! Why a case cannot be judged: the case is broken, not the answer.

/// A broken case. The runner turns it into `Unscored(ours)`; `suite check` shows it before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScorerError {
    /// A scorer's options do not compile.
    #[error("scorer `{kind}`: {message}")]
    Scorer {
        /// The scorer's `type`.
        kind: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// An offered tool cannot be judged against.
    #[error("tool {tool:?}: {message}; correct the case's `tools`")]
    Tool {
        /// The tool's name, or its place when it has none.
        tool: String,
        /// What is wrong.
        message: String,
    },
    /// The request asks for something that cannot be judged.
    #[error("request key `{key}`: {message}")]
    Request {
        /// The key.
        key: &'static str,
        /// What is wrong and what to write instead.
        message: String,
    },
}

impl ScorerError {
    /// An error in a scorer's options.
    pub(super) fn scorer(kind: &str, message: impl Into<String>) -> Self {
        ScorerError::Scorer { kind: kind.to_owned(), message: message.into() }
    }
}
