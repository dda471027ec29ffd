//! What was done and what happened, as it happens and for afterwards.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// Around a violation, so much of what happened is told.
const AROUND: Duration = Duration::from_secs(10);

/// The events of a run.
pub(crate) struct Journal {
    begun: Mutex<SystemTime>,
    events: Mutex<Vec<(SystemTime, String)>>,
}

impl Journal {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self {
            begun: Mutex::new(SystemTime::now()),
            events: Mutex::default(),
        }
    }

    /// Counts time from now on.
    pub(crate) fn restart(&self) {
        *self.begun.lock().unwrap() = SystemTime::now();
    }

    /// Notes an event, and prints it.
    pub(crate) fn say(&self, event: impl Into<String>) {
        let (now, event) = (SystemTime::now(), event.into());
        print(&self.line(now, &event));
        self.events.lock().unwrap().push((now, event));
    }

    /// The events around this time.
    pub(crate) fn around(&self, at: SystemTime) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let near = events.iter().filter(|(when, _)| {
            let apart = at.duration_since(*when);
            apart.unwrap_or_else(|later| later.duration()) <= AROUND
        });
        near.map(|(when, event)| self.line(*when, event)).collect()
    }

    /// When something was, from the beginning.
    pub(crate) fn since(&self, at: SystemTime) -> Duration {
        let begun = *self.begun.lock().unwrap();
        at.duration_since(begun).unwrap_or_default()
    }

    fn line(&self, at: SystemTime, event: &str) -> String {
        format!("{:8.2} s  {event}", self.since(at).as_secs_f64())
    }
}

#[expect(
    clippy::print_stdout,
    reason = "whoever waits for a run sees it happen"
)]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_time_is_what_happened_near_it() {
        let journal = Journal::new();
        let begun = *journal.begun.lock().unwrap();
        for (second, event) in [
            (0, "long before"),
            (12, "before"),
            (30, "after"),
            (60, "late"),
        ] {
            let at = begun + Duration::from_secs(second);
            journal.events.lock().unwrap().push((at, event.to_owned()));
        }
        let told = journal.around(begun + Duration::from_secs(21));
        assert_eq!(told, ["   12.00 s  before", "   30.00 s  after"]);
    }
}
