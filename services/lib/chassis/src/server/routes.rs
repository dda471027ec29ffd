//! Which service answers a call: a gRPC path is a service's name and a method's.
//!
//! Tonic's own routes stand on a router for any HTTP, which takes each path apart anew, keeps what it found beside the
//! request, and puts every body into two boxes: for a small call, that is felt.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
                let answer = catch_unwind(AssertUnwindSafe(|| (route.call)(request)));
                match answer {
                    Ok(answer) => {
                        let answer = AssertUnwindSafe(answer).catch_unwind();
                        Either::Left(answer.map(caught as fn(_) -> _))
                    }
                    Err(panic) => Either::Right(ready(caught(Err(panic)))),
                }
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

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Panics before it has said who answers.
    #[derive(Clone)]
    struct Hasty;

    impl NamedService for Hasty {
        const NAME: &'static str = "hasty.Service";
    }

    impl Service<Request<Body>> for Hasty {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Answer;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<Body>) -> Answer {
            panic!("as the test wants it")
        }
    }

    #[tokio::test]
    async fn whoever_calls_what_panics_at_once_is_told() {
        let mut routes = Routes::new(Hasty);
        let request = Request::post("/hasty.Service/Call").body(Body::empty());
        let answer = routes.call(request.unwrap()).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Internal);
    }
}
