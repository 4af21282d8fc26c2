//! What the server puts on the wire, seen by a client that only knows frames.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use fault_server::{
    FaultServer, Frame, PREFACE, SERVICE, encode_fields, flag, kind, read_frame, vectors,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> FaultServer {
    FaultServer::start("127.0.0.1:0".parse().expect("an address")).await.expect("free ports")
}

struct Client {
    socket: TcpStream,
    headers: loona_hpack::Decoder<'static>,
}

impl Client {
    async fn connect(server: &FaultServer, listener: &str) -> Client {
        let (_, address) = server.endpoints()[listener].split_once("://").expect("a URL");
        let mut socket = TcpStream::connect(address).await.expect("a listener");
        let mut bytes = PREFACE.to_vec();
        Frame::settings(&[]).write_to(&mut bytes);
        // Windows that no test exhausts.
        Frame::window_update(0, 0x7fff_0000 - 65_535).write_to(&mut bytes);
        socket.write_all(&bytes).await.expect("an open connection");
        Client { socket, headers: loona_hpack::Decoder::new() }
    }

    /// A unary request on a stream.
    async fn request(&mut self, stream: u32, method: &str, message: &[u8]) {
        let path = format!("{SERVICE}{method}");
        let block = encode_fields([
            (&b":method"[..], &b"POST"[..]),
            (b":scheme", b"http"),
            (b":path", path.as_bytes()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]);
        let mut body = vec![0];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
        let mut bytes = Vec::new();
        Frame::new(kind::HEADERS, flag::END_HEADERS, stream, block).write_to(&mut bytes);
        Frame::new(kind::DATA, flag::END_STREAM, stream, body).write_to(&mut bytes);
        self.socket.write_all(&bytes).await.expect("an open connection");
    }

    /// The next frame that is not about settings and windows.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            let frame = timeout(PATIENCE, read_frame(&mut self.socket))
                .await
                .expect("the server says something in time")
                .ok()
                .flatten()?;
            if !matches!(frame.kind, kind::SETTINGS | kind::WINDOW_UPDATE) {
                return Some(frame);
            }
        }
    }

    /// The header list of a frame, as text.
    fn fields(&mut self, frame: &Frame) -> Vec<(String, String)> {
        let block = frame.content().expect("legal padding");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.headers
            .decode(block)
            .expect("legal HPACK")
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    /// Whether a good call on this connection works.
    async fn good(&mut self, stream: u32) -> bool {
        self.request(stream, "Good", b"ping").await;
        let mut body = Vec::new();
        while let Some(frame) = self.frame().await {
            match frame.kind {
                kind::DATA => body.extend(frame.payload),
                kind::HEADERS if frame.has(flag::END_STREAM) => {
                    let ok = ("grpc-status".to_owned(), "0".to_owned());
                    return body == b"\0\0\0\0\x04ping" && self.fields(&frame).contains(&ok);
                }
                _ => {}
            }
        }
        false
    }
}

#[tokio::test]
async fn trailers_only_is_one_headers_frame_that_ends_the_stream() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "Status-5", b"").await;
    let frame = client.frame().await.expect("a frame");
    assert_eq!((frame.kind, frame.flags), (kind::HEADERS, flag::END_HEADERS | flag::END_STREAM));
    let fields = client.fields(&frame);
    let names: Vec<_> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        names,
        [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("grpc-message", "this is status 5"),
        ]
    );
}

#[tokio::test]
async fn a_reset_after_a_message_is_head_data_and_the_code() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "ResetAfterMessage-3735928559", b"").await;
    let kinds: Vec<_> = [client.frame().await, client.frame().await]
        .into_iter()
        .map(|frame| frame.expect("a frame").kind)
        .collect();
    assert_eq!(kinds, [kind::HEADERS, kind::DATA]);
    let reset = client.frame().await.expect("a frame");
    assert_eq!(reset, Frame::reset(1, 0xdead_beef));
}

#[tokio::test]
async fn byte_by_byte_is_one_frame_for_each_byte() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "ByteByByte", b"").await;
    let mut bytes = Vec::new();
    while let Some(frame) = client.frame().await {
        match frame.kind {
            kind::DATA => {
                assert_eq!(frame.payload.len(), 1);
                bytes.extend(frame.payload);
            }
            _ if frame.has(flag::END_STREAM) => break,
            _ => {}
        }
    }
    assert_eq!(bytes, b"\0\0\0\0\x03one\0\0\0\0\x03two\0\0\0\0\x05three");
}

#[tokio::test]
async fn a_goaway_below_the_call_names_the_stream_before_it_and_the_next_attempt_is_good() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    assert!(client.good(1).await);
    client.request(3, "GoAwayBelowOnce-wire", b"").await;
    let frame = client.frame().await.expect("a frame");
    assert_eq!(frame.kind, kind::GOAWAY);
    assert_eq!(frame.payload[..8], [0, 0, 0, 1, 0, 0, 0, 0]);
    let mut other = Client::connect(&server, "default").await;
    other.request(1, "GoAwayBelowOnce-wire", b"again").await;
    let head = other.frame().await.expect("a frame");
    assert_eq!(head.kind, kind::HEADERS);
}

