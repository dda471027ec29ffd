//! All three services in one process, on the embedded store: the default for one machine, and what most tests run.

mod config;
mod app;

pub use app::{App, Listeners};
pub use config::{Config, Listen};
pub use decant_chassis::host::Stop;
