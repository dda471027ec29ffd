//! Calls of which one stream carries many.

use std::future::Future;

use futures::{Stream, StreamExt, future, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::error::CallError;

/// Answers each message. So many are at work at once, and answers leave in the order of their messages. What breaks the
/// transport ends the stream; what is wrong with one message is its answer. When the scorer stops, those that were taken in
/// are answered, and then the stream is refused as a call would be: its client is not to hold up the end.
pub(crate) fn in_order<Message, Answer, Work>(
    messages: Streaming<Message>,
    depth: usize,
    stop: CancellationToken,
    answer: impl Fn(Message) -> Work + Clone + Send + 'static,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static
where
    Message: Send + 'static,
    Answer: Send + 'static,
    Work: Future<Output = Answer> + Send + 'static,
{
    let stopped = stop.clone();
    let refusal = stream::once(async move { stopped.is_cancelled() }).filter_map(|stopped| {
        future::ready(stopped.then(|| Err(Status::from(CallError::Draining))))
    });
    let messages = messages.take_until(stop.cancelled_owned()).chain(refusal);
    let started = messages.map(move |message| {
        let answer = answer.clone();
        async move { Ok(answer(message?).await) }
    });
    started
        .buffered(depth)
        .scan(false, |broken, answer: Result<Answer, Status>| {
            let ended = std::mem::replace(broken, answer.is_err());
            future::ready((!ended).then_some(answer))
        })
}
