//! One connection: reads what the client sends, keeps the books on windows, messages and
//! acknowledgements, and starts the script of each call.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use crate::{
    faults,
    frames::{
        DEFAULT_WINDOW, Field, Frame, PREFACE, error, flag, kind, read_frame, setting, write_frame,
    },
    play,
    script::{Message, Request, Upload},
    server::World,
};

/// Calls that a connection serves at once; more are refused.
const MAX_CALLS: usize = 1_000;
/// Bytes of one header block.
const MAX_HEADER_BLOCK: usize = 1 << 20;
/// Bytes of request messages that are kept for a script.
const MAX_KEPT: usize = 32 << 20;
/// How long a client may take for the preface.
const PREFACE_PATIENCE: Duration = Duration::from_secs(30);

/// The call ended without its script: reset by the client, or the connection is lost.
#[derive(Debug)]
pub struct Gone;

/// What both the reader and the scripts of a connection use.
pub struct Connection {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    books: Mutex<Books>,
    /// Something in the books has changed.
    changed: Notify,
    /// The connection is to end now.
    over: Notify,
    /// What the whole server knows.
    pub world: Arc<World>,
}

/// The state of a connection.
pub struct Books {
    /// What may still be sent on the connection.
    pub send_window: i64,
    /// What the client gives each new stream.
    initial_send_window: i64,
    /// What the client's new streams may send, as far as it has acknowledged it.
    initial_receive_window: i64,
    /// The SETTINGS that were sent and not acknowledged: a new initial window, if it changes it.
    unacknowledged: VecDeque<Option<i64>>,
    /// PINGs that were answered, by their payload.
    pub pongs: VecDeque<[u8; 8]>,
    /// SETTINGS that were acknowledged.
    pub settings_acknowledged: u64,
    /// Nothing is answered any more.
    pub silent: bool,
    /// The open calls.
    pub calls: HashMap<u32, Call>,
}

/// The state of a call.
pub struct Call {
    /// Its path.
    pub path: String,
    /// What may still be sent on the stream.
    pub send_window: i64,
    /// What the client may still send on the stream.
    pub receive_window: i64,
    /// Whether that is refilled.
    pub upload: Upload,
    /// Messages that have come.
    pub messages: VecDeque<Message>,
    /// The client has half-closed.
    pub ended: bool,
    /// The client has reset the stream.
    pub reset: bool,
    partial: Vec<u8>,
    kept: usize,
}

impl Connection {
    /// The books, locked.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection: FIN, or RST when it is torn down.
    pub async fn end(&self, abort: bool) {
        let mut writer = self.writer.lock().await;
        if abort {
            // Errors mean that the connection is gone already.
            let _ = writer.as_ref().set_zero_linger();
        } else {
            let _ = writer.shutdown().await;
        }
        self.over.notify_one();
    }

    /// Writes bytes as they are, unless the connection has fallen silent.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        let mut writer = self.writer.lock().await;
        if self.books().silent {
            return Ok(());
        }
        writer.write_all(bytes).await.map_err(|_| Gone)
    }

    /// Writes a frame.
    pub async fn write_frame(&self, frame: &Frame) -> Result<(), Gone> {
        let mut bytes = Vec::with_capacity(9 + frame.payload.len());
        frame.write_to(&mut bytes);
        self.write(&bytes).await
    }

    /// Sends SETTINGS; with a new initial window it counts from the acknowledgement on.
    pub async fn write_settings(&self, values: &[(u16, u32)]) -> Result<(), Gone> {
        let window = values.iter().find(|(id, _)| *id == setting::INITIAL_WINDOW_SIZE);
        self.books().unacknowledged.push_back(window.map(|(_, size)| i64::from(*size)));
        self.write_frame(&Frame::settings(values)).await
    }

    /// Waits until the books of a call satisfy a condition.
    pub async fn until<T>(
        &self,
        id: u32,
        mut condition: impl FnMut(&mut Books) -> Option<T>,
    ) -> Result<T, Gone> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut books = self.books();
                if books.calls.get(&id).is_none_or(|call| call.reset) {
                    return Err(Gone);
                }
                if let Some(found) = condition(&mut books) {
                    return Ok(found);
                }
            }
            changed.await;
        }
    }
}

