//! The gRPC services: from wire to domain and back. What a call means is decided elsewhere.

mod admin;
mod registry;
mod rollout;
mod rollouts;
mod status;
mod wire;

pub(crate) use admin::AdminApi;
pub(crate) use registry::RegistryApi;
pub(crate) use rollout::RolloutApi;
