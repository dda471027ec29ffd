//! Calls of many messages: they end when their caller may not make them any more.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use decant_model::access::Principal;
use decant_proto::status::ErrorCode;
use futures::future::BoxFuture;
use http::{HeaderMap, Response};
use http_body::Frame;
use tokio::time::sleep;
use tonic::Status;
use tonic::body::Body;

use super::gate::{Guard, Shown};

/// Ends when a caller may not go on, with what they are told.
pub(super) type Revoked = BoxFuture<'static, Status>;

/// Waits until somebody who was let in is not known any more, has run out of time, or is known as somebody else.
pub(super) async fn revoked(guard: Arc<Guard>, shown: Shown, caller: Arc<Principal>) -> Status {
    let mut access = guard.access();
    loop {
        tokio::select! {
            changed = access.changed() => if changed.is_err() {
                // Nothing changes any more but the time.
                ended(&caller).await;
            },
            () = ended(&caller) => {}
        }
        match guard.admit(&shown) {
            Ok(Some(found)) if *found == *caller => {}
            Ok(_) => {
                let words = format!("what `{}` may has changed; call again", caller.name);
                return ErrorCode::NotReady.status(words);
            }
            Err(refused) => return guard.refuse(refused),
        }
    }
}

/// How often the time is looked at: a clock may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(30);

/// Waits until somebody's credentials may have ended.
async fn ended(caller: &Principal) {
    let Some(end) = caller.expires_at_millis else {
        return pending().await;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = Duration::from_millis(end);
    let left = end.saturating_sub(now.unwrap_or_default());
    sleep(left.min(LOOK)).await;
}

/// The answer's messages, until the caller may not have more.
pub(super) fn until(revoked: Revoked, answer: Response<Body>) -> Response<Body> {
    answer.map(|messages| {
        Body::new(Lasting {
            messages,
            revoked: Some(revoked),
        })
    })
}

struct Lasting {
    messages: Body,
    /// Nothing once it has been told.
    revoked: Option<Revoked>,
}

impl http_body::Body for Lasting {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(revoked) = &mut self.revoked else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(status) = revoked.as_mut().poll(context) {
            self.revoked = None;
            // Whoever makes the messages is to stop.
            self.messages = Body::empty();
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(
                status
                    .add_header(&mut trailers)
                    .map(|()| Frame::trailers(trailers)),
            ));
        }
        Pin::new(&mut self.messages).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.revoked.is_none() || self.messages.is_end_stream()
    }
}
