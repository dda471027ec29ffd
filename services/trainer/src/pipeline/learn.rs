//! From examples to networks.

use std::num::NonZeroUsize;
use std::thread;

use super::{Error, Job, Split};
use crate::dataset::Examples;
use crate::distill::{Folds, Lessons, cross_entropy, unlabelled};
use crate::network::{Architecture, Fit, FitError, FitOptions, Fitted, Network};
use crate::progress::{Event, Stage};
use crate::recipe::DistillSpec;
use crate::teacher::Ensemble;
use crate::{parallel, random, student, teacher};

/// All networks of a job.
pub(super) struct Learnt {
    pub(super) baseline: Network,
    /// In the recipe's order.
    pub(super) teachers: Ensemble,
    /// In the recipe's order, as are those below.
    pub(super) labels_only: Vec<Network>,
    /// Empty without teachers.
    pub(super) distilled: Vec<Network>,
}

pub(super) fn learn(job: &Job<'_>, data: &Split<'_>) -> Result<Learnt, Error> {
    let Taught {
        baseline,
        teachers,
        lessons,
    } = teach(job, data)?;
    let labels = Lessons::from_labels(data.train);
    let labels_only = students(job, data, Stage::Baselines, "labels only", &labels)?;
    let distilled = match &lessons {
        Some(lessons) => students(job, data, Stage::Students, "distilled", lessons)?,
        None => Vec::new(),
    };
    Ok(Learnt {
        baseline,
        teachers,
        labels_only,
        distilled,
    })
}

struct Taught {
    baseline: Network,
    teachers: Ensemble,
    lessons: Option<Lessons>,
}

/// One network to fit in the first stage.
#[derive(Clone, Copy)]
enum Work {
    Baseline,
    Teacher(usize),
    /// A teacher again, without one fold of the training examples.
    Fold {
        teacher: usize,
        fold: usize,
    },
}

enum Done {
    Network(Box<Network>),
    /// Logits of the examples in the fold.
    Logits(Vec<f32>),
}

/// Fits the baseline and the teachers, and writes down what the teachers have to say.
fn teach(job: &Job<'_>, data: &Split<'_>) -> Result<Taught, Error> {
    let specs = &job.recipe.teachers;
    let distill = job.recipe.distill.as_ref();
    let folds = distill.filter(|distill| distill.folds > 1 && distill.alpha < 1.0);
    let folds = folds.map(|distill| Folds::new(data.train.len(), distill.folds, job.seed));
    let fold_count = folds.as_ref().map_or(0, Folds::count);

    let mut works: Vec<Work> = (0..specs.len()).map(Work::Teacher).collect();
    works.extend(
        (0..specs.len())
            .flat_map(|teacher| (0..fold_count).map(move |fold| Work::Fold { teacher, fold })),
    );
    works.push(Work::Baseline);
    job.observer.event(Event::Stage {
        stage: Stage::Teachers,
        networks: works.len(),
    });
    let folds_ref = folds.as_ref();
    let tasks = works
        .iter()
        .map(|&work| move || do_work(job, data, folds_ref, work))
        .collect();
    let done = parallel::run(threads(job), tasks)?;

    let mut baseline = None;
    let mut members = Vec::with_capacity(specs.len());
    let mut out_of_fold = vec![0.0; data.train.len()];
    let weights: f32 = specs.iter().map(|spec| spec.weight).sum();
    for (work, done) in works.into_iter().zip(done) {
        match (work, done) {
            (Work::Baseline, Done::Network(network)) => baseline = Some(*network),
            (Work::Teacher(teacher), Done::Network(network)) => {
                members.push((specs[teacher].weight, *network))
            }
            (Work::Fold { teacher, fold }, Done::Logits(logits)) => {
                let positions = folds
                    .as_ref()
                    .map(|folds| folds.inside(fold))
                    .unwrap_or_default();
                for (position, logit) in positions.into_iter().zip(logits) {
                    out_of_fold[position] += specs[teacher].weight / weights * logit;
                }
            }
            _ => {}
        }
    }
    let baseline = baseline.ok_or(Error::Examples("the baseline was not fitted"))?;
    let teachers = Ensemble::new(members);
    let lessons = match distill {
        Some(distill) if !specs.is_empty() => {
            let soft = if folds.is_some() {
                out_of_fold
            } else {
                teachers.logits(data.train)
            };
            Some(lessons(job, data, distill, &teachers, soft)?)
        }
        _ => None,
    };
    Ok(Taught {
        baseline,
        teachers,
        lessons,
    })
}

