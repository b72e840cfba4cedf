//! The categories of the data set.

use std::fmt;
use std::str::FromStr;

/// A Python single-turn category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// One function, one call.
    SimplePython,
    /// Several functions, one call.
    Multiple,
    /// One function, several calls.
    Parallel,
    /// Several functions, several calls.
    ParallelMultiple,
    /// From users: one function, one call.
    LiveSimple,
    /// From users: several functions, one call.
    LiveMultiple,
    /// From users: one function, several calls.
    LiveParallel,
    /// From users: several functions, several calls.
    LiveParallelMultiple,
    /// No call is due.
    Irrelevance,
    /// From users: no call is due.
    LiveIrrelevance,
    /// From users: any call is due.
    LiveRelevance,
}

/// A name that is no supported category.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CategoryError {
    /// It exists, and needs what we do not have.
    #[error("category {name:?} is not supported: {why}; supported are {}", Category::list())]
    Unsupported {
        /// As written.
        name: String,
        /// What it would need.
        why: &'static str,
    },
    /// There is none of that name.
    #[error("there is no category {name:?}; supported are {}", Category::list())]
    Unknown {
        /// As written.
        name: String,
    },
}

impl Category {
    /// All of them, in the order of the documentation.
    pub const ALL: [Category; 11] = [
        Category::SimplePython,
        Category::Multiple,
        Category::Parallel,
        Category::ParallelMultiple,
        Category::LiveSimple,
        Category::LiveMultiple,
        Category::LiveParallel,
        Category::LiveParallelMultiple,
        Category::Irrelevance,
        Category::LiveIrrelevance,
        Category::LiveRelevance,
    ];

    /// Its name in the data set.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Category::SimplePython => "simple_python",
            Category::Multiple => "multiple",
            Category::Parallel => "parallel",
            Category::ParallelMultiple => "parallel_multiple",
            Category::LiveSimple => "live_simple",
            Category::LiveMultiple => "live_multiple",
            Category::LiveParallel => "live_parallel",
            Category::LiveParallelMultiple => "live_parallel_multiple",
            Category::Irrelevance => "irrelevance",
            Category::LiveIrrelevance => "live_irrelevance",
            Category::LiveRelevance => "live_relevance",
        }
    }

    /// Whether there are answers to compare with.
    #[must_use]
    pub fn has_answers(self) -> bool {
        !matches!(self, Category::Irrelevance | Category::LiveIrrelevance | Category::LiveRelevance)
    }

    fn list() -> String {
        Category::ALL.map(Category::name).join(", ")
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Category {
    type Err = CategoryError;

    fn from_str(name: &str) -> Result<Self, CategoryError> {
        if let Some(category) = Category::ALL.into_iter().find(|c| c.name() == name) {
            return Ok(category);
        }
        let why = match name {
            "simple_java" | "simple_javascript" | "java" | "javascript" => {
                "its arguments are Java or JavaScript source, which needs a parser of that language"
            }
            n if n.starts_with("multi_turn") => "it runs calls on simulators written in Python",
            n if n.starts_with("memory") || n.starts_with("web_search") => "it needs tools that run between the turns",
            "format_sensitivity" => "it asks for calls written as text",
            _ => return Err(CategoryError::Unknown { name: name.to_owned() }),
        };
        Err(CategoryError::Unsupported { name: name.to_owned(), why })
    }
}
