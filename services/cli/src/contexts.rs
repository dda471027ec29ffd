//! The clusters that the user has named, in a TOML file that only they can read:
//!
//! ```toml
//! current = "prod"
//!
//! [contexts.prod]
//! registry = "http://registry-1:7420,http://registry-2:7420"
//! scorer = "http://scorer-1:7430"
//! token_file = "/home/ada/prod.token"
//! output = "json"
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

use crate::args::Format;
use crate::arguments::duration;
use crate::failure::Failure;
use crate::partial;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Contexts {
    /// The one that is taken when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) contexts: BTreeMap<String, Stored>,
}

/// What one of them sets; what is left out is as built in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stored {
    /// Address of the registry, or several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry: Option<String>,
    /// Address of the trainer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trainer: Option<String>,
    /// Address of the scorer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scorer: Option<String>,
    /// A file with the certificates of who signs the services'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// A file with the user's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// A file with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// A file with the user's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<String>,
    /// Whether the token is shown to other machines without TLS too: `true` or `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow_plaintext: Option<String>,
    /// How results are printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    /// How long is waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
}

/// The keys of a context, in the order in which they are shown.
pub(crate) const KEYS: [&str; 10] = [
    "registry",
    "trainer",
    "scorer",
    "ca",
    "certificate",
    "key",
    "token_file",
    "allow_plaintext",
    "output",
    "timeout",
];

impl Stored {
    /// The value of a key; `None` for a key that there is not.
    pub(crate) fn value(&mut self, key: &str) -> Option<&mut Option<String>> {
        match key {
            "registry" => Some(&mut self.registry),
            "trainer" => Some(&mut self.trainer),
            "scorer" => Some(&mut self.scorer),
            "ca" => Some(&mut self.ca),
            "certificate" => Some(&mut self.certificate),
            "key" => Some(&mut self.key),
            "token_file" => Some(&mut self.token_file),
            "allow_plaintext" => Some(&mut self.allow_plaintext),
            "output" => Some(&mut self.output),
            "timeout" => Some(&mut self.timeout),
            _ => None,
        }
    }

    /// The keys that are set, and their values.
    pub(crate) fn set(&self) -> Vec<(&'static str, &str)> {
        let values = [
            &self.registry,
            &self.trainer,
            &self.scorer,
            &self.ca,
            &self.certificate,
            &self.key,
            &self.token_file,
            &self.allow_plaintext,
            &self.output,
            &self.timeout,
        ];
        KEYS.into_iter()
            .zip(values)
            .filter_map(|(key, value)| Some((key, value.as_deref()?)))
            .collect()
    }

    /// Says which value makes no sense. Addresses are read when they are used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(output) = &self.output {
            Format::from_str(output, false).map_err(|_| {
                let all = Format::value_variants().iter();
                let names = all.filter_map(|format| format.to_possible_value());
                let names: Vec<String> = names.map(|name| name.get_name().to_owned()).collect();
                format!("output: `{output}` is none of {}", names.join(", "))
            })?;
        }
        if let Some(allowed) = &self.allow_plaintext {
            let reason = |_| format!("allow_plaintext: `{allowed}` is neither true nor false");
            allowed.parse::<bool>().map_err(reason)?;
        }
        if let Some(timeout) = &self.timeout {
            duration::deadline(timeout).map_err(|reason| format!("timeout: {reason}"))?;
        }
        Ok(())
    }
}

