//! How long a rollout has been where it is: what leaders have seen pass, so that a time in which nobody looked, or in which
//! nothing could be decided, does not count.

use decant_coordination::keys::ProgressRecord;
use decant_model::rollout::Phase;
use tokio::time::{Duration, Instant};

/// How long scorers may take to tell what they counted; between two looks it may pass once more than the interval.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);

/// Counts the time in a phase and step.
pub(super) struct Clock {
    place: Option<(Phase, usize)>,
    elapsed: Duration,
    looked: Option<Instant>,
}

impl Clock {
    /// Goes on from what an earlier leader has seen.
    pub(super) fn new(before: Option<&ProgressRecord>) -> Self {
        Self {
            place: before.map(|before| (before.phase, before.step)),
            elapsed: before.map_or(Duration::ZERO, |before| {
                Duration::from_millis(before.elapsed_millis)
            }),
            looked: None,
        }
    }

    /// The leader looks. The time since it looked last counts if something goes on, up to the longest that lies between two
    /// looks of a process that is not held up.
    pub(super) fn pass(
        &mut self,
        place: (Phase, usize),
        now: Instant,
        goes_on: bool,
        longest: Duration,
    ) {
        let last = self.looked.replace(now);
        if self.place != Some(place) {
            self.place = Some(place);
            self.elapsed = Duration::ZERO;
        } else if let Some(last) = last.filter(|_| goes_on) {
            self.elapsed += now.duration_since(last).min(longest);
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// The longest time between two looks that counts.
pub(super) fn longest_step(interval: Duration) -> Duration {
    2 * (interval + DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_time_that_was_looked_at_counts() {
        let (mut now, longest) = (Instant::now(), 3 * SECOND);
        let mut clock = Clock::new(None);
        let mut after = |time: Duration, place: (Phase, usize), goes_on: bool| {
            now += time;
            clock.pass(place, now, goes_on, longest);
            clock.elapsed()
        };
        let (first, second) = ((Phase::Progressing, 0), (Phase::Progressing, 1));
        assert_eq!(after(SECOND, first, true), Duration::ZERO);
        assert_eq!(after(SECOND, first, true), SECOND);
        assert_eq!(
            after(SECOND, first, false),
            SECOND,
            "nothing could be decided"
        );
        assert_eq!(
            after(100 * SECOND, first, true),
            4 * SECOND,
            "it was held up"
        );
        assert_eq!(after(SECOND, second, true), Duration::ZERO, "a new step");
        assert_eq!(after(SECOND, second, true), SECOND);
    }

    #[test]
    fn the_next_leader_goes_on_from_the_last_ones_time() {
        let before = ProgressRecord {
            phase: Phase::Paused,
            step: 2,
            elapsed_millis: 1500,
            judgement: Default::default(),
            actual_basis_points: None,
            requests: 0,
            waits_for: String::new(),
            silent: Vec::new(),
        };
        let now = Instant::now();
        let mut clock = Clock::new(Some(&before));
        clock.pass((Phase::Paused, 2), now, true, SECOND);
        assert_eq!(clock.elapsed(), Duration::from_millis(1500));
        let mut clock = Clock::new(Some(&before));
        clock.pass((Phase::Progressing, 2), now, true, SECOND);
        assert_eq!(
            clock.elapsed(),
            Duration::ZERO,
            "of another phase it says nothing"
        );
    }
}
