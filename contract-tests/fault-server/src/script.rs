//! What a fault is made of: a script of steps that the server plays on a call.

use std::time::Duration;

use crate::frames::{Field, flag};

/// A fault, chosen by the path of a call: `/fault.v1.Fault/<name>` or, when it takes an argument,
/// `/fault.v1.Fault/<name>-<argument>`.
pub struct Fault {
    /// The name in the path.
    pub name: &'static str,
    /// What stands behind the name's hyphen, for `fault-server list`; empty when nothing does.
    pub argument: &'static str,
    /// One line: what the server does.
    pub doc: &'static str,
    /// Whether the client is let send.
    pub upload: Upload,
    /// The script for a call; `None` when the argument is not one that the fault takes.
    pub script: fn(&Request<'_>) -> Option<Vec<Step>>,
}

impl Fault {
    /// A fault without an argument.
    pub const fn plain(
        name: &'static str,
        doc: &'static str,
        script: fn(&Request<'_>) -> Option<Vec<Step>>,
    ) -> Fault {
        Fault { name, argument: "", doc, upload: Upload::Granted, script }
    }

    /// A fault with an argument.
    pub const fn with(
        name: &'static str,
        argument: &'static str,
        doc: &'static str,
        script: fn(&Request<'_>) -> Option<Vec<Step>>,
    ) -> Fault {
        Fault { name, argument, doc, upload: Upload::Granted, script }
    }

    /// The same fault, whose client may send no more than the first window.
    pub const fn withholding(mut self) -> Fault {
        self.upload = Upload::Withheld;
        self
    }
}

/// What happens to the flow-control window of a call's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// What was received is granted again at once.
    Granted,
    /// Nothing is granted: the client is blocked after the first window.
    Withheld,
}

/// What a script can look at: the head of the request.
pub struct Request<'a> {
    /// What stands behind the name's hyphen in the path.
    pub argument: &'a str,
    /// All header fields, in order, as they came.
    pub fields: &'a [Field],
    /// How often this very path was called on this server, this call included.
    pub attempt: u32,
}

impl Request<'_> {
    /// The argument as a number.
    pub fn number(&self) -> Option<u32> {
        self.argument.parse().ok()
    }

    /// The first value of a header.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, v)| v.as_slice())
    }
}

/// A request message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// The flag byte: 1 is compressed.
    pub flag: u8,
    /// The bytes behind the prefix.
    pub payload: Vec<u8>,
}

/// Which stream a frame is for.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// That of the call.
    Call,
    /// The connection.
    Connection,
    /// One that the client has not opened yet.
    Idle,
}

/// One thing that the server does. Steps follow each other; a script ends early when the client
/// resets the stream or the connection is lost.
pub enum Step {
    /// Waits for the client's half-close.
    AwaitRequest,
    /// Waits until this many messages have come.
    AwaitMessages(usize),
    /// HEADERS, with CONTINUATION when it is too large for one frame.
    Headers(Headers),
    /// DATA within the windows, split where a frame is full.
    Data(Data),
    /// This many messages of 64 bytes, each in a DATA frame of its own, as fast as the windows let.
    Flood(u32),
    /// This many messages of 0 to 63 bytes; each waits until the client has answered a PING behind
    /// the one before, so that the client reads them one by one.
    Lockstep(u32),
    /// A message of 64 bytes after each pause, for ever.
    Drip(Duration),
    /// These bytes over and over, as fast as the client reads, for ever.
    Endless(fn(stream: u32) -> Vec<u8>),
    /// A frame as it stands, whatever the windows and the standard say.
    Frame {
        /// The stream that it names.
        stream: Target,
        /// Its type.
        kind: u8,
        /// Its flags.
        flags: u8,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// The head and a part of a DATA frame.
    CutFrame,
    /// RST_STREAM with a code.
    Reset(u32),
    /// GOAWAY with a code; says whether this call is among those processed.
    GoAway {
        /// Whether the last stream id is that of this call (else the one before).
        with_this: bool,
        /// The error code.
        code: u32,
        /// The debug text.
        debug: &'static str,
    },
    /// Sends every request message back until the client half-closes.
    Echo,
    /// Waits for the half-close and goes on with a script made from the request's messages.
    Then(fn(&[Message]) -> Vec<Step>),
    /// Answers with what this server saw of the path that the request names, as JSON.
    Seen,
    /// Sends this many PINGs and waits until each is answered, in order.
    Pings(u32),
    /// Sends this many SETTINGS and waits until each is acknowledged.
    Settings(u32),
    /// Shrinks the window of the requests to this many bytes and grants no more than that at a
    /// time until the half-close.
    ShrinkWindow(u32),
    /// Waits until this many calls of the same path are open at once.
    Rendezvous(usize),
    /// Waits.
    Sleep(Duration),
    /// Does nothing until the client resets the stream or the connection is lost.
    Hang,
    /// From now on nothing at all is sent on this connection, not even the answer to a PING.
    FallSilent,
    /// Closes the connection in order (FIN).
    Close,
    /// Tears the connection down (TCP RST).
    Abort,
}

/// A header block and how it is framed.
#[derive(Default)]
pub struct Headers {
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// Whether the stream ends with it.
    pub end_stream: bool,
    /// The length of the padding, when padded.
    pub padding: Option<u8>,
    /// Whether the (deprecated, legal) priority fields are there.
    pub priority: bool,
    /// The most bytes of the block in one frame.
    pub fragment: Option<usize>,
}

/// Bytes of the response and how they are framed.
#[derive(Default)]
pub struct Data {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the stream ends with them.
    pub end_stream: bool,
    /// The length of the padding of each frame, when padded.
    pub padding: Option<u8>,
}

/// Owned fields of text pairs.
pub fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
    pairs.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
}

