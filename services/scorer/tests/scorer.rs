//! The scorer as its callers meet it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "scorer/access.rs"]
mod access;
#[path = "scorer/answers.rs"]
mod answers;
#[path = "scorer/fixture.rs"]
mod fixture;
#[path = "scorer/harness.rs"]
mod harness;
#[path = "scorer/member.rs"]
mod member;
#[path = "scorer/metrics.rs"]
mod metrics;
#[path = "scorer/oip.rs"]
mod oip;
#[path = "scorer/outage.rs"]
mod outage;
#[path = "scorer/prepare.rs"]
mod prepare;
#[path = "scorer/refusals.rs"]
mod refusals;
#[path = "scorer/releases.rs"]
mod releases;
#[path = "scorer/signatures.rs"]
mod signatures;
#[path = "scorer/switch.rs"]
mod switch;
#[path = "scorer/versions.rs"]
mod versions;
