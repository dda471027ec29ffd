//! Who may do what, as the store says; and a copy of it beside the cached bundles, with which a scorer knows its callers
//! although it starts while the store is away.

mod kept;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use decant_coordination::access::{Principals, observe, table};
use decant_coordination::{Keyspace, MetaStore};
use decant_model::access::Access;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How long to wait before a copy that could not be written is written again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The table by which callers are known, now and after each change, and the future that keeps it so until it is told to
/// stop. Until the store has answered, the table holds what an earlier process kept in the cache's folder, and the fixed
/// grants; without a cache those alone.
pub fn follow_access(
    config: &Config,
    store: Arc<dyn MetaStore>,
    fixed: Access,
    stop: CancellationToken,
) -> (
    watch::Receiver<Arc<Access>>,
    impl Future<Output = Result<(), String>> + Send + use<>,
) {
    let folder = config.cache.folder();
    let remembered = folder.as_ref().and_then(|folder| match kept::load(folder) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::error!(%error, "ignored: until the store answers, only fixed grants hold");
            None
        }
    });
    let first = table(&fixed, remembered.as_ref().unwrap_or(&Principals::new()));
    let (sender, receiver) = watch::channel(Arc::new(first));
    let (told, to_keep) = watch::channel(None);
    let keyspace = Keyspace::new(&config.cluster);
    let observing = observe(store, keyspace, stop.clone(), move |principals| {
        sender.send_replace(Arc::new(table(&fixed, &principals)));
        told.send_replace(Some(principals));
    });
    let following = async move {
        match folder {
            None => observing.await,
            Some(folder) => {
                let keeping = keep(folder, remembered, to_keep, stop);
                tokio::try_join!(observing, keeping).map(|_| ())
            }
        }
    };
    (receiver, following)
}

/// Writes a copy after each change, until it is told to stop. One that cannot be written is tried again; nobody waits for it.
async fn keep(
    folder: PathBuf,
    mut last: Option<Principals>,
    mut told: watch::Receiver<Option<Principals>>,
    stop: CancellationToken,
) -> Result<(), String> {
    loop {
        let now = told.borrow_and_update().clone();
        let is_news = now.is_some() && now != last;
        if is_news {
            let (folder, principals) = (folder.clone(), now.clone().unwrap_or_default());
            let saved = tokio::task::spawn_blocking(move || kept::save(&folder, principals)).await;
            match saved.map_err(|error| error.to_string())? {
                Ok(()) => last = now.clone(),
                Err(error) => {
                    tracing::error!(%error, "a restart without the store would know callers as they were before");
                }
            }
        }
        let is_kept = now.is_none() || now == last;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Ok(()) = told.changed() => {}
            () = tokio::time::sleep(TRY_AGAIN), if !is_kept => {}
        }
    }
}

#[cfg(test)]
mod tests;
