//! What the system knows of this process, looked up when metrics are read.

use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use rustix::time::{ClockId, clock_gettime};

use super::VERSION;

/// Makes the instruments. They live as long as the meter's provider.
pub(super) fn observe(meter: &Meter, service: &'static str) {
    meter
        .u64_observable_gauge("decant.build_info")
        .with_description("Which build of which service this is; always 1.")
        .with_callback(move |gauge| {
            let labels = [
                KeyValue::new("service", service),
                KeyValue::new("version", VERSION),
            ];
            gauge.observe(1, &labels);
        })
        .build();
    meter
        .u64_observable_gauge("process.resident_memory")
        .with_description("Memory that the process holds and that is not swapped out.")
        .with_unit("By")
        .with_callback(|gauge| {
            if let Some(bytes) = resident_bytes() {
                gauge.observe(bytes, &[]);
            }
        })
        .build();
    meter
        .f64_observable_counter("process.cpu")
        .with_description("Time that the process has computed, in itself and in the system.")
        .with_unit("s")
        .with_callback(|counter| counter.observe(cpu_time().as_secs_f64(), &[]))
        .build();
    meter
        .u64_observable_gauge("process.open_fds")
        .with_description("Open file descriptors.")
        .with_callback(|gauge| {
            if let Some(count) = open_descriptors() {
                gauge.observe(count, &[]);
            }
        })
        .build();
    // Telemetry is the first thing that a process sets up.
    let start = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    meter
        .f64_observable_gauge("process.start_time")
        .with_description("When the process began, in seconds since 1970.")
        .with_unit("s")
        .with_callback(move |gauge| gauge.observe(start.as_secs_f64(), &[]))
        .build();
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn open_descriptors() -> Option<u64> {
    // The one through which they are counted is open too.
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(count.saturating_sub(1) as u64)
}
