//! Confidence sequences: intervals that hold at all times together.
//!
//! The usual interval holds at one moment that was chosen beforehand. Looked at again and again until it says something, it
//! is wrong nearly as often as one likes. A confidence sequence is a little wider, and the chance that it ever leaves the
//! true value out, over all looks, is at most alpha. So a step may be looked at every second and ends with the first look
//! that decides.
//!
//! What is counted must be drawn alike and independently. Requests are routed by a hash or at random, which is what that
//! takes; whoever sends the same request over and over gets answers that are surer than they should be.

use super::super::evidence::Moments;
use super::gamma::ln_beta;

/// Bisection halves the interval so often: to the last digit of what lies between 0 and 1.
const HALVINGS: u32 = 60;

/// Bounds of a proportion, of which some of so many were hits. Exact, also when there are no hits at all.
///
/// Robbins' mixture: for each p, the likelihood of what was seen, averaged over all proportions with the weights of
/// Beta(1/2, 1/2) (which has most of its weight at the ends, where the rates of errors are), over its likelihood at p is a
/// martingale that begins at one when p is the truth; by Ville's inequality it ever reaches 1/alpha with a chance of at most
/// alpha. The bounds hold the p where it has not.
pub(super) fn proportion(hits: u64, of: u64, alpha: f64) -> (f64, f64) {
    if of == 0 || hits > of {
        return (0.0, 1.0);
    }
    let (hits, misses) = (hits as f64, (of - hits) as f64);
    let mixed = ln_beta(hits + 0.5, misses + 0.5) - ln_beta(0.5, 0.5);
    let is_out = |p: f64| mixed - log_likelihood(hits, misses, p) >= -alpha.ln();
    // The likelihood has one summit, at the share that was seen: on each side of it there is one bound.
    let seen = hits / of as f64;
    let low = bisect(seen, 0.0, is_out);
    let high = bisect(seen, 1.0, is_out);
    (low, high)
}

/// Of so many values in order, the first and the last place, from 1, where the given quantile of what they are drawn from can
/// lie; 0 is below the least value, and one more than there are is above the greatest.
///
/// How many values lie at or below the quantile is a count of hits whose proportion is known. The martingale is the one of
/// [`proportion`], and since the proportion is known, its weights lie about it: as wide as serves best once `typical` values
/// were counted.
pub(super) fn places(of: u64, quantile: f64, alpha: f64, typical: u64) -> (u64, u64) {
    let weight = (1.0 / mixture_variance(alpha, typical) - 1.0).max(1.0);
    let (a, b) = (weight * quantile, weight * (1.0 - quantile));
    let before = ln_beta(a, b);
    let is_in = |below: u64| {
        let (hits, misses) = (below as f64, (of - below) as f64);
        let mixed = ln_beta(hits + a, misses + b) - before;
        mixed - log_likelihood(hits, misses, quantile) < -alpha.ln()
    };
    // The martingale is convex in the count, with its valley where the proportion says.
    let middle = ((of as f64 * quantile).round() as u64).min(of);
    let (mut least, mut reach) = (middle, 0);
    while reach < least {
        let probe = reach + (least - reach) / 2;
        if is_in(probe) {
            least = probe;
        } else {
            reach = probe + 1;
        }
    }
    let (mut most, mut reach) = (middle, of);
    while most < reach {
        let probe = reach - (reach - most) / 2;
        if is_in(probe) {
            most = probe;
        } else {
            reach = probe - 1;
        }
    }
    (least, most + 1)
}

/// Bounds of a mean of values whose greatest and least lie `range` apart, or are not expected to lie farther apart.
///
/// An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
/// asymptotic confidence sequences", theorem 2.2): what the central limit theorem is to the usual interval. It is tightest
/// when about `typical` values were counted.
///
/// The variance is estimated, and until something unusual was seen it is estimated too small; at first even as zero, when all
/// values are equal. So it is estimated as though one more value had been half the range off the mean.
pub(super) fn mean(moments: &Moments, range: f64, alpha: f64, typical: u64) -> Option<(f64, f64)> {
    if !moments.sum.is_finite() || !moments.squares.is_finite() {
        return None;
    }
    let (mean, variance) = (moments.mean()?, moments.variance()?);
    let count = moments.count as f64;
    let variance = (count * variance + range * range / 4.0) / (count + 1.0);
    let scaled = count * mixture_variance(alpha, typical);
    let squared = 2.0 * (scaled + 1.0) / (count * scaled) * ((scaled + 1.0).sqrt() / alpha).ln();
    let radius = (variance * squared).sqrt();
    radius.is_finite().then_some((mean - radius, mean + radius))
}

/// How far the distribution of so many values is from what they are drawn from, at the most, wherever one looks.
///
/// Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm identification",
/// theorem 2: the inequality of Dvoretzky, Kiefer and Wolfowitz for all times together.
pub(super) fn distribution(of: u64, alpha: f64) -> f64 {
    if of == 0 {
        return 1.0;
    }
    let count = of as f64;
    let iterated = (1.0 + count.ln()).ln();
    (0.85 * ((iterated + 0.8 * (1612.0 / alpha).ln()) / count).sqrt()).min(1.0)
}

/// The variance of the mixture, in units of the variance of a value, with which the bounds are tightest when so many values
/// were counted: the closed form that the paper on [`mean`] gives for rho squared.
fn mixture_variance(alpha: f64, typical: u64) -> f64 {
    let twice = -2.0 * alpha.ln();
    (twice + (1.0 + twice).ln()) / typical.max(1) as f64
}

/// The logarithm of the likelihood of hits and misses. None of a kind says nothing, even where the kind cannot be.
fn log_likelihood(hits: f64, misses: f64, p: f64) -> f64 {
    let part = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
    part(hits, p) + part(misses, 1.0 - p)
}

/// The place between one that is in and an end where it is out from; the end when that is in too.
fn bisect(inside: f64, end: f64, is_out: impl Fn(f64) -> bool) -> f64 {
    if !is_out(end) {
        return end;
    }
    let (mut inside, mut outside) = (inside, end);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(inside, outside);
        if is_out(middle) {
            outside = middle;
        } else {
            inside = middle;
        }
    }
    outside
}

#[cfg(test)]
mod tests;
