//! Expected values and laws of the formulas.

mod discrepancy;
mod laws;
mod vectors;
