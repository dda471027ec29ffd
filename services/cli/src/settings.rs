//! What holds for this call: the command line's word, else the environment's, else the context's, else what is built in.

use std::time::Duration;

use clap::ValueEnum as _;

use crate::args::{Format, Global};
use crate::arguments::duration;
use crate::contexts::{self, Contexts, Stored};
use crate::failure::Failure;

/// Where the services are on a machine that runs all of Decant.
const TRAINER: &str = "http://127.0.0.1:7410";
const REGISTRY: &str = "http://127.0.0.1:7420";
const SCORER: &str = "http://127.0.0.1:7430";

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line or the environment.
    Given,
    /// The context.
    Context,
    /// Nobody.
    BuiltIn,
}

impl Source {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Given => "given",
            Source::Context => "context",
            Source::BuiltIn => "built in",
        }
    }
}

/// A value, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

impl<T> Setting<T> {
    fn of(given: Option<T>, stored: Option<T>, built_in: T) -> Self {
        let (value, source) = match (given, stored) {
            (Some(value), _) => (value, Source::Given),
            (None, Some(value)) => (value, Source::Context),
            (None, None) => (built_in, Source::BuiltIn),
        };
        Self { value, source }
    }
}

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The context's name, if there is one.
    pub(crate) context: Option<String>,
    pub(crate) trainer: Setting<String>,
    pub(crate) registry: Setting<String>,
    pub(crate) scorer: Setting<String>,
    /// Who signs the services' certificates; empty for nobody, as the following are for none.
    pub(crate) ca: Setting<String>,
    /// The user's own certificate, and its key.
    pub(crate) certificate: Setting<String>,
    pub(crate) key: Setting<String>,
    pub(crate) token_file: Setting<String>,
    pub(crate) allow_plaintext: Setting<bool>,
    pub(crate) server_name: Setting<String>,
    pub(crate) output: Setting<Format>,
    /// `None`: each command has its own.
    pub(crate) timeout: Setting<Option<Duration>>,
}

impl Settings {
    /// Reads the user's contexts, and looks for the one that is meant.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        Self::resolve(global, &Contexts::load()?)
    }

    /// What holds with these contexts.
    pub(crate) fn resolve(global: &Global, contexts: &Contexts) -> Result<Self, Failure> {
        let named = given(&global.context).or(contexts.current.as_ref());
        let nothing = Stored::default();
        let stored = match named {
            Some(name) => contexts.get(name)?,
            None => &nothing,
        };
        Ok(Self::of(global, named.cloned(), stored))
    }

    /// What holds without any context: for commands that ask no service, and so show nobody who the user is.
    pub(crate) fn without_contexts(global: &Global) -> Self {
        let nothing = Setting::of(None, None, String::new());
        Self {
            ca: nothing.clone(),
            certificate: nothing.clone(),
            key: nothing.clone(),
            token_file: nothing.clone(),
            server_name: nothing,
            ..Self::of(global, None, &Stored::default())
        }
    }

    fn of(global: &Global, context: Option<String>, stored: &Stored) -> Self {
        let text = |flag: &Option<String>, stored: &Option<String>, built_in: &str| {
            Setting::of(given(flag).cloned(), stored.clone(), built_in.to_owned())
        };
        // Both were checked when they were read.
        let output = stored.output.as_deref();
        let output = output.and_then(|text| Format::from_str(text, false).ok());
        let allow_plaintext = stored.allow_plaintext.as_deref();
        let allow_plaintext = allow_plaintext.and_then(|text| text.parse().ok());
        let timeout = stored.timeout.as_deref();
        let timeout = timeout.and_then(|text| duration::deadline(text).ok());
        Self {
            context,
            trainer: text(&global.trainer, &stored.trainer, TRAINER),
            registry: text(&global.registry, &stored.registry, REGISTRY),
            scorer: text(&global.scorer, &stored.scorer, SCORER),
            ca: text(&global.ca, &stored.ca, ""),
            certificate: text(&global.certificate, &stored.certificate, ""),
            key: text(&global.key, &stored.key, ""),
            token_file: text(&global.token_file, &stored.token_file, ""),
            allow_plaintext: Setting::of(
                global.allow_plaintext.then_some(true),
                allow_plaintext,
                false,
            ),
            server_name: text(&global.server_name, &None, ""),
            output: Setting::of(global.output, output, Format::Table),
            timeout: Setting::of(global.timeout.map(Some), timeout.map(Some), None),
        }
    }
}

/// A variable that is set to nothing says nothing.
fn given(flag: &Option<String>) -> Option<&String> {
    flag.as_ref().filter(|value| !value.is_empty())
}

/// The name of the context that a user means; checked, so that a typing error is not taken for one that is not there.
pub(crate) fn context_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    contexts::check_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;
    use crate::failure::Exit;

    fn global() -> Global {
        Global {
            context: None,
            trainer: None,
            registry: None,
            scorer: None,
            ca: None,
            certificate: None,
            key: None,
            token_file: None,
            allow_plaintext: false,
            server_name: None,
            timeout: None,
            output: None,
            color: Color::Auto,
        }
    }

    fn contexts() -> Contexts {
        let prod = Stored {
            registry: Some("http://prod:7420".into()),
            token_file: Some("/home/ada/prod.token".into()),
            output: Some("json".into()),
            timeout: Some("30s".into()),
            ..Stored::default()
        };
        let test = Stored {
            registry: Some("http://test:7420".into()),
            ..Stored::default()
        };
        Contexts {
            current: Some("prod".into()),
            contexts: [("prod".to_owned(), prod), ("test".to_owned(), test)].into(),
        }
    }

    #[test]
    fn what_is_given_comes_before_the_context_and_that_before_what_is_built_in() {
        let settings = Settings::resolve(&global(), &contexts()).unwrap();
        assert_eq!(settings.context.as_deref(), Some("prod"));
        assert_eq!(settings.registry.value, "http://prod:7420");
        assert_eq!(settings.registry.source, Source::Context);
        assert_eq!(settings.output.value, Format::Json);
        assert_eq!(settings.timeout.value, Some(Duration::from_secs(30)));
        assert_eq!(settings.scorer.value, SCORER);
        assert_eq!(settings.scorer.source, Source::BuiltIn);
        assert_eq!(settings.token_file.value, "/home/ada/prod.token");
        assert_eq!(settings.ca.value, "");

        let given = Global {
            context: Some("test".into()),
            registry: Some("http://here:7420".into()),
            trainer: Some(String::new()),
            output: Some(Format::Name),
            ..global()
        };
        let settings = Settings::resolve(&given, &contexts()).unwrap();
        assert_eq!(settings.context.as_deref(), Some("test"));
        assert_eq!(settings.registry.value, "http://here:7420");
        assert_eq!(settings.registry.source, Source::Given);
        assert_eq!(settings.trainer.value, TRAINER, "an empty variable is none");
        assert_eq!(settings.output.value, Format::Name);
        assert_eq!(settings.timeout.value, None, "of another context");
        assert_eq!(settings.token_file.value, "", "of another context");
    }

    #[test]
    fn a_context_that_is_not_there_is_not_guessed() {
        let given = Global {
            context: Some("stage".into()),
            ..global()
        };
        let failure = Settings::resolve(&given, &contexts()).unwrap_err();
        assert_eq!(failure.what(), "there is no context `stage`");
        assert_eq!(failure.exit(), Exit::NotFound);
    }
}
