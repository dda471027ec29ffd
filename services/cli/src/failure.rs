//! How a command ends, and what the user is told when it ends badly.

mod exit;

use std::error::Error;
use std::io;
use std::time::Duration;

use decant_proto::status::{Reason, code_name};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(crate) use self::exit::{Exit, TABLE as EXITS};
use crate::remote::Service;

/// Why a command failed: one sentence, and what may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    code: Option<&'static str>,
    details: Vec<String>,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure on this side of the wire.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            code: None,
            details: Vec::new(),
            hint: None,
            exit: Exit::Failed,
        }
    }

    /// Arguments that parse one by one, but make no sense.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(what)
        }
    }

    /// Somebody else was faster.
    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::Conflict,
            ..Self::new(what)
        }
    }

    /// What was waited for cannot come any more, since something else came.
    pub(crate) fn otherwise(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::GateFailed,
            ..Self::new(what)
        }
    }

    /// What was named on this side of the wire is not there.
    pub(crate) fn not_there(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::NotFound,
            ..Self::new(what)
        }
    }

    /// What was asked for is under way, but not done in the time that the user gave.
    pub(crate) fn unfinished(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::TimedOut,
            ..Self::new(what)
        }
    }

    /// No answer in time: the service may be stuck, or hidden behind something that drops packets.
    pub(crate) fn timed_out(service: Service, address: &str, timeout: Duration) -> Self {
        let seconds = timeout.as_millis() as f64 / 1e3;
        Self {
            code: Some(code_name(Code::DeadlineExceeded)),
            exit: Exit::TimedOut,
            ..Self::new(format!(
                "the {} at {address} did not answer within {seconds} s",
                service.name()
            ))
        }
        .hint("a change that was asked for may still be made; --timeout waits longer")
    }

    /// The service's answer, or the lack of one.
    pub(crate) fn from_status(service: Service, address: &str, status: &Status) -> Self {
        // Only statuses that this side made have a source: a connection that was refused or cut.
        let Some(cause) = status.source().map(innermost) else {
            return Self::answered(status);
        };
        Self {
            code: Some(code_name(Code::Unavailable)),
            exit: Exit::Unavailable,
            ..Self::new(format!("the {} at {address} cannot be reached: {cause}", service.name()))
        }
        .hint(format!(
            "is it running? `make up` starts all of Decant on this machine; {} or {} names another address",
            service.flag(),
            service.variable()
        ))
    }

    fn answered(status: &Status) -> Self {
        let details = status.get_error_details();
        let violations: Vec<String> = details
            .bad_request()
            .map(|bad_request| &bad_request.field_violations)
            .into_iter()
            .flatten()
            .map(|violation| format!("{}: {}", violation.field, violation.description))
            .collect();
        // Decant's services repeat the violations in the message, for callers that do not decode details.
        let what = match status.message() {
            message if message == violations.join("; ") && violations.len() > 1 => {
                "the request is wrong in several places"
            }
            message if message == violations.join("; ") && !violations.is_empty() => {
                "the request is wrong"
            }
            "" => "the service gave no reason",
            message => message,
        };
        let mut failure = Self {
            code: Some(code_name(status.code())),
            exit: Exit::of(status.code(), Reason::of(status)),
            details: violations,
            ..Self::new(what)
        };
        if status.code() == Code::Unauthenticated {
            failure = failure.hint(
                "--token-file or DECANT_TOKEN says who you are, or --certificate with --key; `decant context set` keeps them",
            );
        }
        if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
            failure = failure.hint(format!("try again in {} s", delay.as_secs_f64()));
        }
        failure
    }

    /// Adds what may help, unless something does already.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says how to find out what came of a change that nobody answered: its request id makes asking again safe.
    #[must_use]
    pub(crate) fn named(mut self, request_id: &str) -> Self {
        self.hint = Some(format!(
            "whether the change was made is not known; the same command with --request-id {request_id} tells, and changes \
             nothing twice"
        ));
        self
    }

    /// Adds lines below the reason.
    #[must_use]
    pub(crate) fn after(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// Says before the reason what was being done.
    #[must_use]
    pub(crate) fn context(mut self, doing: &str) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The reason alone, without code, violations and hint.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Whether the service answered that what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Some(code_name(Code::NotFound))
    }

    /// Whether the service does not know the call: it is older than this command.
    pub(crate) fn is_unimplemented(&self) -> bool {
        self.code == Some(code_name(Code::Unimplemented))
    }

    /// Whether there was no answer, or one that says to come again.
    pub(crate) fn is_unanswered(&self) -> bool {
        [Code::Unavailable, Code::DeadlineExceeded]
            .map(|code| Some(code_name(code)))
            .contains(&self.code)
    }

    /// What is printed: the reason, the violations one a line, the hint.
    pub(crate) fn lines(&self) -> Vec<String> {
        let code = self
            .code
            .map(|code| format!(" ({code})"))
            .unwrap_or_default();
        let first = format!("error: {}{code}", self.what);
        let details = self.details.iter().map(|detail| format!("  {detail}"));
        let hint = self.hint.iter().map(|hint| format!("hint: {hint}"));
        std::iter::once(first).chain(details).chain(hint).collect()
    }

    /// Standard output that cannot be written. A reader that has gone, as in `decant train list | head -1`, has all it
    /// wanted: that is no failure, and silent.
    pub(crate) fn from_stdout(error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe {
            Exit::Ok
        } else {
            Exit::Failed
        };
        Self {
            exit,
            ..Self::new(format!("cannot write to standard output: {error}"))
        }
    }
}

