//! Bundles in real stores: a local folder, and an S3 server that the test starts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "artifact/place.rs"]
mod place;
#[path = "artifact/contract.rs"]
mod contract;
#[path = "artifact/proxy.rs"]
mod proxy;
#[path = "artifact/faults.rs"]
mod faults;