/// A header block of text pairs.
pub fn headers(pairs: &[(&str, &str)], end_stream: bool) -> Step {
    Step::Headers(Headers { fields: fields(pairs), end_stream, ..Headers::default() })
}

/// The head of a good response, with more fields.
pub fn head_with(more: &[(&str, &str)]) -> Step {
    let pairs = [(":status", "200"), ("content-type", "application/grpc")];
    headers(&[&pairs, more].concat(), false)
}

/// The head of a good response.
pub fn head() -> Step {
    head_with(&[])
}

/// Trailers with a status and more fields.
pub fn trailers_with(code: u32, message: &str, more: &[(&str, &str)]) -> Step {
    let code = code.to_string();
    let mut pairs = vec![("grpc-status", code.as_str())];
    if !message.is_empty() {
        pairs.push(("grpc-message", message));
    }
    pairs.extend_from_slice(more);
    headers(&pairs, true)
}

/// Trailers with a status.
pub fn trailers(code: u32, message: &str) -> Step {
    trailers_with(code, message, &[])
}

/// Trailers that say OK.
pub fn ok() -> Step {
    trailers(0, "")
}

/// Trailers-Only: head and trailers in one block.
pub fn trailers_only(code: u32, message: &str, more: &[(&str, &str)]) -> Step {
    let code = code.to_string();
    let mut pairs = vec![
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", code.as_str()),
    ];
    if !message.is_empty() {
        pairs.push(("grpc-message", message));
    }
    pairs.extend_from_slice(more);
    headers(&pairs, true)
}

/// DATA that does not end the stream.
pub fn data(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Data(Data { bytes: bytes.into(), ..Data::default() })
}

/// DATA that ends the stream.
pub fn last_data(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Data(Data { bytes: bytes.into(), end_stream: true, ..Data::default() })
}

/// An empty DATA frame.
pub fn empty_data() -> Step {
    raw(crate::frames::kind::DATA, 0, Vec::new())
}

/// A frame of the call's stream, as it stands.
pub fn raw(kind: u8, flags: u8, payload: impl Into<Vec<u8>>) -> Step {
    Step::Frame { stream: Target::Call, kind, flags, payload: payload.into() }
}

/// An uncompressed message: its prefix and its payload.
pub fn message(payload: &[u8]) -> Vec<u8> {
    flagged(0, payload)
}

/// A message with a flag byte.
pub fn flagged(flag: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&prefix(flag, length)[..], payload].concat()
}

/// The five bytes before a message.
pub fn prefix(flag: u8, length: u32) -> [u8; 5] {
    let [a, b, c, d] = length.to_be_bytes();
    [flag, a, b, c, d]
}

/// The payload of a flood's message: its number, sixteen times.
pub fn numbered(number: u32) -> [u8; 64] {
    let mut payload = [0; 64];
    for part in payload.chunks_exact_mut(4) {
        part.copy_from_slice(&number.to_be_bytes());
    }
    payload
}

/// The frame flags of a step's headers or data.
pub(crate) fn end_flag(end_stream: bool) -> u8 {
    if end_stream { flag::END_STREAM } else { 0 }
}
