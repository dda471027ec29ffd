//! What distillation is worth on MovieLens-100k: the example job with several seeds, on one split.
//!
//! `cargo bench -p decant-trainer --bench quality -- [seeds]`, with `DECANT_DATASETS` and `ORT_DYLIB_PATH` as
//! `deploy/bootstrap.sh env` prints them. Seeds change weights and orders of training; the split stays.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use decant_inference::Runtime;
use decant_trainer::dataset::{self, Examples};
use decant_trainer::eval::paired_gain;
use decant_trainer::pipeline::{self, Job, Outcome, QualityRow, Role, Split};
use decant_trainer::spec::Spec;

const JOB: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/examples/movielens/job.toml"
);
const DEFAULT_SEEDS: u64 = 5;
const RESAMPLES: usize = 1000;

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this program is for"
)]
fn main() -> ExitCode {
    // Cargo adds `--bench`; what is left is the number of seeds.
    let seeds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(DEFAULT_SEEDS);
    match measure(seeds, |line| println!("{line}")) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(seeds: u64, progress: impl Fn(&str)) -> Result<String> {
    let folder = |variable: &str| -> Result<PathBuf> {
        let hint = "run: eval \"$(deploy/bootstrap.sh env)\"";
        Ok(std::env::var_os(variable)
            .with_context(|| format!("{variable} is not set; {hint}"))?
            .into())
    };
    let runtime = Runtime::load(&folder("ORT_DYLIB_PATH")?)?;
    let job = std::env::var_os("DECANT_JOB").map_or_else(|| PathBuf::from(JOB), PathBuf::from);
    let text = std::fs::read_to_string(&job).with_context(|| format!("read {}", job.display()))?;
    let spec = Spec::parse(&text)?;
    let data = dataset::load(&spec, Path::new(&folder("DECANT_DATASETS")?))?;
    let split = Split {
        train: &data.train,
        validation: &data.validation,
        test: &data.test,
    };

    let mut outcomes = Vec::new();
    let mut seconds = Vec::new();
    for seed in 1..=seeds {
        let started = Instant::now();
        let job = Job {
            recipe: &spec.recipe,
            user_feature: spec.user_feature(),
            seed,
            threads: spec.threads,
            runtime: &runtime,
            observer: &(),
        };
        let outcome = pipeline::run(&job, &split)?;
        seconds.push(started.elapsed().as_secs_f64());
        progress(&format!(
            "seed {seed}: {:.0} s, {}",
            seconds[seconds.len() - 1],
            aucs(&outcome)
        ));
        outcomes.push(outcome);
    }
    Ok(report(&outcomes, &seconds, split.test))
}

fn aucs(outcome: &Outcome) -> String {
    let row = |row: &QualityRow| format!("{} ({}) {:.4}", row.name, row.role, row.metrics.auc);
    outcome
        .quality
        .iter()
        .map(row)
        .collect::<Vec<_>>()
        .join(", ")
}

fn report(outcomes: &[Outcome], seconds: &[f64], test: &Examples) -> String {
    let mut text = format!(
        "\n{} seeds, {} test examples, mean and deviation\n",
        outcomes.len(),
        test.len()
    );
    let _ = writeln!(
        text,
        "{:<12} {:<21} {:>13} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>8} {:>7} {:>8}",
        "model",
        "role",
        "AUC",
        "GAUC",
        "logloss",
        "acc",
        "prec",
        "recall",
        "F1",
        "params",
        "bytes",
        "us 1",
        "us 500"
    );
    // Every outcome has the same rows.
    let first = outcomes
        .first()
        .map(|outcome| &outcome.quality[..])
        .unwrap_or_default();
    for (position, model) in first.iter().enumerate() {
        let mean = |value: fn(&QualityRow) -> f64| {
            moments(
                outcomes
                    .iter()
                    .map(|outcome| value(&outcome.quality[position])),
            )
        };
        let (auc, deviation) = mean(|row| row.metrics.auc);
        let _ = writeln!(
            text,
            "{:<12} {:<21} {:>6.4}±{:>6.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>9} {:>8} {:>7.1} {:>8.1}",
            model.name,
            model.role.to_string(),
            auc,
            deviation,
            mean(|row| row.metrics.group_auc).0,
            mean(|row| row.metrics.log_loss).0,
            mean(|row| row.metrics.accuracy).0,
            mean(|row| row.metrics.precision).0,
            mean(|row| row.metrics.recall).0,
            mean(|row| row.metrics.f1).0,
            model.parameters,
            model.bytes,
            mean(|row| row.latency.micros_1).0,
            mean(|row| row.latency.micros_500).0,
        );
    }
    let users: Vec<u32> = test
        .pairs
        .iter()
        .map(|pair| test.users[pair.query as usize])
        .collect();
    for (position, student) in first
        .iter()
        .enumerate()
        .filter(|(_, row)| row.role == Role::Distilled)
    {
        let twin = first
            .iter()
            .position(|row| row.name == student.name && row.role == Role::LabelsOnly);
        if let Some(twin) = twin {
            let runs: Vec<[&[f32]; 2]> = outcomes
                .iter()
                .map(|outcome| {
                    [
                        &outcome.quality[twin].scores[..],
                        &outcome.quality[position].scores[..],
                    ]
                })
                .collect();
            let gain = paired_gain(&runs, &test.labels, &users, RESAMPLES, 1);
            let _ = writeln!(
                text,
                "{}: distilled over labels only {:+.4}, 95 % of resamples of users in [{:+.4}, {:+.4}]",
                student.name, gain.mean, gain.low, gain.high
            );
        }
        if let Some(ensemble) = first.iter().position(|row| row.role == Role::Ensemble) {
            let ratio = |outcome: &Outcome| {
                outcome.quality[ensemble].latency.micros_500
                    / outcome.quality[position].latency.micros_500
            };
            let _ = writeln!(
                text,
                "{}: {:.1} times fewer parameters than the ensemble, {:.1} times faster for 500 candidates",
                student.name,
                first[ensemble].parameters as f64 / student.parameters as f64,
                moments(outcomes.iter().map(ratio)).0
            );
        }
    }
    let (mean, deviation) = moments(seconds.iter().copied());
    let _ = writeln!(text, "one job: {mean:.0}±{deviation:.0} s");
    text
}

/// Mean and standard deviation of a sample.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}
