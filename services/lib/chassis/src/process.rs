//! From the command line to a running service: what every `main` does, in the same order.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::config::{ConfigError, EXIT_BAD_CONFIG, reference};
use crate::signal::Signals;
use crate::telemetry::{self, Telemetry};

/// The arguments that every service takes.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArguments {
    /// A TOML file; see --dump-config for its keys. `DECANT_KEY` and `DECANT_SECTION__KEY` override it.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Print the configuration as it would be used, and exit.
    #[arg(long)]
    pub dump_config: bool,
    /// Print what can be configured as a table in Markdown, and exit.
    #[arg(long)]
    pub config_reference: bool,
}

/// A service's configuration, as far as every service has one.
pub trait Settings: Serialize + JsonSchema + Default {
    /// What is logged.
    fn log(&self) -> &telemetry::Config;
    /// Where metrics and traces go.
    fn telemetry(&self) -> &telemetry::Export;
}

/// Runs a service: a bad configuration exits with 64 before anything starts, an error later with 1.
pub fn run<C, E, F>(
    name: &'static str,
    config: Result<C, ConfigError>,
    arguments: &ServiceArguments,
    serve: impl FnOnce(C, Telemetry, Signals) -> F,
) -> ExitCode
where
    C: Settings,
    E: Display,
    F: Future<Output = Result<(), E>>,
{
    if arguments.config_reference {
        return print(name, reference::markdown::<C>(name));
    }
    let config = match config {
        Ok(config) => config,
        Err(error) => return complain(name, &error, EXIT_BAD_CONFIG),
    };
    if arguments.dump_config {
        return print(name, toml::to_string_pretty(&config));
    }
    // Telemetry names services, all of which are of Decant.
    let service = name.strip_prefix("decant-").unwrap_or(name);
    let telemetry = match telemetry::init(service, config.log(), config.telemetry()) {
        Ok(telemetry) => telemetry,
        Err(error) => return complain(name, &error, EXIT_BAD_CONFIG),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(name, &error, 1),
    };
    let outcome = runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| error.to_string())?;
        // The alternate form is the whole chain of causes, for errors that have one.
        serve(config, telemetry.clone(), signals)
            .await
            .map_err(|error| format!("{error:#}"))
    });
    // What was to end in order has ended; blocking work that did not must not hold the process.
    runtime.shutdown_background();
    telemetry.shutdown();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(name, &error, 1),
    }
}

/// Binds a service's socket, before anything else is done, so that a taken port is known at once.
///
/// # Errors
/// Names the service and the address.
pub async fn bind(service: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            service: service.to_owned(),
            address,
            source,
        })
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("the {service} cannot listen on {address}: {source}")]
pub struct BindError {
    service: String,
    address: SocketAddr,
    source: std::io::Error,
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that cannot start have no other place"
)]
fn complain(name: &str, error: &dyn Display, code: u8) -> ExitCode {
    eprintln!("{name}: {error}");
    ExitCode::from(code)
}

#[expect(
    clippy::print_stdout,
    reason = "printing the configuration is what was asked for"
)]
fn print(name: &str, text: Result<String, impl Display>) -> ExitCode {
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => complain(name, &error, 1),
    }
}
