//! Traces, as a collector has them.

use std::time::{Duration, Instant};

use decant_tests::{
    Collector, Deployment, Operated, Recorder, Shape, Span, Tiny, decant_with, eventually,
    free_address,
};

const SHAPE: Shape = Shape {
    etcd: 1,
    registries: 1,
    scorers: 1,
};
/// How often each client asks.
const OFTEN: Duration = Duration::from_millis(5);
/// Longer than a command waits for its collector, and shorter than anybody likes to.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster that sends what is traced to this address, soon.
async fn cluster_with(endpoint: &str, sample_ratio: &str) -> Deployment {
    let variables = |_: &str| {
        vec![
            ("DECANT_TELEMETRY__OTLP_ENDPOINT", endpoint.to_owned()),
            ("DECANT_TELEMETRY__SAMPLE_RATIO", sample_ratio.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ]
    };
    Deployment::start_with(SHAPE, &variables).await
}

/// Serves a version by way of the command line, which sends its trace to this address.
fn set_slot(cluster: &Deployment, endpoint: &str) {
    let registry = format!("http://{}", cluster.registry_address(0));
    let output = decant_with(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)],
        &[("registry", registry)],
        &["slot", "set", "films", "1", "--reason", "a test says so"],
    );
    assert!(output.status.success(), "{output:?}");
}

/// A span and those around it, up to the first one of the trace.
fn outwards<'a>(spans: &'a [Span], of: &'a Span) -> Vec<&'a Span> {
    let mut path = vec![of];
    while let Some(around) = spans
        .iter()
        .find(|span| span.id == path[path.len() - 1].parent)
    {
        path.push(around);
    }
    path
}

/// The path of the first span of this name, of a scorer, up to the command; none before all of it has arrived.
fn path_to_command<'a>(spans: &'a [Span], name: &str) -> Option<Vec<&'a Span>> {
    let mut found = spans
        .iter()
        .filter(|span| span.service == "decant-scorer" && span.name == name);
    let path = outwards(spans, found.next()?);
    let (first, last) = (path.first()?, path.last()?);
    let is_whole = last.parent.is_empty() && path.iter().all(|span| span.trace == first.trace);
    is_whole.then_some(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_slot_that_is_set_is_one_trace_from_the_command_to_the_swap() {
    let collector = Collector::start();
    let cluster = cluster_with(&collector.endpoint(), "0.0").await;
    cluster.push(0, &Tiny::new(0.25)).await.unwrap();
    set_slot(&cluster, &collector.endpoint());

    let mut trace = String::new();
    for name in ["load", "swap"] {
        let names = eventually(name, || async {
            let spans = collector.spans();
            let path = path_to_command(&spans, name).ok_or_else(|| format!("{spans:#?}"))?;
            let named =
                |span: &&Span| (span.service.clone(), span.name.clone(), span.trace.clone());
            Ok::<_, String>(path.iter().map(named).collect::<Vec<_>>())
        })
        .await;
        let (service, command, its_trace) = names.last().unwrap();
        assert_eq!(
            (service.as_str(), command.as_str()),
            ("decant-cli", "decant slot set")
        );
        let asked = names.iter().any(|(service, name, _)| {
            service == "decant-registry" && name.ends_with("RolloutService/SetSlot")
        });
        assert!(asked, "{names:#?}");
        assert!(trace.is_empty() || trace == *its_trace, "{names:#?}");
        trace.clone_from(its_trace);
    }

    // Whoever has the trace finds what was logged of it.
    eventually("the registry's log names the trace", || async {
        let log = cluster.registries[0].log();
        let names = |line: &String| line.contains("\"trace_id\"") && line.contains(&trace);
        if log.iter().any(names) {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;

    // Requests that nobody traces leave no spans.
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("there is load", || async {
        (clients.count() > 50).then_some(()).ok_or(clients.count())
    })
    .await;
    clients.stop().await.check_no_drop();
    let spans = collector.spans();
    let is_rank = |span: &Span| span.name.ends_with("ScorerService/Rank");
    assert!(!spans.iter().any(is_rank), "{spans:#?}");
}

/// Nobody takes the spans, of which there are many: one for each call.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_collector_that_is_away_costs_no_request() {
    let endpoint = format!("http://{}", free_address());
    let mut cluster = cluster_with(&endpoint, "1.0").await;
    cluster.push(0, &Tiny::new(0.25)).await.unwrap();
    let begun = Instant::now();
    set_slot(&cluster, &endpoint);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());

    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    // Long enough for several batches to fail.
    eventually("there is load", || async {
        (clients.count() > 500).then_some(()).ok_or(clients.count())
    })
    .await;
    clients.stop().await.check_no_drop();

    let (status, log) = cluster.scorers.remove(0).end("TERM");
    assert!(status.success(), "{status}: {log:#?}");
}

/// With a share of one, calls are traced though nobody asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_share_of_the_calls_is_traced_unasked() {
    let collector = Collector::start();
    let cluster = cluster_with(&collector.endpoint(), "1.0").await;
    cluster.serve(&Tiny::new(0.25)).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("requests are traced", || async {
        let spans = collector.spans();
        let is_rank = |span: &&Span| {
            span.service == "decant-scorer"
                && span.name.ends_with("ScorerService/Rank")
                && span.parent.is_empty()
        };
        let count = spans.iter().filter(is_rank).count();
        if count > 10 { Ok(()) } else { Err(spans.len()) }
    })
    .await;
    clients.stop().await.check_no_drop();
}
