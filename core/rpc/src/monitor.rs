//! What passes between the transport and h2: when something was read last, what came first, and
//! frames that h2 must not count.

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Length (3), type, flags, stream (4): RFC 9113, 4.1.
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const SETTINGS: u8 = 4;

pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What was read from a connection so far.
pub(crate) struct Traffic {
    start: Instant,
    /// Milliseconds from `start` to the last read that gave bytes.
    last_read: AtomicU64,
    bytes_read: AtomicU64,
    /// The first frame header, or whatever came in its place.
    first: Mutex<Vec<u8>>,
    /// SETTINGS came since this was last asked.
    settings: AtomicBool,
}

impl Traffic {
    pub(crate) fn new() -> Traffic {
        Traffic {
            start: Instant::now(),
            last_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            first: Mutex::default(),
            settings: AtomicBool::new(false),
        }
    }

    fn read(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.last_read.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
        let before = self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed) as usize;
        if before < FRAME_HEADER {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.extend_from_slice(&bytes[..bytes.len().min(FRAME_HEADER - before)]);
        }
    }

    /// When bytes came last, or when the connection was made.
    pub(crate) fn last_read(&self) -> Instant {
        self.start + Duration::from_millis(self.last_read.load(Ordering::Relaxed))
    }

    pub(crate) fn read_nothing(&self) -> bool {
        self.bytes_read.load(Ordering::Relaxed) == 0
    }

    /// Whether the first frame has come whole. That it is SETTINGS is checked by h2.
    pub(crate) fn has_settings(&self) -> bool {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match first.first_chunk::<FRAME_HEADER>() {
            Some(header) => {
                let whole = FRAME_HEADER + payload_length(header);
                self.bytes_read.load(Ordering::Relaxed) >= whole as u64
            }
            None => false,
        }
    }

    /// Whether SETTINGS came since this was last asked.
    pub(crate) fn take_settings(&self) -> bool {
        self.settings.load(Ordering::Relaxed) && self.settings.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_http1(&self) -> bool {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).starts_with(b"HTTP/1.")
    }
}

fn payload_length(header: &[u8; FRAME_HEADER]) -> usize {
    u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize
}

/// Takes empty DATA frames that end nothing out of the stream of frames.
///
/// They are legal and mean nothing, but h2 gives up a connection that has carried a hundred of
/// them, which a long-lived one can reach with an honest server.
#[derive(Default)]
struct Filter {
    /// Bytes of the present frame's payload that are still to come.
    payload: usize,
    /// The start of a frame header that was cut by the end of a read.
    cut: Vec<u8>,
    settings: bool,
}

impl Filter {
    /// Moves what is to stay to the front of `bytes`, which starts with `cut`, and returns how much
    /// that is. A header that is cut at the end is held back.
    fn pass(&mut self, bytes: &mut [u8]) -> usize {
        self.cut.clear();
        let mut kept = 0;
        let mut at = 0;
        // Runs that stay are moved at once, and not at all while nothing was taken out.
        let mut run = 0;
        loop {
            let step = self.payload.min(bytes.len() - at);
            self.payload -= step;
            at += step;
            if at == bytes.len() {
                break;
            }
            let Some(header) = bytes[at..].first_chunk::<FRAME_HEADER>() else {
                self.cut.extend_from_slice(&bytes[at..]);
                break;
            };
            let length = payload_length(header);
            self.settings |= header[3] == SETTINGS;
            if length == 0 && header[3] == DATA && header[4] & END_STREAM == 0 {
                bytes.copy_within(run..at, kept);
                kept += at - run;
                run = at + FRAME_HEADER;
            }
            self.payload = length;
            at += FRAME_HEADER;
        }
        bytes.copy_within(run..at, kept);
        kept + (at - run)
    }
}

/// A transport that records what is read and passes it through the filter.
pub(crate) struct Monitored {
    transport: Box<dyn Transport>,
    traffic: Arc<Traffic>,
    filter: Filter,
    /// What was read while the reader had little room; `waiting` of it goes out first.
    aside: Vec<u8>,
    waiting: Range<usize>,
    /// Reads since the transport was last found empty or h2 got its turn to write.
    row: u32,
}

/// h2 writes when there is nothing left to read, and tokio lets a task do so much at a time: a peer
/// that sends without end would keep it from ever writing. So h2 is told now and then that there is
/// nothing left.
const LONGEST_ROW: u32 = 32;

