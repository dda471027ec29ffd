//! Which traces are begun. What somebody else decided before is followed.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

/// Takes a share of the calls, each by chance.
#[derive(Debug)]
pub(super) struct Ratio {
    /// Of the numbers of 64 bits, those up to here are hits.
    hits: u64,
    asked: AtomicU64,
    keys: RandomState,
}

impl Ratio {
    /// A share from 0 to 1.
    pub(super) fn new(share: f64) -> Self {
        Self {
            // A share of 1 is cut off at the largest number, as it should be.
            hits: (share * (u64::MAX as f64)) as u64,
            asked: AtomicU64::new(0),
            keys: RandomState::new(),
        }
    }

    /// Whether this one is taken.
    pub(super) fn takes(&self) -> bool {
        // A keyed hash of a count is as good as chance.
        self.hits > 0
            && self
                .keys
                .hash_one(self.asked.fetch_add(1, Ordering::Relaxed))
                <= self.hits
    }
}

/// Decides on spans that begin a trace in a service; the others follow their parent. For a call, the decision came before its
/// span, which would not have been made otherwise.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    calls: Sampler,
    others: Sampler,
}

impl Roots {
    /// A share from 0 to 1 of what is no call, such as a job that nobody traced.
    pub(super) fn new(share: f64) -> Self {
        Self {
            calls: Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            others: Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))),
        }
    }
}

impl ShouldSample for Roots {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampler = match span_kind {
            SpanKind::Server => &self.calls,
            _ => &self.others,
        };
        sampler.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept() {
        let taken = |share| {
            let ratio = Ratio::new(share);
            (0..10_000).filter(|_| ratio.takes()).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, 10_000));
        assert!((800..1_200).contains(&taken(0.1)), "{}", taken(0.1));
    }
}
