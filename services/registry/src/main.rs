//! `decant-registry`: arguments, configuration, telemetry, listener, assembly, run.

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
use decant_registry::{App, Settings, rules};

/// The registry: models, versions and slots, kept in etcd and an object store. Run as many as you like.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    common: process::ServiceArguments,
}

fn main() -> ExitCode {
    let Arguments { common } = Arguments::parse();
    process::run("decant-registry", configure(&common), &common, serve)
}

fn configure(arguments: &process::ServiceArguments) -> Result<Settings, ConfigError> {
    let settings: Settings = config::load(arguments.config.as_deref(), std::env::vars())?;
    settings.check()?;
    Ok(settings)
}

async fn serve(
    mut settings: Settings,
    telemetry: Telemetry,
    signals: Signals,
) -> anyhow::Result<()> {
    let listener = bind("registry", settings.listen).await?;
    let address = listener.local_addr()?;
    if settings.registry.advertise.is_empty() {
        settings.registry.advertise = address.to_string();
    }
    let store = Arc::new(EtcdStore::connect(&settings.store).await?);
    let bundles = BundleStore::connect(&settings.bundles)?;
    let mut host = Host::new();
    let identity = host.identify(&settings.tls, &telemetry)?;
    let (reporter, with_common) = server::common(&telemetry)?;
    let app = App::build(
        settings.registry,
        store,
        bundles,
        settings.auth.caller(identity.clone())?,
        host.services(),
        &telemetry.meter(),
    )?;
    let (access, following) = app.follow_access(settings.auth.access()?);
    if settings.auth.enabled {
        host.services().spawn("registry access", following);
    }
    host.serve(
        "registry server",
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