#[tokio::test]
async fn a_large_head_is_one_headers_frame_and_continuations() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "HeadMetadata-100000", b"").await;
    let mut whole = client.frame().await.expect("a frame");
    assert_eq!((whole.kind, whole.flags), (kind::HEADERS, 0));
    loop {
        let next = client.frame().await.expect("a frame");
        assert_eq!((next.kind, next.stream), (kind::CONTINUATION, 1));
        whole.payload.extend_from_slice(&next.payload);
        if next.has(flag::END_HEADERS) {
            break;
        }
    }
    assert!(client.fields(&whole).len() >= 100);
}

#[tokio::test]
async fn the_windows_of_the_client_are_respected() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "MessageOfSize-100000", b"").await;
    let mut received = 0;
    // The stream starts with 65,535 bytes; not one more may come before it is granted.
    while received < 65_535 {
        let frame = client.frame().await.expect("a frame");
        received += if frame.kind == kind::DATA { frame.payload.len() } else { 0 };
    }
    assert_eq!(received, 65_535);
    let more = timeout(Duration::from_millis(300), read_frame(&mut client.socket)).await;
    assert!(more.is_err(), "the server sent beyond the window: {more:?}");
    let mut grant = Vec::new();
    Frame::window_update(1, 100_005 - 65_535).write_to(&mut grant);
    client.socket.write_all(&grant).await.expect("an open connection");
    while received < 100_005 {
        received += client.frame().await.expect("a frame").payload.len();
    }
    assert!(client.frame().await.expect("a frame").has(flag::END_STREAM));
}

#[tokio::test]
async fn what_clients_did_is_told_by_seen() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "NeverAnswer", b"").await;
    let mut reset = Vec::new();
    Frame::reset(1, 8).write_to(&mut reset);
    client.socket.write_all(&reset).await.expect("an open connection");
    client.request(3, "Seen", b"/fault.v1.Fault/NeverAnswer").await;
    let _head = client.frame().await.expect("a frame");
    let answer = client.frame().await.expect("a frame");
    let json: serde_json::Value = serde_json::from_slice(&answer.payload[5..]).expect("JSON");
    assert_eq!(json, serde_json::json!({ "calls": 1, "resets": [8] }));
}

#[tokio::test]
async fn a_path_without_a_fault_is_unimplemented_whatever_it_contains() {
    let server = start().await;
    let mut client = Client::connect(&server, "default").await;
    client.request(1, "No\r\nSuch%zz\u{e9}", b"").await;
    let frame = client.frame().await.expect("a frame");
    let fields = client.fields(&frame);
    assert!(fields.contains(&("grpc-status".into(), "12".into())), "{fields:?}");
    assert!(client.good(3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_fault_the_server_answers_a_good_call_on_a_new_connection() {
    let server = start().await;
    let paths: HashSet<_> =
        vectors::load().expect("faults.json").into_iter().map(|case| case.path).collect();
    for path in paths {
        let Some(method) = path.strip_prefix(SERVICE) else { continue };
        let mut client = Client::connect(&server, "default").await;
        client.request(1, method, b"request").await;
        // Until the stream or the connection ends, or for as long as it takes to see that it hangs.
        let _ = timeout(Duration::from_millis(100), async {
            while let Some(frame) = client.frame().await {
                let ends = frame.stream == 1 && frame.has(flag::END_STREAM);
                if ends || matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY) {
                    break;
                }
            }
        })
        .await;
        let mut other = Client::connect(&server, "default").await;
        assert!(other.good(1).await, "no good call after {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_client_ends_its_connection_and_nothing_else() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        report(info);
    }));
    let server = start().await;
    let names: Vec<_> = server.endpoints().keys().filter(|name| *name != "refused").collect();
    // A linear congruential generator: the same garbage in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    for round in 0..300 {
        let mut client = Client::connect(&server, names[round % names.len()]).await;
        let mut bytes = Vec::new();
        for _ in 0..20 {
            let payload: Vec<u8> = (0..random() % 60).map(|_| random() as u8).collect();
            // Mostly frames of known types on few streams, so that the garbage gets far.
            let frame = Frame::new(
                (random() % 11) as u8,
                (random() & 0x2d) as u8,
                random() % 8,
                payload.clone(),
            );
            frame.write_to(&mut bytes);
            if random() % 10 == 0 {
                bytes.extend(payload);
            }
        }
        // The server may close while it is being written to: that is its right.
        let _ = client.socket.write_all(&bytes).await;
        let _ = client.socket.shutdown().await;
        let mut sink = Vec::new();
        let _ = timeout(PATIENCE, client.socket.read_to_end(&mut sink)).await.expect("an end");
    }
    assert!(Client::connect(&server, "default").await.good(1).await);
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "the server panicked");
}
