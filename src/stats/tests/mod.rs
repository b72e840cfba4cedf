//! Expected values and laws of the formulas.

mod laws;
mod vectors;
