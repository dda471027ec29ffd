//! `decant version lineage`: where a version comes from, as a tree.

use decant_model::ModelName;
use decant_proto::registry::v1::{LineageNode, Teacher};

use crate::arguments::version::VersionArgument;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::table::one_line;
use crate::output::tone::{Palette, Tone};
use crate::output::{json, names, units};

/// Shows a version's line of descent.
pub(super) async fn show(
    context: &Context,
    model: &ModelName,
    version: VersionArgument,
) -> Result<Exit, Failure> {
    let nodes = context
        .registry
        .get_lineage(model.as_str(), version)
        .await?;
    let known = nodes.iter().filter(|node| node.version != 0);
    context.output.named(
        known.map(|node| format!("{model}/{}", node.version)),
        || json::list(&nodes, json::lineage_node),
        |palette| render(&nodes, palette),
    )?;
    Ok(Exit::Ok)
}

/// One version below the other, so that a long line stays narrow; what a version was made of hangs on it.
fn render(nodes: &[LineageNode], palette: Palette) -> String {
    let mut lines = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let is_last = place + 1 == nodes.len();
        // The parent that the last node names, if any, is drawn as an end that is not known.
        let lost = is_last && node.version != 0 && !node.parent.is_empty();
        let trunk = if is_last && !lost { " " } else { "│" };
        lines.push(head(node, palette));
        let leaves = leaves(node);
        for (leaf, text) in leaves.iter().enumerate() {
            let branch = if leaf + 1 == leaves.len() {
                "└─"
            } else {
                "├─"
            };
            lines.push(format!("{trunk} {branch} {text}"));
        }
        if lost {
            lines.push(format!(
                "○ {} is not in the registry",
                names::digest(&node.parent)
            ));
        }
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn head(node: &LineageNode, palette: Palette) -> String {
    let digest = names::digest(&node.digest);
    if node.version == 0 {
        return format!("○ {digest} is no version of this model");
    }
    let state = names::version_state_cell(node.state).render(palette);
    let number = palette.paint(Tone::Heading, &names::version(node.version));
    let time = units::time(node.create_time.as_ref());
    format!("● {number}  {state}  {digest}  {time}")
}

/// What a version was made of, and how good it is; what is not known is left out.
fn leaves(node: &LineageNode) -> Vec<String> {
    let facts = [
        ("student", node.student.clone()),
        ("job", node.job.clone()),
        ("spec", names::digest(&node.spec)),
        ("dataset", names::digest(&node.dataset)),
        ("trained by", node.code_revision.clone()),
    ];
    let mut leaves: Vec<String> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| leaf(label, &value))
        .collect();
    let mut metrics: Vec<_> = node.metrics.iter().collect();
    metrics.sort_by_key(|&(name, _)| name);
    let metrics: Vec<String> = metrics
        .into_iter()
        .map(|(name, &value)| format!("{name} {}", units::metric(value)))
        .collect();
    if !metrics.is_empty() {
        leaves.push(leaf("metrics", &metrics.join(", ")));
    }
    leaves.extend(node.teachers.iter().map(teacher));
    leaves
}

fn teacher(teacher: &Teacher) -> String {
    let Teacher {
        name,
        digest,
        weight,
    } = teacher;
    leaf(
        "teacher",
        &format!(
            "{name}, weight {}, {}",
            units::metric(*weight),
            names::digest(digest)
        ),
    )
}

fn leaf(label: &str, value: &str) -> String {
    one_line(&format!("{label:<10}  {value}"))
}

#[cfg(test)]
mod tests;
