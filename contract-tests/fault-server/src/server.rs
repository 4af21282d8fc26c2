//! The listeners, and what the whole server knows across connections.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::sleep,
};

use crate::{
    connection,
    frames::{Frame, PREFACE, error},
};

/// Paths that are remembered; what further ones do is not.
const MAX_PATHS: usize = 10_000;
/// Resets that are remembered for each path.
const MAX_RESETS: usize = 10_000;

/// What a listener does with its connections.
#[derive(Clone, Copy)]
enum Behaviour {
    /// HTTP/2 with the faults, allowing this many streams per connection.
    Http2 { streams: u32 },
    /// HTTP/1.1 that answers 400.
    Http1,
    /// Reads and never says anything.
    Silent,
    /// Closes at once.
    CloseOnAccept,
    /// Closes after its SETTINGS.
    CloseAfterSettings,
    /// SETTINGS, then GOAWAY that no call was processed.
    GoAwayAtOnce,
    /// Bytes that are no HTTP/2.
    Garbage,
    /// A fatal TLS alert, as a TLS server answers plain text.
    TlsAlert,
}

/// Name, scheme, behaviour and documentation of each listener.
const LISTENERS: &[(&str, Behaviour, &str)] = &[
    ("default", Behaviour::Http2 { streams: 100 }, "HTTP/2 in plain text with every fault."),
    ("one_stream", Behaviour::Http2 { streams: 1 }, "The same, one stream per connection."),
    ("http1", Behaviour::Http1, "HTTP/1.1: answers 400 with a text."),
    ("silent", Behaviour::Silent, "Accepts and never says anything."),
    ("close_on_accept", Behaviour::CloseOnAccept, "Closes every connection at once."),
    ("close_after_settings", Behaviour::CloseAfterSettings, "Closes after its SETTINGS."),
    ("goaway_at_once", Behaviour::GoAwayAtOnce, "Sends SETTINGS and GOAWAY(0, NO_ERROR), always."),
    ("garbage", Behaviour::Garbage, "Answers with bytes that are not HTTP/2."),
    ("tls_alert", Behaviour::TlsAlert, "Answers everything with a fatal TLS alert."),
];

/// A running server. Dropping it closes every listener and connection.
pub struct FaultServer {
    endpoints: BTreeMap<String, String>,
    // Bound and never listening, so that nobody else can take the port.
    _refused: TcpSocket,
    _accepting: JoinSet<()>,
}

impl FaultServer {
    /// Starts every listener: the default one at `listen`, the others on free ports of its IP.
    /// Must be called within a Tokio runtime, on which the server then runs.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn start(listen: SocketAddr) -> io::Result<FaultServer> {
        let world = Arc::new(World::default());
        let mut accepting = JoinSet::new();
        let mut endpoints = BTreeMap::new();
        let free = SocketAddr::new(listen.ip(), 0);
        for (name, behaviour, _) in LISTENERS {
            let listener =
                TcpListener::bind(if *name == "default" { listen } else { free }).await?;
            let address = listener.local_addr()?;
            endpoints.insert((*name).to_owned(), format!("http://{address}"));
            match *name {
                "default" => drop(
                    endpoints.insert("https_to_plain".to_owned(), format!("https://{address}")),
                ),
                "tls_alert" => {
                    drop(endpoints.insert("https_alert".to_owned(), format!("https://{address}")));
                }
                _ => {}
            }
            accepting.spawn(accept(listener, *behaviour, Arc::clone(&world)));
        }
        let refused = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        refused.bind(free)?;
        endpoints.insert("refused".to_owned(), format!("http://{}", refused.local_addr()?));
        Ok(FaultServer { endpoints, _refused: refused, _accepting: accepting })
    }

    /// The targets by the name of their listener.
    pub fn endpoints(&self) -> &BTreeMap<String, String> {
        &self.endpoints
    }

    /// The names of all targets and what is there.
    pub fn listeners() -> impl Iterator<Item = (&'static str, &'static str)> {
        LISTENERS.iter().map(|(name, _, doc)| (*name, *doc)).chain([
            ("https_to_plain", "The default listener, for a client that speaks TLS to it."),
            ("https_alert", "The listener tls_alert, for a client that speaks TLS to it."),
            ("refused", "A port where nobody listens."),
        ])
    }
}

async fn accept(listener: TcpListener, behaviour: Behaviour, world: Arc<World>) {
    let mut open = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let world = Arc::clone(&world);
                open.spawn(async move {
                    // How a connection ends is the client's to report.
                    let _ = behave(socket, behaviour, world).await;
                });
            }
            // Out of descriptors, most likely: others will close theirs.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while open.try_join_next().is_some() {}
    }
}

