//! Refuses calls before they are read. Under overload most are refused, and to decode hundreds of candidates first would
//! cost as much as to score them.

mod skim;

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use decant_chassis::server::{Begun, PREFIX, Read, unary};
use decant_model::access::Permission;
use decant_proto::scorer::v1::scorer_service_server::ScorerServiceServer;
use http_body::Body as _;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as TowerService, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use self::skim::{Skimmed, skim};
use super::Service;
use super::asking::Asking;
use super::routing::Drawn;
use crate::error::CallError;
use crate::metrics::Refusal;
use crate::scoring::{Outline, Way};

/// The service, behind a look at the queue. Calls for scores are answered here, all others by the generated server.
#[derive(Clone)]
pub(crate) struct Early {
    service: Service,
    server: ScorerServiceServer<Service>,
    max_request_bytes: usize,
    told: Arc<ArcSwapOption<Told>>,
}

/// What somebody was told who was refused: whoever is refused next is mostly told the same, and to put that into headers costs
/// as much as to decide it.
struct Told {
    reason: String,
    retry_after: Duration,
    headers: http::HeaderMap,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Score,
    Rank,
    Recommend,
}

impl Method {
    fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/decant.scorer.v1.ScorerService/")? {
            "Score" => Some(Self::Score),
            "Rank" => Some(Self::Rank),
            "Recommend" => Some(Self::Recommend),
            _ => None,
        }
    }
}

impl Early {
    pub(crate) fn new(service: Service, max_request_bytes: usize) -> Self {
        let server = ScorerServiceServer::new(service.clone());
        Self {
            service,
            server: server.max_decoding_message_size(max_request_bytes),
            max_request_bytes,
            told: Arc::default(),
        }
    }
}

impl NamedService for Early {
    const NAME: &'static str = ScorerServiceServer::<Service>::NAME;
}

impl TowerService<http::Request<Body>> for Early {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(method) = Method::of(request.uri().path()) else {
            return self.server.call(request);
        };
        if !self.service.pool().is_pressed() {
            return self.answer(method, request);
        }
        let (head, mut body) = request.into_parts();
        // Whatever comes later is waited for below.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(first) = Pin::new(&mut body).poll_frame(&mut nobody) {
            return self.looked(method, head, first, body);
        }
        let early = self.clone();
        Box::pin(async move {
            let first = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            early.looked(method, head, first, body).await
        })
    }
}

impl Early {
    fn answer(
        &self,
        method: Method,
        request: http::Request<Body>,
    ) -> BoxFuture<http::Response<Body>, Infallible> {
        let (service, server) = (self.service.clone(), self.server.clone());
        let largest = self.max_request_bytes;
        match method {
            Method::Score => {
                let score = move |request| async move { service.score_call(request).await };
                Box::pin(unary(request, largest, score, server))
            }
            Method::Rank => {
                let rank = move |request| async move { service.rank_call(request).await };
                Box::pin(unary(request, largest, rank, server))
            }
            Method::Recommend => {
                let recommend = move |request| async move { service.recommend_call(request).await };
                Box::pin(unary(request, largest, recommend, server))
            }
        }
    }

    /// Answers a call of which something has come, unless that says already that it would be refused.
    fn looked(
        &self,
        method: Method,
        mut head: http::request::Parts,
        first: Read,
        body: Body,
    ) -> BoxFuture<http::Response<Body>, Infallible> {
        let data = first
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        // Whoever is asked here is asked afterwards: two draws would not share requests out as the slot says.
        let drawn = Drawn::new();
        if let Some(data) = data {
            let metadata = MetadataMap::from_headers(std::mem::take(&mut head.headers));
            let asking = Asking::read(&metadata, &head.extensions);
            if let Err(error) = self.service.would_admit(method, asking, drawn, data) {
                return Box::pin(ready(Ok(self.refused(error))));
            }
            head.headers = metadata.into_headers();
        }
        head.extensions.insert(drawn);
        let body = Body::new(Begun::new(first, body));
        self.answer(method, http::Request::from_parts(head, body))
    }

    fn refused(&self, error: CallError) -> http::Response<Body> {
        let CallError::Busy {
            reason,
            retry_after,
            ..
        } = &error
        else {
            return Status::from(error).into_http();
        };
        let told = self.told.load();
        if let Some(told) = &*told
            && told.reason == *reason
            && told.retry_after == *retry_after
        {
            let mut response = http::Response::new(Body::empty());
            response.headers_mut().clone_from(&told.headers);
            return response;
        }
        let (reason, retry_after) = (reason.clone(), *retry_after);
        let response = Status::from(error).into_http();
        self.told.store(Some(Arc::new(Told {
            reason,
            retry_after,
            headers: response.headers().clone(),
        })));
        response
    }
}

impl Service {
    /// Whether a call that begins like this would be taken in; it is, as far as can be said here, when more must be read
    /// to know, and when something else is wrong with it.
    fn would_admit(
        &self,
        method: Method,
        asking: Asking<'_>,
        drawn: Drawn,
        data: &Bytes,
    ) -> Result<(), CallError> {
        let Some((prefix, message)) = data.split_first_chunk::<PREFIX>() else {
            return Ok(());
        };
        let [_, length @ ..] = *prefix;
        let Skimmed {
            model,
            describes,
            rows,
        } = skim(method, message);
        let way = match method {
            Method::Score => Way::Pairs,
            Method::Rank if describes => Way::Described,
            Method::Rank | Method::Recommend => Way::Catalog,
        };
        let Asking {
            caller,
            routing,
            who,
            wrong,
        } = asking;
        // Who is refused for this, or may not ask, is so after it was read.
        let Some(model) = model.filter(|_| wrong.is_empty()) else {
            return Ok(());
        };
        let pinned = super::request::place(Some(model)).and_then(|place| {
            who.may(Permission::Score, &place.model)?;
            self.look_up(place, None, routing.or(drawn))
        });
        let Ok(handle) = pinned else {
            return Ok(());
        };
        let servable = handle.servable();
        let rows = match method {
            Method::Score | Method::Rank => {
                // No row takes less than a byte.
                let rows = rows.unwrap_or(u32::from_be_bytes(length) as usize);
                // What is more than one batch waits elsewhere, and may find room there.
                if rows > self.pool().batch_rows(servable, way) {
                    return Ok(());
                }
                1
            }
            Method::Recommend => servable.items().map_or(1, |items| items.catalog().len()),
        };
        let admitted = self.pool().would_admit(&Outline {
            servable,
            way,
            rows,
            deadline: caller.deadline,
            priority: caller.priority,
            client: caller.client,
        });
        admitted.inspect_err(|error| {
            servable.statistics().record_failure(Duration::ZERO);
            handle.count_failure(error);
            self.refusals().count(Refusal::Early);
        })
    }
}

#[cfg(test)]
mod tests;
