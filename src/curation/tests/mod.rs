//! The decision as sentences, and its laws.
