//! The client against real gRPC servers on loopback. They are fakes, because they have faults that a scorer does not show
//! on demand.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "client/scorer.rs"]
mod scorer;
#[path = "client/running.rs"]
mod running;

#[path = "client/answers.rs"]
mod answers;
#[path = "client/retries.rs"]
mod retries;
#[path = "client/balance.rs"]
mod balance;
#[path = "client/deadlines.rs"]
mod deadlines;
#[path = "client/ejection.rs"]
mod ejection;
#[path = "client/rolling.rs"]
mod rolling;
#[path = "client/addresses.rs"]
mod addresses;
#[path = "../examples/rank.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod rank;
