//! What the health service is told.

use std::collections::BTreeSet;

use decant_chassis::server::{forget_status, set_serving, set_status};
use decant_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use decant_proto::scorer::v1::scorer_service_server::ScorerServiceServer;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::server::HealthReporter;

use crate::oip::Protocol;
use crate::servable::Readiness;
use crate::service::Service;

/// The only one that reports this scorer's health.
pub(crate) struct Health {
    reporter: HealthReporter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Names of slots that were reported.
    slots: BTreeSet<String>,
    /// Whether the scorer as a whole serves.
    serving: bool,
    /// Whether "not serving" is the last word.
    over: bool,
}

impl Health {
    pub(crate) fn new(reporter: HealthReporter) -> Self {
        Self {
            reporter,
            state: Mutex::default(),
        }
    }

    /// Reports, unless the end has been reported.
    pub(crate) async fn report(&self, readiness: &Readiness) {
        let mut state = self.state.lock().await;
        if state.over {
            return;
        }
        let gone = |name: &String| {
            !readiness
                .places
                .keys()
                .any(|place| place.to_string() == *name)
        };
        for name in state.slots.iter().filter(|name| gone(name)) {
            set_status(&self.reporter, name, false).await;
        }
        for (place, ready) in &readiness.places {
            let name = place.to_string();
            set_status(&self.reporter, &name, *ready).await;
            state.slots.insert(name);
        }
        self.report_whole(&mut state, readiness.settled).await;
    }

    /// Whether the scorer as a whole was reported as serving last.
    pub(crate) async fn is_serving(&self) -> bool {
        self.state.lock().await.serving
    }

    /// Reports that nothing is served, for good.
    pub(crate) async fn end(&self) {
        let mut state = self.state.lock().await;
        state.over = true;
        for name in &state.slots {
            set_status(&self.reporter, name, false).await;
        }
        self.report_whole(&mut state, false).await;
    }

    /// Ends the streams of all that watch, which would hold their connections; after [`end`](Self::end).
    pub(crate) async fn close(&self) {
        let state = self.state.lock().await;
        let services = [
            <ScorerServiceServer<Service> as NamedService>::NAME,
            <GrpcInferenceServiceServer<Protocol> as NamedService>::NAME,
        ];
        let names = state.slots.iter().map(String::as_str);
        for name in names.chain(services) {
            forget_status(&self.reporter, name).await;
        }
    }

    /// Reports each change until the scorer stops.
    pub(crate) async fn follow(
        &self,
        mut readiness: watch::Receiver<Readiness>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        loop {
            let now = readiness.borrow_and_update().clone();
            self.report(&now).await;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = readiness.changed() => changed.map_err(|_| "the manager is gone".to_owned())?,
            }
        }
    }

    async fn report_whole(&self, state: &mut State, serving: bool) {
        state.serving = serving;
        set_serving::<ScorerServiceServer<Service>>(&self.reporter, serving).await;
        set_serving::<GrpcInferenceServiceServer<Protocol>>(&self.reporter, serving).await;
    }
}
