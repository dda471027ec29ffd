//! The token that a process shows to the services that it calls.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::config::ConfigError;

/// How long a token is used before its file is looked at again.
const FRESH: Duration = Duration::from_secs(10);

/// A bearer token; what it holds is never shown. Clones are the same.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    /// Where it came from; empty when it was given as it is.
    file: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    header: HeaderValue,
    read: Instant,
}

impl Token {
    /// One that was given.
    ///
    /// # Errors
    /// When it fits into no header.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        Self::of(PathBuf::new(), text)
    }

    /// The one in a file, whose line's end does not belong to it.
    ///
    /// # Errors
    /// Names the key, the file and the reason.
    pub fn read(file: PathBuf) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(&file).map_err(|error| {
            ConfigError::invalid("auth.token_file", format!("{}: {error}", file.display()))
        })?;
        Self::of(file, text.trim_end())
    }

    fn of(file: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let header = header(text).ok_or_else(|| {
            ConfigError::invalid("auth.token_file", "it holds no token of visible ASCII")
        })?;
        Ok(Self(Arc::new(Inner {
            file,
            current: Mutex::new(Current {
                header,
                read: Instant::now(),
            }),
        })))
    }

    /// What calls carry. A file that was replaced is noticed within seconds; one that cannot be read leaves the token of
    /// before.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut current = self
            .0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.0.file.as_os_str().is_empty() && current.read.elapsed() > FRESH {
            current.read = Instant::now();
            let text = fs::read_to_string(&self.0.file).ok();
            if let Some(header) = text.and_then(|text| header(text.trim_end())) {
                current.header = header;
            }
        }
        current.header.clone()
    }
}

fn header(token: &str) -> Option<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    is_token.then_some(header)
}
