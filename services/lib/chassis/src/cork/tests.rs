use futures::FutureExt as _;
use futures::future::poll_fn;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::tasks::Tasks;

/// A stream that takes so many bytes at a time, over and over, and none for a while where the number is 0.
struct Narrow {
    takes: Vec<usize>,
    writes: Vec<Vec<u8>>,
    is_shut: bool,
}

impl Narrow {
    fn new(takes: Vec<usize>) -> Self {
        Self {
            takes,
            writes: Vec::new(),
            is_shut: false,
        }
    }

    fn wide() -> Self {
        Self::new(vec![usize::MAX])
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.takes.rotate_left(1);
        let taken = self.takes[0].min(bytes.len());
        if taken == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.writes.push(bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_is_written_until_the_others_had_their_turn_is_sent_at_once() {
    let mut corked = Corked::new(Narrow::wide());
    corked.write_all(b"headers, ").await.unwrap();
    assert!(corked.flush().now_or_never().is_none());
    // Other tasks had something to send too.
    corked.write_all(b"data, ").await.unwrap();
    corked.write_all(b"trailers").await.unwrap();
    corked.flush().await.unwrap();
    assert_eq!(corked.stream.writes, [b"headers, data, trailers"]);
    // With nothing to send there is nothing to wait for.
    assert!(corked.flush().now_or_never().is_some());
    // The next bytes wait for a turn of their own.
    corked.write_all(b"more").await.unwrap();
    assert!(corked.flush().now_or_never().is_none());
    corked.flush().await.unwrap();
    assert_eq!(corked.stream.writes[1..], [b"more"]);
}

#[tokio::test]
async fn a_flush_lets_ready_tasks_go_first_and_no_others() {
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let (tasks, _failures) = Tasks::new();
    tasks.spawn_bounded("other", async move {
        let _ = done.send(());
    });
    let mut corked = Corked::new(Narrow::wide());
    corked.write_all(b"answer").await.unwrap();
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        Pin::new(&mut corked).poll_flush(context)
    })
    .await
    .unwrap();
    assert_eq!(polls, 2);
    assert_eq!(is_done.try_recv(), Ok(()));
}

#[tokio::test]
async fn a_turn_is_sent_at_its_end_or_after_others_had_theirs() {
    let mut corked = Corked::new(Narrow::wide()).in_turns();
    for bytes in [b"one, ", b"two, "] {
        corked.write_all(bytes).await.unwrap();
        assert!(corked.flush().now_or_never().is_some());
    }
    assert!(corked.stream.writes.is_empty());
    let end = async |corked: &mut Corked<Narrow>, more_may_come| {
        poll_fn(|context| Poll::Ready(corked.end_turn(context, more_may_come))).await
    };
    assert!(end(&mut corked, true).await.is_pending());
    corked.write_all(b"three").await.unwrap();
    assert!(end(&mut corked, true).await.is_ready());
    assert_eq!(corked.stream.writes, [b"one, two, three"]);

    corked.write_all(b"four").await.unwrap();
    assert!(end(&mut corked, false).await.is_ready());
    assert_eq!(corked.stream.writes[1..], [b"four"]);
    // With nothing to send there is nothing to wait for.
    assert!(end(&mut corked, true).await.is_ready());
}

#[tokio::test]
async fn what_was_not_flushed_is_sent_before_the_end() {
    let mut corked = Corked::new(Narrow::new(vec![3, 0]));
    corked.write_all(b"goodbye").await.unwrap();
    corked.shutdown().await.unwrap();
    assert_eq!(corked.stream.writes.concat(), b"goodbye");
    assert!(corked.stream.is_shut);
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_in_order(
        writes in prop::collection::vec((0..3 * GATHERED, any::<bool>()), 0..12),
        takes in prop::collection::vec(0..2 * GATHERED, 1..5),
    ) {
        prop_assume!(takes.iter().any(|taken| *taken > 0));
        let mut corked = Corked::new(Narrow::new(takes));
        let mut bytes = (0..=u8::MAX).cycle();
        let mut written: Vec<u8> = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for (count, flushed) in writes {
                let next: Vec<u8> = bytes.by_ref().take(count).collect();
                corked.write_all(&next).await.unwrap();
                assert!(corked.gathered.len() <= GATHERED);
                written.extend(next);
                if flushed {
                    corked.flush().await.unwrap();
                    assert!(corked.stream.writes.concat() == written);
                }
            }
            corked.shutdown().await.unwrap();
        });
        prop_assert!(corked.stream.writes.concat() == written);
    }
}
