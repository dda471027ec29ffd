use std::sync::Arc;

use decant_features::Encoded;
use decant_inference::testing::runtime;
use decant_inference::{Golden, Graph, Plan};

use super::*;
use crate::dataset::{Examples, Pair};
use crate::network::{Architecture, History};
use crate::synthetic;

/// A network of each kind, with weights far from zero.
fn networks(train: &Examples) -> Vec<Network> {
    let history = Some(Arc::new(History::new(train)));
    let network =
        |architecture, history| Network::with_wide_weights(architecture, &train.layout, history, 9);
    vec![
        network(Architecture::linear(), None),
        network(Architecture::mlp(3, &[8]), None),
        network(Architecture::mlp(8, &[32, 16]), None),
        network(Architecture::deepfm(4, &[16, 8]), None),
        network(Architecture::dcn(4, 2, &[16, 8]), None),
        network(Architecture::mlp(4, &[8]), history.clone()),
        network(Architecture::deepfm(4, &[16, 8]), history),
    ]
}

/// A scorer computes a few rows of what is exported without ONNX Runtime.
fn has_plan(onnx: &[u8], golden: &Golden) -> bool {
    let graph = Graph::read(&runtime(), onnx.to_vec().into()).unwrap();
    let mut session = graph.open().unwrap();
    Plan::find(&graph, &mut session, golden).unwrap().is_some()
}

#[test]
fn graphs_score_as_their_networks_do() {
    for dense in [false, true] {
        let [train, _, test] = synthetic::split(dense, 4);
        for network in networks(&train) {
            let onnx = super::network("model", &network);
            let queries = queries(&network, &test);
            let parity = verify(
                "model",
                &onnx,
                &runtime(),
                &queries,
                &test,
                &network.logits(&test),
            )
            .unwrap();
            assert_eq!(parity.rows, test.len());
            assert!(
                parity.worst < 1e-6,
                "{:?} differs by {}",
                network.architecture(),
                parity.worst
            );
            assert_eq!(parity.golden.expected.len(), 48);
            let architecture = network.architecture();
            assert!(has_plan(&onnx, &parity.golden), "{architecture:?}");
            // Scores far apart, or equality would be worth nothing.
            let scores = &parity.golden.expected;
            let spread = scores
                .iter()
                .fold(0.0_f32, |most, score| most.max((score - scores[0]).abs()));
            assert!(
                spread > 0.05,
                "{:?} spreads over {spread}",
                network.architecture()
            );
        }
    }
}

#[test]
fn one_query_row_meets_all_items() {
    let [train, _, test] = synthetic::split(true, 4);
    let pairs: Vec<Pair> = (0..40)
        .map(|item| Pair { query: 7, item })
        .filter(|pair| !train.pairs.contains(pair))
        .collect();
    let labels = vec![0.0; pairs.len()];
    let candidates = test.with_pairs(pairs, labels);
    let items: Vec<usize> = candidates
        .pairs
        .iter()
        .map(|pair| pair.item as usize)
        .collect();
    for network in networks(&train) {
        let onnx = super::network("model", &network);
        let mut session = verify(
            "model",
            &onnx,
            &runtime(),
            &queries(&network, &test),
            &test,
            &network.logits(&test),
        )
        .unwrap()
        .session;
        let mut scores = Vec::new();
        session
            .score(
                &queries(&network, &test).select(&[7]),
                &test.items.select(&items),
                &mut scores,
            )
            .unwrap();
        for (got, expected) in scores.iter().zip(network.scores(&candidates)) {
            assert!(
                (got - expected).abs() < 1e-6,
                "{:?}: {got} instead of {expected}",
                network.architecture()
            );
        }
    }
}

#[test]
fn an_ensemble_is_the_weighted_mean_of_logits() {
    let [train, _, test] = synthetic::split(true, 4);
    let members = networks(&train)
        .into_iter()
        .zip([1.0, 2.0, 1.0, 0.5, 3.0, 1.0, 1.0]);
    let ensemble = Ensemble::new(members.map(|(network, weight)| (weight, network)).collect());
    let onnx = super::ensemble("ensemble", &ensemble);
    let widest = queries(&ensemble.members()[6].1, &test);
    verify(
        "ensemble",
        &onnx,
        &runtime(),
        &widest,
        &test,
        &ensemble.logits(&test),
    )
    .unwrap();
}

