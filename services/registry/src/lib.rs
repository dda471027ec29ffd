//! The registry: models, their immutable versions, and which of them serve where.
//!
//! A version's way: `service` takes the stream, `admission` checks and stores the bundle and judges it, `catalog` gives
//! it its number, `rollout` points a slot at it.

mod config;
mod settings;
mod error;
mod app;
mod service;
mod admission;
mod catalog;
mod rollout;

pub use app::App;
pub use config::Config;
pub use settings::Settings;
