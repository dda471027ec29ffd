use std::collections::HashSet;

use super::*;
use crate::network::sigmoid;
use crate::synthetic;

#[test]
fn folds_are_a_partition_that_the_seed_decides() {
    let folds = Folds::new(103, 4, 1);
    let mut seen: Vec<usize> = (0..4).flat_map(|fold| folds.inside(fold)).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..103).collect::<Vec<_>>());
    assert!((0..4).all(|fold| (25..=26).contains(&folds.inside(fold).len())));
    assert_eq!(folds.inside(2), Folds::new(103, 4, 1).inside(2));
    assert_ne!(folds.inside(2), Folds::new(103, 4, 2).inside(2));

    let [train, ..] = synthetic::split(false, 1);
    let (outside, inside) = Folds::new(train.len(), 3, 1).split(&train, 0);
    assert_eq!(outside.len() + inside.len(), train.len());
    let outside: HashSet<_> = outside.pairs.into_iter().collect();
    assert!(inside.pairs.iter().all(|pair| !outside.contains(pair)));
}

#[test]
fn unlabelled_pairs_are_new_and_different() {
    let [train, validation, _] = synthetic::split(false, 1);
    let more = unlabelled(&[&train, &validation], 500, 1).unwrap();
    let pairs: HashSet<_> = more.pairs.iter().copied().collect();
    assert_eq!(pairs.len(), 500);
    assert!(
        train
            .pairs
            .iter()
            .chain(&validation.pairs)
            .all(|pair| !pairs.contains(pair))
    );
    assert_eq!(
        more.pairs,
        unlabelled(&[&train, &validation], 500, 1).unwrap().pairs
    );
    assert!(unlabelled(&[&train], 0, 1).unwrap().is_empty());
    // 60 users and 40 items make 2400 pairs, of which 1400 are known.
    let error = unlabelled(&[&train, &validation], 1001, 1).unwrap_err();
    assert!(error.wanted == 1001 && error.found <= 1000, "{error}");
}

#[test]
fn labels_and_teachers_share_the_loss() {
    let [train, ..] = synthetic::split(false, 1);
    let train = train.select(&[0, 1]);
    let more = train.clone();
    let spec = DistillSpec {
        alpha: 0.25,
        ..DistillSpec::default()
    };
    let lessons = Lessons::from_teachers(&train, vec![2.0, -1.0], (&more, vec![0.5, 0.0]), &spec);
    assert_eq!(lessons.examples.len(), 4);
    // Cross-entropy is linear in its target, so both together are one target between label and teacher.
    let target = 0.25 * train.labels[0] + 0.75 * sigmoid(2.0);
    let (expected, got) = (cross_entropy(0.3, target), lessons.objective(0, 0.3));
    assert!((expected.0 - got.0).abs() < 1e-6 && (expected.1 - got.1).abs() < 1e-6);
    // Without a label the teachers have it all.
    assert_eq!(lessons.objective(2, 0.3), cross_entropy(0.3, sigmoid(0.5)));
    let labels = Lessons::from_labels(&train);
    assert_eq!(
        labels.objective(1, 0.3),
        cross_entropy(0.3, train.labels[1])
    );
}
