//! The services as the commands see them: one method for each call, with a deadline, failing in words.

mod attempts;
mod pages;
mod trainer;
mod registry;
mod rollout;
mod rollouts;
mod admin;
mod access;
mod scorer;
mod ops;

pub(crate) use pages::Paged;
pub(crate) use registry::Registry;
pub(crate) use rollout::RolledBack;
pub(crate) use rollouts::{Started, Steered};
pub(crate) use scorer::Scorer;
pub(crate) use trainer::Trainer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use decant_chassis::client::{Caller, Channel};
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use self::attempts::{Repeat, Tries};
use crate::failure::Failure;

/// What a call is given, unless the user says otherwise.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for calls that read or write everything there is.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(600);

type Answered<T> = Result<Response<T>, Status>;

/// A service of Decant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Trainer,
    Registry,
    Scorer,
}

impl Service {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Trainer => "trainer",
            Service::Registry => "registry",
            Service::Scorer => "scorer",
        }
    }

    /// The option that sets its address.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Service::Trainer => "--trainer",
            Service::Registry => "--registry",
            Service::Scorer => "--scorer",
        }
    }

    /// The environment variable that sets its address.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Service::Trainer => "DECANT_TRAINER",
            Service::Registry => "DECANT_REGISTRY",
            Service::Scorer => "DECANT_SCORER",
        }
    }
}

/// A service at one address, or at several: its replicas, all of which answer.
#[derive(Clone)]
pub(crate) struct Remote {
    service: Service,
    replicas: Arc<[Replica]>,
    /// The replica that is asked first: the one that answered last.
    preferred: Arc<AtomicUsize>,
    /// What the user allows a call, if they said so.
    allowed: Option<Duration>,
    timeout: Duration,
}

#[derive(Clone)]
struct Replica {
    address: String,
    channel: Channel,
}

impl Remote {
    /// Connects with the first call. Several addresses are separated by commas.
    pub(crate) fn new(
        caller: &Caller,
        service: Service,
        addresses: &str,
        allowed: Option<Duration>,
    ) -> Result<Self, Failure> {
        let replica = |address: &str| {
            let channel = caller.channel(service.name(), address).map_err(|error| {
                Failure::usage(error.to_string()).hint(format!(
                    "{} or {} sets it",
                    service.flag(),
                    service.variable()
                ))
            })?;
            Ok(Replica {
                address: address.to_owned(),
                channel,
            })
        };
        let replicas: Result<Arc<[Replica]>, Failure> =
            addresses.split(',').map(str::trim).map(replica).collect();
        Ok(Self::of(service, replicas?, allowed))
    }

    fn of(service: Service, replicas: Arc<[Replica]>, allowed: Option<Duration>) -> Self {
        Self {
            service,
            replicas,
            preferred: Arc::default(),
            allowed,
            timeout: allowed.unwrap_or(USUAL_TIMEOUT),
        }
    }

    /// The same service, for calls that read or write everything there is.
    fn patient(&self) -> Self {
        Self {
            timeout: self.allowed.unwrap_or(PATIENT_TIMEOUT),
            ..self.clone()
        }
    }

    /// Which service it is.
    pub(crate) fn service(&self) -> Service {
        self.service
    }

    /// Where it is; all addresses, separated by commas.
    pub(crate) fn address(&self) -> String {
        let addresses: Vec<&str> = self
            .replicas
            .iter()
            .map(|one| one.address.as_str())
            .collect();
        addresses.join(",")
    }

    /// The same service at each of its addresses alone, with so much time for a call unless the user said otherwise.
    pub(crate) fn alone(&self, patience: Duration) -> Vec<Self> {
        let allowed = self.allowed.or(Some(patience));
        let one = |replica: &Replica| Self::of(self.service, [replica.clone()].into(), allowed);
        self.replicas.iter().map(one).collect()
    }

    /// Asks for the health of the server as a whole.
    pub(crate) async fn health(&self) -> Result<ServingStatus, Failure> {
        let answer = self
            .ask(
                Repeat::Freely,
                HealthCheckRequest::default(),
                async |channel, request| HealthClient::new(channel).check(request).await,
            )
            .await?;
        Ok(answer.status())
    }

    /// Makes a change that carries a request id, and so may be repeated: it is made once, however often it is asked for.
    async fn change<M: Clone, T>(
        &self,
        request_id: &str,
        message: M,
        call: impl AsyncFn(Channel, Request<M>) -> Answered<T>,
    ) -> Result<T, Failure> {
        self.ask(Repeat::ById(request_id), message, call).await
    }

    /// Waits for an answer. The service is told how long it is waited for.
    async fn ask<M: Clone, T>(
        &self,
        repeat: Repeat<'_>,
        message: M,
        call: impl AsyncFn(Channel, Request<M>) -> Answered<T>,
    ) -> Result<T, Failure> {
        self.attempt(repeat, |channel, budget| {
            let mut request = Request::new(message.clone());
            request.set_timeout(budget);
            call(channel, request)
        })
        .await
    }

    /// Waits for the beginning of a stream of answers, each of which may take as long as the patience says; for ever,
    /// where silence means that there is nothing to tell.
    async fn open<M: Clone, T>(
        &self,
        message: M,
        patience: Option<Duration>,
        call: impl AsyncFn(Channel, Request<M>) -> Answered<Streaming<T>>,
    ) -> Result<Answers<T>, Failure> {
        let stream = self
            .attempt(Repeat::Freely, |channel, _| {
                call(channel, Request::new(message.clone()))
            })
            .await?;
        Ok(Answers {
            remote: self.clone(),
            replica: self.preferred.load(Ordering::Relaxed),
            stream,
            patience,
        })
    }

    /// Calls one replica after the other, as long as the call may be repeated and there is time.
    async fn attempt<T, F: Future<Output = Answered<T>>>(
        &self,
        repeat: Repeat<'_>,
        call: impl Fn(Channel, Duration) -> F,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let mut tries = Tries::new(repeat, self.replicas.len());
        let mut at = self.preferred.load(Ordering::Relaxed);
        let mut left = self.timeout;
        loop {
            let replica = &self.replicas[at];
            let budget = tries.budget(left);
            match attempts::within(budget, call(replica.channel.clone(), budget)).await {
                Ok(answer) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(end) => {
                    let pause = tries.ended(&end, self, at)?;
                    tokio::time::sleep(pause).await;
                }
            }
            at = (at + 1) % self.replicas.len();
            left = self.timeout.saturating_sub(started.elapsed());
        }
    }

    /// An answer that lacks what the protocol promises.
    fn require<T>(&self, part: Option<T>, name: &str) -> Result<T, Failure> {
        part.ok_or_else(|| {
            Failure::new(format!(
                "the {}'s answer holds no {name}",
                self.service.name()
            ))
        })
    }
}

/// Answers that come one by one.
pub(crate) struct Answers<T> {
    remote: Remote,
    replica: usize,
    stream: Streaming<T>,
    patience: Option<Duration>,
}

impl<T> Answers<T> {
    /// The next answer; `None` at the end. May be dropped while it waits, and loses nothing by it.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Failure> {
        let (service, address) = (
            self.remote.service,
            &self.remote.replicas[self.replica].address,
        );
        let next = self.stream.message();
        let answer = match self.patience {
            None => next.await,
            Some(patience) => tokio::time::timeout(patience, next)
                .await
                .map_err(|_| Failure::timed_out(service, address, patience))?,
        };
        answer.map_err(|status| Failure::from_status(service, address, &status))
    }
}
