//! One call: its answer is waited for, and then sent as fast as the client takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

pin_project! {
    /// A call that a future answers. It ends when its answer is on its way, or when its client gives it up.
    #[project = Stage]
    pub(super) enum Call<F, B> {
        Waiting {
            #[pin]
            answer: F,
            respond: SendResponse<Bytes>,
        },
        Answered {
            #[pin]
            body: B,
            sender: Sender,
        },
    }
}

impl<F, B> Call<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    pub(super) fn new(answer: F, respond: SendResponse<Bytes>) -> Self {
        Self::Waiting { answer, respond }
    }

    fn poll_sent(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        loop {
            let (answer, respond) = match self.as_mut().project() {
                Stage::Waiting { answer, respond } => (answer, respond),
                Stage::Answered { body, sender } => return sender.poll_send(context, body),
            };
            let Poll::Ready(Ok(response)) = answer.poll(context) else {
                let reason = ready!(respond.poll_reset(context))?;
                return Poll::Ready(Err(reason.into()));
            };
            let (head, body) = response.into_parts();
            let head = Response::from_parts(head, ());
            if body.is_end_stream() {
                return Poll::Ready(respond.send_response(head, true).map(drop));
            }
            let stream = respond.send_response(head, false)?;
            let sender = Sender::new(stream);
            self.set(Self::Answered { body, sender });
        }
    }
}

impl<F, B> Future for Call<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body<Data = Bytes>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_sent(context).map(|sent| {
            if let Err(error) = sent {
                tracing::debug!(%error, "a call was given up");
            }
        })
    }
}

/// Sends what an answer consists of.
pub(super) struct Sender {
    stream: SendStream<Bytes>,
    /// What waits until the client takes more.
    held: Option<Bytes>,
    /// Whether anything was sent. What comes first is in memory whether it waits here or there.
    begun: bool,
}

impl Sender {
    fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            held: None,
            begun: false,
        }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        mut body: Pin<&mut impl Body<Data = Bytes>>,
    ) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.held.is_some() {
                ready!(self.poll_room(context))?;
            }
            if let Some(data) = self.held.take() {
                self.begun = true;
                self.stream.send_data(data, false)?;
            }
            let Poll::Ready(frame) = body.as_mut().poll_frame(context) else {
                let reason = ready!(self.stream.poll_reset(context))?;
                return Poll::Ready(Err(reason.into()));
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Ok(()));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
            };
            match frame.into_data() {
                Ok(data) => self.held = Some(data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(self.stream.send_trailers(trailers));
                    }
                }
            }
        }
    }

    /// Waits until the client takes more than it was sent so far.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if !self.begun {
            return Poll::Ready(Ok(()));
        }
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            if ready!(self.stream.poll_capacity(context))
                .transpose()?
                .is_none()
            {
                return Poll::Ready(Err(Reason::CANCEL.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
