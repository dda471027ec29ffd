//! The store of a cluster, on real etcd.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

#[path = "etcd/contract.rs"]
mod contract;
#[path = "etcd/process.rs"]
mod process;
