//! The wire: messages and services generated from the `.proto` files beside this crate, and the one place where errors
//! become gRPC statuses.

pub mod status;
pub mod codec;
mod methods;

pub use methods::{method_paths, stream_paths};

/// `decant.trainer.v1`: training jobs.
pub mod trainer {
    #[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("decant.trainer.v1");
    }
}

/// `decant.registry.v1`: models and versions.
pub mod registry {
    pub mod push;

    #[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("decant.registry.v1");
    }
}

/// `decant.rollout.v1`: which version serves where.
pub mod rollout {
    mod arm;
    pub mod plan;

    #[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("decant.rollout.v1");
    }
}

pub mod scorer;

/// `decant.admin.v1`: audit, backups and garbage.
pub mod admin {
    #[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("decant.admin.v1");
    }
}

/// `decant.ops.v1`: a process as its operators need it.
pub mod ops {
    #[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("decant.ops.v1");
    }
}

/// `decant.access.v1`: who may do what.
pub mod access {
    mod principal;

    pub use principal::{PrincipalError, insert};

    #[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("decant.access.v1");
    }
}

pub mod inference;

/// Descriptors of all services, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/decant.bin"));