#[test]
fn a_published_ensemble_scores_rows_without_histories_as_its_networks_score_with_them() {
    for dense in [false, true] {
        let [train, _, test] = synthetic::split(dense, 4);
        let users = Users::new(Some("id"), &train).unwrap();
        let history = Some(Arc::new(History::new(&train)));
        let cross =
            Network::with_wide_weights(Architecture::dcn(4, 2, &[8]), &train.layout, history, 9);
        let ensembles = networks(&train)
            .into_iter()
            .chain([cross])
            .map(|network| vec![(1.0, network)])
            .chain([networks(&train)
                .into_iter()
                .zip([1.0, 2.0, 1.0, 0.5, 3.0, 1.0, 1.0])
                .map(|(network, weight)| (weight, network))
                .collect()]);
        for ensemble in ensembles.map(Ensemble::new) {
            let onnx = published("teacher", &ensemble, Some(&users));
            let parity = verify(
                "teacher",
                &onnx,
                &runtime(),
                &test.queries,
                &test,
                &ensemble.logits(&test),
            )
            .unwrap();
            assert!(has_plan(&onnx, &parity.golden));
            // As a request asks: one query row, many items.
            let (query, mut session) = (test.pairs[0].query, parity.session);
            let rated: Vec<u32> = train
                .pairs
                .iter()
                .filter(|pair| pair.query == query)
                .map(|pair| pair.item)
                .collect();
            assert!(!rated.is_empty());
            let pairs: Vec<Pair> = (0..40)
                .filter(|item| !rated.contains(item))
                .map(|item| Pair { query, item })
                .collect();
            let items: Vec<usize> = pairs.iter().map(|pair| pair.item as usize).collect();
            let candidates = test.with_pairs(pairs, vec![0.0; items.len()]);
            let mut scores = Vec::new();
            session
                .score(
                    &test.queries.select(&[query as usize]),
                    &test.items.select(&items),
                    &mut scores,
                )
                .unwrap();
            for (got, logit) in scores.iter().zip(ensemble.logits(&candidates)) {
                let expected = crate::network::sigmoid(logit);
                assert!((got - expected).abs() < 1e-5, "{got} instead of {expected}");
            }
        }
    }
}

#[test]
fn a_published_ensemble_without_histories_is_the_one_that_was_measured() {
    let [train, ..] = synthetic::split(true, 4);
    let members = networks(&train).into_iter().take(5);
    let ensemble = Ensemble::new(members.map(|network| (1.0, network)).collect());
    assert_eq!(
        published("teacher", &ensemble, None),
        super::ensemble("teacher", &ensemble)
    );
}

#[test]
fn histories_need_a_feature_that_tells_users_apart() {
    let [train, ..] = synthetic::split(true, 4);
    for feature in [None, Some("name"), Some("tags")] {
        assert_eq!(
            Users::new(feature, &train).unwrap_err(),
            UsersError::NoFeature
        );
    }
    // All users with the first one's id.
    let mut queries = Encoded::clone(&train.queries);
    let slots = queries.slots;
    for row in queries.ids.chunks_exact_mut(slots) {
        row[0] = 0;
    }
    let alike = Examples {
        queries: Arc::new(queries),
        ..train
    };
    let shared = UsersError::Shared {
        feature: "id".to_owned(),
        id: 0,
    };
    assert_eq!(Users::new(Some("id"), &alike).unwrap_err(), shared);
    // Nobody has rated anything: there is nothing to tell apart.
    assert!(Users::new(Some("id"), &alike.select(&[])).is_ok());
}

#[test]
fn a_file_holds_little_more_than_the_parameters() {
    let [train, ..] = synthetic::split(true, 4);
    for network in networks(&train) {
        let bytes = super::network("model", &network).len();
        assert!(
            bytes < 4 * network.parameters() + 12_000,
            "{bytes} bytes for {} parameters",
            network.parameters()
        );
    }
}

#[test]
fn a_graph_that_differs_is_refused_by_its_worst_row() {
    let [train, _, test] = synthetic::split(false, 4);
    let network = networks(&train).remove(2);
    let mut logits = network.logits(&test);
    logits[3] += 0.1;
    logits[5] += 1.0;
    let error = verify(
        "model",
        &super::network("model", &network),
        &runtime(),
        &test.queries,
        &test,
        &logits,
    );
    assert!(matches!(error, Err(ParityError::Differs { row: 5, .. })));
    let error = verify(
        "model",
        b"not onnx",
        &runtime(),
        &test.queries,
        &test,
        &logits,
    );
    assert!(matches!(error, Err(ParityError::Inference { .. })));
}