fn do_work(
    job: &Job<'_>,
    data: &Split<'_>,
    folds: Option<&Folds>,
    work: Work,
) -> Result<Done, FitError> {
    let specs = &job.recipe.teachers;
    match (work, folds) {
        (Work::Fold { teacher, fold }, Some(folds)) => {
            let spec = &specs[teacher];
            let name = format!("{}, fold {} of {}", spec.name, fold + 1, folds.count());
            let (outside, inside) = folds.split(data.train, fold);
            let (network, _) = teacher::fit(
                spec,
                &name,
                &outside,
                data.validation,
                job.seed,
                job.observer,
            )?;
            Ok(Done::Logits(network.logits(&inside)))
        }
        (Work::Teacher(teacher) | Work::Fold { teacher, .. }, _) => {
            let spec = &specs[teacher];
            let (network, _) = teacher::fit(
                spec,
                &spec.name,
                data.train,
                data.validation,
                job.seed,
                job.observer,
            )?;
            Ok(Done::Network(Box::new(network)))
        }
        (Work::Baseline, _) => Ok(Done::Network(Box::new(baseline(job, data)?))),
    }
}

/// Logistic regression: what any model must beat.
fn baseline(job: &Job<'_>, data: &Split<'_>) -> Result<Network, FitError> {
    let options = FitOptions {
        epochs: 60,
        patience: 4,
        batch_size: 1024,
        learning_rate: 1e-2,
        l2: 1e-5,
        embedding_l2: 1e-5,
        averaging: 0.0,
        dropout: 0.0,
    };
    let seed = random::derive(job.seed, "lr");
    let mut network = Network::new(Architecture::linear(), &data.train.layout, None, seed);
    let fit = Fit {
        name: "lr",
        train: data.train,
        validation: data.validation,
        options: &options,
        seed,
        observer: job.observer,
    };
    network.fit(fit, |position, logit| {
        cross_entropy(logit, data.train.labels[position])
    })?;
    Ok(network)
}

fn lessons(
    job: &Job<'_>,
    data: &Split<'_>,
    distill: &DistillSpec,
    teachers: &Ensemble,
    soft: Vec<f32>,
) -> Result<Lessons, Error> {
    let count = (f64::from(distill.unlabelled) * data.train.len() as f64) as usize;
    // What the test examples are is not for the trainer to know, so they may be among these pairs, with the teachers'
    // labels.
    let more: Examples = unlabelled(&[data.train, data.validation], count, job.seed)?;
    let more_soft = teachers.logits(&more);
    Ok(Lessons::from_teachers(
        data.train,
        soft,
        (&more, more_soft),
        distill,
    ))
}

/// Fits every student of the recipe to the same lessons, with each weight decay, and keeps the best by validation.
fn students(
    job: &Job<'_>,
    data: &Split<'_>,
    stage: Stage,
    what: &str,
    lessons: &Lessons,
) -> Result<Vec<Network>, Error> {
    let specs = &job.recipe.students;
    let candidates: Vec<(usize, FitOptions)> = specs
        .iter()
        .enumerate()
        .flat_map(|(student, spec)| {
            spec.fit_options()
                .into_iter()
                .map(move |options| (student, options))
        })
        .collect();
    job.observer.event(Event::Stage {
        stage,
        networks: candidates.len(),
    });
    let fit = |(student, options): &(usize, FitOptions)| {
        let spec = &specs[*student];
        let name = format!("{}, {what}, l2 {}", spec.name, options.l2);
        student::fit(
            spec,
            &name,
            options,
            lessons,
            data.validation,
            job.seed,
            job.observer,
        )
    };
    let fit = &fit;
    let tasks = candidates
        .iter()
        .map(|candidate| move || fit(candidate))
        .collect();
    let fitted = parallel::run(threads(job), tasks)?;
    let mut by_student: Vec<Vec<(Network, Fitted)>> = specs.iter().map(|_| Vec::new()).collect();
    for ((student, _), fitted) in candidates.iter().zip(fitted) {
        by_student[*student].push(fitted);
    }
    Ok(by_student
        .into_iter()
        .filter_map(student::best)
        .map(|(network, _)| network)
        .collect())
}

fn threads(job: &Job<'_>) -> usize {
    match job.threads {
        0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads,
    }
}
