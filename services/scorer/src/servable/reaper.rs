//! The thread that frees versions, so that no request ever does: giving back a large model's memory takes long.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use decant_chassis::tasks::Tasks;
use decant_chassis::threads::{self, AtWork};

use super::Manager;
use super::place::Retired;

/// How often to look whether the last request has let go.
const LOOK: Duration = Duration::from_millis(20);

/// Starts the reaper. It ends when the manager stops.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start(tasks: &Tasks, manager: Arc<Manager>) -> io::Result<JoinHandle<()>> {
    tasks.spawn_thread("scorer reaper", move || {
        threads::lower_priority();
        let mut pinned: Vec<Retired> = Vec::new();
        while let Some(retired) = manager.take_retired((!pinned.is_empty()).then_some(LOOK)) {
            let _at_work = AtWork::begin();
            pinned.extend(retired);
            pinned = pinned
                .into_iter()
                .filter_map(|retired| free(&manager, retired))
                .collect();
        }
    })
}

/// Frees a version, or returns it when someone still holds it.
fn free(manager: &Manager, retired: Retired) -> Option<Retired> {
    let Retired {
        place,
        servable,
        bytes,
    } = retired;
    match Arc::try_unwrap(servable) {
        Ok(servable) => {
            let digest = servable.digest();
            drop(servable);
            tracing::info!(%place, %digest, "freed");
            manager.ended(&place, digest, bytes);
            None
        }
        Err(servable) => Some(Retired {
            place,
            servable,
            bytes,
        }),
    }
}
