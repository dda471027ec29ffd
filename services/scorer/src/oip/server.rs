//! The protocol's server: the generated one, but for the call that is in a hurry.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use decant_chassis::server::unary;
use decant_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as TowerService, http};
use tonic::server::NamedService;

use super::Protocol;
use crate::health::Health;
use crate::service::Service;

/// The path of the calls for scores.
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Answers the protocol's calls. Clones share everything.
#[derive(Clone)]
pub(crate) struct Server {
    protocol: Protocol,
    server: GrpcInferenceServiceServer<Protocol>,
    max_request_bytes: usize,
}

impl Server {
    /// Answers with what the scorer's own service has.
    pub(crate) fn new(service: Service, health: Arc<Health>, max_request_bytes: usize) -> Self {
        let protocol = Protocol::new(service, health);
        let server = GrpcInferenceServiceServer::new(protocol.clone());
        Self {
            protocol,
            server: server.max_decoding_message_size(max_request_bytes),
            max_request_bytes,
        }
    }
}

impl NamedService for Server {
    const NAME: &'static str = GrpcInferenceServiceServer::<Protocol>::NAME;
}

impl TowerService<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != INFER {
            return self.server.call(request);
        }
        let (protocol, server) = (self.protocol.clone(), self.server.clone());
        let infer = move |request| async move { protocol.infer(request).await };
        Box::pin(unary(request, self.max_request_bytes, infer, server))
    }
}
