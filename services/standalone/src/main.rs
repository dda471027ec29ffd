//! `decant-standalone`: arguments, configuration, telemetry, listeners, assembly, run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use decant_chassis::config::{self, EXIT_BAD_CONFIG};
use decant_chassis::signal::Signals;
use decant_chassis::telemetry;
use decant_standalone::{App, Config, Listeners};

/// All of Decant in one process: trainer, registry and scorer, with their data in one folder.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A TOML file; see --dump-config for its keys. `DECANT_KEY` and `DECANT_SECTION__KEY` override it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder for everything that is kept; overrides the configuration's `data`.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder that the paths in jobs are relative to; overrides the configuration's `datasets`.
    #[arg(long)]
    datasets: Option<PathBuf>,
    /// Print the configuration as it would be used, and exit.
    #[arg(long)]
    dump_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match configure(&arguments) {
        Ok(config) => config,
        Err(error) => return complain(&error, EXIT_BAD_CONFIG),
    };
    if arguments.dump_config {
        return dump(&config);
    }
    if let Err(error) = telemetry::init(&config.log) {
        return complain(&error.into(), EXIT_BAD_CONFIG);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(serve(config)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

fn configure(arguments: &Arguments) -> anyhow::Result<Config> {
    let mut config: Config = config::load(arguments.config.as_deref(), std::env::vars())?;
    if let Some(data) = &arguments.data {
        config.data.clone_from(data);
    }
    if let Some(datasets) = &arguments.datasets {
        config.datasets.clone_from(datasets);
    }
    if config.onnx_runtime.as_os_str().is_empty() {
        // The variable that ONNX Runtime's other users know.
        config.onnx_runtime = std::env::var_os("ORT_DYLIB_PATH")
            .map(PathBuf::from)
            .unwrap_or_default();
    }
    config.check()?;
    Ok(config)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let listeners = Listeners::bind(&config.listen).await?;
    let app = App::build(config, listeners).await?;
    app.run(signals).await
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that cannot start have no other place"
)]
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("decant-standalone: {error:#}");
    ExitCode::from(code)
}

#[expect(
    clippy::print_stdout,
    reason = "printing the configuration is what was asked for"
)]
fn dump(config: &Config) -> ExitCode {
    match toml::to_string_pretty(config) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error.into(), 1),
    }
}
