//! What every command is given: the three services, and where to print.

use std::time::Duration;

use decant_chassis::auth::Token;
use decant_chassis::client::Caller;
use decant_chassis::config::ConfigError;
use decant_chassis::tls;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::remote::{Registry, Remote, Scorer, Service, Trainer};
use crate::settings::Settings;

/// A token in this variable is taken before any file. No option takes one: what is typed is there for all who see the
/// machine's processes.
const TOKEN: &str = "DECANT_TOKEN";

/// The services at the addresses that hold for this call, and the output. Nothing is connected before the first call.
pub(crate) struct Context {
    pub(crate) trainer: Trainer,
    pub(crate) registry: Registry,
    pub(crate) scorer: Scorer,
    /// Makes channels to others, with the same credentials.
    pub(crate) caller: Caller,
    pub(crate) output: Output,
    /// How long the user is ready to wait, if they said so.
    pub(crate) timeout: Option<Duration>,
    /// What was given, for `decant context show`.
    pub(crate) global: Global,
}

impl Context {
    /// Must be called inside a Tokio runtime.
    pub(crate) fn new(
        global: Global,
        settings: &Settings,
        output: Output,
    ) -> Result<Self, Failure> {
        let caller = caller(settings)?;
        let timeout = settings.timeout.value;
        let remote = |service, address: &String| Remote::new(&caller, service, address, timeout);
        Ok(Self {
            trainer: Trainer(remote(Service::Trainer, &settings.trainer.value)?),
            registry: Registry(remote(Service::Registry, &settings.registry.value)?),
            scorer: Scorer(remote(Service::Scorer, &settings.scorer.value)?),
            caller,
            output,
            timeout,
            global,
        })
    }
}

/// What the user shows to services: a certificate, a token, or nothing.
fn caller(settings: &Settings) -> Result<Caller, Failure> {
    let tls = tls::Config {
        ca: settings.ca.value.clone().into(),
        certificate: settings.certificate.value.clone().into(),
        key: settings.key.value.clone().into(),
        server_name: settings.server_name.value.clone(),
        ..tls::Config::default()
    };
    let wrong = |error: ConfigError| {
        Failure::usage(error.to_string()).hint(
            "--ca, --certificate, --key and --token-file name these files, or the context does: `decant context show`",
        )
    };
    let identity = tls::Identity::load(&tls).map_err(wrong)?;
    let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
    let token = match token {
        Some(token) => Some(Token::new(&token).map_err(wrong)?),
        None if settings.token_file.value.is_empty() => None,
        None => Some(Token::read(settings.token_file.value.clone().into()).map_err(wrong)?),
    };
    Ok(Caller::new(identity)
        .with_token(token)
        .allow_plaintext(settings.allow_plaintext.value))
}
