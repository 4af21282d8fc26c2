//! The connections of a channel: made on demand, more of them when the peer's
//! MAX_CONCURRENT_STREAMS is reached, again with the back-off of gRPC (doc/connection-backoff.md).

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    ChannelOptions, Code, ConnectivityState, Status,
    connect::{Connected, connect},
    connection::{self, Connection, Lease},
    target::Target,
    tls::Tls,
};

pub(crate) struct Pool {
    pub(crate) target: Arc<Target>,
    pub(crate) options: Arc<ChannelOptions>,
    tls: Option<Tls>,
    pub(crate) runtime: Handle,
    state: Mutex<State>,
    /// A connection came, an attempt failed, a place became free, the channel was closed.
    changed: Notify,
    /// The connectivity may be another.
    state_changed: Notify,
}

struct State {
    connections: Vec<Arc<Connection>>,
    /// Connections that take no more calls and may still carry some.
    draining: Vec<Weak<Connection>>,
    connecting: bool,
    /// The latest attempt.
    attempt: Option<AbortHandle>,
    /// Attempts that failed since the last that did not.
    failures: u32,
    retry_at: Option<Instant>,
    last_error: String,
    closed: bool,
    keepalive_time: Option<Duration>,
    watchers: Vec<Waker>,
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl State {
    /// Sets the connections aside that `gone` names.
    fn set_aside(&mut self, gone: impl Fn(&Arc<Connection>) -> bool) {
        self.draining.retain(|connection| connection.strong_count() > 0);
        let draining = &mut self.draining;
        self.connections.retain(|connection| {
            let gone = gone(connection);
            if gone {
                draining.push(Arc::downgrade(connection));
            }
            !gone
        });
    }

    fn connectivity(&self) -> ConnectivityState {
        if self.closed {
            ConnectivityState::Shutdown
        } else if !self.connections.is_empty() {
            ConnectivityState::Ready
        } else if self.connecting {
            ConnectivityState::Connecting
        } else if self.failures > 0 {
            ConnectivityState::TransientFailure
        } else {
            ConnectivityState::Idle
        }
    }
}

impl Pool {
    pub(crate) fn new(
        target: Target,
        options: ChannelOptions,
        tls: Option<Tls>,
        runtime: Handle,
    ) -> Pool {
        Pool {
            target: Arc::new(target),
            tls,
            runtime,
            state: Mutex::new(State {
                connections: Vec::new(),
                draining: Vec::new(),
                connecting: false,
                attempt: None,
                failures: 0,
                retry_at: None,
                last_error: String::new(),
                closed: false,
                keepalive_time: options.keepalive_time,
                watchers: Vec::new(),
            }),
            options: Arc::new(options),
            changed: Notify::new(),
            state_changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a call. Without `wait_for_ready` it fails as soon as there is none and no
    /// connection attempt is under way.
    pub(crate) async fn acquire(self: &Arc<Self>, wait_for_ready: bool) -> Result<Lease, Status> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let retry_at = match self.try_acquire(wait_for_ready) {
                Attempt::Lease(lease) => return Ok(lease),
                Attempt::Fail(status) => return Err(status),
                Attempt::Wait(retry_at) => retry_at,
            };
            match retry_at {
                Some(at) => {
                    tokio::select! { () = changed => {}, () = sleep_until(at) => {} }
                }
                None => changed.await,
            }
        }
    }

    fn try_acquire(self: &Arc<Self>, wait_for_ready: bool) -> Attempt {
        let mut state = self.state();
        if state.closed {
            return Attempt::Fail(Status::new(Code::Cancelled, "the channel was closed"));
        }
        // The oldest connection with room comes first, so that the newer ones can run empty.
        if let Some(lease) = state.connections.iter().find_map(|c| c.lease(self)) {
            return Attempt::Lease(lease);
        }
        state.set_aside(|connection| connection.is_retired());
        if state.connecting {
            return Attempt::Wait(None);
        }
        let most = self.options.max_connections;
        if state.connections.len() >= most {
            return if wait_for_ready {
                Attempt::Wait(None)
            } else {
                Attempt::Fail(Status::new(
                    Code::Unavailable,
                    format!(
                        "all {most} connections to {} carry as many calls as the server's \
                         MAX_CONCURRENT_STREAMS allows; raise max_connections, or set \
                         wait_for_ready to wait for a place",
                        self.target.endpoint
                    ),
                ))
            };
        }
        match state.retry_at {
            Some(at) if Instant::now() < at => {
                if wait_for_ready {
                    Attempt::Wait(Some(at))
                } else {
                    let wait = at.saturating_duration_since(Instant::now()).as_secs_f32();
                    Attempt::Fail(Status::new(
                        Code::Unavailable,
                        format!("{} (next attempt in {wait:.1} s)", state.last_error),
                    ))
                }
            }
            _ => {
                self.start_connecting(state);
                Attempt::Wait(None)
            }
        }
    }

    fn start_connecting(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.connecting = true;
        let attempt = connecting(
            Arc::downgrade(self),
            self.target.clone(),
            self.tls.clone(),
            self.options.clone(),
        );
        state.attempt = Some(self.runtime.spawn(attempt).abort_handle());
        self.wake_watchers(state);
    }

    /// Tells of a change of the state, which is unlocked for it: who is woken may look at it.
    fn wake_watchers(&self, mut state: MutexGuard<'_, State>) {
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        for watcher in watchers {
            watcher.wake();
        }
        self.state_changed.notify_waiters();
    }

