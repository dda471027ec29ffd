//! The scorer as its callers meet it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "scorer/answers.rs"]
mod answers;
#[path = "scorer/fixture.rs"]
mod fixture;
#[path = "scorer/harness.rs"]
mod harness;
#[path = "scorer/refusals.rs"]
mod refusals;
#[path = "scorer/versions.rs"]
mod versions;