async fn behave(mut socket: TcpStream, behaviour: Behaviour, world: Arc<World>) -> io::Result<()> {
    match behaviour {
        Behaviour::Http2 { streams } => {
            connection::serve(socket, world, streams).await;
            return Ok(());
        }
        Behaviour::CloseOnAccept => return Ok(()),
        Behaviour::Silent => {}
        Behaviour::Http1 => {
            first_bytes(&mut socket).await?;
            let text = "This is a web server of the last century.\n";
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{text}",
                text.len()
            );
            socket.write_all(answer.as_bytes()).await?;
        }
        Behaviour::CloseAfterSettings => {
            first_bytes(&mut socket).await?;
            socket.write_all(&bytes(&[Frame::settings(&[])])).await?;
        }
        Behaviour::GoAwayAtOnce => {
            first_bytes(&mut socket).await?;
            let go_away = Frame::go_away(0, error::NO_ERROR, b"nothing today");
            socket.write_all(&bytes(&[Frame::settings(&[]), go_away])).await?;
        }
        Behaviour::Garbage => {
            let garbage: Vec<u8> = (0..4_096u32).map(|i| ((i * i * 31) >> 3) as u8).collect();
            socket.write_all(&garbage).await?;
        }
        Behaviour::TlsAlert => {
            first_bytes(&mut socket).await?;
            // Record: alert, TLS 1.2, two bytes: fatal, protocol_version.
            socket.write_all(&[21, 3, 3, 0, 2, 2, 70]).await?;
        }
    }
    if !matches!(behaviour, Behaviour::Silent) {
        socket.shutdown().await?;
    }
    // Reading on until the client closes: closing with unread bytes would send a RST, which can
    // overtake what was just written.
    let mut sink = vec![0; 16 << 10];
    while socket.read(&mut sink).await? > 0 {}
    Ok(())
}

/// Waits until the client has said as much as a preface.
async fn first_bytes(socket: &mut TcpStream) -> io::Result<()> {
    let mut first = [0; PREFACE.len()];
    socket.read_exact(&mut first).await.map(drop)
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write_to(&mut bytes));
    bytes
}

/// What the whole server knows, across listeners and connections.
#[derive(Default)]
pub struct World {
    paths: Mutex<HashMap<String, Seen>>,
    meeting: Notify,
}

/// What was seen of one path.
#[derive(Default)]
struct Seen {
    calls: u32,
    resets: Vec<u32>,
    /// Calls that wait for others.
    waiting: usize,
    /// Grows with each meeting.
    meetings: u64,
}

impl World {
    fn paths(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; the answer is the number of calls of the path so far.
    pub(crate) fn saw_call(&self, path: &str) -> u32 {
        let mut paths = self.paths();
        if paths.len() >= MAX_PATHS && !paths.contains_key(path) {
            return 1;
        }
        let seen = paths.entry(path.to_owned()).or_default();
        seen.calls = seen.calls.saturating_add(1);
        seen.calls
    }

    /// Remembers a RST_STREAM of a client.
    pub(crate) fn saw_reset(&self, path: &str, code: u32) {
        if let Some(seen) = self.paths().get_mut(path)
            && seen.resets.len() < MAX_RESETS
        {
            seen.resets.push(code);
        }
    }

    /// What was seen of a path.
    pub(crate) fn seen(&self, path: &str) -> Value {
        let paths = self.paths();
        match paths.get(path) {
            Some(seen) => json!({ "calls": seen.calls, "resets": seen.resets }),
            None => json!({ "calls": 0, "resets": [] }),
        }
    }

    /// Waits until `count` calls of the path wait here at once.
    pub(crate) async fn meet(&self, path: &str, count: usize) {
        let Some(place) = Place::take(self, path, count) else {
            return;
        };
        loop {
            let mut met = std::pin::pin!(self.meeting.notified());
            met.as_mut().enable();
            if place.is_over() {
                return;
            }
            met.await;
        }
    }
}

/// A call's place in a meeting, given back when the call goes away before it.
struct Place<'w> {
    world: &'w World,
    path: String,
    meeting: u64,
}

impl Place<'_> {
    /// `None` when this call completes the meeting.
    fn take<'w>(world: &'w World, path: &str, count: usize) -> Option<Place<'w>> {
        let mut paths = world.paths();
        let seen = paths.entry(path.to_owned()).or_default();
        seen.waiting += 1;
        if seen.waiting >= count {
            seen.waiting = 0;
            seen.meetings += 1;
            world.meeting.notify_waiters();
            return None;
        }
        Some(Place { world, path: path.to_owned(), meeting: seen.meetings })
    }

    fn is_over(&self) -> bool {
        self.world.paths().get(&self.path).is_none_or(|seen| seen.meetings != self.meeting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(seen) = self.world.paths().get_mut(&self.path)
            && seen.meetings == self.meeting
        {
            seen.waiting -= 1;
        }
    }
}
