//! Listeners and their life.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::{Connected, Router, TcpIncoming};
use tower::layer::util::{Identity, Stack};

use crate::calls::{Calls, CallsLayer};
use crate::data::{Data, Kind, Source};
use crate::error::{Context, Error};
use crate::services;
use crate::tls::Certificates;

/// What to serve, and where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Plain text.
    pub http: Option<SocketAddr>,
    /// TLS.
    pub https: Option<SocketAddr>,
    /// TLS with a certificate of the client.
    pub mtls: Option<SocketAddr>,
    /// Plain text on a Unix socket.
    pub unix: Option<PathBuf>,
    /// Where the generated certificates are written.
    pub tls_dir: Option<PathBuf>,
    /// The cache of the full data; the excerpt without one.
    pub data: Option<PathBuf>,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS` of each connection; 200 when not given.
    pub max_concurrent_streams: Option<u32>,
    /// When a connection gets a GOAWAY; its open calls go on.
    pub max_connection_age: Option<Duration>,
}

/// Where a server listens: the line that `reference-server serve` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// `http://` target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `https://` target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// `https://` target that wants a certificate of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<String>,
    /// `unix:` target, absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<String>,
    /// Absolute directory of the certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_dir: Option<PathBuf>,
    /// Full or excerpt.
    pub data: Kind,
    /// Process id of the server.
    pub pid: u32,
}

/// A server that runs. Its listeners are closed when it is dropped; connections end with the
/// runtime.
#[derive(Debug)]
pub struct Running {
    ready: Ready,
    calls: Calls,
    listeners: JoinSet<Result<(), Error>>,
    stop: watch::Sender<bool>,
    socket: Option<PathBuf>,
}

/// Starts listening. Must be called in a tokio runtime.
///
/// # Errors
/// An address that cannot be bound, data that is not right, certificates that cannot be written.
pub async fn start(options: Options) -> Result<Running, Error> {
    let source = match &options.data {
        Some(cache) => Source::open(cache),
        None => Source::excerpt(),
    };
    let data = tokio::task::spawn_blocking(move || Data::load(&source)).await;
    let data = Arc::new(data.context(|| "cannot load the data".to_owned())??);
    let kind = data.kind;

    let calls = Calls::default();
    let routes = services::routes(data, calls.clone()).await?;
    let (stop, _) = watch::channel(false);
    let mut running = Running {
        ready: Ready {
            http: None,
            https: None,
            mtls: None,
            unix: None,
            tls_dir: None,
            data: kind,
            pid: std::process::id(),
        },
        calls,
        listeners: JoinSet::new(),
        stop,
        socket: None,
    };
    let plain = builder(&options, &running.calls);

    if let Some(address) = options.http {
        let incoming = bind(address)?;
        running.ready.http = Some(target("http", address, &incoming)?);
        running.serve(plain.clone().add_routes(routes.clone()), incoming);
    }
    if options.https.is_some() || options.mtls.is_some() {
        let directory = options
            .tls_dir
            .as_deref()
            .ok_or_else(|| Error::new("TLS needs a directory for its certificates (--tls-dir)"))?;
        let certificates = Certificates::generate()?;
        certificates.write(directory)?;
        running.ready.tls_dir = Some(absolute(directory)?);
        for (address, client_certificate) in [(options.https, false), (options.mtls, true)] {
            let Some(address) = address else { continue };
            let incoming = bind(address)?;
            let url = Some(target("https", address, &incoming)?);
            if client_certificate {
                running.ready.mtls = url;
            } else {
                running.ready.https = url;
            }
            let mut server = plain
                .clone()
                .tls_config(certificates.server_config(client_certificate))
                .context(|| "the generated certificates are wrong".to_owned())?;
            running.serve(server.add_routes(routes.clone()), incoming);
        }
    }
    if let Some(path) = &options.unix {
        let path = absolute(path)?;
        let incoming = UnixListenerStream::new(bind_unix(&path).await?);
        running.ready.unix = Some(format!("unix:{}", path.display()));
        running.socket = Some(path);
        running.serve(plain.clone().add_routes(routes), incoming);
    }
    Ok(running)
}

impl Running {
    /// Where it listens.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// How its calls stand.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    fn serve<I, IO>(&mut self, router: Router<Layers>, incoming: I)
    where
        I: Stream<Item = std::io::Result<IO>> + Send + 'static,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let mut stop = self.stop.subscribe();
        let stopped = async move {
            // An error is the end of the sender, and so of the server.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        self.listeners.spawn(async move {
            let served = router.serve_with_incoming_shutdown(incoming, stopped);
            served.await.context(|| "a listener failed".to_owned())
        });
    }

    /// Takes no new calls (GOAWAY) and returns when the open ones have ended, or after `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        // What is still open after the grace is cut off by the end of the runtime.
        let _ = tokio::time::timeout(grace, ended).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // Gone already, or left behind: the next start copes with both.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// What is around every service.
type Layers = Stack<CallsLayer, Identity>;

fn builder(options: &Options, calls: &Calls) -> Server<Layers> {
    let mut builder = Server::builder()
        .layer(CallsLayer(calls.clone()))
        .tcp_nodelay(true)
        // A client may send each small message in a DATA frame of its own. h2 counts those against
        // a budget that grows with the connection's window and ends the connection when it is
        // spent; the stream windows keep memory bounded.
        .initial_connection_window_size(i32::MAX as u32)
        .initial_stream_window_size(256 * 1024);
    if let Some(streams) = options.max_concurrent_streams {
        builder = builder.max_concurrent_streams(streams);
    }
    if let Some(age) = options.max_connection_age {
        builder = builder.max_connection_age(age);
    }
    builder
}

fn bind(address: SocketAddr) -> Result<TcpIncoming, Error> {
    let incoming = TcpIncoming::bind(address).context(|| format!("cannot listen on {address}"))?;
    Ok(incoming.with_nodelay(Some(true)))
}

/// What a client on this machine connects to.
fn target(scheme: &str, asked: SocketAddr, incoming: &TcpIncoming) -> Result<String, Error> {
    let mut address =
        incoming.local_addr().context(|| format!("cannot tell the port of {asked}"))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("{scheme}://{address}"))
}

async fn bind_unix(path: &Path) -> Result<UnixListener, Error> {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => {
            let path = path.display();
            return Err(Error::new(format!("{path} is in use by another process")));
        }
        // Left behind by a process that was killed.
        Err(error) if refused(&error) => {
            std::fs::remove_file(path).context(|| format!("cannot remove {}", path.display()))?;
        }
        Err(_) => {}
    }
    UnixListener::bind(path).context(|| format!("cannot listen on {}", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).context(|| format!("wrong path {}", path.display()))
}
