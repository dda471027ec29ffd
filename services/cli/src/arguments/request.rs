//! What every change carries: who asks, and a name for the request.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use ulid::Ulid;

/// Who asks.
#[derive(Args)]
pub(crate) struct Author {
    /// Who asks, for the record.
    #[arg(
        long,
        value_name = "NAME",
        env = "USER",
        default_value = "unknown",
        hide_env_values = true
    )]
    pub(crate) by: String,
}

/// Who asks, and under which name.
#[derive(Args)]
pub(crate) struct RequestArguments {
    #[command(flatten)]
    author: Author,
    /// A name for this request; a new one unless given. The same command with the same name changes nothing twice.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    request_id: Option<String>,
}

/// The same, settled.
pub(crate) struct Stamp {
    pub(crate) issued_by: String,
    pub(crate) request_id: String,
}

impl RequestArguments {
    /// Draws a name if none was given.
    pub(crate) fn stamp(self) -> Stamp {
        Stamp {
            issued_by: self.author.by,
            request_id: self
                .request_id
                .unwrap_or_else(|| Ulid::generate().to_string()),
        }
    }
}