/// Serves HTTP/2 on a connection until it ends. `streams` is the MAX_CONCURRENT_STREAMS it states.
pub async fn serve(socket: TcpStream, world: Arc<World>, streams: u32) {
    // A socket that refuses the option is about to fail anyway.
    let _ = socket.set_nodelay(true);
    let (read_half, write_half) = socket.into_split();
    let mut reader = BufReader::with_capacity(64 << 10, read_half);
    let mut preface = [0; PREFACE.len()];
    match timeout(PREFACE_PATIENCE, reader.read_exact(&mut preface)).await {
        Ok(Ok(_)) if preface == *PREFACE => {}
        _ => return,
    }
    let connection = Arc::new(Connection {
        writer: tokio::sync::Mutex::new(write_half),
        books: Mutex::new(Books {
            send_window: DEFAULT_WINDOW,
            initial_send_window: DEFAULT_WINDOW,
            initial_receive_window: DEFAULT_WINDOW,
            unacknowledged: VecDeque::new(),
            pongs: VecDeque::new(),
            settings_acknowledged: 0,
            silent: false,
            calls: HashMap::new(),
        }),
        changed: Notify::new(),
        over: Notify::new(),
        world,
    });
    let settings = [(setting::MAX_CONCURRENT_STREAMS, streams)];
    if connection.write_settings(&settings).await.is_err() {
        return;
    }
    let mut incoming = Incoming {
        connection: &connection,
        headers: loona_hpack::Decoder::new(),
        block: None,
        last: 0,
        scripts: JoinSet::new(),
    };
    let code = tokio::select! {
        code = incoming.read_all(&mut reader) => code,
        () = connection.over.notified() => None,
    };
    if let Some(code) = code {
        let _ = connection.write_frame(&Frame::go_away(incoming.last, code, b"")).await;
    }
    // Dropping the scripts ends them, and with the last of them the connection closes.
}

/// A header block that has not ended yet.
struct Block {
    stream: u32,
    end_stream: bool,
    bytes: Vec<u8>,
}

struct Incoming<'c> {
    connection: &'c Arc<Connection>,
    headers: loona_hpack::Decoder<'static>,
    block: Option<Block>,
    last: u32,
    scripts: JoinSet<()>,
}

/// Why reading stops: the code for a GOAWAY, or nothing when the connection is gone.
type Stop = Option<u32>;

