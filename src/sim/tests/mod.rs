//! Tests of the simulator as a whole.
