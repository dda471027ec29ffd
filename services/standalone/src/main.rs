//! `decant-standalone`: arguments, configuration, telemetry, listeners, assembly, run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use decant_chassis::config::{self, ConfigError};
use decant_chassis::process;
use decant_chassis::signal::Signals;
use decant_chassis::telemetry::Telemetry;
use decant_standalone::{App, Config, Listeners};
use tikv_jemallocator::Jemalloc;

/// All of Decant in one process: trainer, registry and scorer, with their data in one folder.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    common: process::ServiceArguments,
    /// Folder for everything that is kept; overrides the configuration's `data`.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder that the paths in jobs are relative to; overrides the configuration's `datasets`.
    #[arg(long)]
    datasets: Option<PathBuf>,
}

/// Freed memory goes back to the system, from whichever thread it came.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = configure(&arguments);
    process::run("decant-standalone", config, &arguments.common, serve)
}

fn configure(arguments: &Arguments) -> Result<Config, ConfigError> {
    let mut config: Config = config::load(arguments.common.config.as_deref(), std::env::vars())?;
    if let Some(data) = &arguments.data {
        config.data.clone_from(data);
    }
    if let Some(datasets) = &arguments.datasets {
        config.datasets.clone_from(datasets);
    }
    config.onnx_runtime = config::onnx_runtime(&config.onnx_runtime);
    config.check()?;
    Ok(config)
}

async fn serve(config: Config, telemetry: Telemetry, signals: Signals) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&config.listen, config.telemetry.metrics_address()?).await?;
    let app = App::build(config, listeners, &telemetry).await?;
    app.run(signals).await
}
