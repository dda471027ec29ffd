//! Who may do what, as the registry tells: the trainer has no store of its own to follow. While no registry answers, what
//! was told last stands; an end of a credential that was told holds all the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use decant_chassis::client::{AddressError, Caller, Channel};
use decant_model::access::Access;
use decant_proto::access::insert;
use decant_proto::access::v1::access_service_client::AccessServiceClient;
use decant_proto::access::v1::{WatchAccessRequest, WatchAccessResponse};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::config::Config;

/// The first wait after a stream that ended; it doubles with each further one up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A stream that went on for so long was a good one: the next wait begins anew.
const GOOD: Duration = Duration::from_secs(60);

/// The table by which callers are known, now and after each change, and the future that keeps it so until it is told to
/// stop. Until a registry has answered, the table holds the fixed grants alone.
///
/// # Errors
/// When the registry's address is none.
#[expect(
    clippy::type_complexity,
    reason = "a future of this kind has no name that a type of ours could have"
)]
pub fn follow_access(
    config: &Config,
    caller: &Caller,
    fixed: Access,
    stop: CancellationToken,
) -> Result<
    (
        watch::Receiver<Arc<Access>>,
        impl Future<Output = Result<(), String>> + Send + use<>,
    ),
    AddressError,
> {
    let registries = config.registries(caller)?;
    let (table, receiver) = watch::channel(Arc::new(fixed.clone()));
    let follower = Follower {
        registries,
        fixed,
        table,
    };
    let following = async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = follower.run() => match never {},
        }
    };
    Ok((receiver, following))
}

struct Follower {
    registries: Vec<Channel>,
    fixed: Access,
    table: watch::Sender<Arc<Access>>,
}

impl Follower {
    /// Asks one registry after the other, again and again.
    async fn run(self) -> Infallible {
        let mut wait = FIRST_WAIT;
        loop {
            for registry in &self.registries {
                let began = Instant::now();
                let ended = self.listen(registry.clone()).await;
                tracing::warn!(%ended, "the registry tells no more who may do what; what it told last stands");
                if began.elapsed() > GOOD {
                    wait = FIRST_WAIT;
                }
                sleep(wait).await;
            }
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }

    /// Takes in what a registry tells, until it tells no more.
    async fn listen(&self, registry: Channel) -> Status {
        let opened = AccessServiceClient::new(registry)
            .watch_access(WatchAccessRequest {})
            .await;
        let mut told = match opened {
            Ok(opened) => opened.into_inner(),
            Err(status) => return status,
        };
        loop {
            match told.message().await {
                Ok(Some(message)) => self.take(message),
                Ok(None) => return Status::unavailable("the stream ended"),
                Err(status) => return status,
            }
        }
    }

    fn take(&self, told: WatchAccessResponse) {
        let mut access = Access::default();
        for principal in told.principals {
            if let Err(error) = insert(&mut access, principal) {
                tracing::error!(%error, "refused");
            }
        }
        // What is fixed cannot be taken over.
        access.extend(&self.fixed);
        self.table.send_replace(Arc::new(access));
    }
}
