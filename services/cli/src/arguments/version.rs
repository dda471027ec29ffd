//! Which version is meant: a number, or the newest.

/// A version as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionArgument {
    /// Whatever is the newest when the registry is asked.
    Latest,
    /// This one; from 1.
    Number(u64),
}

impl VersionArgument {
    /// As the registry's requests spell it: 0 asks for the newest.
    pub(crate) fn wire(self) -> u64 {
        match self {
            VersionArgument::Latest => 0,
            VersionArgument::Number(number) => number,
        }
    }
}

/// Reads `latest`, `3` or `v3`.
pub(crate) fn parse(text: &str) -> Result<VersionArgument, String> {
    if text == "latest" {
        return Ok(VersionArgument::Latest);
    }
    match text.strip_prefix('v').unwrap_or(text).parse() {
        Ok(0) | Err(_) => Err("a number from 1 or `latest` is expected".to_owned()),
        Ok(number) => Ok(VersionArgument::Number(number)),
    }
}

/// Reads the number of one certain version: `3` or `v3`.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    match parse(text) {
        Ok(VersionArgument::Number(number)) => Ok(number),
        _ => Err("a number from 1 is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_latest() {
        assert_eq!(parse("latest"), Ok(VersionArgument::Latest));
        assert_eq!(parse("3"), Ok(VersionArgument::Number(3)));
        assert_eq!(parse("v12"), Ok(VersionArgument::Number(12)));
        for bad in ["", "0", "-1", "v", "newest", "1.0", "99999999999999999999"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
    #[test]
    fn one_certain_version_is_not_whatever_is_the_newest() {
        assert_eq!(number("v3"), Ok(3));
        for bad in ["latest", "0", ""] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }
}
