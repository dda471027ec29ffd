//! The registry, assembled.

use std::sync::Arc;
use std::time::Duration;

use decant_artifact::BundleStore;
use decant_chassis::client::Caller;
use decant_chassis::config::ConfigError;
use decant_chassis::server::Routes;
use decant_chassis::tasks::Tasks;
use decant_coordination::keys::LeaderRecord;
use decant_coordination::{Keyspace, MetaStore};
use decant_model::access::Access as Known;
use decant_proto::access::v1::access_service_server::AccessServiceServer;
use decant_proto::admin::v1::admin_service_server::AdminServiceServer;
use decant_proto::registry::v1::registry_service_server::RegistryServiceServer;
use decant_proto::rollout::v1::rollout_service_server::RolloutServiceServer;
use opentelemetry::metrics::Meter;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::access::Access;
use crate::admin::Care;
use crate::admission::Admission;
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::lead::Standing;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::reconcile::Reconcilers;
use crate::records::Records;
use crate::rollout::{Roll, Rollouts, Slots};
use crate::service::{AccessApi, AdminApi, RegistryApi, RolloutApi};

/// A registry. It keeps nothing itself: what it answers lies in the store and in the bundles.
#[derive(Clone)]
pub struct App {
    registry: RegistryApi,
    rollout: RolloutApi,
    admin: AdminApi,
    access: Access,
    stop: CancellationToken,
}

impl App {
    /// Assembles a registry. It stands for election at once, and does what a leader does while it leads. Its tasks are
    /// `tasks`; when those are to stop, streams that have no end of their own end. Scorers are asked through `caller`.
    /// What it measures of itself it tells the meter.
    ///
    /// # Errors
    /// When a value of the configuration makes no sense.
    pub fn build(
        config: Config,
        store: Arc<dyn MetaStore>,
        bundles: BundleStore,
        caller: Caller,
        tasks: Tasks,
        meter: &Meter,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let places = Arc::new(Semaphore::new(config.pushes));
        let metrics = Metrics::new(meter, &places, config.pushes);
        let records = Records {
            store,
            keyspace: Keyspace::new(&config.cluster),
            watched: metrics.watched(),
        };
        let ledger = Ledger::new(records.clone(), metrics.clone());
        let cluster = Cluster::new(records.clone());
        let catalog = Catalog::new(records.clone(), ledger.clone());
        let roll = Roll::new(Duration::from_millis(config.fleet_memory_millis));
        let slots = Slots::new(
            records.clone(),
            ledger.clone(),
            catalog.clone(),
            cluster.clone(),
            roll.clone(),
        );
        let (access, follow_access) = Access::new(
            records.clone(),
            ledger.clone(),
            cluster.clone(),
            tasks.stop_token(),
        );
        tasks.spawn("registry-access", follow_access);
        let admission = Admission::new(
            &config,
            catalog.clone(),
            ledger.clone(),
            bundles.clone(),
            places,
            metrics.clone(),
        );
        let care = Care {
            records: records.clone(),
            ledger,
            catalog: catalog.clone(),
            slots: slots.clone(),
            cluster: cluster.clone(),
            admission: admission.clone(),
            bundles: bundles.clone(),
        };
        let keep_roll = roll.keep(records.clone(), cluster.clone(), tasks.stop_token());
        tasks.spawn("registry-roll", keep_roll);
        let rollouts = Rollouts::new(slots.clone(), bundles.clone());
        let boot_id = Ulid::generate().to_string().to_lowercase();
        let reconcilers = Reconcilers {
            records,
            slots: slots.clone(),
            rollouts: rollouts.clone(),
            admission: admission.clone(),
            cluster,
            metrics,
            caller,
            actor: match &*config.advertise {
                "" => format!("registry {boot_id}"),
                address => format!("registry {address}"),
            },
            interval: Duration::from_millis(config.reconcile_interval_millis),
            rollout_interval: Duration::from_millis(config.rollout_interval_millis),
            abandoned_after: Duration::from_millis(config.abandoned_after_millis),
        };
        lead(&config, boot_id, reconcilers, &tasks);
        let stop = tasks.stop_token();
        Ok(Self {
            registry: RegistryApi::new(catalog, admission, bundles, tasks),
            rollout: RolloutApi::new(slots, rollouts, stop.clone()),
            admin: AdminApi::new(care),
            access,
            stop,
        })
    }

    /// The table by which callers are known, now and after each change, and the future that keeps it so until the registry is
    /// to stop: the principals that are in the store, and the fixed grants.
    pub fn follow_access(
        &self,
        fixed: Known,
    ) -> (
        watch::Receiver<Arc<Known>>,
        impl Future<Output = Result<(), String>> + Send + use<>,
    ) {
        self.access.follow(fixed, self.stop.clone())
    }

    /// The registry's gRPC services.
    pub fn routes(&self) -> Routes {
        let access = AccessApi::new(self.access.clone(), self.stop.clone());
        Routes::new(RegistryServiceServer::new(self.registry.clone()))
            .add_service(RolloutServiceServer::new(self.rollout.clone()))
            .add_service(AdminServiceServer::new(self.admin.clone()))
            .add_service(AccessServiceServer::new(access))
    }
}

/// Stands for election, and runs the reconcilers while this replica leads.
fn lead(config: &Config, boot_id: String, reconcilers: Reconcilers, tasks: &Tasks) {
    let (records, cluster) = (reconcilers.records.clone(), reconcilers.cluster.clone());
    let look_out = cluster
        .clone()
        .look_out(reconcilers.interval, tasks.stop_token());
    let standing = Standing {
        records,
        cluster,
        reconcilers,
        record: LeaderRecord {
            boot_id,
            address: config.advertise.clone(),
        },
        ttl: Duration::from_millis(config.lease_ttl_millis),
    };
    tasks.spawn("registry-look-out", look_out);
    tasks.spawn("registry-leader", standing.run(tasks.stop_token()));
}
