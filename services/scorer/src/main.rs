//! `decant-scorer`: arguments, configuration, telemetry, listener, assembly, run.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use decant_artifact::BundleStore;
use decant_chassis::config::{self, ConfigError};
use decant_chassis::host::Host;
use decant_chassis::process::{self, bind};
use decant_chassis::server::{self, Serving};
use decant_chassis::signal::Signals;
use decant_chassis::telemetry::Telemetry;
use decant_coordination::EtcdStore;
use decant_inference::Runtime;
use decant_scorer::{App, Settings, follow_access, rules};
use tikv_jemallocator::Jemalloc;

/// The scorer: serves what etcd says is wanted, and goes on when etcd is away. Run as many as you need.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    common: process::ServiceArguments,
}

/// Freed memory goes back to the system, from whichever thread it came.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let Arguments { common } = Arguments::parse();
    process::run("decant-scorer", configure(&common), &common, serve)
}

fn configure(arguments: &process::ServiceArguments) -> Result<Settings, ConfigError> {
    let mut settings: Settings = config::load(arguments.config.as_deref(), std::env::vars())?;
    settings.onnx_runtime = config::onnx_runtime(&settings.onnx_runtime);
    settings.check()?;
    Ok(settings)
}

async fn serve(
    mut settings: Settings,
    telemetry: Telemetry,
    signals: Signals,
) -> anyhow::Result<()> {
    let listener = bind("scorer", settings.listen).await?;
    let address = listener.local_addr()?;
    if settings.scorer.advertise.is_empty() {
        settings.scorer.advertise = address.to_string();
    }
    let runtime = Runtime::load(&settings.onnx_runtime)?;
    // Not waited for: a scorer starts from its cache when the store is away.
    let store = Arc::new(EtcdStore::new(&settings.store)?);
    let bundles = BundleStore::connect(&settings.bundles)?;
    let mut host = Host::new();
    let identity = host.identify(&settings.tls, &telemetry)?;
    let (access, following) = follow_access(
        &settings.scorer,
        store.clone(),
        settings.auth.access()?,
        host.services().stop_token(),
    );
    if settings.auth.enabled {
        host.services().spawn("scorer access", following);
    }
    let serving = settings.scorer.serving(Serving::new(
        &telemetry,
        identity.clone(),
        settings.auth.gate(access, rules, &telemetry.meter()),
        settings.limits,
    ));
    let (reporter, with_common) = server::common(&telemetry)?;
    let app = App::build(
        settings.scorer,
        runtime,
        store,
        bundles,
        reporter.clone(),
        host.services(),
        &telemetry.meter(),
    )?;
    host.serve(
        "scorer server",
        listener,
        with_common(app.routes()),
        serving,
        reporter,
    );
    if let Some(address) = settings.telemetry.metrics_address()? {
        host.publish(bind("metrics endpoint", address).await?, &telemetry);
    }
    host.announce().await;
    tracing::info!(%address, "serving");
    let leaving = app.announce_drain();
    Ok(host.run(settings.drain, leaving, signals).await?)
}
