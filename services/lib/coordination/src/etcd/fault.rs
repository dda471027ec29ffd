//! What etcd's errors mean.

use std::error::Error as StdError;

use etcd_client::Error;
use tonic::{Code, ConnectError, Status};

use crate::StoreError;

/// A call to one member that failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was sent, or the member said that it did not take it: another one may be asked for anything.
    NotTaken(String),
    /// Nobody knows whether it was done: another one may be asked only for what does no harm twice.
    Unknown(String),
    /// The login is too old; the call was not taken.
    StaleLogin(String),
    /// A lease is gone.
    NoLease,
    /// The revision asked for is no longer held.
    Compacted,
    /// This client may not do that.
    Denied(String),
    /// The call is wrong, or the store broken: another member would say the same.
    Fatal(Error),
}

impl Fault {
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::GRpcStatus(status) => Self::of_status(status),
            Error::TransportError(error) => Self::NotTaken(chain(&error)),
            Error::IoError(error) => Self::Unknown(chain(&error)),
            // The client has no code for it.
            Error::LeaseKeepAliveError(reason) if reason == "lease not found" => Self::NoLease,
            Error::WatchError(reason) | Error::LeaseKeepAliveError(reason) => Self::Unknown(reason),
            error => Self::Fatal(error),
        }
    }

    fn of_status(status: Status) -> Self {
        let message = status.message();
        match status.code() {
            _ if message == "etcdserver: revision of auth store is old"
                || message == "etcdserver: invalid auth token" =>
            {
                Self::StaleLogin(message.to_owned())
            }
            Code::Unavailable if never_sent(&status) => Self::NotTaken(chain(&status)),
            Code::Unavailable | Code::ResourceExhausted
                if message == "etcdserver: no leader"
                    || message == "etcdserver: too many requests" =>
            {
                Self::NotTaken(message.to_owned())
            }
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
                Self::Unknown(chain(&status))
            }
            // The transport broke, or leadership was lost half-way.
            Code::Unknown | Code::Internal if status.source().is_some() => {
                Self::Unknown(chain(&status))
            }
            Code::FailedPrecondition if message == "etcdserver: not leader" => {
                Self::Unknown(message.to_owned())
            }
            Code::NotFound if message == "etcdserver: requested lease not found" => Self::NoLease,
            Code::OutOfRange if message.contains("compacted") => Self::Compacted,
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied(message.to_owned()),
            Code::InvalidArgument | Code::FailedPrecondition if is_about_login(message) => {
                Self::Denied(message.to_owned())
            }
            _ => Self::Fatal(Error::GRpcStatus(status)),
        }
    }

    /// What the caller is told when there is nobody else to ask.
    pub(super) fn into_error(self, action: &'static str) -> StoreError {
        match self {
            Self::NotTaken(reason) | Self::Unknown(reason) => {
                StoreError::Unavailable { action, reason }
            }
            Self::StaleLogin(reason) | Self::Denied(reason) => {
                StoreError::Denied { action, reason }
            }
            Self::NoLease => StoreError::failed(action)("the lease is gone"),
            Self::Compacted => StoreError::failed(action)("the revision is no longer held"),
            Self::Fatal(error) => StoreError::failed(action)(error),
        }
    }
}

/// etcd has no code of its own for these.
fn is_about_login(message: &str) -> bool {
    [
        "etcdserver: authentication failed",
        "etcdserver: authentication is not enabled",
        "etcdserver: user name is empty",
    ]
    .iter()
    .any(|known| message.starts_with(known))
}

fn never_sent(status: &Status) -> bool {
    sources(status).any(|source| source.is::<ConnectError>())
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with its reasons: the transport hides them.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for error in sources(error) {
        let word = match error.downcast_ref::<Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        if !words.iter().any(|said| said.contains(&word)) {
            words.push(word);
        }
    }
    words.join(": ")
}
