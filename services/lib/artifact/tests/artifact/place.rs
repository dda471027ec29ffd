//! Where a bundle store lies, with a way around it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use decant_artifact::testing::S3Server;
use decant_artifact::{BundleStore, StoreConfig};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

/// A bundle store, and the objects in it as they are.
pub(crate) struct Place {
    pub(crate) store: BundleStore,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) on_s3: bool,
}

impl Place {
    pub(crate) fn folder(folder: &std::path::Path) -> Self {
        let config = StoreConfig {
            url: format!("file://{}", folder.display()),
            ..StoreConfig::default()
        };
        Self {
            store: BundleStore::connect(&config).unwrap(),
            objects: Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap()),
            on_s3: false,
        }
    }

    pub(crate) fn s3(server: &S3Server, prefix: &str) -> Self {
        let config = server.config(prefix);
        let store = BundleStore::connect_with(&config, server.env()).unwrap();
        let mut builder = AmazonS3Builder::new()
            .with_url(&config.url)
            .with_endpoint(config.endpoint.unwrap())
            .with_allow_http(true);
        for (key, value) in server.env() {
            builder = builder.with_config(key.to_ascii_lowercase().parse().unwrap(), value);
        }
        let objects = PrefixStore::new(builder.build().unwrap(), Path::from(prefix));
        Self {
            store,
            objects: Arc::new(objects),
            on_s3: true,
        }
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A time at which all that is written now is older than a day.
pub(crate) fn in_two_days() -> SystemTime {
    SystemTime::now() + 2 * DAY
}
