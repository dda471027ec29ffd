//! Asks scorers that are out of rotation whether they serve again, so that no call has to find out.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{sleep_until, timeout};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::pool::Pool;

/// A scorer that does not say within this time that it serves does not.
const PATIENCE: Duration = Duration::from_secs(1);

/// Probes each scorer when its time out is over, one probe at a time. `service` is the name under which scorers report
/// whether they serve what this client asks for.
pub(crate) async fn keep_probing(pool: Arc<Pool>, service: String) {
    let mut probes = FuturesUnordered::new();
    loop {
        for (key, channel) in pool.begin_probes() {
            let serves = serves(channel, &service);
            probes.push(async move { (key, serves.await) });
        }
        let next = pool.probe_at();
        let due = async {
            match next {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some((key, passed)) = probes.next() => pool.probed(key, passed),
            () = pool.ejection() => {}
            () = due => {}
        }
    }
}

async fn serves(channel: Channel, service: &str) -> bool {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut client = HealthClient::new(channel);
    match timeout(PATIENCE, client.check(request)).await {
        Ok(Ok(answer)) => answer.get_ref().status() == ServingStatus::Serving,
        // It answers, and has no other way to say so.
        Ok(Err(status)) => status.code() == Code::Unimplemented,
        Err(_) => false,
    }
}
