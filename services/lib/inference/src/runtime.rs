//! ONNX Runtime's shared library, loaded once a process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;

use crate::Error;

/// The process's ONNX Runtime. Clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: Arc<Path>,
}

/// ONNX Runtime allows one library and one environment in the life of a process, so the first one stays.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, or returns the runtime that an earlier call loaded from it.
    ///
    /// # Errors
    /// When the file is missing, is no ONNX Runtime or one that is too old, or the process has loaded another already.
    pub fn load(library: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Library {
            path: library.to_owned(),
            reason,
        };
        // ort would look for a relative path beside the executable first.
        let path: PathBuf = library
            .canonicalize()
            .map_err(|error| refuse(error.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            if *runtime.library == *path {
                return Ok(runtime.clone());
            }
            return Err(refuse(format!(
                "this process has loaded {} already",
                runtime.library.display()
            )));
        }
        let environment = ort::init_from(&path)
            .map_err(|error| refuse(error.to_string()))?
            .with_name("decant")
            .with_telemetry(false)
            .with_global_thread_pool(threads().map_err(|error| refuse(error.to_string()))?)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        // With a logger of one's own the environment is made at its most talkative level.
        environment.set_log_level(LogLevel::Warning);
        let runtime = Self {
            environment,
            library: path.into(),
        };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The file that was loaded.
    pub fn library(&self) -> &Path {
        &self.library
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Runtime")
            .field("library", &self.library)
            .finish_non_exhaustive()
    }
}

/// One pool for all sessions, of no thread but the caller's: many small requests use the cores better side by side than
/// one after the other on all of them, and threads that spin for work would take the cores from those who have some.
fn threads() -> ort::Result<GlobalThreadPoolOptions> {
    GlobalThreadPoolOptions::default()
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_spin_control(false)
}

/// ONNX Runtime's own messages. What it calls an error also comes back as one, and whoever handles that logs it.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal => tracing::error!(category, location, "onnx runtime: {message}"),
        LogLevel::Error | LogLevel::Warning => {
            tracing::debug!(category, location, "onnx runtime: {message}")
        }
        LogLevel::Info | LogLevel::Verbose => {
            tracing::trace!(category, location, "onnx runtime: {message}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_none_is_named() {
        let missing = Runtime::load(Path::new("/nonexistent/libonnxruntime.so"))
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("/nonexistent/libonnxruntime.so"),
            "{missing}"
        );
        let not_a_library = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let wrong = Runtime::load(not_a_library).unwrap_err().to_string();
        assert!(wrong.contains("Cargo.toml"), "{wrong}");
    }

    #[test]
    fn the_same_library_is_loaded_once_and_another_is_refused() {
        let first = crate::testing::runtime();
        let again = Runtime::load(first.library()).unwrap();
        assert_eq!(again.library(), first.library());
        let other = Runtime::load(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/Cargo.toml"
        )))
        .unwrap_err();
        assert!(other.to_string().contains("already"), "{other}");
    }
}
