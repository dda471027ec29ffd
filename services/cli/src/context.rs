//! What every command is given: the three services, and where to print.

use std::time::Duration;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::remote::{Registry, Remote, Scorer, Service, Trainer};

/// The services at the addresses that the user gave, and the output. Nothing is connected before the first call.
pub(crate) struct Context {
    pub(crate) trainer: Trainer,
    pub(crate) registry: Registry,
    pub(crate) scorer: Scorer,
    pub(crate) output: Output,
    /// How long the user is ready to wait, if they said so.
    pub(crate) timeout: Option<Duration>,
}

impl Context {
    /// Resolves the global options. Must be called inside a Tokio runtime.
    pub(crate) fn new(global: &Global, output: Output) -> Result<Self, Failure> {
        let remote = |service, address: &String| Remote::new(service, address, global.timeout);
        Ok(Self {
            trainer: Trainer(remote(Service::Trainer, &global.trainer)?),
            registry: Registry(remote(Service::Registry, &global.registry)?),
            scorer: Scorer(remote(Service::Scorer, &global.scorer)?),
            output,
            timeout: global.timeout,
        })
    }
}
