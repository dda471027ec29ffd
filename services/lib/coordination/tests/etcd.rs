//! The store of a cluster, on real etcd.

#[path = "etcd/contract.rs"]
mod contract;
