//! One HTTP/2 connection: how many calls it carries, its keepalive, its end.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    ChannelOptions,
    connect::{Http2, Sender},
    monitor::Traffic,
    pool::Pool,
};

/// HTTP/2 has 2^30 streams for a client; a connection is replaced well before.
const MOST_STREAMS: u32 = 1 << 29;

/// A connection that the server has greeted.
pub(crate) struct Connection {
    /// Taken away when the connection takes no more calls: h2 closes it when the last one ends.
    sender: Mutex<Option<Sender>>,
    active: AtomicUsize,
    opened: AtomicU32,
    retired: AtomicBool,
    traffic: Arc<Traffic>,
    /// Why the connection ended.
    cause: watch::Sender<Option<String>>,
    /// Counts the calls that began and those that ended: unchanged means that nothing happened.
    changes: AtomicU64,
    close: Notify,
}

impl Connection {
    pub(crate) fn new(sender: Sender, traffic: Arc<Traffic>) -> Connection {
        Connection {
            sender: Mutex::new(Some(sender)),
            active: AtomicUsize::new(0),
            opened: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            traffic,
            cause: watch::Sender::new(None),
            changes: AtomicU64::new(0),
            close: Notify::new(),
        }
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, Option<Sender>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for one call, if the peer's MAX_CONCURRENT_STREAMS leaves one. Called under
    /// the pool's lock, so two callers cannot take the same place.
    pub(crate) fn lease(self: &Arc<Self>, pool: &Arc<Pool>) -> Option<Lease> {
        if self.is_retired() {
            return None;
        }
        let most = self.sender().as_ref()?.current_max_send_streams();
        if self.active.load(Ordering::Acquire) >= most {
            return None;
        }
        if self.opened.fetch_add(1, Ordering::Relaxed) >= MOST_STREAMS {
            self.retire();
            return None;
        }
        self.active.fetch_add(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::Relaxed);
        Some(Lease { connection: self.clone(), pool: pool.clone() })
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Takes no more calls; those that are open go on. Returns whether it took calls until now.
    pub(crate) fn retire(&self) -> bool {
        *self.sender() = None;
        !self.retired.swap(true, Ordering::AcqRel)
    }

    /// Ends the connection with all its calls.
    pub(crate) fn close(&self) {
        self.retire();
        self.close.notify_one();
    }

    /// Why the connection ended. Asked by a call that saw its stream break, which may be a moment
    /// before the connection's own task does.
    pub(crate) async fn cause(&self) -> String {
        let mut cause = self.cause.subscribe();
        match timeout(Duration::from_secs(1), cause.wait_for(Option::is_some)).await {
            Ok(Ok(cause)) => cause.clone().unwrap_or_default(),
            _ => "the connection was lost".to_owned(),
        }
    }

    fn idle(&self) -> bool {
        self.active.load(Ordering::Acquire) == 0
    }
}

/// A place for one call on a connection; given back when dropped.
pub(crate) struct Lease {
    connection: Arc<Connection>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(crate) fn sender(&self) -> Option<Sender> {
        self.connection.sender().clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.active.fetch_sub(1, Ordering::AcqRel);
        self.connection.changes.fetch_add(1, Ordering::Relaxed);
        self.pool.place_is_free();
    }
}

/// Runs a connection to its end.
pub(crate) async fn run(
    http2: Http2,
    connection: Arc<Connection>,
    pool: Weak<Pool>,
    options: Arc<ChannelOptions>,
    keepalive_time: Option<Duration>,
    name: String,
) {
    let mut http2 = http2;
    let pings = http2.ping_pong();
    {
        let mut http2 = pin!(http2);
        let keepalive = match (keepalive_time, pings) {
            (Some(time), Some(pings)) => Some(Keepalive { time, pings, options: &options }),
            _ => None,
        };
        let mut keepalive = pin!(async {
            match keepalive {
                Some(keepalive) => keepalive.run(&connection).await,
                None => pending().await,
            }
        });
        let mut idle = pin!(idle(&connection, options.idle_timeout));
        let mut idle_over = false;
        let mut deferred = false;
        let cause = loop {
            tokio::select! {
                biased;
                () = connection.close.notified() => break "the channel was closed".to_owned(),
                result = poll_fn(|cx| {
                    // The calls that are ready to send go first: what they send leaves in one write.
                    deferred = !deferred;
                    if deferred {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let result = http2.as_mut().poll(cx);
                    // They may have raised MAX_CONCURRENT_STREAMS.
                    if connection.traffic.take_settings()
                        && let Some(pool) = pool.upgrade()
                    {
                        pool.places_are_free();
                    }
                    result
                }) => break match result {
                    Ok(()) => format!("the connection to {name} was closed by the server"),
                    Err(error) => {
                        if let Some(pool) = pool.upgrade()
                            && error.to_string().contains("too_many_pings")
                        {
                            pool.ping_less();
                        }
                        format!("the connection to {name} was lost: {error}")
                    }
                },
                () = &mut idle, if !idle_over => {
                    idle_over = true;
                    connection.retire();
                    if let Some(pool) = pool.upgrade() {
                        pool.remove(&connection);
                    }
                }
                cause = &mut keepalive => break format!("the connection to {name} was given up: {cause}"),
            }
        };
        // Before the connection is dropped, which ends its streams, so that they find it.
        connection.cause.send_replace(Some(cause));
    }
    connection.retire();
    if let Some(pool) = pool.upgrade() {
        pool.remove(&connection);
    }
}

/// Ends when the connection had no call for `after`, at the latest after twice that. Looking now and
/// then costs a call nothing; to be told of each call's end would wake this task for every one.
async fn idle(connection: &Connection, after: Option<Duration>) {
    let Some(after) = after else { return pending().await };
    loop {
        let changes = connection.changes.load(Ordering::Relaxed);
        sleep(after).await;
        if connection.idle() && connection.changes.load(Ordering::Relaxed) == changes {
            return;
        }
    }
}

/// PINGs a connection that is silent (gRFC A8).
struct Keepalive<'a> {
    time: Duration,
    pings: PingPong,
    options: &'a ChannelOptions,
}

impl Keepalive<'_> {
    /// Ends with the reason to give the connection up.
    async fn run(mut self, connection: &Connection) -> String {
        let wait = self.options.keepalive_timeout;
        loop {
            if connection.idle() && !self.options.keepalive_without_calls {
                // Looked at again soon; a call that starts after a long silence is so protected too.
                sleep(Duration::from_secs(1)).await;
                continue;
            }
            let Some(due) = connection.traffic.last_read().checked_add(self.time) else {
                return pending().await;
            };
            if Instant::now() < due {
                sleep_until(due).await;
                continue;
            }
            if self.pings.send_ping(Ping::opaque()).is_err() {
                // The connection's own end says more.
                return pending().await;
            }
            loop {
                let since = Instant::now();
                match timeout(wait, poll_fn(|cx| self.pings.poll_pong(cx))).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(_)) => return pending().await,
                    // Alive, but late: h2 takes no second PING before the first is answered.
                    Err(_) if connection.traffic.last_read() > since => {}
                    Err(_) => {
                        return format!(
                            "nothing was received within {wait:?} after a keepalive PING"
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::monitor::Monitored;

    const PING: u8 = 6;
    const ACK: u8 = 1;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    /// Reads up to the next PING that asks for an answer and returns what it carries.
    async fn next_ping(peer: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
        loop {
            let mut header = [0; 9];
            peer.read_exact(&mut header).await.unwrap();
            let mut payload = vec![0; usize::from(header[2]) | usize::from(header[1]) << 8];
            peer.read_exact(&mut payload).await.unwrap();
            if header[3] == PING && header[4] & ACK == 0 {
                return payload;
            }
        }
    }

    #[tokio::test]
    async fn a_late_answer_to_a_ping_does_not_end_the_keepalive() {
        let (transport, peer): (DuplexStream, DuplexStream) = tokio::io::duplex(64 << 10);
        let traffic = Arc::new(Traffic::new());
        let monitored = Monitored::new(Box::new(transport), traffic.clone());
        let (sender, mut http2) = h2::client::handshake(monitored).await.unwrap();
        let pings = http2.ping_pong().unwrap();
        tokio::spawn(http2);
        let connection = Connection::new(sender, traffic);
        let options = ChannelOptions {
            keepalive_timeout: Duration::from_millis(200),
            keepalive_without_calls: true,
            ..ChannelOptions::default()
        };
        let keepalive = Keepalive { time: Duration::from_millis(10), pings, options: &options };
        let (mut reads, mut writes) = tokio::io::split(peer);
        let server = async move {
            reads.read_exact(&mut [0; 24]).await.unwrap();
            writes.write_all(&frame(4, 0, &[])).await.unwrap();
            let ping = next_ping(&mut reads).await;
            // Alive, but too busy to answer in time.
            for _ in 0..40 {
                writes.write_all(&frame(PING, ACK, &[7; 8])).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
            writes.write_all(&frame(PING, ACK, &ping)).await.unwrap();
            next_ping(&mut reads).await;
            // From here on silent.
            pending::<()>().await;
        };
        let cause = async {
            tokio::select! {
                cause = keepalive.run(&connection) => cause,
                () = server => unreachable!("the server stays"),
            }
        };
        let cause = timeout(Duration::from_secs(30), cause).await.expect("silence is noticed");
        assert!(cause.contains("keepalive PING"), "{cause}");
    }
}
