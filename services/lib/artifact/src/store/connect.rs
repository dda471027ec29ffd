//! The client of a store, made from configuration and the environment.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use rustls::crypto::{CryptoProvider, ring};

use super::config::{Place, Provider};
use super::staging::{Multipart, Staging};
use super::{BundleStore, ConnectError, Creation, StoreConfig};

impl BundleStore {
    /// The bundles of the store that a configuration names. Nothing is asked of a remote store yet; a local folder is made
    /// if there is none, which blocks. Credentials come from the variables that the provider's own tools read.
    ///
    /// # Errors
    /// When the configuration makes no sense, the folder cannot be used, or the provider's variables make no sense.
    pub fn connect(config: &StoreConfig) -> Result<Self, ConnectError> {
        // Variables that are not text are none that providers read.
        let texts = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Self::connect_with(config, texts)
    }

    /// As [`BundleStore::connect`], with these variables instead of the environment's.
    ///
    /// # Errors
    /// As [`BundleStore::connect`].
    pub fn connect_with(
        config: &StoreConfig,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConnectError> {
        let (provider, bucket, prefix) = match config.place()? {
            Place::Folder(folder) => return Self::local(&folder).map_err(ConnectError::Folder),
            Place::Bucket {
                provider,
                bucket,
                prefix,
            } => (provider, bucket, prefix),
        };
        install_tls();
        let client = Client {
            config,
            bucket,
            variables: variables.into_iter().collect(),
        };
        let failed = |source| ConnectError::Client {
            url: config.url.clone(),
            source,
        };
        let mut staging = Staging::Unknown;
        let objects: Arc<dyn ObjectStore> = match provider {
            Provider::S3 => {
                let s3 = Arc::new(client.s3().map_err(failed)?);
                staging = Staging::S3(Arc::new(Multipart::new(
                    Arc::clone(&s3),
                    prefix.clone(),
                    config.request_timeout(),
                )));
                s3
            }
            Provider::Google => Arc::new(client.google().map_err(failed)?),
            Provider::Azure => Arc::new(client.azure().map_err(failed)?),
        };
        Ok(Self {
            objects: below(objects, prefix),
            creation: Arc::new(Creation::doubted()),
            staging,
        })
    }
}

fn below(objects: Arc<dyn ObjectStore>, prefix: Path) -> Arc<dyn ObjectStore> {
    if prefix.as_ref().is_empty() {
        objects
    } else {
        Arc::new(PrefixStore::new(objects, prefix))
    }
}

/// `reqwest` is built without a TLS provider of its own. The process may have chosen one already, for its servers.
fn install_tls() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread has just done so.
        let _ = ring::default_provider().install_default();
    }
}

/// What the three builders are fed with. Each reads its own variables, as its `from_env` does, and configuration wins.
struct Client<'a> {
    config: &'a StoreConfig,
    bucket: String,
    variables: Vec<(String, String)>,
}

impl Client<'_> {
    fn s3(&self) -> Result<object_store::aws::AmazonS3, object_store::Error> {
        let mut builder = AmazonS3Builder::new();
        for (key, value) in self.with_prefix("AWS_") {
            if let Ok(key) = key.parse() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(region) = &self.config.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!self.config.path_style)
            .with_client_options(self.options())
            .with_retry(self.retry())
            .build()
    }

    fn google(&self) -> Result<object_store::gcp::GoogleCloudStorage, object_store::Error> {
        let mut builder = GoogleCloudStorageBuilder::new();
        for (key, value) in self.with_prefix("GOOGLE_") {
            if let Ok(key) = key.parse() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        builder
            .with_bucket_name(&self.bucket)
            .with_client_options(self.options())
            .with_retry(self.retry())
            .build()
    }

    fn azure(&self) -> Result<object_store::azure::MicrosoftAzure, object_store::Error> {
        let mut builder = MicrosoftAzureBuilder::new();
        for (key, value) in self.with_prefix("AZURE_") {
            if let Ok(key) = key.parse() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder
            .with_container_name(&self.bucket)
            .with_client_options(self.options())
            .with_retry(self.retry())
            .build()
    }

    /// The variables of a provider, in the spelling in which builders know them.
    fn with_prefix(&self, prefix: &'static str) -> impl Iterator<Item = (String, &String)> {
        let own = self
            .variables
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix));
        own.map(|(key, value)| (key.to_ascii_lowercase(), value))
    }

    /// No timeout for a whole answer, for a file of gigabytes takes its time; but none may fall silent.
    fn options(&self) -> ClientOptions {
        ClientOptions::new()
            .with_timeout_disabled()
            .with_read_timeout(self.config.request_timeout())
            .with_connect_timeout(self.config.connect_timeout())
            .with_allow_http(self.config.allow_http)
    }

    fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: self.config.retries,
            // The number of tries is the bound that counts. This one ends with the time for which credentials are good.
            retry_timeout: Duration::from_secs(290),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(url: &str, variables: &[(&str, &str)]) -> Result<BundleStore, ConnectError> {
        let config = StoreConfig {
            url: url.into(),
            ..StoreConfig::default()
        };
        let owned = variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        BundleStore::connect_with(&config, owned)
    }

    #[test]
    fn each_provider_reads_its_own_variables() {
        connect(
            "s3://models/x",
            &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")],
        )
        .unwrap();
        connect("gs://models/x", &[("GOOGLE_SKIP_SIGNATURE", "true")]).unwrap();
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "decant");
        connect(
            "az://models/x",
            &[account, ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")],
        )
        .unwrap();

        let error = connect("az://models/x", &[]).unwrap_err();
        assert!(matches!(error, ConnectError::Client { .. }));
        assert!(error.to_string().contains("az://models/x"), "{error}");
        let error = connect("s3://models", &[("AWS_ACCESS_KEY_ID", "a")]).unwrap_err();
        assert!(error.to_string().contains("SecretAccessKey"), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("bundles").display().to_string();
        let error = connect(&format!("file://{folder}"), &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("`url`: ") && error.contains(&folder),
            "{error}"
        );
    }
}
