//! The services as the commands see them: one method for each call, with a deadline, failing in words.

mod trainer;
mod registry;
mod scorer;

pub(crate) use registry::Registry;
pub(crate) use scorer::Scorer;
pub(crate) use trainer::Trainer;

use std::future::Future;
use std::time::{Duration, Instant};

use decant_chassis::client;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::failure::Failure;

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

/// A service at an address.
#[derive(Clone)]
pub(crate) struct Remote {
    service: Service,
    address: String,
    channel: Channel,
    timeout: Duration,
}

impl Remote {
    /// Connects with the first call.
    pub(crate) fn new(service: Service, address: &str, timeout: Duration) -> Result<Self, Failure> {
        let channel = client::channel(service.name(), address).map_err(|error| {
            Failure::usage(error.to_string()).hint(format!(
                "{} or {} sets it",
                service.flag(),
                service.variable()
            ))
        })?;
        Ok(Self {
            service,
            address: address.to_owned(),
            channel,
            timeout,
        })
    }

    /// Which service it is.
    pub(crate) fn service(&self) -> Service {
        self.service
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks for the health of the server as a whole.
    pub(crate) async fn health(&self) -> Result<ServingStatus, Failure> {
        let mut client = HealthClient::new(self.channel.clone());
        let answer = self
            .call(client.check(self.bounded(HealthCheckRequest::default())))
            .await?;
        Ok(answer.status())
    }

    /// A request that tells the service how long its answer is waited for.
    fn bounded<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// Waits for an answer, or for the beginning of a stream of answers.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let timed_out = || Failure::timed_out(self.service, &self.address, self.timeout);
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            // The deadline travels with the request: whichever side notices first, the user reads the same.
            Ok(Err(status))
                if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded)
                    && started.elapsed() >= self.timeout =>
            {
                Err(timed_out())
            }
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => Err(timed_out()),
        }
    }

    fn failure(&self, status: &Status) -> Failure {
        Failure::from_status(self.service, &self.address, status)
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
    stream: Streaming<T>,
    /// How long the next one may take; `None` where silence means that there is nothing to tell.
    patience: Option<Duration>,
}

impl<T> Answers<T> {
    /// The next answer; `None` at the end. May be dropped while it waits, and loses nothing by it.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Failure> {
        let next = self.stream.message();
        let answer = match self.patience {
            None => next.await,
            Some(patience) => tokio::time::timeout(patience, next).await.map_err(|_| {
                Failure::timed_out(self.remote.service, &self.remote.address, patience)
            })?,
        };
        answer.map_err(|status| self.remote.failure(&status))
    }
}
