//! The registry: models, their immutable versions, and which of them serve where.
//!
//! A version's way: `service` takes the stream, `admission` checks and stores the bundle, `catalog` gives it its number and
//! takes it through its states, `rollout` points a slot at it. Whatever is changed goes through `ledger`. Any number of
//! replicas do all of this at once; what has to be done by one alone, `reconcile` does on the one that leads. `admin` cares
//! for the whole.

mod config;
mod settings;
mod error;
mod app;
mod rules;
mod service;
mod admission;
mod catalog;
mod rollout;
mod access;
mod admin;
mod ledger;
mod reconcile;
mod lead;
mod cluster;
mod metrics;
mod records;
mod paging;
mod clock;

pub use app::App;
pub use config::Config;
pub use rules::rules;
pub use settings::Settings;
