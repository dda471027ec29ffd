//! The gate itself: a layer before a server's services.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use decant_model::access::{Access, Permission, Principal};
use decant_proto::status::ErrorCode;
use futures::future::Either;
use http::{Extensions, HeaderValue, Request, Response, Uri, header};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::Rules;
use super::lasting::{self, Revoked};
use crate::server::Peer;
use crate::telemetry::rpc;

/// What everybody may ask.
const OPEN: [&str; 2] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
];

/// What changes a process.
const OPS: &str = "/decant.ops.v1.OpsService/";

/// Why a call is refused of somebody who is known.
const DENIED: &str = "denied";

/// Puts a gate before services. Clones share it.
#[derive(Clone)]
pub struct GateLayer(Option<Arc<Guard>>);

/// Services behind a gate.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    guard: Option<Arc<Guard>>,
}

pub(super) struct Guard {
    access: watch::Receiver<Arc<Access>>,
    rules: Rules,
    anonymous_scoring: bool,
    /// The paths of calls of many messages.
    streams: HashSet<String>,
    refused: Counter<u64>,
}

/// What a call says of who makes it.
pub(super) struct Shown {
    uri: Uri,
    authorization: Option<HeaderValue>,
    identities: Arc<[String]>,
}

/// Who makes a call, if the gate asked.
pub fn known(extensions: &Extensions) -> Option<&Arc<Principal>> {
    extensions.get()
}

/// Who makes a call: whoever the gate found, or else somebody whom nobody asked.
pub fn principal(extensions: &Extensions) -> Arc<Principal> {
    known(extensions).map_or_else(|| Arc::new(Principal::anonymous()), Arc::clone)
}

impl GateLayer {
    /// One that lets everybody through.
    pub fn open() -> Self {
        Self(None)
    }

    /// One that lets those through who are known, to what they may.
    pub(super) fn new(
        access: watch::Receiver<Arc<Access>>,
        rules: Rules,
        anonymous_scoring: bool,
        meter: &Meter,
    ) -> Self {
        Self(Some(Arc::new(Guard {
            access,
            rules,
            anonymous_scoring,
            streams: decant_proto::stream_paths().into_iter().collect(),
            refused: meter
                .u64_counter("decant.auth.refused")
                .with_description("Calls that were refused for their credential")
                .build(),
        })))
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            inner,
            guard: self.0.clone(),
        }
    }
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, Answer<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut asked = None;
        let mut revoked = None;
        if let Some(guard) = &self.guard {
            let shown = Shown::by(&request);
            match guard.admit(&shown) {
                Ok(Some(principal)) => {
                    if guard.streams.contains(shown.uri.path()) {
                        let caller = Arc::clone(&principal);
                        let until = lasting::revoked(Arc::clone(guard), shown, caller);
                        revoked = Some(Box::pin(until) as Revoked);
                    }
                    asked = Some(Arc::clone(guard));
                    request.extensions_mut().insert(principal);
                }
                Ok(None) => {}
                Err(refused) => {
                    let status = guard.refuse(refused);
                    return Either::Left(ready(Ok(status.into_http())));
                }
            }
        }
        Either::Right(Answer {
            inner: self.inner.call(request),
            asked,
            revoked,
        })
    }
}

pin_project! {
    /// The answer to a call that was let in.
    pub struct Answer<F> {
        #[pin]
        inner: F,
        // The guard that asked who calls.
        asked: Option<Arc<Guard>>,
        // For a call of many messages.
        revoked: Option<Revoked>,
    }
}

impl<F> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(revoked) = this.revoked
            && let Poll::Ready(status) = revoked.as_mut().poll(context)
        {
            return Poll::Ready(Ok(status.into_http()));
        }
        let mut answer = ready!(this.inner.poll(context))?;
        if let Some(guard) = this.asked {
            // Whether somebody may do this to the model that they name is seen where the request is read.
            if rpc::status(answer.headers()) == Some(Code::PermissionDenied) {
                guard.count(DENIED);
            }
        }
        if let Some(revoked) = this.revoked.take() {
            answer = lasting::until(revoked, answer);
        }
        Poll::Ready(Ok(answer))
    }
}

impl Shown {
    fn by<B>(request: &Request<B>) -> Self {
        let peer = request.extensions().get::<Peer>();
        Self {
            uri: request.uri().clone(),
            authorization: request.headers().get(header::AUTHORIZATION).cloned(),
            identities: peer.map_or_else(Arc::default, |peer| Arc::clone(&peer.identities)),
        }
    }
}

/// Why a call is not let in.
pub(super) struct Refused {
    reason: &'static str,
    status: Status,
}

impl Guard {
    /// Who is known, as it changes.
    pub(super) fn access(&self) -> watch::Receiver<Arc<Access>> {
        self.access.clone()
    }

    /// What somebody is told who is not let in.
    pub(super) fn refuse(&self, refused: Refused) -> Status {
        self.count(refused.reason);
        refused.status
    }

    fn count(&self, reason: &'static str) {
        self.refused.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Who calls, where that matters.
    pub(super) fn admit(&self, shown: &Shown) -> Result<Option<Arc<Principal>>, Refused> {
        let path = shown.uri.path();
        if OPEN.iter().any(|open| path.starts_with(open)) {
            return Ok(None);
        }
        // What nobody serves, the router says.
        let permission = match path.starts_with(OPS) {
            true => Some(Permission::Administer),
            false => (self.rules)(path),
        };
        let Some(permission) = permission else {
            return Ok(None);
        };
        if permission == Permission::Score && self.anonymous_scoring {
            return Ok(None);
        }
        let principal = self.recognise(shown)?;
        principal
            .may_somewhere(permission)
            .map_err(|denied| Refused {
                reason: DENIED,
                status: ErrorCode::Denied.status(denied.to_string()),
            })?;
        Ok(Some(principal))
    }

    fn recognise(&self, shown: &Shown) -> Result<Arc<Principal>, Refused> {
        let unauthenticated = |reason, words: &str| Refused {
            reason,
            status: ErrorCode::Unauthenticated.status(words),
        };
        let access = Arc::clone(&self.access.borrow());
        let found = match &shown.authorization {
            Some(shown) => {
                let token = shown.to_str().ok().and_then(bearer);
                let token = token.ok_or_else(|| {
                    unauthenticated("unknown", "`authorization` must be `Bearer` and a token")
                })?;
                access
                    .by_token(token)
                    .ok_or_else(|| unauthenticated("unknown", "nobody has this token"))?
            }
            None => {
                if shown.identities.is_empty() {
                    let words = "show who you are: a certificate, or `authorization: Bearer TOKEN`";
                    return Err(unauthenticated("missing", words));
                }
                let identities = shown.identities.iter().map(String::as_str);
                access.by_identities(identities).ok_or_else(|| {
                    unauthenticated("unknown", "nobody has this certificate's identities")
                })?
            }
        };
        if found.expires_at_millis.is_some_and(is_over) {
            let words = format!("the credential of `{}` has expired", found.name);
            return Err(unauthenticated("expired", &words));
        }
        Ok(Arc::clone(found))
    }
}

/// Whether a time has come, in milliseconds since 1970.
fn is_over(end: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    end <= now.map_or(u64::MAX, |since| since.as_millis() as u64)
}

/// The token in `Bearer TOKEN`, whose first word may be written in any case (RFC 6750 and 9110).
fn bearer(shown: &str) -> Option<&str> {
    let (scheme, token) = shown.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}