impl Incoming<'_> {
    async fn read_all(&mut self, reader: &mut BufReader<OwnedReadHalf>) -> Stop {
        loop {
            let frame = match read_frame(reader).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Some(error::FRAME_SIZE_ERROR);
                }
                Err(_) => return None,
            };
            if let Err(stop) = self.take(frame).await {
                return stop;
            }
            self.connection.changed.notify_waiters();
            while self.scripts.try_join_next().is_some() {}
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Stop> {
        let continues = frame.kind == kind::CONTINUATION
            && self.block.as_ref().is_some_and(|block| block.stream == frame.stream);
        if self.block.is_some() != continues {
            return Err(Some(error::PROTOCOL_ERROR));
        }
        match frame.kind {
            kind::DATA => self.take_data(&frame).await,
            kind::HEADERS => {
                let bytes = frame.content().ok_or(Some(error::PROTOCOL_ERROR))?.to_vec();
                let end_stream = frame.has(flag::END_STREAM);
                self.block = Some(Block { stream: frame.stream, end_stream, bytes });
                self.end_block(&frame).await
            }
            kind::CONTINUATION => {
                let block = self.block.as_mut().ok_or(Some(error::PROTOCOL_ERROR))?;
                block.bytes.extend_from_slice(&frame.payload);
                if block.bytes.len() > MAX_HEADER_BLOCK {
                    return Err(Some(error::ENHANCE_YOUR_CALM));
                }
                self.end_block(&frame).await
            }
            kind::RST_STREAM => {
                let code = number(&frame.payload)?;
                let mut books = self.connection.books();
                if let Some(call) = books.calls.get_mut(&frame.stream) {
                    call.reset = true;
                    self.connection.world.saw_reset(&call.path, code);
                }
                Ok(())
            }
            kind::SETTINGS => self.take_settings(&frame).await,
            kind::PING => self.take_ping(&frame).await,
            kind::WINDOW_UPDATE => {
                let increment = i64::from(number(&frame.payload)? & 0x7fff_ffff);
                let mut books = self.connection.books();
                if frame.stream == 0 {
                    books.send_window += increment;
                } else if let Some(call) = books.calls.get_mut(&frame.stream) {
                    call.send_window += increment;
                }
                Ok(())
            }
            // GOAWAY announces what a close does anyway; PRIORITY and unknown types mean nothing.
            _ => Ok(()),
        }
    }

    async fn take_data(&mut self, frame: &Frame) -> Result<(), Stop> {
        let content = frame.content().ok_or(Some(error::PROTOCOL_ERROR))?;
        let size = frame.payload.len();
        let mut answer = Vec::new();
        // The window of the connection is always refilled: a call that is held must not hold others.
        if size > 0 {
            Frame::window_update(0, size as u32).write_to(&mut answer);
        }
        {
            let mut books = self.connection.books();
            if let Some(call) = books.calls.get_mut(&frame.stream) {
                call.receive_window -= size as i64;
                if call.receive_window < 0 {
                    return Err(Some(error::FLOW_CONTROL_ERROR));
                }
                if call.upload == Upload::Granted && size > 0 && !frame.has(flag::END_STREAM) {
                    call.receive_window += size as i64;
                    Frame::window_update(frame.stream, size as u32).write_to(&mut answer);
                }
                call.kept += content.len();
                if call.kept > MAX_KEPT {
                    return Err(Some(error::ENHANCE_YOUR_CALM));
                }
                call.unpack(content);
                call.ended |= frame.has(flag::END_STREAM);
            }
        }
        self.connection.write(&answer).await.map_err(|Gone| None)
    }

    /// Starts the call when its header block is whole.
    async fn end_block(&mut self, frame: &Frame) -> Result<(), Stop> {
        if !frame.has(flag::END_HEADERS) {
            return Ok(());
        }
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let fields =
            self.headers.decode(&block.bytes).map_err(|_| Some(error::COMPRESSION_ERROR))?;
        if block.stream <= self.last {
            // Trailers of a request: they only end it.
            if let Some(call) = self.connection.books().calls.get_mut(&block.stream) {
                call.ended |= block.end_stream;
            }
            return Ok(());
        }
        if block.stream % 2 == 0 {
            return Err(Some(error::PROTOCOL_ERROR));
        }
        self.last = block.stream;
        if self.scripts.len() >= MAX_CALLS {
            let refused = Frame::reset(block.stream, error::REFUSED_STREAM);
            return self.connection.write_frame(&refused).await.map_err(|Gone| None);
        }
        self.start(block.stream, &fields, block.end_stream);
        Ok(())
    }

    fn start(&mut self, id: u32, fields: &[Field], ended: bool) {
        let path = fields
            .iter()
            .find(|(name, _)| name == b":path")
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default();
        let attempt = self.connection.world.saw_call(&path);
        let fault = faults::find(&path);
        let steps = fault
            .and_then(|(fault, argument)| (fault.script)(&Request { argument, fields, attempt }))
            .unwrap_or_else(|| faults::unknown(&path));
        let upload = fault.map_or(Upload::Granted, |(fault, _)| fault.upload);
        let mut books = self.connection.books();
        let call = Call {
            path,
            send_window: books.initial_send_window,
            receive_window: books.initial_receive_window,
            upload,
            messages: VecDeque::new(),
            ended,
            reset: false,
            partial: Vec::new(),
            kept: 0,
        };
        books.calls.insert(id, call);
        drop(books);
        let connection = Arc::clone(self.connection);
        self.scripts.spawn(play::play(connection, id, steps));
    }

    async fn take_settings(&mut self, frame: &Frame) -> Result<(), Stop> {
        if frame.has(flag::ACK) {
            let mut books = self.connection.books();
            books.settings_acknowledged += 1;
            if let Some(Some(window)) = books.unacknowledged.pop_front() {
                let change = window - books.initial_receive_window;
                books.initial_receive_window = window;
                books.calls.values_mut().for_each(|call| call.receive_window += change);
            }
            return Ok(());
        }
        for value in frame.payload.chunks_exact(6) {
            if u16::from_be_bytes([value[0], value[1]]) == setting::INITIAL_WINDOW_SIZE {
                let window = i64::from(number(&value[2..])?);
                let mut books = self.connection.books();
                let change = window - books.initial_send_window;
                books.initial_send_window = window;
                books.calls.values_mut().for_each(|call| call.send_window += change);
            }
        }
        let ack = Frame::new(kind::SETTINGS, flag::ACK, 0, []);
        self.connection.write_frame(&ack).await.map_err(|Gone| None)
    }

    async fn take_ping(&mut self, frame: &Frame) -> Result<(), Stop> {
        let payload = <[u8; 8]>::try_from(frame.payload.as_slice())
            .map_err(|_| Some(error::FRAME_SIZE_ERROR))?;
        if frame.has(flag::ACK) {
            let mut books = self.connection.books();
            if books.pongs.len() < 100_000 {
                books.pongs.push_back(payload);
            }
            return Ok(());
        }
        let mut answer = Vec::new();
        write_frame(kind::PING, flag::ACK, 0, &payload, &mut answer);
        self.connection.write(&answer).await.map_err(|Gone| None)
    }
}

impl Call {
    /// The next message that a script has not taken yet.
    pub fn next_message(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.kept = self.kept.saturating_sub(5 + message.payload.len());
        Some(message)
    }

    /// Takes whole messages out of what has come.
    fn unpack(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut rest = self.partial.as_slice();
        while let Some((head, behind)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some((payload, behind)) = behind.split_at_checked(length) else {
                break;
            };
            self.messages.push_back(Message { flag: head[0], payload: payload.to_vec() });
            rest = behind;
        }
        let used = self.partial.len() - rest.len();
        self.partial.drain(..used);
    }
}

/// The number that a payload of four bytes is.
fn number(payload: &[u8]) -> Result<u32, Stop> {
    let bytes = <[u8; 4]>::try_from(payload).map_err(|_| Some(error::FRAME_SIZE_ERROR))?;
    Ok(u32::from_be_bytes(bytes))
}
