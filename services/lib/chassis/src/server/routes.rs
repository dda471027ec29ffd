//! Which service answers a call: a gRPC path is a service's name and a method's.
//!
//! Tonic's own routes stand on a router for any HTTP, which takes each path apart anew, keeps what it found beside the
//! request, and puts every body into two boxes: for a small call, that is felt.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use decant_proto::status::ErrorCode;
use futures::FutureExt as _;
use futures::future::{CatchUnwind, Either, Map};
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::Service;

type Answer = BoxFuture<Response<Body>, Infallible>;
type Answered = Result<Response<Body>, Infallible>;
/// An answer, also to a call that panics.
type Caught<F> = Map<CatchUnwind<AssertUnwindSafe<F>>, fn(thread::Result<Answered>) -> Answered>;

/// Services by their names. Clones share them.
#[derive(Clone, Default)]
pub struct Routes(Arc<Vec<Route>>);

#[derive(Clone)]
struct Route {
    name: &'static str,
    call: Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>,
}

impl Routes {
    /// One service.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        Self::default().add_service(service)
    }

    /// One more. It is one that is always ready, as all are that are generated.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        let route = Route {
            name: S::NAME,
            call: Arc::new(move |request| service.clone().call(request)),
        };
        Arc::make_mut(&mut self.0).push(route);
        self
    }

    /// Who answers calls of this path. A server has a handful of services, so they are just gone through.
    fn find(&self, path: &str) -> Option<&Route> {
        let (name, _method) = path.strip_prefix('/')?.split_once('/')?;
        self.0.iter().find(|route| route.name == name)
    }
}

impl Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Caught<Answer>, Ready<Answered>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.find(request.uri().path()) {
            Some(route) => {
                let answer = AssertUnwindSafe((route.call)(request)).catch_unwind();
                Either::Left(answer.map(caught as fn(_) -> _))
            }
            None => {
                let path = request.uri().path();
                let status = Status::unimplemented(format!("nobody here answers `{path}`"));
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

/// A call that panics is a fault that its caller is told of, and that is counted as such. Else it would look like one that its
/// caller gave up.
fn caught(outcome: thread::Result<Answered>) -> Answered {
    outcome.unwrap_or_else(|_| {
        let status = ErrorCode::Internal.status("the call broke off; the log says where");
        Ok(status.into_http())
    })
}
