//! Which scorer is asked next: a state machine to which time and chance are passed in, and which does nothing itself.
//!
//! Two scorers are drawn, each with a weight that falls with the load that it said it had; of the two, the one with fewer
//! calls of ours per weight is asked. What scorers say is old by the time it is used, and all clients hear the same, so
//! it only shifts the odds; what is in flight is known exactly, so it decides.

mod health;
mod budget;

pub(crate) use budget::Budget;
pub(crate) use health::Failure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use self::health::Health;

/// After this time, what a scorer said of its load counts half.
const HALF_LIFE: Duration = Duration::from_secs(1);
/// More than this is not believed.
const HIGHEST_LOAD: f32 = 4.0;
/// How much less a scorer under full load is drawn than an idle one: five times.
const LOAD_WEIGHT: f64 = 4.0;
/// A scorer that is busy is avoided for as long as it asked, but no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Names a scorer for as long as it is known; one that goes and comes back gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// The scorers that are known, with a connection to each.
#[derive(Debug)]
pub(crate) struct Balancer<C> {
    scorers: Vec<Known<C>>,
    keys: u64,
}

#[derive(Debug)]
struct Known<C> {
    key: Key,
    address: Arc<str>,
    connection: C,
    in_flight: u32,
    load: Option<(f32, Instant)>,
    busy_until: Option<Instant>,
    health: Health,
}

/// The scorer that is to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Picked<C> {
    pub(crate) key: Key,
    pub(crate) address: Arc<str>,
    pub(crate) connection: C,
}

/// What a call tells about the scorer that was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It answered, if only to say what is wrong with the request, and perhaps how busy it is.
    Answered { load: Option<f32> },
    /// It has too much to do, and is to be left alone for this time.
    Busy(Duration),
    /// It failed.
    Failed(Failure),
    /// The caller lost interest before anything could be told.
    Abandoned,
}

/// A scorer left or entered the rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Ejected {
        address: Arc<str>,
        failure: Failure,
        length: Duration,
    },
    Readmitted {
        address: Arc<str>,
    },
}

/// A scorer as it is seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScorerStatus {
    /// Its address.
    pub address: String,
    /// Whether it has been taken out of rotation, and is being probed.
    pub ejected: bool,
    /// Calls that wait for its answer.
    pub in_flight: u32,
}

impl<C> Default for Balancer<C> {
    fn default() -> Self {
        Self {
            scorers: Vec::new(),
            keys: 0,
        }
    }
}

