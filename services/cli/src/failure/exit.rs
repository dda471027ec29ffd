//! Exit codes. Scripts rely on them: codes are only ever added.

use std::process::ExitCode;

use decant_proto::status::Reason;
use tonic::Code;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Ok,
    /// It is not, for a reason that has no code of its own.
    Failed,
    /// The arguments make no sense, or nobody confirmed.
    Usage,
    /// What was named is not there.
    NotFound,
    /// The service does not know the caller, or does not let it do this.
    Denied,
    /// A gate does not hold, or a rollout ended in another way than was waited for.
    GateFailed,
    /// Somebody else was faster, or what is to be made is there already and is something else.
    Conflict,
    /// No answer in time, or what was asked for is under way and takes longer than the user waits.
    TimedOut,
    /// A service cannot be reached, or says to come again later.
    Unavailable,
    /// The user interrupted; as shells have it, 128 and the number of SIGINT.
    Interrupted,
}

/// All of them, with what they mean: as `decant --help` prints it.
pub(crate) const TABLE: &[(Exit, &str)] = &[
    (Exit::Ok, "done"),
    (
        Exit::Failed,
        "failed, for a reason that has no code of its own",
    ),
    (Exit::Usage, "wrong usage, or not confirmed"),
    (Exit::NotFound, "what was named is not there"),
    (Exit::Denied, "not logged in, or not allowed"),
    (
        Exit::GateFailed,
        "a gate failed, or a rollout did not end as was waited for",
    ),
    (
        Exit::Conflict,
        "conflict: another generation, somebody was faster, or it exists and differs",
    ),
    (
        Exit::TimedOut,
        "not finished in time; what was asked for may go on",
    ),
    (
        Exit::Unavailable,
        "a service cannot be reached, or says to come again later",
    ),
    (Exit::Interrupted, "interrupted"),
];

impl Exit {
    /// How a command ends that a service answered like this.
    pub(super) fn of(code: Code, reason: Option<Reason>) -> Self {
        match (code, reason) {
            (Code::Ok, _) => Exit::Ok,
            (_, Some(Reason::GateFailed)) => Exit::GateFailed,
            (Code::NotFound, _) => Exit::NotFound,
            (Code::Unauthenticated | Code::PermissionDenied, _) => Exit::Denied,
            (Code::AlreadyExists | Code::Aborted, _)
            | (_, Some(Reason::OtherGeneration | Reason::Conflict)) => Exit::Conflict,
            (Code::DeadlineExceeded, _) => Exit::TimedOut,
            (Code::Unavailable | Code::ResourceExhausted, _) => Exit::Unavailable,
            (
                Code::Cancelled
                | Code::Unknown
                | Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Internal
                | Code::DataLoss,
                _,
            ) => Exit::Failed,
        }
    }

    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Denied => 4,
            Exit::GateFailed => 5,
            Exit::Conflict => 6,
            Exit::TimedOut => 7,
            Exit::Unavailable => 8,
            Exit::Interrupted => 130,
        }
    }

    /// The table as text, one code a line.
    pub(crate) fn help() -> String {
        let mut text = "Exit codes:".to_owned();
        for (exit, meaning) in TABLE {
            text.push_str(&format!("\n{:>5}  {meaning}", exit.code()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_golden() {
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]);
    }

    #[test]
    fn answers_end_with_the_code_of_their_kind() {
        for (code, reason, exit) in [
            (Code::NotFound, None, 3),
            (Code::Unauthenticated, None, 4),
            (Code::PermissionDenied, None, 4),
            (Code::FailedPrecondition, Some(Reason::GateFailed), 5),
            (Code::FailedPrecondition, Some(Reason::OtherGeneration), 6),
            (Code::Aborted, None, 6),
            (Code::AlreadyExists, None, 6),
            (Code::DeadlineExceeded, None, 7),
            (Code::Unavailable, None, 8),
            (Code::ResourceExhausted, None, 8),
            (Code::FailedPrecondition, None, 1),
            (Code::InvalidArgument, None, 1),
            (Code::Internal, None, 1),
        ] {
            assert_eq!(Exit::of(code, reason).code(), exit, "{code:?} {reason:?}");
        }
    }
}
