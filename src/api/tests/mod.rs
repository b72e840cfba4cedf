//! The API as a whole, over a real store.

mod access;
mod acks;
mod agent;
mod allowlist;
mod commands;
mod discovery;
mod documents;
mod exports;
mod kit;
mod lists;
mod live;
mod orders;
mod page;
mod serving;
mod waiting;
