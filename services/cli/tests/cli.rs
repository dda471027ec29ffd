//! The command as users run it, against services that answer whatever a test wants: the wire is the command's contract.

#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap is a failed test, also outside of the functions marked as tests"
)]

#[path = "cli/fakes.rs"]
mod fakes;
#[path = "cli/running.rs"]
mod running;
#[path = "cli/states.rs"]
mod states;

#[path = "cli/train.rs"]
mod train;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/fetch.rs"]
mod fetch;
#[path = "cli/slots.rs"]
mod slots;
#[path = "cli/rollouts.rs"]
mod rollouts;
#[path = "cli/releasing.rs"]
mod releasing;
#[path = "cli/rollbacks.rs"]
mod rollbacks;
#[path = "cli/plans.rs"]
mod plans;
#[path = "cli/scoring.rs"]
mod scoring;
#[path = "cli/replicas.rs"]
mod replicas;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/access.rs"]
mod access;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/admin.rs"]
mod admin;
#[path = "cli/health.rs"]
mod health;
#[path = "cli/waiting.rs"]
mod waiting;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/contexts.rs"]
mod contexts;
#[path = "cli/completion.rs"]
mod completion;
#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/formats.rs"]
mod formats;
#[path = "cli/errors.rs"]
mod errors;
