//! `decant version describe`: what a version consists of, how good it is, and where it comes from.

use decant_model::{Manifest, ModelName, Signature};
use decant_proto::registry::v1::{GateResult, Version};

use crate::arguments::gate;
use crate::arguments::version::VersionArgument;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Facts, Table};
use crate::output::tone::{Palette, Tone};
use crate::output::{json, names, units};

/// Shows one version.
pub(crate) async fn describe(
    context: &Context,
    model: &ModelName,
    argument: VersionArgument,
) -> Result<Exit, Failure> {
    let version = context
        .registry
        .get_version(model.as_str(), argument)
        .await?;
    // A manifest of a newer format must not hide what the registry says about the version.
    let manifest = match Manifest::from_json(&version.manifest) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            context
                .output
                .note(&format!("the manifest is left out: {error}"));
            None
        }
    };
    context.output.named(
        [names::qualified(&version)],
        || json::version_with_manifest(&version, manifest.as_ref()),
        |palette| render(&version, manifest.as_ref(), palette),
    )?;
    Ok(Exit::Ok)
}

fn render(version: &Version, manifest: Option<&Manifest>, palette: Palette) -> String {
    let mut facts = Facts::default()
        .with("model", &version.model)
        .with("version", names::version(version.version))
        .with("state", names::version_state_cell(version.state))
        .with_some("reason", &version.state_reason)
        .with_some("since", &units::time(version.state_time.as_ref()))
        .with("digest", &version.digest)
        .with_some("signed by", &signer(&version.signature))
        .with("size", units::bytes(version.size_bytes))
        .with_some("created", &units::time(version.create_time.as_ref()));
    if let Some(Manifest { lineage, .. }) = manifest {
        let role = if lineage.role.is_student() {
            "student"
        } else {
            "teacher"
        };
        facts = facts
            .with(role, &lineage.student)
            .with("job", &lineage.job)
            .with("dataset", lineage.dataset.to_string())
            .with("spec", lineage.spec.to_string())
            .with("trained by", &lineage.code_revision)
            .with(
                "parent",
                lineage
                    .parent
                    .map_or("none".to_owned(), |digest| digest.to_string()),
            );
    }
    let mut sections = vec![facts.render(palette)];
    if !version.gate_results.is_empty() {
        sections.push(gates(&version.gate_results, palette));
    }
    if let Some(manifest) = manifest {
        sections.extend(contents(manifest, palette));
    }
    sections.join("\n")
}

/// The whole key: it is compared with others here.
fn signer(signature: &str) -> String {
    signature.parse::<Signature>().map_or_else(
        |_| signature.to_owned(),
        |signature| signature.key.to_string(),
    )
}

fn gates(results: &[GateResult], palette: Palette) -> String {
    let mut table = Table::new(["GATE", ">VALUE", "RESULT"]);
    for result in results {
        let verdict = match (result.passed, result.value) {
            (true, _) => Cell::new("passed", Tone::Good),
            (false, Some(_)) => Cell::new("failed", Tone::Bad),
            (false, None) => Cell::new("failed: not measured", Tone::Bad),
        };
        table.row([
            Cell::from(result.gate.as_ref().map(gate::display).unwrap_or_default()),
            Cell::from(result.value.map(units::metric).unwrap_or_default()),
            verdict,
        ]);
    }
    table.render(palette)
}

/// Metrics, teachers and files, each where there are any.
fn contents(manifest: &Manifest, palette: Palette) -> Vec<String> {
    let mut metrics = Table::new(["METRIC", ">VALUE"]);
    for (name, &value) in &manifest.metrics {
        metrics.row([Cell::from(name), Cell::from(units::metric(value))]);
    }
    let mut teachers = Table::new(["TEACHER", ">WEIGHT", "DIGEST"]);
    for teacher in &manifest.lineage.teachers {
        let weight = units::metric(teacher.weight);
        teachers.row([
            Cell::from(&teacher.name),
            Cell::from(weight),
            Cell::from(teacher.digest.to_string()),
        ]);
    }
    let mut files = Table::new(["FILE", ">SIZE", "SHA256"]);
    for (path, entry) in &manifest.files {
        files.row([
            Cell::from(path.as_str()),
            Cell::from(units::bytes(entry.size)),
            Cell::from(entry.sha256.hex()),
        ]);
    }
    [metrics, teachers, files]
        .iter()
        .filter(|table| !table.is_empty())
        .map(|table| table.render(palette))
        .collect()
}
