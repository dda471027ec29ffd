//! Clusters of real processes on real etcd: what they do when all is well, and what they never do when it is not.
//!
//! Reading order: the life of a version; what may happen to etcd, to registries (`steps` is the long one), to scorers, to the object store; backups.

mod life;
mod etcd;
mod registries;
mod steps;
mod scorers;
mod objects;
mod backups;
