use std::sync::Mutex;

use decant_inference::testing::runtime;

use super::*;
use crate::synthetic;

const RECIPE: &str = r#"
[[teachers]]
name = "deep"
kind = "deepfm"
embedding = 4
hidden = [16]
epochs = 6
batch_size = 64
learning_rate = 0.01

[[teachers]]
name = "past"
kind = "history"
embedding = 4
hidden = [16]
epochs = 6
batch_size = 64
learning_rate = 0.01
weight = 2.0

[[students]]
name = "small"
embedding = 2
hidden = [8]
epochs = 6
batch_size = 64
learning_rate = 0.01

[distill]
folds = 3
unlabelled = 0.5
"#;

fn recipe(text: &str) -> Recipe {
    Recipe::parse(text.parse().unwrap()).unwrap()
}

fn run_with(recipe: &Recipe, threads: usize, observer: &dyn Observer) -> Result<Outcome, Error> {
    let [train, validation, test] = synthetic::split(true, 1);
    let job = Job {
        recipe,
        user_feature: Some("id"),
        seed: 5,
        threads,
        runtime: &runtime(),
        observer,
    };
    run(
        &job,
        &Split {
            train: &train,
            validation: &validation,
            test: &test,
        },
    )
}

#[test]
fn a_job_gives_the_same_models_on_any_number_of_threads() {
    let recipe = recipe(RECIPE);
    let (one, three) = (
        run_with(&recipe, 1, &()).unwrap(),
        run_with(&recipe, 3, &()).unwrap(),
    );
    for (left, right) in one.quality.iter().zip(&three.quality) {
        assert_eq!(
            (&left.name, &left.metrics, &left.scores),
            (&right.name, &right.metrics, &right.scores)
        );
    }
    assert_eq!(one.students[0].onnx, three.students[0].onnx);
    assert_eq!(one.students[0].golden, three.students[0].golden);

    let rows: Vec<String> = one
        .quality
        .iter()
        .map(|row| format!("{}: {}", row.name, row.role))
        .collect();
    assert_eq!(
        rows,
        [
            "lr: baseline",
            "deep: teacher",
            "past: teacher",
            "ensemble: ensemble",
            "small: student, labels only",
            "small: student, distilled"
        ]
    );
    assert!(
        one.quality
            .iter()
            .all(|row| row.metrics.auc > 0.55 && row.bytes > 0 && row.latency.micros_500 > 0.0)
    );
    assert_eq!(
        one.quality[3].parameters,
        one.quality[1].parameters + one.quality[2].parameters
    );
    assert!(one.students[0].gain.is_some());
}

#[test]
fn progress_names_stages_and_networks() {
    #[derive(Default)]
    struct Record(Mutex<Vec<Event>>);
    impl Observer for Record {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }
    let record = Record::default();
    run_with(&recipe(RECIPE), 2, &record).unwrap();
    let events = record.0.into_inner().unwrap();
    let mut stages = Vec::new();
    let (mut announced, mut fitted) = (0, 0);
    for event in &events {
        match event {
            Event::Stage { stage, networks } => {
                stages.push(*stage);
                announced += networks;
            }
            Event::Fitted { .. } => fitted += 1,
            Event::Epoch(epoch) => assert!(
                epoch.loss.is_finite() && epoch.epoch <= epoch.epochs && epoch.seconds_left >= 0.0
            ),
        }
    }
    assert_eq!(
        stages,
        [
            Stage::Teachers,
            Stage::Baselines,
            Stage::Students,
            Stage::Export,
            Stage::Evaluation
        ]
    );
    // LR, two teachers, each again without one of three folds, and two weight decays for either student.
    assert_eq!((announced, fitted), (1 + 2 + 2 * 3 + 2 + 2, announced));
    assert!(events.iter().any(
        |event| matches!(event, Event::Fitted { network, .. } if network == "past, fold 2 of 3")
    ));
}

