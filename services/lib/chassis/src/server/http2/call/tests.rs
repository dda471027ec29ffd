use std::future::{pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use h2::client::ResponseFuture;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::*;
use crate::tasks::Tasks;

/// Long enough that something else is wrong when it has passed.
const LONG: Duration = Duration::from_secs(20);

const CHUNK: usize = 32 << 10;
const CHUNKS: usize = 20;

/// Some chunks of data, and then trailers; or a failure in their place.
struct Chunks {
    asked_for: Arc<AtomicUsize>,
    fails: bool,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(match self.asked_for.fetch_add(1, Relaxed) {
            count if count < CHUNKS => Some(Ok(Frame::data(vec![count as u8; CHUNK].into()))),
            CHUNKS if self.fails => Some(Err("as the test wants it")),
            CHUNKS => {
                let mut trailers = HeaderMap::new();
                trailers.insert("the", HeaderValue::from_static("end"));
                Some(Ok(Frame::trailers(trailers)))
            }
            _ => None,
        })
    }
}

/// A call, as its client and as its server have it. What is between them are tasks.
async fn begin(tasks: &Tasks) -> (ResponseFuture, SendResponse<Bytes>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let ours = h2::server::handshake(ours);
    let (client, server) = tokio::join!(h2::client::handshake(theirs), ours);
    let ((mut client, connection), mut server) = (client.unwrap(), server.unwrap());
    tasks.spawn_bounded("client", async {
        let _ = connection.await;
    });
    let request = Request::get("http://localhost/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let (_, respond) = server.accept().await.unwrap().unwrap();
    tasks.spawn_bounded(
        "server",
        async move { while server.accept().await.is_some() {} },
    );
    (response, respond)
}

/// A call that is answered with chunks, how many of them were asked for so far, and the answer.
async fn answer(tasks: &Tasks, fails: bool) -> (Arc<AtomicUsize>, h2::RecvStream) {
    let (response, respond) = begin(tasks).await;
    let asked_for = Arc::new(AtomicUsize::new(0));
    let chunks = Chunks {
        asked_for: Arc::clone(&asked_for),
        fails,
    };
    let answered = ready(Ok(Response::new(chunks)));
    tasks.spawn_bounded("call", Call::new(answered, respond));
    (asked_for, response.await.unwrap().into_body())
}

/// Takes all data of an answer, and makes room for more. How many bytes there were.
async fn take(answer: &mut h2::RecvStream) -> Result<usize, h2::Error> {
    let mut taken = 0;
    while let Some(data) = answer.data().await {
        let data = data?;
        let chunk = (taken / CHUNK) as u8;
        assert!(data.iter().all(|byte| *byte == chunk));
        taken += data.len();
        answer.flow_control().release_capacity(data.len())?;
    }
    Ok(taken)
}

#[tokio::test]
async fn an_answer_waits_while_the_client_takes_nothing_and_comes_whole() {
    let (tasks, _failures) = Tasks::new();
    let (asked_for, mut answer) = answer(&tasks, false).await;
    for _ in 0..1_000 {
        yield_now().await;
    }
    // What a client takes at once are 64 KiB, unless it says otherwise.
    assert!((2..=4).contains(&asked_for.load(Relaxed)));
    let taken = timeout(LONG, take(&mut answer)).await.unwrap();
    assert_eq!(taken.unwrap(), CHUNKS * CHUNK);
    let trailers = answer.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["the"], "end");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none_that_has_ended() {
    let (tasks, _failures) = Tasks::new();
    let (_, mut answer) = answer(&tasks, true).await;
    let broken = timeout(LONG, take(&mut answer)).await.unwrap();
    assert_eq!(
        broken.unwrap_err().reason(),
        Some(h2::Reason::INTERNAL_ERROR)
    );
}

#[tokio::test]
async fn a_call_ends_when_its_client_gives_it_up() {
    let (tasks, _failures) = Tasks::new();
    let (response, respond) = begin(&tasks).await;
    let mut call = pin!(Call::<_, Chunks>::new(pending(), respond));
    assert!(futures::poll!(&mut call).is_pending());
    drop(response);
    timeout(LONG, call).await.unwrap();

    // While there is no room for the rest of its answer.
    let (asked_for, answer) = answer(&tasks, false).await;
    while asked_for.load(Relaxed) < 2 {
        yield_now().await;
    }
    drop(answer);
    let ended = async {
        while Arc::strong_count(&asked_for) > 1 {
            yield_now().await;
        }
    };
    timeout(LONG, ended).await.unwrap();
    assert!(asked_for.load(Relaxed) < CHUNKS);
}
