//! Calls of which one stream carries many.

use std::future::Future;

use futures::{Stream, StreamExt, future};
use tonic::{Status, Streaming};

/// Answers each message. So many are at work at once, and answers leave in the order of their messages. What breaks the
/// transport ends the stream; what is wrong with one message is its answer.
pub(crate) fn in_order<Message, Answer, Work>(
    messages: Streaming<Message>,
    depth: usize,
    answer: impl Fn(Message) -> Work + Clone + Send + 'static,
) -> impl Stream<Item = Result<Answer, Status>> + Send + 'static
where
    Message: Send + 'static,
    Answer: Send + 'static,
    Work: Future<Output = Answer> + Send + 'static,
{
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
