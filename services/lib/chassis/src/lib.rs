//! What every service stands on, in the order in which a process uses it: configuration, telemetry, signals, tasks,
//! servers, the process around them, and clients of other services.

pub mod config;
pub mod telemetry;
pub mod signal;
pub mod tasks;
pub mod threads;
pub mod tls;
pub mod auth;
pub mod cork;
pub mod server;
pub mod host;
pub mod process;
pub mod client;
#[cfg(test)]
mod fuzz;
