//! Tables per instruction type and laws over all of them.
