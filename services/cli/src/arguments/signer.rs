//! Keys that may sign versions, as people type them.

use decant_model::PublicKey;

/// Reads a public key.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    text.trim()
        .parse::<PublicKey>()
        .map(|key| key.to_string())
        .map_err(|error| format!("{error}; `decant key public FILE` prints one"))
}
