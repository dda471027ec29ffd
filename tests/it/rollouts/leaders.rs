//! A leader that dies right before and right after each move of a rollout: the next one goes on from there, each move is made
//! once, and nobody who asked for scores has noticed.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use decant_failpoint::Point;
use decant_proto::rollout::v1 as rollout;
use decant_tests::releases::{plan, release};
use decant_tests::{Deployment, Operated, Recorder, Releases, Shape, Tiny};
use rollout::RolloutPhase;

use super::{OFTEN, canary_weight, check_records};

/// No rollout of the test makes so many moves.
const MANY: u64 = 20;
/// How `abort` ends a process.
const SIGABRT: i32 = 6;
/// Between two looks at a rollout.
const LOOK: Duration = Duration::from_millis(10);
/// So often a leader answers after its last move, if it did not die of it.
const ANSWERS: usize = 20;

/// A cluster in which leaders die, and what was released in it.
struct Story {
    cluster: Deployment,
    versions: Vec<Tiny>,
    /// The rollouts' ids.
    released: Vec<String>,
}

impl Story {
    /// Releases a version under a leader that is to die at its pass of this number through a point; whether it did.
    async fn release_dies_at(&mut self, point: Point, pass: u64) -> bool {
        let (victim, _) = self.cluster.leader().await;
        let survivor = 1 - victim;
        let tiny = Tiny::new(0.25 + 0.001 * self.versions.len() as f32);
        let version = self.cluster.push(survivor, &tiny).await.unwrap().version;
        self.versions.push(tiny);
        self.cluster.end_at(victim, point.name(), pass);
        let request = release(version, plan(&["10%", "50%"], Vec::new()));
        let begun = self.cluster.begin(survivor, request).await.unwrap();
        self.released.push(begun.id);
        let died = self.dies_or_promotes(victim, survivor).await;
        self.cluster.end_nowhere();
        if died {
            self.cluster.replace_dead_leader(victim).await;
        }
        let status = self.cluster.reaches(0, RolloutPhase::Promoted).await;
        assert_eq!(
            Some(status.rollout.unwrap().id),
            self.released.last().cloned()
        );
        self.cluster.converged(1, version, 2).await;
        died
    }

    /// Waits until a leader has died, or the release has ended under it.
    async fn dies_or_promotes(&mut self, leader: usize, other: usize) -> bool {
        let mut answers = 0;
        for _ in 0..6_000 {
            if let Some(status) = self.cluster.registries[leader].ended() {
                assert_eq!(status.signal(), Some(SIGABRT), "{status}");
                return true;
            }
            let status = self.cluster.release_status(other).await;
            let phase = status.map(|status| status.rollout.unwrap().phase());
            // The last move can be seen before the leader itself hears that it is made.
            if phase.is_ok_and(|phase| phase == RolloutPhase::Promoted)
                && self.cluster.release_status(leader).await.is_ok()
            {
                answers += 1;
                if answers == ANSWERS {
                    return false;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("the leader neither releases the version nor dies");
    }
}

/// The points around the moves of rollouts.
fn points() -> impl Iterator<Item = Point> {
    let all = Point::ALL.iter().copied();
    all.filter(|point| point.name().starts_with("rollout"))
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_rollout_survives_its_leader_before_and_after_every_move() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let first = Tiny::new(0.25);
    cluster.serve(&first).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let mut story = Story {
        cluster,
        versions: vec![first],
        released: Vec::new(),
    };

    let all: BTreeSet<Point> = points().collect();
    assert!(!all.is_empty());
    for &point in &all {
        let mut pass = 1;
        while story.release_dies_at(point, pass).await {
            pass += 1;
            assert!(pass < MANY, "{point:?}");
        }
        // A tenth, a half, promoted; and whatever comes before that.
        assert!(pass > 3, "{point:?} was passed {} times", pass - 1);
    }

    let history = clients.stop().await;
    history.check_no_drop();
    let intended = story.cluster.intended(0).await;
    history.check_against(&intended);
    history.check_exact(&story.versions);
    for id in &story.released {
        let oldest_first = intended.iter().rev();
        let of_this = oldest_first.filter(|slot| slot.rollout == *id);
        let weights: Vec<u32> = of_this.filter_map(canary_weight).collect();
        assert_eq!(weights, [1_000, 5_000], "each move is made once");
    }
    let epochs = intended.iter().map(|slot| slot.epoch);
    let epochs: Vec<u64> = epochs.filter(|epoch| *epoch > 0).collect();
    let newest_first = epochs.is_sorted_by(|newer, older| newer >= older);
    assert!(newest_first, "{epochs:?}");
    check_records(&story.cluster, 0).await;
}
