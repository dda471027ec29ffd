//! A watch on one member of etcd. It ends with the first trouble; whoever follows begins the next one, on another member,
//! from the next revision.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{Client, Error, EventType, WatchOptions, WatchResponse, WatchStream};
use futures::{Stream, stream};
use tokio::time::timeout;

use super::answer;
use super::fault::Fault;
use crate::{Changes, Event, Prefix, Revision, StoreError};

const ACTION: &str = "watch";

/// The largest message that a member can send: it packs up to a thousand transactions into one.
const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

/// Asks a member for the changes of a prefix from a revision on.
pub(super) async fn open(
    client: Client,
    prefix: Prefix,
    from: Revision,
) -> Result<Result<WatchStream, Cancelled>, Error> {
    match ask(&client, &prefix, from).await? {
        // etcd says so to a login that has grown too old, too.
        Err(Cancelled::Refused(reason)) if reason.contains("permission denied") => {
            client.refresh_token().await?;
            ask(&client, &prefix, from).await
        }
        opened => Ok(opened),
    }
}

async fn ask(
    client: &Client,
    prefix: &Prefix,
    from: Revision,
) -> Result<Result<WatchStream, Cancelled>, Error> {
    // Without fragments, as is etcd's default, a transaction comes in one message.
    let options = WatchOptions::new()
        .with_prefix()
        // 0 would mean from now on.
        .with_start_revision(answer::number(from).max(1));
    let mut stream = client
        .watch_client()
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .watch(prefix.as_str(), Some(options))
        .await?;
    let Some(first) = stream.message().await? else {
        return Err(Error::WatchError("the member ended the watch".into()));
    };
    Ok(match cancelled(&first) {
        None => Ok(stream),
        Some(cancelled) => Err(cancelled),
    })
}

/// Why a member ended a watch.
pub(super) enum Cancelled {
    /// It has forgotten what happened up to this revision.
    Compacted(Revision),
    /// It gave this reason.
    Refused(String),
}

/// A cancelled watch says so once, and then stays silent for ever. Its header's revision is 0: never go on from that.
fn cancelled(response: &WatchResponse) -> Option<Cancelled> {
    if !response.canceled() {
        return None;
    }
    Some(match response.compact_revision() {
        0 => Cancelled::Refused(match response.cancel_reason() {
            "" => "the member cancelled the watch".to_owned(),
            reason => reason.to_owned(),
        }),
        compacted => Cancelled::Compacted(answer::revision(compacted)),
    })
}

/// Of what a compaction took with it, deletions at its revision are a part.
pub(super) fn compacted(from: Revision, revision: Revision) -> StoreError {
    StoreError::Compacted {
        from,
        oldest: revision.next(),
    }
}

/// The changes that an open watch brings.
pub(super) fn changes(
    stream: WatchStream,
    from: Revision,
    idle: Duration,
) -> impl Stream<Item = Result<Changes, StoreError>> + Send + 'static {
    let state = State {
        stream,
        next: from,
        idle,
        ready: VecDeque::new(),
    };
    stream::unfold(Some(state), |state| async {
        let mut state = state?;
        match state.next().await {
            Ok(changes) => Some((Ok(changes), Some(state))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

struct State {
    stream: WatchStream,
    /// What was handed out lies before this.
    next: Revision,
    idle: Duration,
    ready: VecDeque<Changes>,
}

impl State {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        while self.ready.is_empty() {
            let response = self.hear().await?;
            self.take_in(&response)?;
        }
        self.ready
            .pop_front()
            .ok_or_else(|| unavailable("the member ended the watch"))
    }

    /// The member's next message. After some silence it is asked for a sign of life.
    async fn hear(&mut self) -> Result<WatchResponse, StoreError> {
        let message = match timeout(self.idle, self.stream.message()).await {
            Ok(message) => message,
            Err(_) => {
                let sign = async {
                    self.stream.request_progress().await?;
                    self.stream.message().await
                };
                timeout(self.idle, sign)
                    .await
                    .map_err(|_| unavailable("the member has fallen silent"))?
            }
        };
        message
            .map_err(|error| Fault::of(error).into_error(ACTION))?
            .ok_or_else(|| unavailable("the member ended the watch"))
    }

    fn take_in(&mut self, response: &WatchResponse) -> Result<(), StoreError> {
        match cancelled(response) {
            Some(Cancelled::Compacted(revision)) => return Err(compacted(self.next, revision)),
            Some(Cancelled::Refused(reason)) => return Err(unavailable(&reason)),
            None => {}
        }
        if response.created() {
            return Ok(());
        }
        if response.events().is_empty() {
            // Before 3.4.25 a sign of life can overtake changes. So it never moves the revision on from what was seen.
            let header = answer::header(ACTION, response.header())?;
            let before = Revision(self.next.0.saturating_sub(1));
            self.ready.push_back(Changes {
                revision: answer::revision(header.revision()).min(before),
                events: Vec::new(),
            });
            return Ok(());
        }
        let mut read: Vec<Changes> = Vec::new();
        for event in response.events() {
            let stored = event
                .kv()
                .ok_or_else(|| StoreError::failed(ACTION)("an event has no key"))?;
            let revision = answer::revision(stored.mod_revision());
            if revision < self.next {
                // etcd 3.4 can send one twice.
                continue;
            }
            let event = match event.event_type() {
                EventType::Put => Event::Put(answer::entry(ACTION, stored.clone())?),
                EventType::Delete => Event::Delete(answer::key(ACTION, stored.key())?),
            };
            match read.last_mut() {
                Some(last) if last.revision == revision => last.events.push(event),
                _ => read.push(Changes {
                    revision,
                    events: vec![event],
                }),
            }
        }
        if let Some(last) = read.last() {
            self.next = last.revision.next();
        }
        self.ready.extend(read);
        Ok(())
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        action: ACTION,
        reason: reason.to_owned(),
    }
}
