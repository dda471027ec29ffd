//! What may happen to the object store: a real S3 server behind a proxy.

use std::time::Duration;

use decant_proto::rollout::v1 as rollout;
use decant_tests::{Deployment, Network, Operated, Recorder, Shape, Tiny, eventually};

const OFTEN: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn process_an_object_store_that_is_away_delays_a_version_and_harms_none() {
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 2,
    };
    let (cluster, network) = Deployment::start_on_s3(shape).await;
    let mut versions = vec![Tiny::new(0.25)];
    cluster.serve(&versions[0]).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let bad = [
        Network::Cut,
        Network::Swallows,
        Network::Slow(Duration::from_millis(150)),
    ];
    for (round, network_now) in bad.into_iter().enumerate() {
        let tiny = Tiny::new(-0.1 * (round as f32 + 1.0));
        let version = cluster.push(0, &tiny).await.unwrap().version;
        versions.push(tiny);
        network.set(network_now);
        cluster.set(0, version).await.unwrap();
        if !matches!(network_now, Network::Slow(_)) {
            let status = eventually("the scorers say what is missing", || async {
                let status = cluster.status(0).await.unwrap();
                let failed = status.scorers.iter().all(|scorer| {
                    scorer
                        .versions
                        .iter()
                        .any(|version| version.state() == rollout::ObservedState::Failed)
                });
                if failed { Ok(status) } else { Err(status) }
            })
            .await;
            assert_eq!(
                status.slot.unwrap().active[0].version,
                version - 1,
                "nobody activates what nobody has"
            );
            network.set(Network::Sound);
        }
        cluster.converged(0, version, 2).await;
        network.set(Network::Sound);
    }
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
}

/// One byte of a file is wrong in the object store: no scorer may serve it.
#[tokio::test(flavor = "multi_thread")]
async fn process_corrupt_and_truncated_bytes_are_never_served() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 1,
        scorers: 2,
    })
    .await;
    let good = Tiny::new(0.25);
    cluster.serve(&good).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    for (round, truncate) in [false, true].into_iter().enumerate() {
        let tiny = Tiny::new(-0.1 * (round as f32 + 1.0));
        let version = cluster.push(0, &tiny).await.unwrap().version;
        let model = &tiny.files[&"model.onnx".parse().unwrap()];
        let hex = decant_model::Digest::of(model).hex();
        let blob = cluster
            .folder()
            .join("bundles/blobs/sha256")
            .join(&hex[..2])
            .join(&hex);
        let mut bytes = std::fs::read(&blob).unwrap();
        if truncate {
            bytes.truncate(bytes.len() / 2);
        } else {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        std::fs::write(&blob, bytes).unwrap();
        cluster.set(0, version).await.unwrap();
        eventually("the scorers refuse it", || async {
            let status = cluster.status(0).await.unwrap();
            let refused = status.scorers.iter().all(|scorer| {
                scorer.versions.iter().any(|observed| {
                    observed.version == version
                        && observed.state() == rollout::ObservedState::Failed
                        && observed.error.contains("model.onnx")
                })
            });
            if refused { Ok(()) } else { Err(status) }
        })
        .await;
    }
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_exact([&good]);
}
