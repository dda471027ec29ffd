//! How far the scores of two versions are spread apart, from their counts in bins.

/// What counts of zero are taken for: a score that did not come up yet is rare, not impossible.
const UNSEEN: f64 = 0.5;

/// The stable version's scores are cut in so many parts of about the same size.
const PARTS: u64 = 10;

/// The population stability index, and what chance alone makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stability {
    /// The index, chance included.
    pub(super) index: f64,
    /// What it is expected to be for two versions whose scores are spread alike.
    pub(super) by_chance: f64,
}

/// The Kolmogorov-Smirnov distance: the greatest difference between the shares of scores up to the end of a bin. The true one
/// may be greater where a bin hides it. `None` of nothing.
pub(super) fn distance(candidate: &[u64], stable: &[u64]) -> Option<f64> {
    let (all_candidate, all_stable) = totals(candidate, stable)?;
    let (mut below_candidate, mut below_stable) = (0, 0);
    let mut greatest: f64 = 0.0;
    for (of_candidate, of_stable) in candidate.iter().zip(stable) {
        below_candidate += of_candidate;
        below_stable += of_stable;
        let share = below_candidate as f64 / all_candidate;
        greatest = greatest.max((share - below_stable as f64 / all_stable).abs());
    }
    Some(greatest)
}

/// The population stability index over the parts of the stable version's scores: the sum over them of (p - q) ln(p / q).
/// `None` of nothing.
///
/// Its expected value for two equal distributions is about (parts - 1) (1/n + 1/m): with few scores it is large, whatever the
/// versions do.
pub(super) fn stability(candidate: &[u64], stable: &[u64]) -> Option<Stability> {
    let (all_candidate, all_stable) = totals(candidate, stable)?;
    let parts = parts(candidate, stable);
    let unseen = UNSEEN * parts.len() as f64;
    let share = |count: u64, all: f64| (count as f64 + UNSEEN) / (all + unseen);
    let index = parts.iter().map(|&(of_candidate, of_stable)| {
        let (p, q) = (
            share(of_candidate, all_candidate),
            share(of_stable, all_stable),
        );
        (p - q) * (p / q).ln()
    });
    let degrees = parts.len().saturating_sub(1) as f64;
    Some(Stability {
        index: index.sum(),
        by_chance: degrees * (1.0 / all_candidate + 1.0 / all_stable),
    })
}

/// How many scores there are; `None` when one of the two has none.
fn totals(candidate: &[u64], stable: &[u64]) -> Option<(f64, f64)> {
    let total = |bins: &[u64]| bins.iter().sum::<u64>();
    let (candidate, stable) = (total(candidate), total(stable));
    (candidate > 0 && stable > 0).then_some((candidate as f64, stable as f64))
}

/// Joins neighbouring bins until each part has a tenth of the stable version's scores. A bin that has so many by itself is a
/// part of its own: else what moved to its neighbours would not be seen. Parts without any score are left out.
fn parts(candidate: &[u64], stable: &[u64]) -> Vec<(u64, u64)> {
    let all: u64 = stable.iter().sum();
    let is_full = |of_stable: u64| of_stable.saturating_mul(PARTS) >= all;
    let (mut parts, mut part) = (Vec::new(), (0, 0));
    for (&of_candidate, &of_stable) in candidate.iter().zip(stable) {
        if is_full(of_stable) {
            parts.push(std::mem::take(&mut part));
        }
        part.0 += of_candidate;
        part.1 += of_stable;
        if is_full(part.1) {
            parts.push(std::mem::take(&mut part));
        }
    }
    parts.push(part);
    parts.retain(|part| *part != (0, 0));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten bins of a hundred scores each.
    const EVEN: [u64; 10] = [100; 10];

    #[test]
    fn equal_counts_are_no_distance_apart() {
        assert_eq!(distance(&EVEN, &EVEN), Some(0.0));
        assert_eq!(distance(&[10; 10], &EVEN), Some(0.0));
        let same = stability(&EVEN, &EVEN).unwrap();
        assert_eq!(same.index, 0.0);
        // Nine degrees of freedom, a thousand scores on each side.
        assert!((same.by_chance - 0.018).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_no_distance() {
        assert_eq!(distance(&[0; 10], &EVEN), None);
        assert_eq!(stability(&EVEN, &[0; 10]), None);
    }

    #[test]
    fn half_of_a_bin_moved_up() {
        let mut moved = EVEN;
        moved[0] = 50;
        moved[9] = 150;
        let apart = distance(&moved, &EVEN).unwrap();
        assert!((apart - 0.05).abs() < 1e-12, "{apart}");
        // By hand: with half a score more in each bin, (50 ln(100.5 / 50.5) + 50 ln(150.5 / 100.5)) / 1005.
        let index = stability(&moved, &EVEN).unwrap().index;
        let expected = 50.0 * (150.5_f64 / 50.5).ln() / 1005.0;
        assert!((index - expected).abs() < 1e-12, "{index}");
    }

    #[test]
    fn sparse_bins_are_joined_to_tenths() {
        let stable = [1; 100];
        let parts = parts(&[2; 100], &stable);
        assert_eq!(parts, vec![(20, 10); 10]);
    }

    /// A version whose scores are all in one bin: what leaves it, on either side, is seen.
    #[test]
    fn a_full_bin_stands_alone() {
        let mut stable = [0; 160];
        stable[80] = 1_000;
        for to in [79, 81] {
            let mut moved = [0; 160];
            moved[80] = 500;
            moved[to] = 500;
            let index = stability(&moved, &stable).unwrap().index;
            assert!(index > 1.0, "{to}: {index}");
        }
        assert_eq!(parts(&stable, &stable), [(1_000, 1_000)]);
    }
}