#[test]
fn a_teacher_is_published_with_the_quality_of_the_mean_and_takes_requests() {
    let silent = run_with(&recipe(RECIPE), 2, &()).unwrap();
    assert!(silent.teacher.is_none());
    let publishing = format!("{RECIPE}\n[publish]\nteacher = true");
    let outcome = run_with(&recipe(&publishing), 2, &()).unwrap();
    let teacher = outcome.teacher.unwrap();
    assert_eq!(teacher.name, "ensemble");
    assert_eq!(teacher.quality.role, Role::Ensemble);
    assert_eq!(teacher.quality.metrics, silent.quality[3].metrics);
    // What the others are does not depend on it.
    assert_eq!(outcome.students[0].onnx, silent.students[0].onnx);

    let [_, _, test] = synthetic::split(true, 1);
    assert_eq!(teacher.golden.query.slots, test.queries.slots);
    let mut session = decant_inference::Session::open(&runtime(), teacher.onnx).unwrap();
    teacher.golden.replay(&mut session).unwrap();
    let rows = |row: fn(&crate::dataset::Pair) -> u32| -> Vec<usize> {
        test.pairs.iter().map(|pair| row(pair) as usize).collect()
    };
    let mut scores = Vec::new();
    session
        .score(
            &test.queries.select(&rows(|pair| pair.query)),
            &test.items.select(&rows(|pair| pair.item)),
            &mut scores,
        )
        .unwrap();
    for (got, expected) in scores.iter().zip(&teacher.quality.scores) {
        assert!((got - expected).abs() < 1e-5, "{got} instead of {expected}");
    }
}

#[test]
fn a_lone_teacher_is_published_by_its_own_name() {
    let alone = r#"
[[teachers]]
name = "deep"
kind = "deepfm"
embedding = 2
hidden = [4]
epochs = 1

[[students]]
name = "small"
embedding = 2
hidden = [4]
epochs = 1

[distill]
folds = 0
unlabelled = 0.0

[publish]
teacher = true
"#;
    let teacher = run_with(&recipe(alone), 1, &()).unwrap().teacher.unwrap();
    assert_eq!(teacher.name, "deep");
    assert_eq!(teacher.quality.role, Role::Teacher);
    assert_eq!(Digest::of(&teacher.onnx), teacher.quality.digest);
}

#[test]
fn a_teacher_that_cannot_be_published_stops_the_job_before_anything_is_fitted() {
    struct Nothing;
    impl Observer for Nothing {
        fn event(&self, event: Event) {
            panic!("{event:?}");
        }
    }
    let [train, validation, test] = synthetic::split(true, 1);
    let publishing = format!("{RECIPE}\n[publish]\nteacher = true");
    let job = Job {
        recipe: &recipe(&publishing),
        user_feature: None,
        seed: 5,
        threads: 1,
        runtime: &runtime(),
        observer: &Nothing,
    };
    let split = Split {
        train: &train,
        validation: &validation,
        test: &test,
    };
    let error = run(&job, &split).unwrap_err().to_string();
    assert!(error.starts_with("publish.teacher = true: "), "{error}");
}

#[test]
fn without_teachers_the_students_of_labels_are_served() {
    let alone = recipe("[[students]]\nname = \"small\"\nembedding = 2\nhidden = [8]\nepochs = 2");
    let outcome = run_with(&alone, 1, &()).unwrap();
    assert_eq!(outcome.students.len(), 1);
    assert_eq!(outcome.students[0].quality.role, Role::LabelsOnly);
    assert_eq!((outcome.quality.len(), outcome.students[0].gain), (2, None));
}

#[test]
fn a_job_that_cannot_go_on_says_why() {
    struct Cancel;
    impl Observer for Cancel {
        fn event(&self, _: Event) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    assert!(
        run_with(&recipe(RECIPE), 2, &Cancel)
            .unwrap_err()
            .is_cancelled()
    );
    let greedy = recipe(&RECIPE.replace("unlabelled = 0.5", "unlabelled = 2.0"));
    let error = run_with(&greedy, 2, &()).unwrap_err().to_string();
    assert!(
        error.starts_with("distill.unlabelled asks for 2400 pairs"),
        "{error}"
    );

    let [train, validation, test] = synthetic::split(true, 1);
    let recipe = recipe(RECIPE);
    let job = Job {
        recipe: &recipe,
        user_feature: Some("id"),
        seed: 5,
        threads: 1,
        runtime: &runtime(),
        observer: &(),
    };
    let none = test.select(&[]);
    let error = run(
        &job,
        &Split {
            train: &train,
            validation: &validation,
            test: &none,
        },
    )
    .unwrap_err()
    .to_string();
    assert_eq!(
        error,
        "there are no test examples, which tell how good the result is"
    );
}
