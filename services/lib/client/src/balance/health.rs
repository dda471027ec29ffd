//! Whether one scorer is in rotation: ejected after failures in a row, for longer each time, and back after a probe.

use std::time::{Duration, Instant};

/// Failures in a row that eject, where one alone says little: an answer UNAVAILABLE, or none at all.
pub(crate) const FAILURES: u32 = 3;
/// How long the first ejection lasts at most. It can be short, because a probe decides what follows it.
const FIRST: Duration = Duration::from_millis(200);
/// No ejection lasts longer. A scorer that stays in rotation for this long begins anew with the first.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// How a call failed, as far as that is the scorer's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It said UNAVAILABLE.
    Unavailable,
    /// No connection, or one that broke.
    Broken,
    /// No answer for a long time.
    Silent,
}

impl Failure {
    /// How many of them in a row eject. A connection that breaks does so at once: behind the next one there may be
    /// another process, which is to be asked first whether it serves yet.
    fn enough(self) -> u32 {
        match self {
            Self::Broken => 1,
            Self::Unavailable | Self::Silent => FAILURES,
        }
    }

    /// Whether the scorer refuses work, so that leaving it out takes nothing from the others. A silent one may just have
    /// too much to do, as its neighbours soon will if it is left out.
    pub(crate) fn refuses(self) -> bool {
        self != Self::Silent
    }
}

/// The health of one scorer.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    standing: Standing,
    /// When it entered its standing. Calls that began earlier say nothing about it.
    since: Instant,
    /// Failures in a row.
    failures: u32,
    last_failure: Option<Instant>,
    /// Ejections without a calm time in between.
    ejections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// In rotation.
    In,
    /// Out of rotation, and to be probed at this time.
    Out(Instant),
    /// Out of rotation while one probe is at work.
    Probed,
}

impl Health {
    /// A scorer of which nothing bad is known.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            standing: Standing::In,
            since: now,
            failures: 0,
            last_failure: None,
            ejections: 0,
        }
    }

    /// Whether it is in rotation.
    pub(crate) fn is_in(&self) -> bool {
        self.standing == Standing::In
    }

    /// Notes an answer to a call that began at `began`. `true` when this brings the scorer back into rotation.
    pub(crate) fn answered(&mut self, began: Instant, now: Instant) -> bool {
        if began < self.since {
            return false;
        }
        if !self.is_in() {
            self.enter(Standing::In, now);
            self.failures = 0;
            return true;
        }
        // A scorer that drains still answers what it took in earlier.
        if self.last_failure.is_none_or(|failed| began >= failed) {
            self.failures = 0;
        }
        false
    }

    /// Notes a failure of a call that began at `began`. When that is one too many and the scorer may be left out, it is,
    /// and the ejection's length is returned; `chance` in 0..1 shortens it by up to a half.
    pub(crate) fn failed(
        &mut self,
        failure: Failure,
        began: Instant,
        now: Instant,
        may_eject: bool,
        chance: f64,
    ) -> Option<Duration> {
        if !self.is_in() || began < self.since {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        if self.failures < failure.enough() || !may_eject {
            return None;
        }
        if now.saturating_duration_since(self.since) > LONGEST {
            self.ejections = 0;
        }
        Some(self.eject(now, chance))
    }

    /// When it is to be probed; `None` while it is in rotation or a probe is at work.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        match self.standing {
            Standing::Out(until) => Some(until),
            Standing::In | Standing::Probed => None,
        }
    }

    /// A probe begins. No other begins before [`probed`](Self::probed) has told what came of it.
    pub(crate) fn probe(&mut self) {
        self.standing = Standing::Probed;
    }

    /// Notes what a probe found. `true` when the scorer is back in rotation by it: on trial, so that the next failure
    /// ejects it again unless an answer comes first.
    pub(crate) fn probed(&mut self, passed: bool, now: Instant, chance: f64) -> bool {
        if self.standing != Standing::Probed {
            // An answer to a call was quicker.
            return false;
        }
        if !passed {
            self.eject(now, chance);
            return false;
        }
        self.enter(Standing::In, now);
        self.failures = FAILURES - 1;
        self.last_failure = None;
        true
    }

    fn eject(&mut self, now: Instant, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.ejections.min(16));
        let length = doubled.min(LONGEST).mul_f64(1.0 - chance / 2.0);
        self.ejections = self.ejections.saturating_add(1);
        self.enter(Standing::Out(now + length), now);
        length
    }

    fn enter(&mut self, standing: Standing, now: Instant) {
        self.standing = standing;
        self.since = now;
    }
}

#[cfg(test)]
mod tests;
