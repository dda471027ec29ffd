//! From networks to verified models and the table of their quality.

use std::collections::HashSet;

use decant_features::Encoded;
use decant_inference::Golden;
use decant_model::Digest;

use super::learn::Learnt;
use super::{Error, Job, Outcome, QualityRow, Role, Split, Student, Teacher};
use crate::dataset::{Examples, Pair};
use crate::eval::{self, Latency, Metrics, Subject};
use crate::export::{self, Parity, Users};
use crate::network::{Network, sigmoid};
use crate::progress::{Event, Stage};
use crate::random::Random;
use crate::teacher::Ensemble;

/// Examples on which a graph is compared with its network.
const PARITY_ROWS: usize = 10_000;

/// Requests timed for each model and number of candidates.
const LATENCY_ROUNDS: usize = 200;

/// Queries that the timed requests take turns with.
const LATENCY_QUERIES: usize = 16;

const BOOTSTRAP_RESAMPLES: usize = 1000;

/// A model of the job.
struct Model<'a> {
    name: &'a str,
    role: Role,
    scorer: Scorer<'a>,
}

/// What computes its logits.
#[derive(Clone, Copy)]
enum Scorer<'a> {
    Network(&'a Network),
    Ensemble(&'a Ensemble),
}

pub(super) fn judge(
    job: &Job<'_>,
    data: &Split<'_>,
    learnt: Learnt,
    users_of_published: Option<&Users>,
) -> Result<Outcome, Error> {
    let models = models(job, &learnt);
    job.observer.event(Event::Stage {
        stage: Stage::Export,
        networks: 0,
    });
    let rows = parity_examples(data, job.seed);
    let mut exported = Vec::with_capacity(models.len());
    for model in &models {
        let onnx = model.scorer.export(model.name);
        let queries = model.scorer.queries(data.test);
        let parity = export::verify(
            model.name,
            &onnx,
            job.runtime,
            &queries,
            &rows,
            &model.scorer.logits(&rows),
        )?;
        exported.push((onnx, queries, parity));
    }
    let mut published = None;
    if let Some(teacher) = teacher(&models).filter(|_| job.recipe.publish.teacher) {
        published = Some(publish(
            job,
            data,
            teacher,
            &learnt.teachers,
            users_of_published,
            &rows,
        )?);
    }

    job.observer.event(Event::Stage {
        stage: Stage::Evaluation,
        networks: 0,
    });
    let mut subjects = Vec::with_capacity(models.len());
    let mut files = Vec::with_capacity(models.len());
    for (
        model,
        (
            onnx,
            queries,
            Parity {
                session, golden, ..
            },
        ),
    ) in models.iter().zip(exported)
    {
        let count = queries.rows.min(LATENCY_QUERIES);
        let queries = (0..count)
            .map(|query| queries.select(&[query * queries.rows / count]))
            .collect();
        subjects.push(Subject {
            name: model.name,
            session,
            queries,
        });
        files.push((onnx, golden));
    }
    let latencies = eval::measure(&mut subjects, &data.test.items, LATENCY_ROUNDS)?;
    let quality: Vec<QualityRow> = models
        .iter()
        .zip(&files)
        .zip(latencies)
        .map(|((model, (onnx, _)), latency)| model.quality(data, onnx, latency))
        .collect();

    let teacher = teacher_row(&quality)
        .zip(published)
        .map(|(row, (onnx, golden))| Teacher {
            name: row.name.clone(),
            onnx,
            golden,
            quality: row.clone(),
        });
    let served = if learnt.distilled.is_empty() {
        Role::LabelsOnly
    } else {
        Role::Distilled
    };
    let mut students = Vec::new();
    for ((onnx, golden), row) in files
        .into_iter()
        .zip(&quality)
        .filter(|(_, row)| row.role == served)
    {
        let gain = quality.iter().find(|twin| {
            twin.name == row.name && twin.role == Role::LabelsOnly && served != twin.role
        });
        let users = users(data.test);
        let gain = gain.map(|twin| {
            let runs = [[&twin.scores[..], &row.scores[..]]];
            eval::paired_gain(
                &runs,
                &data.test.labels,
                &users,
                BOOTSTRAP_RESAMPLES,
                job.seed,
            )
        });
        students.push(Student {
            name: row.name.clone(),
            onnx,
            golden,
            quality: row.clone(),
            gain,
        });
    }
    Ok(Outcome {
        quality,
        teacher,
        students,
    })
}

/// The simplest first.
fn models<'a>(job: &Job<'a>, learnt: &'a Learnt) -> Vec<Model<'a>> {
    let model = |name: &'a str, role: Role, scorer: Scorer<'a>| Model { name, role, scorer };
    let mut models = vec![model(
        "lr",
        Role::Baseline,
        Scorer::Network(&learnt.baseline),
    )];
    for (spec, (_, network)) in job.recipe.teachers.iter().zip(learnt.teachers.members()) {
        models.push(model(&spec.name, Role::Teacher, Scorer::Network(network)));
    }
    if learnt.teachers.members().len() > 1 {
        models.push(model(
            "ensemble",
            Role::Ensemble,
            Scorer::Ensemble(&learnt.teachers),
        ));
    }
    for (role, networks) in [
        (Role::LabelsOnly, &learnt.labels_only),
        (Role::Distilled, &learnt.distilled),
    ] {
        for (spec, network) in job.recipe.students.iter().zip(networks) {
            models.push(model(&spec.name, role, Scorer::Network(network)));
        }
    }
    models
}

/// What students learn from: the teachers' mean, or a lone teacher.
fn teacher<'m, 'a>(models: &'m [Model<'a>]) -> Option<&'m Model<'a>> {
    models.iter().rev().find(|model| teaches(model.role))
}

