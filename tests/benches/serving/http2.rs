//! One connection of HTTP/2 that makes one call over and over, with next to nothing done for each: what the measuring side
//! takes is part of what it measures.
//!
//! The call's headers and body are encoded once (RFC 9113; RFC 7541 for headers), and nothing of an answer is looked at but its
//! frames and its status.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use loona_hpack::{Decoder, Encoder};
use prost::Message;
use rustix::fd::{AsFd, BorrowedFd};
use tonic::Code;

/// Types of frames, and their flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// What both sides may send before the other has said anything.
const WINDOW: usize = 65_535;
/// The longest frame that each side takes.
const FRAME: usize = 16 << 10;
/// What is read at once, at most.
const INPUT: usize = 128 << 10;
/// What a server may send of all answers before it is told that it may go on, which it is when half of that has come.
const ROOM: usize = 1 << 30;

/// A call that was begun.
struct Stream {
    call: usize,
    is_open: bool,
}

/// A connection.
pub(crate) struct Connection {
    socket: TcpStream,
    /// The call's frames, but for the number of their stream: the first time, and from then on.
    frames: [Vec<Vec<u8>>; 2],
    body: usize,
    /// Bytes that are to be sent, and how many of them were.
    output: Vec<u8>,
    sent: usize,
    /// Room for bytes that come, and how many have, and are no whole frame yet.
    input: Vec<u8>,
    filled: usize,
    headers: Decoder<'static>,
    /// Calls that were asked for, and have not been begun.
    waiting: VecDeque<usize>,
    /// All that were begun; the number of a stream says which.
    streams: Vec<Stream>,
    open: usize,
    most_open: usize,
    /// Bytes of bodies that may be sent.
    window: usize,
    /// Bytes of answers since the server was told that it may go on.
    received: usize,
}

impl Connection {
    /// Connects, and waits for the server's settings.
    pub(crate) fn connect(address: SocketAddr, path: &str, message: &impl Message) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut body = vec![0];
        body.extend((message.encoded_len() as u32).to_be_bytes());
        message.encode(&mut body).unwrap();
        assert!(body.len() <= WINDOW, "no stream has room for such a body");
        let mut output = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings = [
            &INITIAL_WINDOW_SIZE.to_be_bytes()[..],
            &(ROOM as u32).to_be_bytes(),
        ];
        frame(&mut output, SETTINGS, 0, 0, &settings.concat());
        let more = (ROOM - WINDOW) as u32;
        frame(&mut output, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        let mut encoder = Encoder::new();
        let mut connection = Self {
            socket,
            frames: [(); 2].map(|()| {
                let block = encoder.encode(headers(&address.to_string(), path));
                call(&block, &body)
            }),
            body: body.len(),
            output,
            sent: 0,
            input: vec![0; INPUT],
            filled: 0,
            headers: Decoder::new(),
            waiting: VecDeque::new(),
            streams: Vec::new(),
            open: 0,
            most_open: 0,
            window: WINDOW,
            received: 0,
        };
        connection.send();
        while connection.most_open == 0 {
            connection.read(&mut |call, _| panic!("call {call} was answered, and not asked"));
        }
        connection.socket.set_nonblocking(true).unwrap();
        connection
    }

    /// What can be polled.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes in a call.
    pub(crate) fn ask(&mut self, call: usize) {
        self.waiting.push_back(call);
    }

    /// Begins the calls for which there is room, and says which.
    pub(crate) fn begin(&mut self, begun: &mut impl FnMut(usize)) {
        while self.open < self.most_open
            && self.window >= self.body
            && let Some(call) = self.waiting.pop_front()
        {
            let id = self.streams.len() as u32 * 2 + 1;
            for part in &self.frames[usize::from(!self.streams.is_empty())] {
                let (before, after) = (&part[..5], &part[9..]);
                self.output.extend_from_slice(before);
                self.output.extend_from_slice(&id.to_be_bytes());
                self.output.extend_from_slice(after);
            }
            self.streams.push(Stream {
                call,
                is_open: true,
            });
            self.open += 1;
            self.window -= self.body;
            begun(call);
        }
    }

