//! Calls that end without an answer: whether they may be made again, how often, and how long each may take.

use std::error::Error;
use std::time::{Duration, Instant};

use tonic::{Code, ConnectError, Status};

use super::{Answered, Remote};
use crate::failure::Failure;

/// How often a change with a request id is asked for at least.
const CHANGE_TRIES: usize = 3;
/// The pause after all replicas were asked once; it doubles with each round. A registry that restarts, or waits for its
/// store to elect a leader, is back within a second or two.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat<'a> {
    /// It reads: each replica may be asked once.
    Freely,
    /// It changes something, under this request id, which keeps it from being done twice.
    ById(&'a str),
    /// It changes something and has no id: only while it is certain that nobody has received it.
    Unsent,
}

impl Repeat<'_> {
    /// How often the call is made at most.
    fn tries(self, replicas: usize) -> usize {
        match self {
            Repeat::Freely | Repeat::Unsent => replicas,
            Repeat::ById(_) => replicas.max(CHANGE_TRIES),
        }
    }

    /// How long the next try may take, when so much time is left for so many: one silent replica must not use it all up.
    fn budget(self, left: Duration, tries: usize) -> Duration {
        match self {
            Repeat::Freely | Repeat::ById(_) => left / u32::try_from(tries).unwrap_or(u32::MAX),
            Repeat::Unsent => left,
        }
    }

    /// Whether the call may be made again after it ended like this.
    fn allows(self, end: &End) -> bool {
        match end {
            End::NotSent(_) => true,
            End::Unanswered(_) | End::Silence(_) => self != Repeat::Unsent,
            End::Refused(_) => false,
        }
    }
}

/// How long to wait after so many tries before the next.
fn pause(tries: usize, replicas: usize) -> Duration {
    if !tries.is_multiple_of(replicas) {
        return Duration::ZERO;
    }
    let rounds = u32::try_from(tries / replicas).unwrap_or(u32::MAX);
    PAUSE * 2_u32.saturating_pow(rounds.saturating_sub(1)).min(8)
}

/// How a call ended that brought nothing.
#[derive(Debug)]
pub(super) enum End {
    /// There was no connection to send it through.
    NotSent(Status),
    /// The connection was cut, or the service cannot say what came of it.
    Unanswered(Status),
    /// Nothing came in this time.
    Silence(Duration),
    /// The service's answer is no.
    Refused(Status),
}

impl End {
    fn new(status: Status, elapsed: Duration, budget: Duration) -> Self {
        match status.code() {
            // The deadline travels with the request: whichever side notices first, the user reads the same.
            Code::Cancelled | Code::DeadlineExceeded if elapsed >= budget => End::Silence(budget),
            _ if is_unconnected(&status) => End::NotSent(status),
            Code::Unavailable | Code::DeadlineExceeded => End::Unanswered(status),
            // Only statuses that this side made have a source: a connection that was cut.
            _ if status.source().is_some() => End::Unanswered(status),
            _ => End::Refused(status),
        }
    }

    /// Whether the service may have done what it was asked for.
    fn is_open(&self) -> bool {
        matches!(self, End::Unanswered(_) | End::Silence(_))
    }

    /// The end in words.
    fn failure(&self, remote: &Remote, replica: usize) -> Failure {
        let address = &remote.replicas[replica].address;
        match self {
            End::NotSent(status) | End::Unanswered(status) | End::Refused(status) => {
                Failure::from_status(remote.service, address, status)
            }
            // All tries together took what the user allowed, if there is nobody else that some of them went to.
            End::Silence(_) if remote.replicas.len() == 1 => {
                Failure::timed_out(remote.service, address, remote.timeout)
            }
            End::Silence(budget) => Failure::timed_out(remote.service, address, *budget),
        }
    }
}

fn is_unconnected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The tries of one call.
pub(super) struct Tries<'a> {
    repeat: Repeat<'a>,
    left: usize,
    made: usize,
    /// What came of those that were made, where there are several replicas to tell apart.
    earlier: Vec<String>,
    /// Whether one of them may have done what it asked for.
    is_open: bool,
}

impl<'a> Tries<'a> {
    pub(super) fn new(repeat: Repeat<'a>, replicas: usize) -> Self {
        Self {
            repeat,
            left: repeat.tries(replicas),
            made: 0,
            earlier: Vec::new(),
            is_open: false,
        }
    }

    /// How long the next one may take.
    pub(super) fn budget(&self, left: Duration) -> Duration {
        self.repeat.budget(left, self.left)
    }

    /// Takes note of how one ended: how long to wait before the next, or why there is none.
    pub(super) fn ended(
        &mut self,
        end: &End,
        remote: &Remote,
        replica: usize,
    ) -> Result<Duration, Failure> {
        let failure = end.failure(remote, replica);
        self.left -= 1;
        self.made += 1;
        self.is_open |= end.is_open();
        if self.left == 0 || !self.repeat.allows(end) {
            let failure = failure.after(std::mem::take(&mut self.earlier));
            return Err(match self.repeat {
                Repeat::ById(id) if self.is_open => failure.named(id),
                _ => failure,
            });
        }
        let replicas = remote.replicas.len();
        if replicas > 1 {
            self.earlier
                .push(format!("before that: {}", failure.what()));
        }
        Ok(pause(self.made, replicas))
    }
}

/// Waits so long for an answer.
pub(super) async fn within<T>(
    budget: Duration,
    call: impl Future<Output = Answered<T>>,
) -> Result<T, End> {
    let started = Instant::now();
    match tokio::time::timeout(budget, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(End::new(status, started.elapsed(), budget)),
        Err(_) => Err(End::Silence(budget)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn end(status: Status) -> End {
        End::new(status, Duration::ZERO, SECOND)
    }

    #[test]
    fn only_what_ended_without_an_answer_is_repeated() {
        let unconnected = Status::from_error(Box::new(ConnectError("refused".into())));
        let ends = [
            end(unconnected),
            end(Status::unavailable("draining")),
            end(Status::deadline_exceeded("the store is slow")),
            End::new(Status::cancelled("timeout expired"), SECOND, SECOND),
            end(Status::aborted("ada was faster")),
            end(Status::failed_precondition("generation 5, not 3")),
        ];
        let allowed = |repeat: Repeat<'_>| {
            ends.iter()
                .map(|end| repeat.allows(end))
                .collect::<Vec<_>>()
        };
        let unanswered = [true, true, true, true, false, false];
        assert_eq!(allowed(Repeat::Freely), unanswered);
        assert_eq!(allowed(Repeat::ById("01")), unanswered);
        assert_eq!(
            allowed(Repeat::Unsent),
            [true, false, false, false, false, false]
        );
    }

    #[test]
    fn tries_are_bounded_and_share_the_time() {
        assert_eq!(
            (Repeat::Freely.tries(1), Repeat::ById("01").tries(1)),
            (1, 3)
        );
        assert_eq!(
            (Repeat::Freely.tries(5), Repeat::ById("01").tries(5)),
            (5, 5)
        );
        assert_eq!(Repeat::ById("01").budget(3 * SECOND, 3), SECOND);
        assert_eq!(Repeat::Unsent.budget(3 * SECOND, 3), 3 * SECOND);
    }

    #[test]
    fn all_replicas_are_asked_before_there_is_a_pause() {
        let pauses = |replicas| [1, 2, 3, 4].map(|tries| pause(tries, replicas).as_millis());
        assert_eq!(pauses(1), [200, 400, 800, 1600]);
        assert_eq!(pauses(2), [0, 200, 0, 400]);
        assert_eq!(pauses(3), [0, 0, 200, 0]);
    }
}