fn teacher_row(quality: &[QualityRow]) -> Option<&QualityRow> {
    quality.iter().rev().find(|row| teaches(row.role))
}

/// The last of these is the mean of the others, where there are others.
fn teaches(role: Role) -> bool {
    matches!(role, Role::Teacher | Role::Ensemble)
}

/// What students learn from as a graph for requests, which carry no histories, held to the same networks.
fn publish(
    job: &Job<'_>,
    data: &Split<'_>,
    teacher: &Model<'_>,
    ensemble: &Ensemble,
    users: Option<&Users>,
    rows: &Examples,
) -> Result<(Vec<u8>, Golden), Error> {
    let onnx = export::published(teacher.name, ensemble, users);
    let parity = export::verify(
        teacher.name,
        &onnx,
        job.runtime,
        &data.test.queries,
        rows,
        &teacher.scorer.logits(rows),
    )?;
    Ok((onnx, parity.golden))
}

impl Model<'_> {
    fn quality(&self, data: &Split<'_>, onnx: &[u8], latency: Latency) -> QualityRow {
        let score = |examples: &Examples| -> Vec<f32> {
            self.scorer
                .logits(examples)
                .into_iter()
                .map(sigmoid)
                .collect()
        };
        let threshold = eval::best_threshold(&score(data.validation), &data.validation.labels);
        let scores = score(data.test);
        QualityRow {
            name: self.name.to_owned(),
            role: self.role,
            metrics: Metrics::new(&scores, &data.test.labels, &users(data.test), threshold),
            parameters: self.scorer.parameters(),
            digest: Digest::of(onnx),
            bytes: onnx.len(),
            latency,
            scores,
        }
    }
}

impl Scorer<'_> {
    fn logits(&self, examples: &Examples) -> Vec<f32> {
        match self {
            Scorer::Network(network) => network.logits(examples),
            Scorer::Ensemble(ensemble) => ensemble.logits(examples),
        }
    }

    fn parameters(&self) -> usize {
        match self {
            Scorer::Network(network) => network.parameters(),
            Scorer::Ensemble(ensemble) => ensemble.parameters(),
        }
    }

    fn export(&self, name: &str) -> Vec<u8> {
        match self {
            Scorer::Network(network) => export::network(name, network),
            Scorer::Ensemble(ensemble) => export::ensemble(name, ensemble),
        }
    }

    /// The query rows that the exported graph takes.
    fn queries(&self, examples: &Examples) -> Encoded {
        match self {
            Scorer::Network(network) => export::queries(network, examples),
            Scorer::Ensemble(ensemble) => {
                let widest = ensemble
                    .members()
                    .iter()
                    .max_by_key(|(_, network)| network.layout().query.slots);
                widest.map_or_else(
                    || Encoded::clone(&examples.queries),
                    |(_, network)| export::queries(network, examples),
                )
            }
        }
    }
}

/// The test examples, and random pairs up to [`PARITY_ROWS`]. Never one of the training examples: a network that reads
/// histories leaves the scored item out of them, a graph is not asked for items that the user has rated.
fn parity_examples(data: &Split<'_>, seed: u64) -> Examples {
    let trained: HashSet<Pair> = data.train.pairs.iter().copied().collect();
    let mut random = Random::new(seed, "parity");
    let (queries, items) = (data.test.queries.rows, data.test.items.rows);
    let draws = std::iter::repeat_with(|| Pair {
        query: random.below(queries) as u32,
        item: random.below(items) as u32,
    });
    let pairs = data
        .test
        .pairs
        .iter()
        .copied()
        .chain(draws.take(2 * PARITY_ROWS));
    let pairs: Vec<Pair> = pairs
        .filter(|pair| !trained.contains(pair))
        .take(PARITY_ROWS)
        .collect();
    let labels = vec![0.0; pairs.len()];
    data.test.with_pairs(pairs, labels)
}

fn users(examples: &Examples) -> Vec<u32> {
    examples
        .pairs
        .iter()
        .map(|pair| examples.users[pair.query as usize])
        .collect()
}
