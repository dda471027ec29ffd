//! What a version consists of and where it comes from. The digest of `manifest.json` is the version's identity.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Digest, ModelName};

/// Names of the files that a bundle holds.
pub mod file {
    /// The manifest itself; not listed in itself.
    pub const MANIFEST: &str = "manifest.json";
    /// The network, as standard ONNX.
    pub const MODEL: &str = "model.onnx";
    /// The fitted feature schema.
    pub const FEATURES: &str = "features.json";
    /// The item table.
    pub const CATALOG: &str = "catalog.arrow";
    /// Inputs and expected scores.
    pub const GOLDEN: &str = "golden.json";
    /// Metrics of teachers and students.
    pub const EVALUATION: &str = "evaluation.json";
}

/// A file's place in a bundle: relative, with `/` between its parts, and never outside the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BundlePath(String);

impl BundlePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BundlePath {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let plain = |part: &str| {
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
        };
        if text.len() > 255 || !text.split('/').all(plain) {
            return Err(ManifestError::Path(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BundlePath {
    type Error = ManifestError;

    fn try_from(text: String) -> Result<Self, ManifestError> {
        text.parse()
    }
}

impl From<BundlePath> for String {
    fn from(path: BundlePath) -> String {
        path.0
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A file's size and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Digest of the content.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format; readers refuse a newer one.
    pub format: u32,
    /// The model that this is a version of.
    pub model: ModelName,
    /// The files, by path.
    pub files: BTreeMap<BundlePath, FileEntry>,
    /// Metrics on the test rows, by name: what gates judge.
    pub metrics: BTreeMap<String, f64>,
    /// Where the version comes from.
    pub lineage: Lineage,
}

/// Where a version comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// What the version is in its job. Left out for a student, as it was before teachers could be versions.
    #[serde(default, skip_serializing_if = "LineageRole::is_student")]
    pub role: LineageRole,
    /// The student's name in its job; the teacher's, where the version is one.
    pub student: String,
    /// The teachers it learnt from.
    pub teachers: Vec<TeacherRef>,
    /// Identity of the cleaned, split data.
    pub dataset: Digest,
    /// The training job's id.
    pub job: String,
    /// Digest of the job file.
    pub spec: Digest,
    /// Which Decant trained it.
    pub code_revision: String,
    /// The version that was in service when the job began, if any.
    pub parent: Option<Digest>,
}

/// What a version is in the job that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineageRole {
    /// A small model, made to serve.
    #[default]
    Student,
    /// What students learnt from, to compare them with.
    Teacher,
}

impl LineageRole {
    /// Whether it is a student, as most versions are.
    pub fn is_student(&self) -> bool {
        *self == Self::Student
    }
}

/// A teacher and its part in the ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherRef {
    /// The teacher's name in its job.
    pub name: String,
    /// Digest of the manifest of the version that the teacher is; of its ONNX file, where its job has not pushed it.
    pub digest: Digest,
    /// Its weight in the ensemble's mean.
    pub weight: f64,
}

/// A manifest that cannot be right.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ManifestError {
    /// Not JSON of this shape.
    #[error("manifest.json does not parse: {0}")]
    Json(String),
    /// Written by a newer Decant.
    #[error("manifest.json has format {found}, but this build reads formats up to {known}")]
    Format {
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A path that might leave the bundle.
    #[error(
        "`{0}` is no path in a bundle: letters, digits, `-`, `_`, `.` and `/` are allowed, and no part may be empty or begin with a dot"
    )]
    Path(String),
    /// A file that every bundle needs is not listed.
    #[error("manifest.json does not list `{0}`, which every bundle needs")]
    Missing(&'static str),
    /// The manifest lists itself.
    #[error("manifest.json lists itself")]
    ListsItself,
    /// A metric that is no number.
    #[error("metric `{name}` is {value}, but must be finite")]
    Metric {
        /// The metric.
        name: String,
        /// Its value.
        value: f64,
    },
}

impl Manifest {
    /// The format that this build writes, and the newest that it reads.
    pub const FORMAT: u32 = 1;

