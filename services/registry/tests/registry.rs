//! The registry as its clients see it: a real server on a real socket, the embedded store, bundles in a folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod registry {
    pub(crate) mod fixture;
    pub(crate) mod scorer;
    pub(crate) mod fleet;
    mod models;
    mod pushes;
    mod refusals;
    mod versions;
    mod slots;
    mod rollouts;
    mod blocked;
    mod releases;
    mod steering;
    mod checks;
    mod ledger;
    mod outages;
    mod replicas;
    mod care;
    mod metrics;
    pub(crate) mod callers;
    mod rules;
    mod access;
}
