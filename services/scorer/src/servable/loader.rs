//! The thread that loads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use decant_chassis::tasks::Tasks;
use decant_chassis::telemetry::propagation::continued;
use decant_chassis::threads::{self, AtWork};
use tracing::Instrument;
use tracing::field::Empty;

use super::Manager;
use super::load::LoadError;
pub(crate) use super::load::Loading;

/// Starts the loader. It ends when the manager stops.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start(
    tasks: &Tasks,
    manager: Arc<Manager>,
    loading: Loading,
) -> io::Result<JoinHandle<()>> {
    // Fetching is asynchronous; a runtime of its own keeps it off the one that serves.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("load-io")
        .build()?;
    tasks.spawn_thread("scorer loader", move || {
        threads::lower_priority();
        while let Some(load) = manager.next_load() {
            let _at_work = AtWork::begin();
            let span = continued(load.trace.as_deref(), || {
                let (version, digest) = (load.prepared.version, load.prepared.digest);
                tracing::info_span!(
                    "load",
                    place = %load.place,
                    %version,
                    %digest,
                    trace_id = Empty,
                    span_id = Empty
                )
            });
            // A version must not be able to end the loader, whatever its bytes make some parser do.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(loading.load(&load, &manager).instrument(span))
            }));
            let outcome = outcome.unwrap_or(Err(LoadError::Panicked));
            match &outcome {
                Ok(servable) => loading.meters.loaded(&load.place, servable.load_times()),
                // It says nothing of the version.
                Err(LoadError::Superseded) => {}
                Err(_) => loading.meters.not_loaded(&load.place),
            }
            manager.loaded(&load, outcome);
        }
    })
}
