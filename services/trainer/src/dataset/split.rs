//! Which examples are held back.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

use crate::spec::SplitSpec;

use super::error::DatasetError;

/// Positions of examples, each in exactly one part and in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) train: Vec<usize>,
    pub(super) validation: Vec<usize>,
    pub(super) test: Vec<usize>,
}

/// Draws the parts. The same number of examples and the same seed give the same parts for ever: the draw is part of
/// what a dataset's digest stands for, so neither the generator nor the shuffle is left to a library's next version.
pub(super) fn split(examples: usize, spec: &SplitSpec) -> Result<Split, DatasetError> {
    let part = |share: f64| (share * examples as f64).round() as usize;
    let (validation, test) = (part(spec.validation), part(spec.test));
    if validation == 0 || test == 0 || validation + test >= examples {
        let parts = format!("{} validation and {} test", spec.validation, spec.test);
        return Err(DatasetError::Unusable(format!(
            "data.split: {examples} interactions are too few for parts of {parts}, with something left to train on"
        )));
    }
    let mut shuffled = permutation(examples, spec.seed);
    let mut train = shuffled.split_off(validation + test);
    let mut test = shuffled.split_off(validation);
    let mut validation = shuffled;
    for part in [&mut train, &mut validation, &mut test] {
        part.sort_unstable();
    }
    Ok(Split {
        train,
        validation,
        test,
    })
}

/// Fisher and Yates' shuffle of `0..length`.
fn permutation(length: usize, seed: u64) -> Vec<usize> {
    /// The stream is PCG's own default; any would do, but it must stay.
    const STREAM: u128 = 0xa02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96;
    let mut generator = Pcg64::new(u128::from(seed), STREAM);
    let mut positions: Vec<usize> = (0..length).collect();
    for last in (1..length).rev() {
        // The high half of the product is uniform in 0..=last but for a bias below length / 2^64.
        let product = u128::from(generator.next_u64()) * (last as u128 + 1);
        positions.swap(last, (product >> 64) as usize);
    }
    positions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_draw_never_changes() {
        assert_eq!(permutation(10, 42), permutation(10, 42));
        assert_ne!(permutation(10, 42), permutation(10, 43));
        // If this fails, every dataset's split has changed under an unchanged digest.
        assert_eq!(permutation(10, 42), [3, 0, 2, 6, 5, 7, 1, 8, 9, 4]);
    }

    #[test]
    fn every_position_is_as_likely_as_any_other() {
        let mut counts = [0_u32; 5];
        for seed in 0..5000 {
            counts[permutation(5, seed)[0]] += 1;
        }
        assert!(
            counts.iter().all(|&count| (850..1150).contains(&count)),
            "{counts:?}"
        );
    }

    #[test]
    fn too_few_examples_are_refused() {
        let spec = SplitSpec {
            seed: 1,
            validation: 0.1,
            test: 0.1,
        };
        for examples in 0..5 {
            let error = split(examples, &spec).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("data.split: {examples} interactions are too few")),
                "{error}"
            );
        }
        assert_eq!(split(5, &spec).unwrap().train.len(), 3);
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete(
            examples in 0_usize..500, seed in any::<u64>(), validation in 0.01..0.98_f64, test in 0.01..0.98_f64
        ) {
            if let Ok(parts) = split(examples, &SplitSpec { seed, validation, test }) {
                let mut all = [parts.train.clone(), parts.validation, parts.test].concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..examples).collect::<Vec<_>>());
                prop_assert!(!parts.train.is_empty());
            }
        }
    }
}
