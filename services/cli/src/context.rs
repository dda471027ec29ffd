//! What every command is given: the three services, and where to print.

use std::time::Duration;

use decant_chassis::client::Caller;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::remote::{Registry, Remote, Scorer, Service, Trainer};
use crate::settings::Settings;

/// The services at the addresses that hold for this call, and the output. Nothing is connected before the first call.
pub(crate) struct Context {
    pub(crate) trainer: Trainer,
    pub(crate) registry: Registry,
    pub(crate) scorer: Scorer,
    pub(crate) output: Output,
    /// How long the user is ready to wait, if they said so.
    pub(crate) timeout: Option<Duration>,
    /// Who calls, for services at other addresses.
    pub(crate) caller: Caller,
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
        let timeout = settings.timeout.value;
        let caller = settings.identity.caller()?;
        let remote = |service, address: &String| Remote::new(service, address, timeout, &caller);
        Ok(Self {
            trainer: Trainer(remote(Service::Trainer, &settings.trainer.value)?),
            registry: Registry(remote(Service::Registry, &settings.registry.value)?),
            scorer: Scorer(remote(Service::Scorer, &settings.scorer.value)?),
            output,
            timeout,
            caller: caller.clone(),
            global,
        })
    }
}
