//! The members of a cluster, and whom to ask.
//!
//! Each member has a connection of its own. tonic's balancer spreads calls over all members and goes on asking one that has
//! stopped answering; here a member that fails is left alone for a while, which grows with each further failure.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use tokio::time::{Instant, timeout_at};

use super::config::{EtcdConfig, EtcdConfigError};
use super::fault::Fault;

/// How long a member is left alone after its first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause. After it the member is asked again when others fail, and is trusted again when it answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether a call may be made again, when nobody knows what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It does no harm twice.
    Harmless,
    /// It might be made twice.
    Harmful,
}

pub(super) struct Endpoints {
    members: Vec<Member>,
    /// Who answered last.
    preferred: AtomicUsize,
    timeout: Duration,
}

struct Member {
    url: String,
    options: ConnectOptions,
    /// Made at the first call, and again after a call got no answer: the connection may be a dead one. Nobody waits for it:
    /// a call that others wait for may be one that is not polled on, as of a stream whose next value nobody asks for just now.
    client: Mutex<Option<Client>>,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    /// Failures without an answer between them.
    failures: u32,
    /// When it failed last, and until when it is left alone.
    paused: Option<(Instant, Instant)>,
}

impl Endpoints {
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, EtcdConfigError> {
        let options = config.options()?;
        let member = |url: &String| Member {
            url: url.clone(),
            options: options.clone(),
            client: Mutex::default(),
            health: Mutex::default(),
        };
        let members: Vec<_> = config.endpoints.iter().map(member).collect();
        Ok(Self {
            // Clients that name the same members in the same order are not to crowd one of them.
            preferred: AtomicUsize::new(rand::random_range(0..members.len())),
            members,
            timeout: config.request_timeout(),
        })
    }

    /// Makes a call to one member after the other, until one answers or it must not be made again.
    pub(super) async fn call<T, F, Fut>(&self, repeat: Repeat, call: F) -> Result<T, Fault>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut reasons = Vec::new();
        for index in self.order() {
            let member = &self.members[index];
            let fault = match member.call(self.timeout, &call).await {
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            let (reason, ask_another) = match fault {
                Fault::NotTaken(reason) => (reason, true),
                Fault::Unknown(reason) => (reason, repeat == Repeat::Harmless),
                other => return Err(other),
            };
            reasons.push(format!("{}: {reason}", member.url));
            if !ask_another {
                return Err(Fault::Unknown(reasons.join("; ")));
            }
        }
        Err(Fault::NotTaken(reasons.join("; ")))
    }

    /// Whom to ask, in this order: who answered last, then the others, at last those that are left alone.
    fn order(&self) -> Vec<usize> {
        let count = self.members.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let now = Instant::now();
        let mut order: Vec<_> = (0..count).map(|step| (first + step) % count).collect();
        order.sort_by_key(|index| self.members[*index].paused_until(now));
        order
    }
}

impl Member {
    async fn call<T, F, Fut>(&self, timeout: Duration, call: &F) -> Result<T, Fault>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let begin = Instant::now();
        let mut outcome = self.call_once(begin + timeout, call).await;
        if let Err(Fault::StaleLogin(_)) = outcome {
            outcome = match self.log_in(begin + timeout).await {
                Ok(()) => self.call_once(Instant::now() + timeout, call).await,
                Err(fault) => Err(fault),
            };
        }
        match outcome {
            Err(Fault::NotTaken(_) | Fault::Unknown(_)) => self.failed(begin),
            _ => *self.health() = Health::default(),
        }
        outcome
    }

    async fn call_once<T, F, Fut>(&self, deadline: Instant, call: &F) -> Result<T, Fault>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let client = match timeout_at(deadline, self.client()).await {
            Ok(client) => client.map_err(|error| match Fault::of(error) {
                // What failed is the login, and not the call.
                Fault::Unknown(reason) => Fault::NotTaken(reason),
                fault => fault,
            })?,
            Err(_) => return Err(Fault::NotTaken("no answer to the login in time".into())),
        };
        match timeout_at(deadline, call(client)).await {
            Ok(answer) => answer.map_err(Fault::of),
            Err(_) => Err(Fault::Unknown("no answer in time".into())),
        }
    }

    async fn client(&self) -> Result<Client, Error> {
        let known = locked(&self.client).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        // Opens no connection by itself; logs in, if there is a user. Of several that do so at once, the first is kept.
        let made = Client::connect([&self.url], Some(self.options.clone())).await?;
        Ok(locked(&self.client).get_or_insert(made).clone())
    }

    async fn log_in(&self, deadline: Instant) -> Result<(), Fault> {
        let log_in = async { self.client().await?.refresh_token().await };
        match timeout_at(deadline, log_in).await {
            Ok(done) => done.map_err(Fault::of),
            Err(_) => Err(Fault::NotTaken("no answer to the login in time".into())),
        }
    }

    /// A call that began at this time failed.
    fn failed(&self, begin: Instant) {
        *locked(&self.client) = None;
        let mut health = self.health();
        // Calls that were under way together fail together: that is one failure.
        if health.paused.is_none_or(|(failed, _)| failed <= begin) {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(health.failures);
            let now = Instant::now();
            health.failures = health.failures.saturating_add(1).min(16);
            health.paused = Some((now, now + pause.min(LONGEST_PAUSE)));
            tracing::debug!(
                member = self.url,
                failures = health.failures,
                "member failed"
            );
        }
    }

    /// None when it is not left alone; who may be asked soonest sorts first.
    fn paused_until(&self, now: Instant) -> Option<Instant> {
        let (_, until) = self.health().paused?;
        (until > now).then_some(until)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        locked(&self.health)
    }
}

/// What is locked here is whole between any two statements.
fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::task::Poll;

    use super::*;

    /// A call of a stream is left where it is while the stream's owner does something else.
    #[tokio::test]
    async fn a_call_that_is_not_polled_on_holds_up_no_other() {
        // Takes connections, and never answers: who logs in there waits.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut password = tempfile::NamedTempFile::new().unwrap();
        password.write_all(b"secret").unwrap();
        let endpoints = Endpoints::new(&EtcdConfig {
            user: "decant".to_owned(),
            password_file: Some(password.path().to_owned()),
            request_timeout_millis: 100,
            ..EtcdConfig::of([format!("http://{}", silent.local_addr().unwrap())])
        });
        let endpoints = endpoints.unwrap();
        let status = || {
            endpoints.call(Repeat::Harmless, |mut client| async move {
                client.status().await
            })
        };
        let mut left = std::pin::pin!(status());
        assert!(matches!(futures::poll!(&mut left), Poll::Pending));
        let ended = tokio::time::timeout(Duration::from_secs(10), status()).await;
        let fault = ended.expect("it does not wait for the other").unwrap_err();
        assert!(matches!(fault, Fault::NotTaken(_)), "{fault:?}");
    }
}