/// The error at the root: the transport wraps "connection refused" four times.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use decant_proto::status;

    use super::*;

    fn lines(status: &Status) -> Vec<String> {
        Failure::from_status(Service::Scorer, "http://x", status).lines()
    }

    #[test]
    fn violations_stand_one_a_line_and_are_not_said_twice() {
        let violations = [
            ("age".to_owned(), "missing".to_owned()),
            ("zip".to_owned(), "unknown".to_owned()),
        ];
        let expected = [
            "error: the request is wrong in several places (INVALID_ARGUMENT)",
            "  age: missing",
            "  zip: unknown",
        ];
        assert_eq!(lines(&status::bad_request(violations)), expected);
    }

    #[test]
    fn a_busy_service_says_when_to_try_again() {
        let busy = status::busy("the queue is full", Duration::from_millis(250));
        assert_eq!(
            lines(&busy),
            [
                "error: the queue is full (RESOURCE_EXHAUSTED)",
                "hint: try again in 0.25 s"
            ]
        );
    }

    #[test]
    fn unavailable_from_the_service_itself_keeps_its_words() {
        let failure = Failure::from_status(
            Service::Scorer,
            "http://x",
            &Status::unavailable("no version is ready"),
        );
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert_eq!(
            failure.lines(),
            ["error: no version is ready (UNAVAILABLE)"]
        );
    }

    #[test]
    fn another_generation_is_a_conflict_and_other_states_are_not() {
        let exit =
            |status: &Status| Failure::from_status(Service::Registry, "http://x", status).exit();
        assert_eq!(
            exit(&status::Reason::OtherGeneration.status("it is at 5")),
            Exit::Conflict
        );
        let state = Status::failed_precondition("version 2 is rejected");
        assert_eq!(exit(&state), Exit::Failed);
    }

    #[test]
    fn a_change_that_nobody_answered_names_its_request() {
        let failure = Failure::timed_out(Service::Registry, "http://x", Duration::from_secs(10))
            .after(["before that: silence".to_owned()])
            .named("01");
        assert_eq!(
            failure.lines(),
            [
                "error: the registry at http://x did not answer within 10 s (DEADLINE_EXCEEDED)",
                "  before that: silence",
                "hint: whether the change was made is not known; the same command with --request-id 01 tells, and changes \
                 nothing twice",
            ]
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        assert_eq!(
            Failure::from_stdout(&io::ErrorKind::BrokenPipe.into()).exit(),
            Exit::Ok
        );
        assert_eq!(
            Failure::from_stdout(&io::ErrorKind::StorageFull.into()).exit(),
            Exit::Failed
        );
    }
}
