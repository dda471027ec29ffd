//! Metrics, as Prometheus has them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use decant_tests::{
    Deployment, Operated, Prometheus, Recorder, Shape, Tiny, eventually, free_address,
};
use serde_json::Value;

use crate::monitoring::{documented, is_documented, is_ours};

const SHAPE: Shape = Shape {
    etcd: 1,
    registries: 2,
    scorers: 2,
};
const PROCESSES: [&str; 4] = ["registry-0", "registry-1", "scorer-0", "scorer-1"];
/// How often each client asks.
const OFTEN: Duration = Duration::from_millis(10);

/// Waits until an expression has one value, which is as it is to be.
async fn becomes(prometheus: &Prometheus, expression: &str, is_right: impl Fn(f64) -> bool) -> f64 {
    eventually(expression, || async {
        let value = prometheus.value(expression).await?;
        is_right(value).then_some(value).ok_or(value.to_string())
    })
    .await
}

/// Every rule of ours was evaluated, without an error, and nothing is firing.
async fn check_rules(prometheus: &Prometheus) {
    let rules = eventually("all rules are evaluated", || async {
        let data = prometheus.get("/api/v1/rules").await?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules: Vec<Value> = groups
            .filter_map(|group| group["rules"].as_array().cloned())
            .flatten()
            .collect();
        let are_known = rules.iter().all(|rule| rule["health"] != "unknown");
        (!rules.is_empty() && are_known)
            .then_some(rules)
            .ok_or(format!("{data:#}"))
    })
    .await;
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        assert_ne!(rule["state"], "firing", "{rule:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_prometheus_sees_what_a_cluster_does() {
    let addresses: BTreeMap<&str, SocketAddr> = PROCESSES.map(|name| (name, free_address())).into();
    let listen = |name: &str| {
        let address = addresses[name].to_string();
        vec![("DECANT_TELEMETRY__METRICS_LISTEN", address)]
    };
    let cluster = Deployment::start_with(SHAPE, &listen).await;
    let targets: Vec<_> = addresses
        .iter()
        .map(|(name, address)| match name.starts_with("registry") {
            true => ("decant-registry", *address),
            false => ("decant-scorer", *address),
        })
        .collect();
    let prometheus = Prometheus::start(&targets);
    becomes(&prometheus, "sum(up{job=~\".*decant.*\"})", |up| up == 4.0).await;
    becomes(
        &prometheus,
        "count(decant_build_info{version!=\"\"})",
        |builds| builds == 4.0,
    )
    .await;

    // What is intended and what is served, from both sides.
    let slot = cluster.serve(&Tiny::new(0.25)).await;
    let generation = slot.generation as f64;
    for (expression, value) in [
        (
            "max(decant_registry_slot_generation{model=\"films\"})",
            generation,
        ),
        ("max(decant_registry_slot_converged{model=\"films\"})", 1.0),
        (
            "min(decant_scorer_generation_wanted{model=\"films\"})",
            generation,
        ),
        (
            "min(decant_scorer_generation_observed{model=\"films\"})",
            generation,
        ),
        ("sum(decant_registry_leader)", 1.0),
        ("max(decant_registry_scorers_live)", 2.0),
        (
            "sum(decant_scorer_servable_info{version=\"1\",state=\"available\"})",
            2.0,
        ),
        ("sum(decant_scorer_loads_total{outcome=\"ready\"})", 2.0),
    ] {
        becomes(&prometheus, expression, |seen| seen == value).await;
    }

    // Requests are counted by version, and calls by method, as often as clients were answered.
    let requests = "sum(decant_scorer_requests_total{model=\"films\",slot=\"main\",version=\"1\",arm=\"stable\",code=\"OK\"})";
    let calls = "sum(rpc_server_call_duration_seconds_count{rpc_method=~\".*/Rank\",rpc_response_status_code=\"OK\"})";
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    becomes(&prometheus, requests, |count| count > 20.0).await;
    let history = clients.stop().await;
    history.check_no_drop();
    let asked = history.0.len() as f64;
    becomes(&prometheus, requests, |count| count >= asked).await;
    becomes(&prometheus, calls, |count| count >= asked).await;
    for expression in [
        "sum(decant_scorer_compute_duration_seconds_count{model=\"films\"})",
        "sum(decant_scorer_rows_total{model=\"films\"})",
        "min(process_resident_memory_bytes)",
        "min(process_open_fds)",
        "min(process_start_time_seconds)",
    ] {
        becomes(&prometheus, expression, |value| value > 0.0).await;
    }

    check_rules(&prometheus).await;

    // Nothing is told that is not documented.
    let names = prometheus
        .get("/api/v1/label/__name__/values")
        .await
        .unwrap();
    let documented = documented();
    for name in names.as_array().unwrap() {
        let name = name.as_str().unwrap();
        if is_ours(name) {
            assert!(
                is_documented(name, &documented),
                "{name} is not in deploy/metrics.md"
            );
        }
    }
}