/// h2 offers the rest of a buffer that it has filled before, so a single byte may be all. The
/// filter wants to see a whole frame header.
const LITTLE_ROOM: usize = 64;
const ASIDE: usize = 4 << 10;

impl Monitored {
    pub(crate) fn new(transport: Box<dyn Transport>, traffic: Arc<Traffic>) -> Monitored {
        Monitored {
            transport,
            traffic,
            filter: Filter::default(),
            aside: Vec::new(),
            waiting: 0..0,
            row: 0,
        }
    }

    /// Reads and filters until something is left, or the end.
    fn fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        loop {
            self.row += 1;
            if self.row > LONGEST_ROW {
                self.row = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            buf.put_slice(&self.filter.cut);
            let read_from = buf.filled().len();
            let result = Pin::new(&mut *self.transport).poll_read(cx, buf);
            if !matches!(result, Poll::Ready(Ok(()))) {
                self.row = 0;
                buf.set_filled(start);
                return result;
            }
            if buf.filled().len() == read_from {
                // The end. What was held back goes out as it is: h2 reports the cut frame.
                self.filter.cut.clear();
                return result;
            }
            self.traffic.read(&buf.filled()[read_from..]);
            let kept = self.filter.pass(&mut buf.filled_mut()[start..]);
            buf.set_filled(start + kept);
            if std::mem::take(&mut self.filter.settings) {
                self.traffic.settings.store(true, Ordering::Relaxed);
            }
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
            // Everything was taken out or held back, and an empty read would mean the end.
        }
    }
}

impl AsyncRead for Monitored {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.waiting.is_empty() {
            if buf.remaining() >= LITTLE_ROOM {
                return this.fill(cx, buf);
            }
            let mut aside = std::mem::take(&mut this.aside);
            aside.resize(ASIDE, 0);
            let mut read = ReadBuf::new(&mut aside);
            let result = this.fill(cx, &mut read);
            this.waiting = 0..read.filled().len();
            this.aside = aside;
            ready!(result)?;
        }
        let now = this.waiting.len().min(buf.remaining());
        let from = this.waiting.start;
        buf.put_slice(&this.aside[from..from + now]);
        this.waiting.start += now;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Monitored {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut *self.transport).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    proptest! {
        #[test]
        fn only_empty_data_frames_that_end_nothing_are_taken_out_wherever_reads_are_cut(
            frames in prop::collection::vec((0u8..3, 0u8..2, prop::collection::vec(any::<u8>(), 0..20)), 0..20),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (kind, flags, payload) in &frames {
                let frame = frame(*kind, *flags, payload);
                if !(payload.is_empty() && *kind == DATA && *flags == 0) {
                    expected.extend_from_slice(&frame);
                }
                stream.extend(frame);
            }
            let mut filter = Filter::default();
            let mut passed = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (read, tail) = rest.split_at((*cut).min(rest.len()));
                let mut bytes = filter.cut.clone();
                bytes.extend_from_slice(read);
                let kept = filter.pass(&mut bytes);
                passed.extend_from_slice(&bytes[..kept]);
                rest = tail;
            }
            prop_assert_eq!(passed, expected);
            prop_assert!(filter.cut.is_empty());
        }
    }

    #[tokio::test]
    async fn a_reader_with_room_for_a_single_byte_gets_everything() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for length in 0..200_u16 {
            let payload = vec![length as u8; usize::from(length)];
            stream.extend(frame(DATA, 0, &payload));
            if length > 0 {
                expected.extend(frame(DATA, 0, &payload));
            }
        }
        for room in [1, 2, 9, 10, LITTLE_ROOM] {
            let (mut peer, transport) = tokio::io::duplex(97);
            let mut monitored = Monitored::new(Box::new(transport), Arc::new(Traffic::new()));
            let stream = stream.clone();
            let writer = tokio::spawn(async move { peer.write_all(&stream).await });
            let mut passed = Vec::new();
            let mut buffer = vec![0; room];
            loop {
                match monitored.read(&mut buffer).await.unwrap() {
                    0 => break,
                    read => passed.extend_from_slice(&buffer[..read]),
                }
            }
            writer.await.unwrap().unwrap();
            assert_eq!(passed, expected, "with room for {room}");
        }
    }
}
