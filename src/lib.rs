//! Bedside: a cache, leases, sessions and live push for clinics, at the edge.

// In tests a panic is how a fault is found.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::string_slice))]

pub mod access;
pub mod channel;
pub mod chart;
pub mod clinic;
pub mod config;
pub mod error;
pub mod fhir;
pub mod http;
pub mod lease;
pub mod outgoing;
pub mod session;
pub mod sorted;
pub mod store;
#[cfg(test)]
mod testing;
pub mod time;
pub mod vitals;

#[cfg(target_arch = "wasm32")]
mod edge;
