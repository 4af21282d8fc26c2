//! One connection attempt: DNS, TCP or a unix socket, TLS, HTTP/2.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};
use tokio_rustls::TlsConnector;

use crate::{
    ChannelOptions,
    monitor::{Monitored, Traffic, Transport},
    target::{Endpoint, Target},
    tls::Tls,
};

/// Wait before the next address is tried beside the ones that have not answered (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);
/// HTTP/2 allows this much; anything smaller lets h2 take a server that sends one small message per
/// DATA frame for an attacker, since its guard's budget is half of the window. Memory is bounded by
/// the windows of the streams. (docs/adr/0007)
const CONNECTION_WINDOW: u32 = 0x7fff_ffff;
/// h2 resets a stream whose headers are larger without saying why; between the user's limit and
/// this one the call layer refuses them with the sizes.
const LEAST_HEADER_LIST: usize = 2 << 20;

/// Frames of a stream that we reset are on their way for a while. h2 answers those of a stream that
/// it has forgotten and gives the connection up after 1024 answers in its whole life, which an
/// application that cancels streams would reach. Costs some hundred bytes for each that is
/// remembered.
const REMEMBERED_RESETS: usize = 1 << 16;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

pub(crate) type Sender = SendRequest<Bytes>;
pub(crate) type Http2 = client::Connection<Monitored, Bytes>;
pub(crate) type Connected = (Sender, Http2, Arc<Traffic>);

/// Connects and waits for the server's SETTINGS: a peer that accepts and says nothing is not a
/// connection. The error is a text for the status of calls.
pub(crate) async fn connect(
    target: &Target,
    tls: Option<&Tls>,
    options: &ChannelOptions,
) -> Result<Connected, String> {
    let endpoint = &target.endpoint;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!("cannot connect to {endpoint}: {what}{error}")
    };
    let transport: Box<dyn Transport> = match endpoint {
        Endpoint::Tcp { host, port } => {
            let stream = connect_tcp(host, *port).await.map_err(|e| failed("", &e))?;
            match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let stream = TlsConnector::from(tls.config.clone())
                        .connect(tls.server_name.clone(), stream)
                        .await
                        .map_err(|e| failed("TLS: ", &e))?;
                    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                        return Err(failed("TLS: ", &"the server did not agree to HTTP/2 by ALPN"));
                    }
                    Box::new(stream)
                }
            }
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            Box::new(tokio::net::UnixStream::connect(path).await.map_err(|e| failed("", &e))?)
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => return Err(failed("", &"this system has no unix sockets")),
    };
    let traffic = Arc::new(Traffic::new());
    let io = Monitored::new(transport, traffic.clone());
    let header_list = options.max_metadata.max(LEAST_HEADER_LIST).min(u32::MAX as usize);
    let (sender, mut http2) = client::Builder::new()
        .enable_push(false)
        .initial_window_size(options.stream_window)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(header_list as u32)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(REMEMBERED_FOR)
        .handshake(io)
        .await
        .map_err(|e| failed("HTTP/2: ", &e))?;
    std::future::poll_fn(|cx| match Pin::new(&mut http2).poll(cx) {
        Poll::Ready(result) => Poll::Ready(Err(match result {
            _ if traffic.is_http1() => failed("", &"the server speaks HTTP/1, not HTTP/2"),
            Ok(()) => failed("", &"the server closed the connection before its HTTP/2 settings"),
            Err(e) if traffic.read_nothing() => failed("", &e),
            Err(e) => failed("HTTP/2: ", &e),
        })),
        Poll::Pending if traffic.has_settings() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    Ok((sender, http2, traffic))
}

/// Tries the addresses of a name, each a little after the one before it; the first that connects wins.
async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = interleave(tokio::net::lookup_host((host, port)).await?.collect());
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let mut attempts = JoinSet::new();
    let mut last_error = None;
    let mut remaining = addresses.into_iter().peekable();
    loop {
        if let Some(address) = remaining.next() {
            attempts.spawn(async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok::<_, io::Error>(stream)
            });
        }
        let stagger = async {
            if remaining.peek().is_some() {
                sleep(STAGGER).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            Some(done) = attempts.join_next() => match done {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last_error = Some(error),
                Err(error) => last_error = Some(io::Error::other(error)),
            },
            () = stagger => {}
        }
        if attempts.is_empty() && remaining.peek().is_none() {
            return Err(last_error.unwrap_or_else(|| io::Error::other("no address answered")));
        }
    }
}

/// IPv6 and IPv4 in turn, starting with the family that the resolver put first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|a| a.is_ipv6() == first);
    let mut preferred = preferred.into_iter();
    let mut other = other.into_iter();
    let mut result = Vec::new();
    loop {
        match (preferred.next(), other.next()) {
            (None, None) => return result,
            (a, b) => result.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|a| a.parse().unwrap()).collect()
        };
        assert_eq!(
            interleave(parse(&["[::1]:1", "[::2]:1", "1.1.1.1:1"])),
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1"]),
        );
        assert!(interleave(Vec::new()).is_empty());
    }
}
