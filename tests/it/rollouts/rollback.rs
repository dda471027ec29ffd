//! The way back: the very bits of before, whatever is under way and whoever is away.

use decant_chassis::client::channel;
use decant_proto::rollout::v1 as rollout;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_tests::releases::{plan, release};
use decant_tests::{Deployment, Operated, Recorder, Releases, Shape, Tiny};
use rollout::RolloutPhase;

use super::{OFTEN, check_all_answers_are, check_records};

const SCORERS: usize = 3;
const SHAPE: Shape = Shape {
    etcd: 1,
    registries: 2,
    scorers: SCORERS,
};
/// Whom the scorers are asked about: the user of the golden vectors, and others.
const AGES: [f32; 4] = [18.0, 34.0, 51.0, 70.0];

/// What each scorer answers to fixed requests, bit by bit.
async fn outputs(cluster: &Deployment) -> Vec<Vec<u32>> {
    let mut outputs = Vec::new();
    for address in cluster.scorer_addresses() {
        let channel = channel("scorer", &format!("http://{address}")).unwrap();
        let mut client = ScorerServiceClient::new(channel);
        let mut bits = Vec::new();
        for age in AGES {
            let answer = client.rank(Tiny::request_at(age)).await.unwrap();
            let scores = Tiny::scores_of(answer.get_ref());
            bits.extend(scores.into_iter().map(f32::to_bits));
        }
        outputs.push(bits);
    }
    outputs
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_rollback_restores_the_very_bits_on_every_scorer_and_fails_no_request() {
    let cluster = Deployment::start(SHAPE).await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26)];
    cluster.serve(&versions[0]).await;
    let before = outputs(&cluster).await;
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);

    // After it was promoted.
    let request = release(version, plan(&["50%"], Vec::new()));
    cluster.begin(0, request).await.unwrap();
    cluster.reaches(0, RolloutPhase::Promoted).await;
    cluster.converged(0, version, SCORERS).await;
    let promoted = outputs(&cluster).await;
    let differ = before.iter().zip(&promoted).all(|(old, new)| old != new);
    assert!(differ, "{before:?}, {promoted:?}");
    let back = cluster.decant(&["rollback", "films", "--reason", "a test says so"]);
    assert!(back.status.success(), "{back:?}");
    cluster.converged(1, 1, SCORERS).await;
    assert_eq!(outputs(&cluster).await, before);
    cluster.reaches(0, RolloutPhase::RolledBack).await;

    // While it is under way.
    let request = release(version, plan(&["50%", "pause"], Vec::new()));
    let begun = cluster.begin(0, request).await.unwrap();
    cluster.reaches(0, RolloutPhase::Paused).await;
    let back = cluster.roll_back(1, 0).await.unwrap();
    assert_eq!(back.rollout, begun.id, "the rollout that ended with it");
    let (was, is) = (back.before.unwrap(), back.slot.unwrap());
    assert_eq!(is.generation, was.generation + 1, "in one generation");
    assert_eq!(is.rollout, "");
    cluster.converged(0, 1, SCORERS).await;
    assert_eq!(outputs(&cluster).await, before);
    cluster.reaches(0, RolloutPhase::RolledBack).await;

    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
    check_records(&cluster, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_rollback_does_not_wait_for_a_leader_that_hangs() {
    let cluster = Deployment::start(SHAPE).await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26)];
    cluster.serve(&versions[0]).await;
    let before = outputs(&cluster).await;
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let request = release(version, plan(&["50%", "pause"], Vec::new()));
    cluster.begin(0, request).await.unwrap();
    cluster.reaches(0, RolloutPhase::Paused).await;

    let (leader, epoch) = cluster.leader().await;
    let other = 1 - leader;
    cluster.registries[leader].signal("STOP");
    let back = cluster.roll_back(other, 0).await.unwrap();
    let slot = cluster.converged(other, 1, SCORERS).await;
    assert_eq!(Some(&slot), back.slot.as_ref());
    assert_eq!(slot.epoch, 0, "an operator did it, and no leader");
    assert_eq!(outputs(&cluster).await, before);
    cluster.registries[leader].signal("CONT");

    // The one that slept knows what was done, and does nothing more.
    let (_, newer) = cluster.leader().await;
    assert!(newer >= epoch);
    cluster.reaches(leader, RolloutPhase::RolledBack).await;
    check_all_answers_are(&cluster, 1, &versions[0]).await;
    let history = clients.stop().await;
    history.check_no_drop();
    let intended = cluster.intended(leader).await;
    assert_eq!(intended[0], slot, "nothing followed the rollback");
    history.check_against(&intended);
    history.check_exact(&versions);
    check_records(&cluster, other).await;
}
