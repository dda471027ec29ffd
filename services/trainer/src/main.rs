//! `decant-trainer`: arguments, configuration, telemetry, listener, assembly, run.

use std::process::ExitCode;

use clap::Parser;
use decant_chassis::config::{self, ConfigError};
use decant_chassis::host::Host;
use decant_chassis::process::{self, bind};
use decant_chassis::server::{self, Serving};
use decant_chassis::signal::Signals;
use decant_chassis::telemetry::Telemetry;
use decant_inference::Runtime;
use decant_trainer::{App, Settings, follow_access, rules};

/// The trainer: runs jobs one after the other, and pushes what they make to the registry.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    common: process::ServiceArguments,
}

fn main() -> ExitCode {
    let Arguments { common } = Arguments::parse();
    process::run("decant-trainer", configure(&common), &common, serve)
}

fn configure(arguments: &process::ServiceArguments) -> Result<Settings, ConfigError> {
    let mut settings: Settings = config::load(arguments.config.as_deref(), std::env::vars())?;
    settings.onnx_runtime = config::onnx_runtime(&settings.onnx_runtime);
    settings.check()?;
    Ok(settings)
}

async fn serve(settings: Settings, telemetry: Telemetry, signals: Signals) -> anyhow::Result<()> {
    let listener = bind("trainer", settings.listen).await?;
    let address = listener.local_addr()?;
    let runtime = Runtime::load(&settings.onnx_runtime)?;
    let mut host = Host::new();
    let identity = host.identify(&settings.tls, &telemetry)?;
    let caller = settings.auth.caller(identity.clone())?;
    let (access, following) = follow_access(
        &settings.trainer,
        &caller,
        settings.auth.access()?,
        host.services().stop_token(),
    )?;
    if settings.auth.enabled {
        host.services().spawn("trainer access", following);
    }
    let (reporter, with_common) = server::common(&telemetry)?;
    let app = App::build(
        settings.trainer,
        runtime,
        &caller,
        host.services(),
        &telemetry.meter(),
    )?;
    host.serve(
        "trainer server",
        listener,
        with_common(app.routes()),
        Serving::new(
            &telemetry,
            identity.clone(),
            settings.auth.gate(access, rules, &telemetry.meter()),
            settings.limits,
        ),
        reporter,
    );
    if let Some(address) = settings.telemetry.metrics_address()? {
        host.publish(bind("metrics endpoint", address).await?, &telemetry);
    }
    host.announce().await;
    tracing::info!(%address, "serving");
    Ok(host.run(settings.drain, async {}, signals).await?)
}
