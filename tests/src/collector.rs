//! Who takes in traces: OTLP over gRPC, kept in memory.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span that somebody sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which service it is of, such as `decant-scorer`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace's id, in hexadecimal digits.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of the span that it is part of; empty for the first one of a trace.
    pub parent: String,
}

/// A running collector. It ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    inbox: Inbox,
    /// Its own, so that it works while the test's is busy; taken when it is dropped.
    runtime: Option<Runtime>,
}

impl Collector {
    /// Starts on a port of the system's choice.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        let inbox = Inbox::default();
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(inbox.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(serving);
        Self {
            address,
            inbox,
            runtime: Some(runtime),
        }
    }

    /// Where to send spans.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.inbox.0.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let sent = request.into_inner().resource_spans;
        let spans = sent.into_iter().flat_map(spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(sent: ResourceSpans) -> Vec<Span> {
    let service = service(&sent);
    let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
    let span = |span: opentelemetry_proto::tonic::trace::v1::Span| Span {
        service: service.clone(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
    };
    spans.map(span).collect()
}

fn service(sent: &ResourceSpans) -> String {
    let attributes = sent
        .resource
        .iter()
        .flat_map(|resource| &resource.attributes);
    let named = attributes.filter(|attribute| attribute.key == "service.name");
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    };
    let mut values = named.filter_map(|attribute| text(attribute.value.as_ref()?.value.as_ref()?));
    values.next().unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
