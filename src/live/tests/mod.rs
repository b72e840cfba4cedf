//! Live traffic: what is read, to whom it is attributed, what it counts for.

mod foreign;
mod kit;
mod records;
mod suspicion;
mod taking;
