//! All tests of Decant as a whole, in one binary: linking is what they cost most.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod architecture;
mod cluster;
mod rollouts;
mod secure;
mod wire;
mod upgrades;
mod documents;
mod discovery;
mod monitoring;
mod telemetry;
mod bad_jobs;
mod main_job;
mod teachers;
mod client;
mod restarts;
mod oip;
mod processes;
mod programs;
mod helm;
mod images;
mod laptop;
mod chaos;
