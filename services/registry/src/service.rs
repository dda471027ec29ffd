//! The gRPC services: from wire to domain and back. What a call means is decided elsewhere.

/// Who asks for a change and why, by the fields that requests for changes have in common.
macro_rules! asked {
    ($caller:ident, $request:ident) => {
        crate::ledger::Ask::operator(
            $request.request_id.clone(),
            $request.issued_by.clone(),
            $request.reason.clone(),
            &$request,
        )
        .map(|ask| $caller.sign(ask))
    };
}

mod caller;
mod access;
mod admin;
mod registry;
mod rollout;
mod rollouts;
mod status;
mod wire;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::error::CallError;

pub(crate) use access::AccessApi;
pub(crate) use admin::AdminApi;
pub(crate) use registry::RegistryApi;
pub(crate) use rollout::RolloutApi;

/// A stream that has no end of its own: whoever reads it is told why it ends.
fn until_stop<T: Send + 'static>(
    items: impl Stream<Item = Result<T, CallError>> + Send + 'static,
    stop: &CancellationToken,
) -> BoxStream<'static, Result<T, Status>> {
    items
        .map_err(Status::from)
        .take_until(stop.clone().cancelled_owned())
        .chain(stream::once(async { Err(CallError::Draining.into()) }))
        .boxed()
}