impl Contexts {
    /// Reads the user's file; there are no contexts where there is none.
    pub(crate) fn load() -> Result<Self, Failure> {
        match path() {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|reason| {
                Failure::usage(format!("{}: {reason}", path.display())).hint(
                    "`decant context` reads and writes this file; DECANT_CONFIG names another",
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::new(format!(
                "cannot read {}: {error}",
                path.display()
            ))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let contexts: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map(|before| before.matches('\n').count() + 1);
            let line = line.map_or_else(String::new, |line| format!("line {line}: "));
            format!("{line}{}", error.message())
        })?;
        for (name, stored) in &contexts.contexts {
            check_name(name).map_err(|reason| format!("contexts: `{name}`: {reason}"))?;
            stored
                .check()
                .map_err(|reason| format!("contexts.{name}.{reason}"))?;
        }
        match &contexts.current {
            Some(current) if !contexts.contexts.contains_key(current) => {
                Err(format!("current: there is no context `{current}`"))
            }
            _ => Ok(contexts),
        }
    }

    /// Replaces the user's file, and says where it is.
    pub(crate) fn save(&self) -> Result<PathBuf, Failure> {
        let path = path().ok_or_else(|| {
            Failure::usage("nobody knows where your configuration is").hint(
                "DECANT_CONFIG names the file; without it, HOME or XDG_CONFIG_HOME must be set",
            )
        })?;
        self.write(&path)?;
        Ok(path)
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let cannot =
            |error: io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
        let text = toml::to_string_pretty(self)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
        // Where the file is a link, what it points to is replaced, and not the link.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let Some(folder) = target.parent().filter(|folder| *folder != Path::new("")) {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(folder).map_err(cannot)?;
        }
        let beside = partial::beside(&target)?;
        let written = replace(&beside, &target, text.as_bytes());
        if written.is_err() {
            // The reason is told; a left-over would only be unpleasant.
            let _ = fs::remove_file(&beside);
        }
        written.map_err(cannot)
    }

    /// The context of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Stored, Failure> {
        self.contexts.get(name).ok_or_else(|| unknown(name))
    }
}

/// Writes the bytes beside the file, and gives them its name: whoever reads sees the old ones or the new ones.
fn replace(beside: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, target)
}

/// That there is no context of this name.
pub(crate) fn unknown(name: &str) -> Failure {
    Failure::not_there(format!("there is no context `{name}`"))
        .hint("`decant context list` shows those that there are")
}

/// Reads a context's name.
pub(crate) fn check_name(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        return Err(
            "a name of 1 to 63 letters, digits, hyphens, underscores and dots is expected"
                .to_owned(),
        );
    }
    Ok(name.to_owned())
}

/// Where the file is, or would be.
pub(crate) fn path() -> Option<PathBuf> {
    let variable = |name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    variable("DECANT_CONFIG").or_else(|| {
        let folder = variable("XDG_CONFIG_HOME")
            .filter(|folder| folder.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".config")))?;
        Some(folder.join("decant").join("config.toml"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FILE: &str = "\
current = \"prod\"

[contexts.prod]
registry = \"http://r1:7420,http://r2:7420\"
output = \"json\"

[contexts.test]
timeout = \"30s\"
";

    #[test]
    fn the_file_is_golden() {
        let contexts = Contexts::parse(FILE).unwrap();
        assert_eq!(contexts.current.as_deref(), Some("prod"));
        assert_eq!(
            contexts.contexts["prod"].set(),
            [
                ("registry", "http://r1:7420,http://r2:7420"),
                ("output", "json")
            ]
        );
        assert_eq!(toml::to_string_pretty(&contexts).unwrap(), FILE);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let reason = |text: &str| Contexts::parse(text).unwrap_err();
        let unknown = reason("[contexts.prod]\nregistri = \"http://r1:7420\"\n");
        assert!(
            unknown.starts_with("line 2: ") && unknown.contains("`registri`"),
            "{unknown}"
        );
        assert!(reason("context = \"prod\"\n").contains("`context`"));
        assert_eq!(
            reason("[contexts.prod]\noutput = \"xml\"\n"),
            "contexts.prod.output: `xml` is none of table, wide, json, yaml, name"
        );
        assert_eq!(
            reason("[contexts.prod]\ntimeout = \"1w\"\n"),
            "contexts.prod.timeout: `w` is no unit of time; use ms, s, m, h or d"
        );
        assert_eq!(
            reason("current = \"prod\"\n"),
            "current: there is no context `prod`"
        );
        assert!(reason("[contexts.\"a b\"]\n").starts_with("contexts: `a b`: "));
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decant").join("config.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let contexts = Contexts::parse(FILE).unwrap();
        contexts.write(&path).unwrap();
        contexts.write(&path).unwrap();
        assert_eq!(Contexts::read(&path).unwrap(), contexts);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let folder = path.parent().unwrap();
        assert_eq!(
            fs::read_dir(folder).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        Contexts::default().write(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let contexts = Contexts::parse(FILE).unwrap();
        contexts.write(&link).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(Contexts::read(&real).unwrap(), contexts);
    }
}
