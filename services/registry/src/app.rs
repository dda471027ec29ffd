//! The registry, assembled.

use std::sync::Arc;

use decant_artifact::BundleStore;
use decant_chassis::config::ConfigError;
use decant_chassis::tasks::Tasks;
use decant_coordination::{Keyspace, MetaStore};
use decant_proto::registry::v1::registry_service_server::RegistryServiceServer;
use decant_proto::rollout::v1::rollout_service_server::RolloutServiceServer;
use tonic::service::Routes;

use crate::admission::Admission;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::rollout::Slots;
use crate::service::{RegistryApi, RolloutApi};

/// A registry. It keeps nothing itself: what it answers lies in the store and in the bundles.
#[derive(Clone)]
pub struct App {
    registry: RegistryApi,
    rollout: RolloutApi,
}

impl App {
    /// Assembles a registry. Its tasks are `tasks`; when those are to stop, streams that have no end of their own end.
    ///
    /// # Errors
    /// When a value of the configuration makes no sense.
    pub fn build(
        config: Config,
        store: Arc<dyn MetaStore>,
        bundles: BundleStore,
        tasks: Tasks,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let keyspace = Keyspace::new(&config.cluster);
        let catalog = Catalog::new(Arc::clone(&store), keyspace.clone());
        let slots = Slots::new(store, keyspace, catalog.clone());
        let stop = tasks.stop_token();
        let admission = Admission::new(&config, catalog.clone(), bundles.clone());
        Ok(Self {
            registry: RegistryApi::new(catalog, admission, bundles, tasks),
            rollout: RolloutApi::new(slots, stop),
        })
    }

    /// The registry's gRPC services.
    pub fn routes(&self) -> Routes {
        Routes::new(RegistryServiceServer::new(self.registry.clone()))
            .add_service(RolloutServiceServer::new(self.rollout.clone()))
    }
}