    /// Takes in what came of an attempt.
    fn connected(self: &Arc<Self>, started: Instant, result: Result<Connected, String>) {
        let mut state = self.state();
        match result {
            Ok((sender, http2, traffic)) if !state.closed => {
                let connection = Arc::new(Connection::new(sender, traffic));
                state.connections.push(connection.clone());
                state.failures = 0;
                state.retry_at = None;
                self.runtime.spawn(connection::run(
                    http2,
                    connection,
                    Arc::downgrade(self),
                    self.options.clone(),
                    state.keepalive_time,
                    self.target.endpoint.to_string(),
                ));
            }
            Ok(_) => {}
            Err(error) => {
                state.failures += 1;
                // A moment beyond the clock's reach is as good as a year from now.
                let wait = self.backoff(state.failures);
                state.retry_at = Some(started.checked_add(wait).unwrap_or(started + YEAR));
                state.last_error = error;
            }
        }
    }

    /// Wait between the start of one attempt and the next.
    fn backoff(&self, failures: u32) -> Duration {
        const FACTOR: f64 = 1.6;
        let initial = self.options.backoff_initial.as_secs_f64();
        let most = self.options.backoff_max.as_secs_f64();
        let wait = (initial * FACTOR.powi(failures.saturating_sub(1).min(1000) as i32)).min(most);
        Duration::try_from_secs_f64(wait * jitter()).unwrap_or(YEAR)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.wake_watchers(state);
        self.changed.notify_waiters();
    }

    /// Gives no more calls to a connection. Thousands of calls may find at once that it is gone:
    /// only the first has something to tell the others.
    pub(crate) fn retire(&self, connection: &Arc<Connection>) {
        if connection.retire() {
            self.remove(connection);
        }
    }

    pub(crate) fn remove(&self, connection: &Arc<Connection>) {
        self.change(|state| state.set_aside(|c| Arc::ptr_eq(c, connection)));
    }

    /// A call has ended; one that waits for a place may try again.
    pub(crate) fn place_is_free(&self) {
        self.changed.notify_one();
    }

    /// There may be any number of places now.
    pub(crate) fn places_are_free(&self) {
        self.changed.notify_waiters();
    }

    /// The server complained about PINGs: new connections send half as many (gRFC A8).
    pub(crate) fn ping_less(&self) {
        self.change(|state| {
            state.keepalive_time = state.keepalive_time.map(|time| time.saturating_mul(2));
        });
    }

    /// Makes a connection if there is none.
    pub(crate) fn kick(self: &Arc<Self>) {
        let state = self.state();
        let waiting = state.retry_at.is_some_and(|at| Instant::now() < at);
        if !state.closed && state.connections.is_empty() && !state.connecting && !waiting {
            self.start_connecting(state);
        }
    }

    pub(crate) fn connectivity(&self) -> ConnectivityState {
        self.state().connectivity()
    }

    pub(crate) fn poll_change(&self, last: ConnectivityState, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.connectivity() != last {
            return Poll::Ready(());
        }
        if !state.watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            state.watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) async fn state_change(&self, last: ConnectivityState) -> ConnectivityState {
        loop {
            let mut changed = std::pin::pin!(self.state_changed.notified());
            changed.as_mut().enable();
            let state = self.connectivity();
            if state != last {
                return state;
            }
            changed.await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(crate) fn close(&self) {
        let mut connections = Vec::new();
        self.change(|state| {
            state.closed = true;
            if let Some(attempt) = state.attempt.take() {
                attempt.abort();
            }
            connections = std::mem::take(&mut state.connections);
            connections.extend(state.draining.drain(..).filter_map(|c| c.upgrade()));
        });
        for connection in connections {
            connection.close();
        }
    }
}

impl Drop for Pool {
    /// Without users and calls the connections have nothing to wait for.
    fn drop(&mut self) {
        let state = self.state();
        for connection in &state.connections {
            connection.retire();
        }
        if let Some(attempt) = &state.attempt {
            attempt.abort();
        }
    }
}

/// One connection attempt. It does not keep the pool, whose end is its end.
async fn connecting(
    pool: Weak<Pool>,
    target: Arc<Target>,
    tls: Option<Tls>,
    options: Arc<ChannelOptions>,
) {
    // Gone with the task, however it ends: nobody must wait for an attempt that is not there.
    struct Attempting(Weak<Pool>);
    impl Drop for Attempting {
        fn drop(&mut self) {
            if let Some(pool) = self.0.upgrade() {
                pool.change(|state| state.connecting = false);
            }
        }
    }
    let attempting = Attempting(pool);
    let started = Instant::now();
    let limit = options.connect_timeout;
    let attempt = connect(&target, tls.as_ref(), &options);
    let result = timeout(limit, attempt).await.unwrap_or_else(|_| {
        Err(format!("cannot connect to {}: no answer within {limit:?}", target.endpoint))
    });
    if let Some(pool) = attempting.0.upgrade() {
        pool.connected(started, result);
    }
}

enum Attempt {
    Lease(Lease),
    Fail(Status),
    /// For a change, or until this moment.
    Wait(Option<Instant>),
}

/// From 0.8 to 1.2, so that clients do not return to a server all at once. The hasher's seed is all
/// the randomness that this needs.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    0.8 + 0.4 * (random as f64 / u64::MAX as f64)
}
