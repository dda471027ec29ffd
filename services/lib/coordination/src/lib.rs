//! Coordination: what every process of a cluster agrees on. The store holds intent and small facts, never a model's bytes.
//!
//! [`MetaStore`] is the contract. [`EmbeddedStore`] keeps it in one file on one machine, [`EtcdStore`] in a cluster of etcd.
//! [`keys`] draws what is kept, [`follow()`] turns a part of it into a view that heals itself, [`access`] is such a view of
//! who may do what, and [`Election`] makes one process the leader.

mod store;
mod txn;
mod error;
mod embedded;
mod etcd;
pub mod keys;
mod follow;
pub mod access;
mod lease;
mod election;
#[cfg(test)]
mod flaky;
#[cfg(feature = "testing")]
pub mod contract;
#[cfg(feature = "testing")]
pub mod testing;

pub use election::{Election, Epoch};
pub use embedded::{EmbeddedStore, Options};
pub use error::StoreError;
pub use etcd::{EtcdConfig, EtcdConfigError, EtcdStore, TlsConfig};
pub use follow::{FollowOptions, FollowStats, Replaced, View, follow, follow_with};
pub use keys::Keyspace;
pub use lease::LeaseKeeper;
pub use store::{
    Changes, Entry, Event, Key, Lease, LeaseId, Listing, MetaStore, Order, Page, Prefix, Revision,
    StoreCondition, StoreIdentity, Watch,
};
pub use txn::{Conflict, Expect, MAX_BYTES, MAX_OPERATIONS, Txn, Write};
