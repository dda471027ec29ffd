//! The gRPC services: from wire to domain and back. What a call means is decided elsewhere.

/// Who asks for a change and why, by the fields that requests for changes have in common.
macro_rules! asked {
    ($request:ident) => {
        crate::ledger::Ask::operator(
            $request.request_id.clone(),
            $request.issued_by.clone(),
            $request.reason.clone(),
            &$request,
        )
    };
}

mod admin;
mod registry;
mod rollout;
mod rollouts;
mod status;
mod wire;

pub(crate) use admin::AdminApi;
pub(crate) use registry::RegistryApi;
pub(crate) use rollout::RolloutApi;
