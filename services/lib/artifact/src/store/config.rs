//! Where bundles lie, as configuration says it. Credentials are not said here: they come from the environment.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use object_store::path::Path as ObjectPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::StorageError;

/// Where bundles lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `file:///folder` or a bare path, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
    pub url: String,
    /// Another address than the provider's own: `https://minio.example:9000`.
    pub endpoint: Option<String>,
    /// S3's region.
    pub region: Option<String>,
    /// Takes an endpoint without TLS.
    pub allow_http: bool,
    /// S3's bucket is named in the path and not in the host's name.
    pub path_style: bool,
    /// How long the store may be silent, before its answer and in the middle of it. Uploads go in parts of 8 MiB, each of
    /// which is to be answered in this time.
    pub request_timeout_millis: u64,
    /// How long a connection may take.
    pub connect_timeout_millis: u64,
    /// How often what failed is tried again; a download that was cut off goes on where it was. A store that hangs is given
    /// up after this many timeouts and one.
    pub retries: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            endpoint: None,
            region: None,
            allow_http: false,
            path_style: true,
            request_timeout_millis: 15_000,
            connect_timeout_millis: 3_000,
            retries: 3,
        }
    }
}

/// Why there is no bundle store.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// A key of the configuration cannot be right.
    #[error("`{key}`: `{value}` {reason}")]
    Key {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The local folder cannot be used.
    #[error("`url`: {0}")]
    Folder(#[source] StorageError),
    /// The provider's client cannot be made, most often by a fault of its variables in the environment.
    #[error("`url`: the client of `{url}` cannot be made: {source}")]
    Client {
        /// The store's address.
        url: String,
        /// Why not.
        source: object_store::Error,
    },
}

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    S3,
    Google,
    Azure,
}

/// What `url` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket {
        provider: Provider,
        bucket: String,
        prefix: ObjectPath,
    },
}

impl StoreConfig {
    /// Checks every key, without looking at the store.
    ///
    /// # Errors
    /// Names the key, its value and the reason.
    pub fn check(&self) -> Result<(), ConnectError> {
        self.place().map(drop)
    }

    /// The place that `url` names, after every key has been looked at.
    pub(super) fn place(&self) -> Result<Place, ConnectError> {
        let url = |reason: String| refused("url", &self.url, reason);
        if self.url.is_empty() {
            return Err(url("does not say where bundles lie".into()));
        }
        let place = match self.url.split_once("://") {
            None => Place::Folder(PathBuf::from(&self.url)),
            Some(("file", path)) if path.starts_with('/') => Place::Folder(PathBuf::from(path)),
            Some(("file", _)) => {
                return Err(url(
                    "is no absolute path: `file:///folder` is expected".into()
                ));
            }
            Some((scheme, rest)) => {
                let provider = match scheme {
                    "s3" => Provider::S3,
                    "gs" => Provider::Google,
                    "az" => Provider::Azure,
                    _ => {
                        return Err(url(format!(
                            "begins with `{scheme}://`, but only file, s3, gs and az are known"
                        )));
                    }
                };
                bucket(provider, rest).map_err(url)?
            }
        };
        self.check_keys(&place)?;
        Ok(place)
    }

    fn check_keys(&self, place: &Place) -> Result<(), ConnectError> {
        let remote = !matches!(place, Place::Folder(_));
        if let Some(endpoint) = &self.endpoint {
            let refused = |reason: &str| Err(refused("endpoint", endpoint, reason));
            if !remote {
                return refused("makes no sense with a local folder");
            }
            if endpoint.starts_with("http://") && !self.allow_http {
                return refused("is without TLS; set `allow_http` if that is meant");
            }
            if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
                return refused("does not begin with `https://` or `http://`");
            }
        }
        let is_s3 = matches!(
            place,
            Place::Bucket {
                provider: Provider::S3,
                ..
            }
        );
        if let (Some(region), false) = (&self.region, is_s3) {
            return Err(refused("region", region, "makes sense with `s3://` only"));
        }
        for (key, millis) in [
            ("request_timeout_millis", self.request_timeout_millis),
            ("connect_timeout_millis", self.connect_timeout_millis),
        ] {
            if !(1..=600_000).contains(&millis) {
                return Err(refused(key, millis, "is not between 1 and 600000"));
            }
        }
        if self.retries > 20 {
            return Err(refused("retries", self.retries, "is more than 20"));
        }
        Ok(())
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_millis)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_millis)
    }
}

fn bucket(provider: Provider, rest: &str) -> Result<Place, String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if bucket.is_empty() || !bucket.bytes().all(plain) {
        return Err(format!("has no plain bucket's name, but `{bucket}`"));
    }
    let prefix = ObjectPath::parse(prefix).map_err(|error| format!("has a bad prefix: {error}"))?;
    Ok(Place::Bucket {
        provider,
        bucket: bucket.to_owned(),
        prefix,
    })
}

fn refused(key: &'static str, value: impl fmt::Display, reason: impl Into<String>) -> ConnectError {
    ConnectError::Key {
        key,
        value: value.to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, String> {
        let config = StoreConfig {
            url: url.into(),
            ..StoreConfig::default()
        };
        config.place().map_err(|error| error.to_string())
    }

    fn s3(bucket: &str, prefix: &str) -> Result<Place, String> {
        Ok(Place::Bucket {
            provider: Provider::S3,
            bucket: bucket.into(),
            prefix: ObjectPath::from(prefix),
        })
    }

    #[test]
    fn urls_name_places() {
        assert_eq!(place("file:///a/b"), Ok(Place::Folder("/a/b".into())));
        assert_eq!(place("a/b"), Ok(Place::Folder("a/b".into())));
        assert_eq!(place("s3://models"), s3("models", ""));
        assert_eq!(place("s3://models/a/b/"), s3("models", "a/b"));
        assert!(place("gs://models/x").is_ok() && place("az://models/x").is_ok());
        for wrong in [
            "",
            "file://a",
            "ftp://a/b",
            "s3://",
            "s3:///a",
            "s3://u:p@h/a",
            "s3://a/../b",
        ] {
            let error = place(wrong).unwrap_err();
            assert!(error.starts_with(&format!("`url`: `{wrong}` ")), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_key() {
        let with = |change: fn(&mut StoreConfig)| {
            let mut config = StoreConfig {
                url: "gs://models".into(),
                ..StoreConfig::default()
            };
            change(&mut config);
            config.place().unwrap_err().to_string()
        };
        for (key, error) in [
            ("region", with(|config| config.region = Some("x".into()))),
            (
                "endpoint",
                with(|config| config.endpoint = Some("http://x".into())),
            ),
            (
                "endpoint",
                with(|config| config.endpoint = Some("x:1".into())),
            ),
            (
                "endpoint",
                with(|config| {
                    config.url = "/folder".into();
                    config.endpoint = Some("https://x".into());
                }),
            ),
            (
                "request_timeout_millis",
                with(|config| config.request_timeout_millis = 0),
            ),
            (
                "connect_timeout_millis",
                with(|config| config.connect_timeout_millis = 600_001),
            ),
            ("retries", with(|config| config.retries = 21)),
        ] {
            assert!(error.starts_with(&format!("`{key}`: ")), "{key}: {error}");
        }
        let unknown = serde_json::from_str::<StoreConfig>(r#"{"secret_key": "x"}"#);
        assert!(unknown.unwrap_err().to_string().contains("secret_key"));
    }
}
