use prometheus::TextEncoder;

use super::*;

/// What a counter counted with a label of this value.
pub(crate) fn counted(telemetry: &Telemetry, name: &str, value: &str) -> f64 {
    let families = telemetry.prometheus().gather();
    let metrics = families
        .iter()
        .find(|family| family.name() == name)
        .map_or(&[][..], |family| family.get_metric());
    let has = |metric: &&prometheus::proto::Metric| {
        let mut labels = metric.get_label().iter();
        labels.any(|label| label.value() == value)
    };
    let metric = metrics.iter().find(has);
    metric.map_or(0.0, |metric| metric.get_counter().get_value())
}

fn text(telemetry: &Telemetry) -> String {
    let families = telemetry.prometheus().gather();
    TextEncoder::new().encode_to_string(&families).unwrap()
}

#[test]
fn a_duration_has_buckets_that_suit_it_and_no_scope() {
    let telemetry = Telemetry::none();
    let seconds = |name: &'static str| {
        let meter = telemetry.meter();
        meter.f64_histogram(name).with_unit("s").build()
    };
    seconds("decant.test.queue.duration").record(0.0004, &[KeyValue::new("model", "films")]);
    seconds("decant.test.load.duration").record(200.0, &[]);
    let text = text(&telemetry);
    let line = "decant_test_queue_duration_seconds_bucket{model=\"films\",le=\"0.0005\"} 1\n";
    assert!(text.contains(line), "{text}");
    let line = "decant_test_load_duration_seconds_bucket{le=\"600\"} 1\n";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("otel_scope"), "{text}");
}

#[test]
fn the_process_is_described() {
    let telemetry = Telemetry::none();
    process::observe(&telemetry.meter(), "scorer");
    let text = text(&telemetry);
    let build = format!("decant_build_info{{service=\"scorer\",version=\"{VERSION}\"}} 1\n");
    assert!(text.contains(&build), "{text}");
    for name in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{name} is not in {text}"));
        assert!(line.trim().parse::<f64>().unwrap() > 0.0, "{name}{line}");
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let wrong = |toml: &str| {
        let export: Export = toml::from_str(toml).unwrap();
        export.check().unwrap_err().to_string()
    };
    assert_eq!(
        wrong("metrics_listen = \"9430\""),
        "telemetry.metrics_listen: `9430` is no address such as 127.0.0.1:9430"
    );
    assert_eq!(
        wrong("sample_ratio = 1.5"),
        "telemetry.sample_ratio: 1.5 is not between 0 and 1"
    );
    assert!(wrong("sample_ratio = nan").starts_with("telemetry.sample_ratio: "));
    assert!(wrong("metrics_interval_millis = 0").starts_with("telemetry.metrics_interval_millis"));
    assert!(toml::from_str::<Export>("sampled = 1").is_err());
    Export::default().check().unwrap();
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    // Port 9 of this machine discards, or refuses.
    let resource = resource("test");
    let exporting = Exporting::new("http://127.0.0.1:9", 1.0, &resource).unwrap();
    let pushed = exporting.metrics(Duration::from_secs(60)).unwrap();
    let (meters, prometheus) = metrics::provider(resource, Some(pushed)).unwrap();
    let telemetry = Telemetry(Arc::new(Parts {
        meters,
        prometheus,
        logs: LogControl::foreign(),
        sample_ratio: 1.0,
        exporting: Some(exporting),
    }));
    telemetry
        .meter()
        .u64_counter("decant.test")
        .build()
        .add(1, &[]);
    let begun = std::time::Instant::now();
    telemetry.shutdown();
    assert!(begun.elapsed() < LAST_EXPORT + Duration::from_secs(2));
    drop(telemetry);
    assert!(Exporting::new("not an address", 1.0, &Resource::builder().build()).is_err());
}
