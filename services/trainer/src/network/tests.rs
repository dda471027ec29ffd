use burn::tensor::Device;

use super::forward::{Dropout, Pass};
use super::pooling::RowGradients;
use super::*;
use crate::distill::cross_entropy;
use crate::eval::auc;
use crate::progress::{Event, Observer};
use crate::synthetic;

fn architectures() -> Vec<(&'static str, Architecture, bool)> {
    vec![
        ("lr", Architecture::linear(), false),
        ("mlp", Architecture::mlp(4, &[16, 8]), false),
        ("deepfm", Architecture::deepfm(4, &[16, 8]), false),
        ("dcn", Architecture::dcn(4, 2, &[16, 8]), false),
        ("history", Architecture::deepfm(4, &[16, 8]), true),
    ]
}

fn options() -> FitOptions {
    FitOptions {
        epochs: 40,
        patience: 10,
        batch_size: 64,
        learning_rate: 1e-2,
        l2: 1e-5,
        embedding_l2: 1e-5,
        averaging: 0.9,
        dropout: 0.1,
    }
}

fn network(architecture: &Architecture, history: bool, train: &Examples, seed: u64) -> Network {
    let history = history.then(|| Arc::new(History::new(train)));
    Network::new(architecture.clone(), &train.layout, history, seed)
}

fn fitted(
    architecture: &Architecture,
    history: bool,
    seed: u64,
    options: &FitOptions,
) -> (Network, Fitted, Examples) {
    let [train, validation, test] = synthetic::split(true, 1);
    let mut network = network(architecture, history, &train, seed);
    let fit = Fit {
        name: "network",
        train: &train,
        validation: &validation,
        options,
        seed,
        observer: &(),
    };
    let fitted = network
        .fit(fit, |position, logit| {
            cross_entropy(logit, train.labels[position])
        })
        .unwrap();
    (network, fitted, test)
}

#[test]
fn every_architecture_learns_and_keeps_the_best_epoch() {
    for (name, architecture, history) in architectures() {
        let (network, fitted, test) = fitted(&architecture, history, 3, &options());
        let [_, validation, _] = synthetic::split(true, 1);
        assert_eq!(
            auc(&network.logits(&validation), &validation.labels),
            fitted.validation_auc,
            "{name}"
        );
        // Logistic regression sees no taste, only how popular items are.
        let least = if name == "lr" { 0.6 } else { 0.75 };
        let reached = auc(&network.scores(&test), &test.labels);
        assert!(reached > least, "{name} reaches {reached}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for (name, architecture, history) in architectures() {
        let fit = |seed| {
            fitted(
                &architecture,
                history,
                seed,
                &FitOptions {
                    epochs: 3,
                    ..options()
                },
            )
            .0
        };
        let (first, again, other) = (fit(5), fit(5), fit(6));
        assert_eq!(
            (&first.table, &first.dense),
            (&again.table, &again.dense),
            "{name}"
        );
        assert_ne!(first.table, other.table, "{name}");
    }
}

#[test]
fn gradients_are_finite_differences() {
    let [train, ..] = synthetic::split(true, 2);
    let batch: Vec<usize> = (0..24).collect();
    let few = train.select(&batch);
    let slopes: Vec<f32> = (0..batch.len())
        .map(|row| (row as f32 * 0.7).sin())
        .collect();
    for (name, architecture, history) in architectures() {
        let mut network = network(&architecture, history, &train, 4);
        // Away from zero, where the pieces of the graph would not tell each other apart.
        network
            .table
            .values
            .iter_mut()
            .enumerate()
            .for_each(|(place, value)| *value += 0.3 * (place as f32).cos());
        let value = |network: &Network| -> f64 {
            network
                .logits(&few)
                .iter()
                .zip(&slopes)
                .map(|(logit, slope)| f64::from(logit * slope))
                .sum()
        };
        let device = Device::flex().autodiff();
        let mut random = Random::new(1, "dropout");
        let dropout = Dropout {
            rate: 0.0,
            random: &mut random,
        };
        let pooled = network.pooling.gather(&network, &train, &batch);
        let dense = network.pooling.dense(&train, &batch);
        let pass = Pass::forward(&network, pooled, dense, batch.len(), &device, Some(dropout));
        let gradients = pass.backward(slopes.clone(), &device);
        let mut rows = RowGradients::new(&network.table);
        network.pooling.scatter(
            &network,
            &train,
            &batch,
            &gradients.input,
            &slopes,
            &mut rows,
        );
        let mut table = vec![0.0; network.table.values.len()];
        let width = network.table.width;
        rows.drain(|row, gradient| table[row * width..(row + 1) * width].copy_from_slice(gradient));

        let check = |what: &str, place: usize, got: f32, at: &mut dyn FnMut(f32) -> f64| {
            const STEP: f32 = 2e-3;
            let one_sided =
                [1.0, -1.0].map(|sign| (at(sign * STEP) - at(0.0)) / f64::from(sign * STEP));
            // Where a hidden unit switches on between the two, the derivative is that of either side.
            let tolerance = 0.02 * one_sided[0].abs().max(1.0);
            let range = one_sided[0].min(one_sided[1]) - tolerance
                ..=one_sided[0].max(one_sided[1]) + tolerance;
            assert!(
                range.contains(&f64::from(got)),
                "{name} {what} {place}: {got} is not in {range:?}"
            );
        };
        for place in (0..table.len()).step_by(7) {
            check("table", place, table[place], &mut |step| {
                let mut moved = network.clone();
                moved.table.values[place] += step;
                value(&moved)
            });
        }
        for (parameter, gradient) in gradients.parameters.iter().enumerate() {
            let gradient = gradient.as_ref().unwrap();
            for place in (0..gradient.len()).step_by(11) {
                check("parameter", place, gradient[place], &mut |step| {
                    let mut moved = network.clone();
                    moved.dense[parameter].values[place] += step;
                    value(&moved)
                });
            }
        }
    }
}

#[test]
fn a_history_never_tells_the_label_of_its_own_pair() {
    let [train, ..] = synthetic::split(false, 2);
    let architecture = Architecture::deepfm(4, &[8]);
    let mut flipped = train.clone();
    flipped.labels[0] = 1.0 - flipped.labels[0];
    let score = |history: &Examples| {
        network(&architecture, true, history, 1).logits(&train.select(&[0, 1]))
    };
    assert_eq!(score(&train)[0], score(&flipped)[0]);
}

#[test]
fn what_stops_a_fit_is_named() {
    struct Cancel;
    impl Observer for Cancel {
        fn event(&self, _: Event) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let [train, validation, _] = synthetic::split(false, 1);
    let none = train.select(&[]);
    let run = |train: &Examples, validation: &Examples, observer: &dyn Observer, loss: f32| {
        let mut network = network(&Architecture::mlp(2, &[4]), false, train, 1);
        let fit = Fit {
            name: "net",
            train,
            validation,
            options: &options(),
            seed: 1,
            observer,
        };
        network.fit(fit, |_, _| (loss, 0.0)).unwrap_err()
    };
    assert_eq!(
        run(&train, &validation, &Cancel, 0.0),
        FitError::Cancelled {
            network: "net".into()
        }
    );
    assert_eq!(
        run(&train, &validation, &(), f32::NAN),
        FitError::Diverged {
            network: "net".into(),
            epoch: 1
        }
    );
    assert_eq!(
        run(&none, &validation, &(), 0.0),
        FitError::Empty {
            network: "net".into(),
            examples: "training"
        }
    );
    assert_eq!(
        run(&train, &none, &(), 0.0),
        FitError::Empty {
            network: "net".into(),
            examples: "validation"
        }
    );
}
