//! A job for people: where it stands and, once it has succeeded, what came of it.

use decant_proto::trainer::v1::{Job, JobResult, PushedVersion, QualityRow};

use crate::output::table::{Cell, Facts, Table, one_line};
use crate::output::tone::{Palette, Tone};
use crate::output::{names, units};

/// The width that the quality table keeps to, and the column that gives way: the name.
const QUALITY_FIT: (usize, usize) = (0, 120);

/// The whole job.
pub(crate) fn render(job: &Job, palette: Palette) -> String {
    let mut text = facts(job).render(palette);
    if let Some(result) = &job.result {
        text.push('\n');
        text.push_str(&outcome(result, palette));
    }
    text
}

fn facts(job: &Job) -> Facts {
    let took = units::seconds_between(job.start_time.as_ref(), job.end_time.as_ref());
    let mut facts = Facts::default()
        .with("job", &job.id)
        .with("model", &job.model)
        .with("state", names::job_state_cell(job.state))
        .with_some("error", &job.error)
        .with_some("submitted", &units::time(job.create_time.as_ref()))
        .with_some("started", &units::time(job.start_time.as_ref()))
        .with_some("ended", &units::time(job.end_time.as_ref()))
        .with_some("took", &took.map(units::wait).unwrap_or_default());
    if let (Some(progress), None) = (&job.progress, &job.result) {
        facts = facts
            .with_some("stage", &progress.stage)
            .with("done", units::share(progress.fraction_done));
    }
    facts
}

fn outcome(result: &JobResult, palette: Palette) -> String {
    let report: Vec<String> = result.dataset_report.lines().map(one_line).collect();
    format!(
        "{} {}\n{}\n\n{}\n{}",
        palette.paint(Tone::Heading, "dataset"),
        names::digest(&result.dataset_digest),
        report.join("\n"),
        quality(&result.quality, palette),
        versions(&result.versions, palette)
    )
}

fn quality(rows: &[QualityRow], palette: Palette) -> String {
    let headings = [
        "NAME", "ROLE", ">AUC", ">LOGLOSS", ">ACC", ">PREC", ">RECALL", ">F1", ">PARAMS", ">SIZE",
        ">µs/1", ">µs/500",
    ];
    let (column, width) = QUALITY_FIT;
    let mut table = Table::new(headings).fit(column, width);
    for row in rows {
        table.row([
            Cell::from(&row.name),
            Cell::from(&row.role),
            Cell::from(units::metric(row.auc)),
            Cell::from(units::metric(row.logloss)),
            Cell::from(units::metric(row.accuracy)),
            Cell::from(units::metric(row.precision)),
            Cell::from(units::metric(row.recall)),
            Cell::from(units::metric(row.f1)),
            Cell::from(units::count(row.parameters)),
            Cell::from(units::bytes(row.bytes)),
            Cell::from(format!("{:.1}", row.micros_1)),
            Cell::from(format!("{:.0}", row.micros_500)),
        ]);
    }
    table.render(palette)
}

fn versions(versions: &[PushedVersion], palette: Palette) -> String {
    let mut table = Table::new(["STUDENT", "MODEL", "VERSION", "DIGEST", "STATE"]);
    for version in versions {
        let state = if version.approved {
            Cell::new("APPROVED", Tone::Good)
        } else {
            Cell::new("REJECTED", Tone::Bad)
        };
        table.row([
            Cell::from(&version.student),
            Cell::from(&version.model),
            Cell::from(names::version(version.version)),
            names::digest_cell(&version.digest, palette),
            state,
        ]);
    }
    table.render(palette)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quality_table_fits_120_columns_whatever_it_holds() {
        let row = QualityRow {
            name: "a-student-with-a-name-as-long-as-names-may-get-and-then-some-more".into(),
            role: "student, labels only".into(),
            auc: 0.80123,
            logloss: 12.3456,
            accuracy: 1.0,
            precision: f64::NAN,
            recall: 0.5,
            f1: 0.5,
            parameters: u64::MAX,
            bytes: u64::MAX,
            micros_1: 12_345.67,
            micros_500: 1_234_567.0,
        };
        let text = quality(&[row], Palette::new(false));
        assert!(
            text.lines().all(|line| line.chars().count() <= 120),
            "{text}"
        );
        assert!(text.contains("…"), "{text}");
    }
}
