//! Whether it is known what a version came from.

use decant_model::{Digest, Lineage};

use super::Found;

pub(super) fn lineage(lineage: &Lineage) -> Found {
    let nothing = Digest::of(b"");
    let mut missing = Vec::new();
    if lineage.code_revision.is_empty() {
        missing.push("what made it".to_owned());
    }
    if lineage.job.is_empty() {
        // It was brought in: there is no dataset and no spec of ours that it could name.
        return match missing.is_empty() {
            true => Ok(format!(
                "it was brought in by {}; no job of ours trained it",
                lineage.code_revision
            )),
            false => Err("it names neither a job nor what brought it in".to_owned()),
        };
    }
    if lineage.dataset == nothing {
        missing.push("its dataset".to_owned());
    }
    if lineage.spec == nothing {
        missing.push("its spec".to_owned());
    }
    for (place, teacher) in lineage.teachers.iter().enumerate() {
        if teacher.name.is_empty() || teacher.digest == nothing {
            missing.push(format!("teacher {}", place + 1));
        }
    }
    if !missing.is_empty() {
        return Err(format!("it does not say {}", missing.join(", ")));
    }
    let teachers: Vec<&str> = lineage
        .teachers
        .iter()
        .map(|teacher| &*teacher.name)
        .collect();
    let teachers = match &teachers[..] {
        [] => "labels alone".to_owned(),
        names => names.join(", "),
    };
    Ok(format!(
        "job {} made it of dataset {} and learnt from {teachers}",
        lineage.job,
        lineage.dataset.short()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trained() -> Lineage {
        let digest = |of: &[u8]| Digest::of(of).to_string();
        let json = json!({
            "student": "d8",
            "teachers": [{ "name": "wide", "digest": digest(b"wide"), "weight": 1.0 }],
            "dataset": digest(b"data"),
            "job": "1",
            "spec": digest(b"spec"),
            "code_revision": "test",
            "parent": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_a_trained_version_does_not_say_is_named() {
        assert!(lineage(&trained()).unwrap().contains("wide"));
        let refused = |tamper: fn(&mut Lineage)| {
            let mut tampered = trained();
            tamper(&mut tampered);
            lineage(&tampered).unwrap_err()
        };
        assert!(refused(|of| of.dataset = Digest::of(b"")).contains("dataset"));
        assert!(refused(|of| of.spec = Digest::of(b"")).contains("spec"));
        assert!(refused(|of| of.code_revision.clear()).contains("what made it"));
        assert!(refused(|of| of.teachers[0].name.clear()).contains("teacher 1"));
    }

    #[test]
    fn a_version_from_elsewhere_need_not_have_what_only_jobs_have() {
        let mut brought = trained();
        brought.job.clear();
        brought.dataset = Digest::of(b"");
        brought.spec = Digest::of(b"");
        brought.teachers.clear();
        assert!(lineage(&brought).unwrap().contains("brought in by test"));
        brought.code_revision.clear();
        assert!(lineage(&brought).is_err());
    }
}