impl<C: Clone> Balancer<C> {
    /// Forgets the scorers at all other addresses. Calls in flight there go on.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.scorers.retain(|known| wanted(&known.address));
    }

    /// Whether there is a scorer at this address.
    pub(crate) fn knows(&self, address: &str) -> bool {
        self.scorers.iter().any(|known| *known.address == *address)
    }

    /// A further scorer, of which nothing bad is known.
    pub(crate) fn add(&mut self, address: Arc<str>, connection: C, now: Instant) {
        self.keys += 1;
        self.scorers.push(Known {
            key: Key(self.keys),
            address,
            connection,
            in_flight: 0,
            load: None,
            busy_until: None,
            health: Health::new(now),
        });
    }

    /// Whether no scorer is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.scorers.is_empty()
    }

    /// The scorer to be asked next by a call that has `tried` some; `None` when none is left. Its call is in flight until
    /// [`finish`](Self::finish). Busy ones come after the others. Those that were ejected are asked only when all were:
    /// then one that answers is better than none that is asked.
    pub(crate) fn pick(
        &mut self,
        tried: &[Key],
        now: Instant,
        random: &mut impl Rng,
    ) -> Option<Picked<C>> {
        if let Some(picked) = self.pick_ready(tried, now, random) {
            return Some(picked);
        }
        let all_out = !self.scorers.iter().any(|known| known.health.is_in());
        let place = self.draw(now, random, |known| {
            (known.health.is_in() || all_out) && !tried.contains(&known.key)
        })?;
        Some(self.begin(place))
    }

    /// The same, but only a scorer that is in rotation and not busy.
    pub(crate) fn pick_ready(
        &mut self,
        tried: &[Key],
        now: Instant,
        random: &mut impl Rng,
    ) -> Option<Picked<C>> {
        let place = self.draw(now, random, |known| {
            known.health.is_in() && !known.is_busy(now) && !tried.contains(&known.key)
        })?;
        Some(self.begin(place))
    }

    /// A call that began at `began` is over.
    pub(crate) fn finish(
        &mut self,
        key: Key,
        began: Instant,
        outcome: Outcome,
        now: Instant,
        random: &mut impl Rng,
    ) -> Option<Change> {
        let may_eject = self.may_eject();
        let known = self.scorers.iter_mut().find(|known| known.key == key)?;
        known.in_flight -= 1;
        let readmitted = match outcome {
            Outcome::Abandoned => false,
            Outcome::Answered { load } => {
                if let Some(load) = load.filter(|load| load.is_finite()) {
                    known.load = Some((load.clamp(0.0, HIGHEST_LOAD), now));
                }
                known.busy_until = None;
                known.health.answered(began, now)
            }
            Outcome::Busy(rest) => {
                known.busy_until = Some(now + rest.min(LONGEST_REST));
                known.health.answered(began, now)
            }
            Outcome::Failed(failure) => {
                let length = known.health.failed(
                    failure,
                    began,
                    now,
                    failure.refuses() || may_eject,
                    random.random(),
                )?;
                return Some(Change::Ejected {
                    address: Arc::clone(&known.address),
                    failure,
                    length,
                });
            }
        };
        readmitted.then(|| Change::Readmitted {
            address: Arc::clone(&known.address),
        })
    }

    /// When the next probe is due.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        let times = self
            .scorers
            .iter()
            .filter_map(|known| known.health.probe_at());
        times.min()
    }

    /// The scorers that are to be probed now. Each is probed once until [`probed`](Self::probed) says what came of it.
    pub(crate) fn begin_probes(&mut self, now: Instant) -> Vec<(Key, C)> {
        let due = self
            .scorers
            .iter_mut()
            .filter(|known| known.health.probe_at().is_some_and(|at| at <= now));
        due.map(|known| {
            known.health.probe();
            (known.key, known.connection.clone())
        })
        .collect()
    }

    /// Notes what a probe found.
    pub(crate) fn probed(
        &mut self,
        key: Key,
        passed: bool,
        now: Instant,
        random: &mut impl Rng,
    ) -> Option<Change> {
        let known = self.scorers.iter_mut().find(|known| known.key == key)?;
        let readmitted = known.health.probed(passed, now, random.random());
        readmitted.then(|| Change::Readmitted {
            address: Arc::clone(&known.address),
        })
    }

    /// All scorers as they are seen now.
    pub(crate) fn statuses(&self) -> Vec<ScorerStatus> {
        let status = |known: &Known<C>| ScorerStatus {
            address: known.address.to_string(),
            ejected: !known.health.is_in(),
            in_flight: known.in_flight,
        };
        self.scorers.iter().map(status).collect()
    }

    /// Whether a scorer may be left out that did not refuse work itself: no more than half may be out by that.
    fn may_eject(&self) -> bool {
        let out = self.scorers.iter().filter(|known| !known.health.is_in());
        2 * (out.count() + 1) <= self.scorers.len()
    }

    /// Of two eligible scorers drawn by weight, the one with fewer calls per weight; the first drawn, if they are equal.
    fn draw(
        &self,
        now: Instant,
        random: &mut impl Rng,
        eligible: impl Fn(&Known<C>) -> bool,
    ) -> Option<usize> {
        // A race: whoever has weight w arrives after an exponential time of rate w. The first two to arrive are
        // a draw by weight without putting back.
        let mut first: Option<(f64, usize)> = None;
        let mut second: Option<(f64, usize)> = None;
        for (place, known) in self.scorers.iter().enumerate() {
            if !eligible(known) {
                continue;
            }
            let arrival = -(1.0 - random.random::<f64>()).ln() / known.weight(now);
            if first.is_none_or(|(earliest, _)| arrival < earliest) {
                second = first.replace((arrival, place));
            } else if second.is_none_or(|(earlier, _)| arrival < earlier) {
                second = Some((arrival, place));
            }
        }
        let (_, place) = first?;
        match second {
            Some((_, other)) if self.scorers[other].cost(now) < self.scorers[place].cost(now) => {
                Some(other)
            }
            _ => Some(place),
        }
    }

    fn begin(&mut self, place: usize) -> Picked<C> {
        let known = &mut self.scorers[place];
        known.in_flight += 1;
        Picked {
            key: known.key,
            address: Arc::clone(&known.address),
            connection: known.connection.clone(),
        }
    }
}

impl<C> Known<C> {
    /// 1 for a scorer that is idle, or of which nothing is known; less for one that is loaded.
    fn weight(&self, now: Instant) -> f64 {
        let load = self.load.map_or(0.0, |(load, said)| {
            let half_lives = now
                .saturating_duration_since(said)
                .div_duration_f64(HALF_LIFE);
            f64::from(load) * (-half_lives).exp2()
        });
        1.0 / (1.0 + LOAD_WEIGHT * load)
    }

    fn cost(&self, now: Instant) -> f64 {
        f64::from(self.in_flight) / self.weight(now)
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests;
