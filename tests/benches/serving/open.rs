//! Calls that come as a Poisson process, whether they are answered or not: how long each took since it was due.
//!
//! Each connection is a client, and clients know nothing of each other: each is a process of its own. Calls that took turns on the
//! connections would come on each of them at an almost even pace, as no clients make them.
//!
//! Nothing else is done meanwhile on this thread, and it never sleeps: timers are a millisecond apart, and calls are not. How late
//! calls were sent is measured beside how long they took: no answer's time means more than that.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use decant_load::poisson;
use hdrhistogram::Histogram;
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tonic::Code;

use crate::http2::Connection;

const CONNECTIONS: usize = 8;

/// Between two looks of this thread at its connections there is less; where there is more, it did not have the core.
const PAUSE: Duration = Duration::from_micros(200);

/// For how long answers are waited for after the last call.
const PATIENCE: Duration = Duration::from_secs(60);

/// When calls are due, and on which connection.
pub(crate) struct Load {
    calls: Vec<(Duration, usize)>,
}

/// What became of the calls.
pub(crate) struct Seen {
    calls: Vec<Call>,
}

#[derive(Clone, Copy)]
struct Call {
    due: Duration,
    connection: usize,
    /// From when it was due to when it was sent.
    late: Duration,
    /// From when it was due to the end of the answer.
    took: Duration,
    code: Code,
    /// Whether this thread paused meanwhile.
    is_disturbed: bool,
}

impl Load {
    /// So many calls a second on all connections together.
    pub(crate) fn new(rate: f64, length: Duration, seed: u64) -> Self {
        let of_each = rate / CONNECTIONS as f64;
        let on = |connection: usize| {
            let seed = seed * CONNECTIONS as u64 + connection as u64;
            let due = poisson(of_each, length, seed).into_iter();
            due.map(move |due| (due, connection))
        };
        let mut calls: Vec<(Duration, usize)> = (0..CONNECTIONS).flat_map(on).collect();
        calls.sort_unstable();
        Self { calls }
    }
}

/// Makes the calls.
pub(crate) fn calls(address: SocketAddr, path: &str, message: &impl Message, load: Load) -> Seen {
    let mut connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|_| Connection::connect(address, path, message))
        .collect();
    let begin = |(due, connection): (Duration, usize)| Call {
        due,
        connection,
        late: Duration::ZERO,
        took: Duration::ZERO,
        code: Code::Unknown,
        is_disturbed: false,
    };
    let mut calls: Vec<Call> = load.calls.into_iter().map(begin).collect();
    let (mut asked, mut answered) = (0, 0);
    let longest = calls.last().map_or(PATIENCE, |last| last.due + PATIENCE);
    let started = Instant::now();
    let (mut pauses, mut looked) = (Vec::new(), Duration::ZERO);
    while answered < calls.len() {
        let now = started.elapsed();
        if now - looked > PAUSE {
            pauses.push(looked..now);
        }
        looked = now;
        assert!(now < longest, "calls are not answered");
        while asked < calls.len() && calls[asked].due <= now {
            connections[calls[asked].connection].ask(asked);
            asked += 1;
        }
        for connection in &mut connections {
            connection.begin(&mut |call| calls[call].late = now - calls[call].due);
            connection.send();
        }
        for number in ready(&connections) {
            connections[number].read(&mut |call, code| {
                let call = &mut calls[call];
                (call.code, call.took) = (code, started.elapsed() - call.due);
                answered += 1;
            });
        }
    }
    for call in &mut calls {
        let ended = call.due + call.took;
        let next = pauses.partition_point(|pause| pause.end < call.due);
        let next = pauses.get(next);
        call.is_disturbed = next.is_some_and(|pause| pause.start < ended);
    }
    Seen { calls }
}

/// The connections on which something has come.
fn ready(connections: &[Connection]) -> impl Iterator<Item = usize> + use<> {
    let mut polled: [PollFd<'_>; CONNECTIONS] = std::array::from_fn(|number| {
        PollFd::from_borrowed_fd(connections[number].fd(), PollFlags::IN)
    });
    poll(&mut polled, Some(&Timespec::default())).unwrap();
    let ready = polled.map(|polled| !polled.revents().is_empty());
    (0..CONNECTIONS).filter(move |number| ready[*number])
}

impl Seen {
    pub(crate) fn count(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn answered(&self) -> usize {
        self.with(Code::Ok).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.count() - self.answered()
    }

    pub(crate) fn refused(&self) -> usize {
        self.with(Code::ResourceExhausted).count()
    }

    /// Of the calls that were answered.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        at(self.with(Code::Ok).map(|call| call.took), quantile)
    }

    pub(crate) fn refused_quantile(&self, quantile: f64) -> Duration {
        let refused = self.with(Code::ResourceExhausted);
        at(refused.map(|call| call.took), quantile)
    }

    /// How late the calls were sent: the measuring side's own error.
    pub(crate) fn late(&self, quantile: f64) -> Duration {
        at(self.calls.iter().map(|call| call.late), quantile)
    }

    /// The calls during which the measuring side had its core.
    pub(crate) fn undisturbed(&self) -> Self {
        let calls = self.calls.iter().filter(|call| !call.is_disturbed);
        Self {
            calls: calls.copied().collect(),
        }
    }

    /// The calls of several, one after the other.
    pub(crate) fn together(several: &[Seen]) -> Self {
        let calls = several.iter().flat_map(|seen| &seen.calls);
        Self {
            calls: calls.copied().collect(),
        }
    }

    /// The calls by when they were due: those of so long, and of as long again, and so on.
    pub(crate) fn windows(&self, length: Duration) -> impl Iterator<Item = Seen> {
        let window = move |call: &Call| call.due.as_nanos() / length.as_nanos();
        let windows = self
            .calls
            .chunk_by(move |one, next| window(one) == window(next));
        windows.map(|calls| Seen {
            calls: calls.to_vec(),
        })
    }

    /// The calls that were due when the condition held, and the others.
    pub(crate) fn split(&self, condition: impl Fn(Duration) -> bool) -> (Seen, Seen) {
        let calls = self.calls.iter().copied();
        let (yes, no): (Vec<Call>, Vec<Call>) = calls.partition(|call| condition(call.due));
        (Seen { calls: yes }, Seen { calls: no })
    }

    fn with(&self, code: Code) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.code == code)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.failed(), self.count())?;
        let mut codes = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.code != Code::Ok) {
            *codes.entry(format!("{:?}", call.code)).or_insert(0) += 1;
        }
        for (code, count) in codes {
            write!(formatter, ", {count} {code}")?;
        }
        Ok(())
    }
}

/// A quantile of times, to three digits.
pub(crate) fn at(times: impl Iterator<Item = Duration>, quantile: f64) -> Duration {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for time in times {
        histogram.saturating_record(time.as_nanos() as u64);
    }
    Duration::from_nanos(histogram.value_at_quantile(quantile))
}
