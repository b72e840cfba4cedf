//! A consumer of allowlists, for routers and relays: what arrives is verified before it is used, the last good document is
//! kept on disk, and nothing that arrives can make it worse.
//!
//! The core is plain code without IO or clock: [`verify`] judges bytes, [`Consumer`] holds what was accepted.
//! [`Kept`] is the file with the last good document, [`Follower`] asks a daemon for the next one by long-polls.
//! `docs/allowlist.md` is the specification that this module implements; `tests/vectors/allowlist.json` holds its vectors.
//!
//! ```no_run
//! # async fn route() -> Result<(), Box<dyn std::error::Error>> {
//! use exactod::client::{Consumer, Follower, FollowerOptions, Offered, Polled, Routing, Trust};
//! use exactod::clock::{Clock, SystemClock};
//! use exactod::signing::KeySet;
//!
//! let keys = KeySet::read(&std::fs::read_to_string("exactod-keys.json")?)?;
//! let trust = Trust { keys, ..Trust::signed("moonshotai/kimi-k2-0905") };
//! let (mut consumer, _problem) = Consumer::open(trust, "kimi-k2.kept.json");
//! let mut follower = Follower::new("https://exactod.internal:8080", &FollowerOptions::default())?;
//! loop {
//!     match follower.next("moonshotai/kimi-k2-0905", consumer.etag()).await? {
//!         Polled::Unchanged => {}
//!         Polled::Document { bytes, signature } => {
//!             match consumer.offer(&bytes, signature.as_deref(), SystemClock.now_us()) {
//!                 Ok(Offered::Adopted | Offered::Known) => {}
//!                 Err(refusal) => eprintln!("{refusal}: going on with the last good list"),
//!             }
//!         }
//!     }
//!     match consumer.routing(SystemClock.now_us()) {
//!         Routing::Listed { list, .. } => println!("route to {:?}", list.providers),
//!         Routing::Open => println!("route to every configured endpoint"),
//!     }
//! }
//! # }
//! ```

mod consumer;
mod follow;
mod kept;
#[cfg(test)]
mod tests;
mod verify;

pub use consumer::{Consumer, Offered, OnExpired, Routing};
pub use follow::{FollowError, Follower, FollowerOptions, POLL_WAIT, Polled};
pub use kept::{Kept, KeptError};
pub use verify::{Accepted, CLOCK_TOLERANCE_US, DOCUMENT_BYTES_MAX, Held, Refusal, Trust, verify};
