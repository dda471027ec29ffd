//! When calls are due: a Poisson process, fixed by its seed before the first call is made.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Arrival times from the start, ascending, at `rate` calls a second on average.
///
/// Independent callers arrive like this. At an even pace, or with each caller waiting for its last answer, a server that
/// stalls is asked less just while it stalls, and its tail looks better than it is.
pub fn poisson(rate: f64, length: Duration, seed: u64) -> Vec<Duration> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut at = 0.0;
    let mut arrivals = Vec::with_capacity((rate * length.as_secs_f64() * 1.1) as usize);
    loop {
        let uniform: f64 = random.random();
        at -= (1.0 - uniform).ln() / rate;
        if at >= length.as_secs_f64() {
            return arrivals;
        }
        arrivals.push(Duration::from_secs_f64(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_ascend_at_the_rate_asked_for_and_vary_as_poissons_do() {
        let arrivals = poisson(1000.0, Duration::from_secs(20), 1);
        assert!(arrivals.is_sorted());
        let count = arrivals.len() as f64;
        assert!(
            (count - 20_000.0).abs() < 5.0 * 20_000.0_f64.sqrt(),
            "{count}"
        );
        let gaps: Vec<f64> = arrivals
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.05,
            "exponential gaps deviate by their mean"
        );
        assert_eq!(
            poisson(100.0, Duration::from_secs(1), 7),
            poisson(100.0, Duration::from_secs(1), 7)
        );
    }
}
