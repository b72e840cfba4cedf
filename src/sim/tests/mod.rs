//! Tests of the simulator as a whole, without sockets where they are not the point.

mod determinism;
pub(super) mod kit;
mod library;
mod on_the_wire;
mod wire_contract;
