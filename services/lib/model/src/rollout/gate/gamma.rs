//! The logarithms of the gamma and the beta function, which the standard library has not.

use std::f64::consts::PI;

/// From here on the series below is exact to the last digits.
const LARGE: f64 = 10.0;

/// The natural logarithm of the gamma function of a number above zero: Stirling's series, after as many steps of
/// Γ(x + 1) = x Γ(x) as it takes to come where the series is good.
pub(super) fn ln_gamma(x: f64) -> f64 {
    let (mut large, mut steps) = (x, 1.0);
    while large < LARGE {
        steps *= large;
        large += 1.0;
    }
    let inverse = 1.0 / large;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))));
    (large - 0.5) * large.ln() - large + 0.5 * (2.0 * PI).ln() + series - steps.ln()
}

/// The natural logarithm of the beta function of two numbers above zero.
pub(super) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(value: f64, expected: f64) {
        let allowed = 1e-12 * expected.abs().max(1.0);
        assert!((value - expected).abs() <= allowed, "{value} {expected}");
    }

    #[test]
    fn values_that_are_known_otherwise() {
        assert_near(ln_gamma(1.0), 0.0);
        assert_near(ln_gamma(2.0), 0.0);
        assert_near(ln_gamma(0.5), 0.5 * PI.ln());
        assert_near(ln_gamma(1.5), (PI.sqrt() / 2.0).ln());
        assert_near(ln_gamma(11.0), 3_628_800_f64.ln());
        // The sum of the logarithms of 1 to 999.
        let factorial: f64 = (1..1_000).map(|number| f64::from(number).ln()).sum();
        assert_near(ln_gamma(1_000.0), factorial);
        assert_near(ln_beta(2.0, 3.0), (1.0_f64 / 12.0).ln());
        assert_near(ln_beta(0.5, 0.5), PI.ln());
    }

    /// Across the place where the series takes over, and far beyond it.
    #[test]
    fn each_step_multiplies_by_the_number() {
        for x in [0.01, 0.3, 4.7, 9.99, 10.0, 10.01, 123.4, 1e6] {
            assert_near(ln_gamma(x + 1.0), ln_gamma(x) + f64::ln(x));
        }
    }
}
