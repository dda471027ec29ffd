//! Releases on clusters of real processes: what becomes of a good version, of bad ones, and of good ones in bad times.
//!
//! Reading order: a version that releases itself; versions that gates stop; what operators may do meanwhile; the way back; the
//! command line; leaders that die; everything else that may be away.

mod promotion;
mod faults;
mod operators;
mod rollback;
mod command;
mod leaders;
mod outages;

use std::time::Duration;

use decant_proto::admin::v1 as admin;
use decant_proto::rollout::v1 as rollout;
use decant_tests::{Deployment, Operated, Recorder, Releases, Tiny, eventually};
use tonic::Code;

/// How often each client asks.
const OFTEN: Duration = Duration::from_millis(4);

/// The canary's share in a slot, if it has one.
fn canary_weight(slot: &rollout::Slot) -> Option<u32> {
    let mut active = slot.active.iter();
    let canary = active.find(|active| active.arm() == rollout::Arm::Canary)?;
    Some(canary.weight_basis_points)
}

/// No generation is left out or made twice, and the audit log is whole.
async fn check_records(cluster: &Deployment, place: usize) {
    let intended = cluster.intended(place).await;
    let generations: Vec<u64> = intended.iter().map(|slot| slot.generation).collect();
    let newest = generations[0];
    assert_eq!(generations, (1..=newest).rev().collect::<Vec<_>>());
    let request = admin::VerifyAuditRequest {};
    let verified = cluster.admin(place).verify_audit(request).await.unwrap();
    assert!(verified.get_ref().broken.is_empty(), "{verified:?}");
}

/// All scorers answer, and with this version alone.
async fn check_all_answers_are(cluster: &Deployment, version: u64, tiny: &Tiny) {
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("all scorers are asked", || async {
        (clients.count() > 200).then_some(()).ok_or(clients.count())
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_exact([tiny]);
    for answer in &history.0 {
        let (served_by, _) = answer.outcome.as_ref().unwrap();
        assert_eq!(served_by.version, version, "{answer:?}");
    }
}

/// Ends the newest rollout, if it is not over, and waits until it is.
async fn abort(cluster: &Deployment) {
    let told = cluster.steer(0, rollout::Steer::Abort, None, "judge").await;
    if let Err(status) = told {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    }
    cluster.reaches(0, rollout::RolloutPhase::Aborted).await;
}
