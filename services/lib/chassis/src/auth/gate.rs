//! The gate itself: a layer before a server's services.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use decant_model::access::{Access, Permission, Principal};
use decant_proto::status::ErrorCode;
use futures::future::Either;
use http::{Extensions, Request, Response, header};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::Rules;
use crate::server::Peer;

/// What everybody may ask.
const OPEN: [&str; 2] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
];

/// What changes a process.
const OPS: &str = "/decant.ops.v1.OpsService/";

/// Puts a gate before services. Clones share it.
#[derive(Clone)]
pub struct GateLayer(Option<Arc<Guard>>);

/// Services behind a gate.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    guard: Option<Arc<Guard>>,
}

struct Guard {
    access: watch::Receiver<Arc<Access>>,
    rules: Rules,
    anonymous_scoring: bool,
    refused: Counter<u64>,
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
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(guard) = &self.guard {
            match guard.admit(&request) {
                Ok(Some(principal)) => {
                    request.extensions_mut().insert(principal);
                }
                Ok(None) => {}
                Err(refused) => {
                    let reason = KeyValue::new("reason", refused.reason);
                    guard.refused.add(1, &[reason]);
                    return Either::Left(ready(Ok(refused.status.into_http())));
                }
            }
        }
        Either::Right(self.inner.call(request))
    }
}

struct Refused {
    reason: &'static str,
    status: Status,
}

impl Guard {
    /// Who calls, where that matters.
    fn admit<B>(&self, request: &Request<B>) -> Result<Option<Arc<Principal>>, Refused> {
        let path = request.uri().path();
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
        let principal = self.recognise(request)?;
        principal
            .may_somewhere(permission)
            .map_err(|denied| Refused {
                reason: "denied",
                status: ErrorCode::Denied.status(denied.to_string()),
            })?;
        Ok(Some(principal))
    }

    fn recognise<B>(&self, request: &Request<B>) -> Result<Arc<Principal>, Refused> {
        let unauthenticated = |reason, words: &str| Refused {
            reason,
            status: ErrorCode::Unauthenticated.status(words),
        };
        let access = Arc::clone(&self.access.borrow());
        let found = match request.headers().get(header::AUTHORIZATION) {
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
                let peer = request.extensions().get::<Peer>();
                let identities = peer.map_or(&[][..], |peer| &peer.identities);
                if identities.is_empty() {
                    let words = "show who you are: a certificate, or `authorization: Bearer TOKEN`";
                    return Err(unauthenticated("missing", words));
                }
                let identities = identities.iter().map(String::as_str);
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
