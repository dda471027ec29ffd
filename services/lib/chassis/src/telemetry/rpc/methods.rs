//! The methods that are known, each with a histogram for each way in which a call can end. Names from outside never become
//! labels: whoever invents methods would fill the memory.

use std::sync::OnceLock;
use std::time::Duration;

use decant_proto::status::{CODE_NAMES, code_name};
use foldhash::{HashMap, HashMapExt};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Histogram, Meter};
use tonic::Code;

/// What every server has besides Decant's own services.
const COMMON: [&str; 3] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];
/// The name of what is unknown.
const OTHER: &str = "_OTHER";
const OTHER_PLACE: usize = 0;

/// All methods of a server.
#[derive(Debug)]
pub(super) struct Methods {
    durations: Histogram<f64>,
    places: HashMap<String, usize>,
    methods: Vec<Method>,
}

#[derive(Debug)]
struct Method {
    name: String,
    /// By code; made when a call first ends with it.
    durations: [OnceLock<BoundHistogram<f64>>; CODE_NAMES.len()],
}

impl Method {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            durations: std::array::from_fn(|_| OnceLock::new()),
        }
    }
}

impl Methods {
    pub(super) fn new(meter: &Meter) -> Self {
        let durations = meter
            .f64_histogram("rpc.server.call.duration")
            .with_description(
                "How long calls took, from their headers to the end of their answers.",
            )
            .with_unit("s")
            .build();
        let mut methods = vec![Method::new(OTHER)];
        let mut places = HashMap::new();
        let common = COMMON.into_iter().map(str::to_owned);
        for path in decant_proto::method_paths().into_iter().chain(common) {
            methods.push(Method::new(path.trim_start_matches('/')));
            places.insert(path, methods.len() - 1);
        }
        Self {
            durations,
            places,
            methods,
        }
    }

    /// The place of the method with this path.
    pub(super) fn place(&self, path: &str) -> usize {
        self.places.get(path).copied().unwrap_or(OTHER_PLACE)
    }

    /// The name of the method in a place: `package.Service/Method`.
    pub(super) fn name(&self, place: usize) -> &str {
        &self.methods[place].name
    }

    /// Counts a call.
    pub(super) fn record(&self, place: usize, code: Code, took: Duration) {
        let method = &self.methods[place];
        let bound = method.durations[code as usize].get_or_init(|| {
            self.durations.bind(&[
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", method.name.clone()),
                KeyValue::new("rpc.response.status_code", code_name(code)),
            ])
        });
        bound.record(took.as_secs_f64());
    }
}