    /// Sends what the system takes now.
    pub(crate) fn send(&mut self) {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("cannot send: {error}"),
            }
        }
        self.output.clear();
        self.sent = 0;
    }

    /// Reads what has come, and says which calls were answered, and how.
    pub(crate) fn read(&mut self, answered: &mut impl FnMut(usize, Code)) {
        match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => panic!("the server has closed a connection"),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("cannot read: {error}"),
        }
        let mut input = std::mem::take(&mut self.input);
        let mut rest = &input[..self.filled];
        while let Some((head, more)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, more)) = more.split_at_checked(length) else {
                break;
            };
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.frame(head[3], head[4], id, payload, answered);
            rest = more;
        }
        let left = rest.len();
        input.copy_within(self.filled - left..self.filled, 0);
        (self.input, self.filled) = (input, left);
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        id: u32,
        payload: &[u8],
        answered: &mut impl FnMut(usize, Code),
    ) {
        match kind {
            HEADERS => {
                assert!(
                    flags & (END_HEADERS | PADDED) == END_HEADERS,
                    "headers in several frames"
                );
                let mut code = Code::Unknown;
                let decoded = self.headers.decode_with_cb(payload, |name, value| {
                    if *name == *b"grpc-status" {
                        code = Code::from_bytes(&value);
                    }
                });
                decoded.unwrap();
                if flags & END_STREAM != 0 {
                    self.end(id, code, answered);
                }
            }
            DATA => {
                self.received += payload.len();
                if self.received >= ROOM / 2 {
                    let more = self.received as u32;
                    frame(&mut self.output, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
                    self.received = 0;
                }
                if flags & END_STREAM != 0 {
                    self.end(id, Code::Unknown, answered);
                }
            }
            RST_STREAM => self.end(id, Code::Unavailable, answered),
            SETTINGS if flags & ACK == 0 => {
                if self.most_open == 0 {
                    self.most_open = usize::MAX;
                }
                for setting in payload.chunks_exact(6) {
                    let value =
                        u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    match u16::from_be_bytes([setting[0], setting[1]]) {
                        MAX_CONCURRENT_STREAMS => self.most_open = value as usize,
                        INITIAL_WINDOW_SIZE => assert!(value as usize >= self.body),
                        _ => {}
                    }
                }
                frame(&mut self.output, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(&mut self.output, PING, ACK, 0, payload),
            WINDOW_UPDATE if id == 0 => {
                let more = u32::from_be_bytes(payload.try_into().unwrap());
                self.window += more as usize;
            }
            GOAWAY => panic!("the server ends a connection"),
            _ => {}
        }
    }

    fn end(&mut self, id: u32, code: Code, answered: &mut impl FnMut(usize, Code)) {
        let stream = &mut self.streams[(id / 2) as usize];
        if std::mem::take(&mut stream.is_open) {
            self.open -= 1;
            answered(stream.call, code);
        }
    }
}

fn headers<'a>(authority: &'a str, path: &'a str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let bytes = |(name, value): (&'a str, &'a str)| (name.as_bytes(), value.as_bytes());
    headers.into_iter().map(bytes)
}

/// A call's frames, of no stream yet.
fn call(block: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = vec![Vec::new()];
    frame(&mut frames[0], HEADERS, END_HEADERS, 0, block);
    let parts = body.chunks(FRAME);
    let last = parts.len() - 1;
    for (number, part) in parts.enumerate() {
        let flags = if number == last { END_STREAM } else { 0 };
        let mut data = Vec::new();
        frame(&mut data, DATA, flags, 0, part);
        frames.push(data);
    }
    frames
}

fn frame(output: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    output.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    output.extend_from_slice(&[kind, flags]);
    output.extend_from_slice(&id.to_be_bytes());
    output.extend_from_slice(payload);
}