    /// Parses and checks `manifest.json`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Read first, so that a newer format is named as such and not as an unknown field.
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let json_error = |error: serde_json::Error| ManifestError::Json(error.to_string());
        let found = serde_json::from_slice::<Probe>(bytes)
            .map_err(json_error)?
            .format;
        if found > Self::FORMAT {
            return Err(ManifestError::Format {
                found,
                known: Self::FORMAT,
            });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(json_error)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Writes `manifest.json`; the same manifest always gives the same bytes.
    ///
    /// # Errors
    /// As [`Manifest::from_json`] for a manifest that could not be read back.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| ManifestError::Json(error.to_string()))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Size of all listed files together, in bytes.
    pub fn size(&self) -> u64 {
        self.files
            .values()
            .fold(0, |sum, entry| sum.saturating_add(entry.size))
    }

    /// The entry of a file.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files
            .iter()
            .find(|(listed, _)| listed.as_str() == path)
            .map(|(_, entry)| entry)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.file(file::MANIFEST).is_some() {
            return Err(ManifestError::ListsItself);
        }
        if let Some((name, &value)) = self.metrics.iter().find(|(_, value)| !value.is_finite()) {
            return Err(ManifestError::Metric {
                name: name.clone(),
                value,
            });
        }
        let needed = [file::MODEL, file::FEATURES, file::GOLDEN];
        match needed.into_iter().find(|path| self.file(path).is_none()) {
            Some(path) => Err(ManifestError::Missing(path)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = FileEntry {
            sha256: Digest::of(b"x"),
            size: 1,
        };
        let files =
            [file::MODEL, file::FEATURES, file::GOLDEN].map(|path| (path.parse().unwrap(), entry));
        Manifest {
            format: Manifest::FORMAT,
            model: "movies".parse().unwrap(),
            files: BTreeMap::from(files),
            metrics: BTreeMap::from([("auc".into(), 0.8)]),
            lineage: Lineage {
                role: LineageRole::Student,
                student: "d8".into(),
                teachers: Vec::new(),
                dataset: Digest::of(b"data"),
                job: "1".into(),
                spec: Digest::of(b"spec"),
                code_revision: "test".into(),
                parent: None,
            },
        }
    }

    #[test]
    fn json_goes_round_and_is_stable() {
        let json = manifest().to_json().unwrap();
        assert_eq!(Manifest::from_json(&json).unwrap(), manifest());
        assert_eq!(Manifest::from_json(&json).unwrap().to_json().unwrap(), json);
    }

    #[test]
    fn a_manifest_says_that_it_is_a_teachers_and_nothing_of_a_student() {
        let text = |manifest: &Manifest| String::from_utf8(manifest.to_json().unwrap()).unwrap();
        assert!(!text(&manifest()).contains("role"));
        let mut teacher = manifest();
        teacher.lineage.role = LineageRole::Teacher;
        let json = text(&teacher);
        assert!(json.contains(r#""role": "teacher""#), "{json}");
        assert_eq!(Manifest::from_json(json.as_bytes()).unwrap(), teacher);
    }

    #[test]
    fn paths_never_leave_the_bundle() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            ".hidden",
            "a\\b",
            "a\0b",
            "ü",
        ] {
            assert!(bad.parse::<BundlePath>().is_err(), "{bad:?}");
        }
        assert!("weights/part-1.bin".parse::<BundlePath>().is_ok());
    }

    #[test]
    fn a_newer_format_is_refused_by_number_even_with_unknown_fields() {
        let error = Manifest::from_json(br#"{"format": 9, "surprise": true}"#).unwrap_err();
        assert_eq!(error, ManifestError::Format { found: 9, known: 1 });
    }

    #[test]
    fn incomplete_or_impossible_manifests_are_refused() {
        let mut incomplete = manifest();
        incomplete
            .files
            .remove(&file::GOLDEN.parse::<BundlePath>().unwrap());
        assert_eq!(
            incomplete.to_json().unwrap_err(),
            ManifestError::Missing(file::GOLDEN)
        );
        let mut not_a_number = manifest();
        not_a_number.metrics.insert("auc".into(), f64::NAN);
        assert!(matches!(
            not_a_number.to_json(),
            Err(ManifestError::Metric { .. })
        ));
    }
}
