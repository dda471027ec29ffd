//! Which model and version a call names.

use decant_model::{ModelName, ModelVersion, NameError, SlotName};

use crate::error::{CallError, Violation};
use crate::servable::Place;

/// Who is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) place: Place,
    /// None leaves the choice to the slot.
    pub(super) version: Option<ModelVersion>,
}

/// What a request calls the fields of both names.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    model: &'static str,
    version: &'static str,
}

impl Fields {
    /// In requests for inference.
    pub(super) const MODEL_NAME: Fields = Fields {
        model: "model_name",
        version: "model_version",
    };
    /// In requests about models.
    pub(super) const NAME: Fields = Fields {
        model: "name",
        version: "version",
    };
}

impl Asked {
    /// Reads `MODEL` or `MODEL/SLOT`, and a number or nothing.
    ///
    /// # Errors
    /// Everything that is wrong with either.
    pub(super) fn read(fields: Fields, model: &str, version: &str) -> Result<Self, CallError> {
        match (place(model), number(version)) {
            (Ok(place), Ok(version)) => Ok(Self { place, version }),
            (place, version) => {
                let model = place
                    .err()
                    .map(|error| Violation::new(fields.model, error.to_string()));
                let version = version
                    .err()
                    .map(|reason| Violation::new(fields.version, reason));
                Err(CallError::Invalid(
                    model.into_iter().chain(version).collect(),
                ))
            }
        }
    }
}

/// Reads `MODEL` or `MODEL/SLOT`.
pub(super) fn place(name: &str) -> Result<Place, NameError> {
    let (model, slot) = match name.split_once('/') {
        None => (name, SlotName::default()),
        Some((model, slot)) => (model, slot.parse()?),
    };
    let model: ModelName = model.parse()?;
    Ok(Place { model, slot })
}

/// What the protocol calls a place, as [`place`] reads it.
pub(super) fn name(place: &Place) -> String {
    if place.slot == SlotName::default() {
        place.model.to_string()
    } else {
        place.to_string()
    }
}

fn number(version: &str) -> Result<Option<ModelVersion>, String> {
    if version.is_empty() {
        return Ok(None);
    }
    let digits = version.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| version.parse().ok()).flatten();
    match number.and_then(ModelVersion::new) {
        Some(number) => Ok(Some(number)),
        None => Err(format!(
            "`{version}` is no version: a number from 1 is expected, or nothing"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(model: &str, version: &str) -> Vec<String> {
        match Asked::read(Fields::MODEL_NAME, model, version) {
            Err(CallError::Invalid(violations)) => {
                let fields = violations.into_iter().map(|violation| violation.field);
                fields.collect()
            }
            other => panic!("{model} {version}: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_a_model_and_perhaps_a_slot() {
        for (given, slot, shown) in [
            ("films", "main", "films"),
            ("films/main", "main", "films"),
            ("films/trial", "trial", "films/trial"),
        ] {
            let asked = Asked::read(Fields::NAME, given, "7").unwrap();
            assert_eq!(asked.place.to_string(), format!("films/{slot}"));
            assert_eq!(asked.version, ModelVersion::new(7));
            assert_eq!(name(&asked.place), shown);
        }
        let any = Asked::read(Fields::NAME, "films", "").unwrap();
        assert_eq!(any.version, None);
    }

    #[test]
    fn what_is_no_name_and_what_is_no_number_is_refused() {
        for model in ["", "/", "films/", "/main", "Films", "films/a/b", "films/-"] {
            assert_eq!(fields(model, "1"), ["model_name"], "{model}");
        }
        for version in [
            "0",
            "-1",
            "+1",
            "1.0",
            "v1",
            " 1",
            "99999999999999999999",
            "١",
        ] {
            assert_eq!(fields("films", version), ["model_version"], "{version}");
        }
        assert_eq!(fields("Films", "v1"), ["model_name", "model_version"]);
    }
}
