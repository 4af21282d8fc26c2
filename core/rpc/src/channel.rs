//! A channel: where calls are started.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::HeaderValue;
use tokio::{runtime::Handle, time::Instant};

use crate::{
    Call, CallKind, CallOptions, ChannelOptions, Error, ErrorCode,
    call::{Keep, Shared},
    driver::{self, Deadline, EndGuard, Plan},
    head::{self, RequestHead},
    pool::Pool,
    target::Target,
    tls::Tls,
};

/// Where a channel stands (gRPC doc/connectivity-semantics-and-api.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ConnectivityState {
    /// No connection, and none was asked for.
    Idle = 0,
    /// A connection is being made.
    Connecting = 1,
    /// There is a connection.
    Ready = 2,
    /// The last attempt failed.
    TransientFailure = 3,
    /// The channel was closed.
    Shutdown = 4,
}

impl ConnectivityState {
    /// The state of a number at a language border.
    pub fn from_i32(number: i32) -> Option<ConnectivityState> {
        use ConnectivityState::*;
        [Idle, Connecting, Ready, TransientFailure, Shutdown]
            .into_iter()
            .find(|state| *state as i32 == number)
    }
}

/// A channel to one target. Clones are the same channel. Connections are made when calls need them;
/// they end when the channel is closed, or when its last clone and its last call are gone.
#[derive(Clone)]
pub struct Channel {
    pool: Arc<Pool>,
    user_agent: HeaderValue,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("target", &self.pool.target.endpoint.to_string())
            .field("state", &self.state())
            .finish()
    }
}

impl Channel {
    /// A channel that makes its connections on `runtime`, which must have time and IO enabled.
    ///
    /// # Errors
    /// `INVALID_TARGET`, `INVALID_TLS` or `INVALID_ARGUMENT`; whether the target can be reached
    /// shows with the first call.
    pub fn new(target: &str, options: ChannelOptions, runtime: Handle) -> Result<Channel, Error> {
        options.validate()?;
        let mut target = Target::parse(target)?;
        if let Some(authority) = &options.authority {
            target.authority.clone_from(authority);
        }
        // An authority that cannot be one is refused here rather than by each call.
        head::method_uri(target.tls, &target.authority, "/a/b").map_err(|_| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "channel option authority is {:?}; it must be host or host:port",
                    target.authority
                ),
            )
        })?;
        let tls = target.tls.then(|| Tls::new(&options.tls, &target.endpoint)).transpose()?;
        let ours = concat!("grpc-rust-millstream/", env!("CARGO_PKG_VERSION"));
        let user_agent = match &options.user_agent {
            Some(theirs) => format!("{theirs} {ours}"),
            None => ours.to_owned(),
        };
        let user_agent = HeaderValue::from_str(&user_agent).map_err(|_| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("channel option user_agent is {user_agent:?}; it must be visible ASCII"),
            )
        })?;
        Ok(Channel { pool: Arc::new(Pool::new(target, options, tls, runtime)), user_agent })
    }

    /// Starts a call of a method, `/package.Service/Method`.
    ///
    /// # Errors
    /// `CLOSED`, `INVALID_ARGUMENT` for the method or the authority, `INVALID_METADATA` for more
    /// metadata than HTTP headers hold. Whatever happens later is the status of the call.
    pub fn call(&self, path: &str, kind: CallKind, options: CallOptions) -> Result<Call, Error> {
        let (call, shared, plan) = self.prepare(path, kind, options)?;
        self.start(shared, plan);
        Ok(call)
    }

    /// Starts a call, sends its first message and half-closes, all at once: the whole request of
    /// a method that takes one.
    ///
    /// # Errors
    /// Those of [`Channel::call`].
    pub fn call_with(
        &self,
        path: &str,
        kind: CallKind,
        options: CallOptions,
        first: &[u8],
    ) -> Result<Call, Error> {
        let (call, shared, plan) = self.prepare(path, kind, options)?;
        match call.try_send(first) {
            // The call has ended before it began: its status says so.
            Ok(_) => call.half_close()?,
            Err(error) if error.code == ErrorCode::CallEnded => return Ok(call),
            Err(error) => return Err(error),
        }
        self.start(shared, plan);
        Ok(call)
    }

    fn prepare(
        &self,
        path: &str,
        kind: CallKind,
        options: CallOptions,
    ) -> Result<(Call, Arc<Shared>, Plan), Error> {
        let pool = &self.pool;
        if pool.is_closed() {
            return Err(Error::new(ErrorCode::Closed, "the channel was closed"));
        }
        let authority = options.authority.as_deref().unwrap_or(&pool.target.authority);
        let uri = head::method_uri(pool.target.tls, authority, path)?;
        // A deadline too far away to be told is none.
        let deadline = options.timeout.and_then(|timeout| {
            let at = Instant::now().checked_add(timeout)?;
            Some(Deadline { at, timeout })
        });
        let head = RequestHead::new(
            uri,
            self.user_agent.clone(),
            options.compression,
            deadline.is_some(),
            &options.metadata,
        )?;
        let most =
            |ours: usize, theirs: Option<usize>| theirs.map_or(ours, |theirs| theirs.min(ours));
        let channel = &pool.options;
        let shared = Arc::new(Shared::new(
            kind,
            path.to_owned(),
            options.compression,
            most(channel.max_send_message, options.max_send_message),
            channel.send_buffer,
        ));
        let plan = Plan {
            head,
            deadline,
            wait_for_ready: options.wait_for_ready,
            max_receive_message: most(channel.max_receive_message, options.max_receive_message),
            max_metadata: channel.max_metadata,
            receive_buffer: channel.receive_buffer,
            max_batch_delay: options.max_batch_delay,
        };
        Ok((Call::new(shared.clone()), shared, plan))
    }

    fn start(&self, shared: Arc<Shared>, plan: Plan) {
        if let Some(deadline) = &plan.deadline
            && deadline.timeout.is_zero()
        {
            shared.end(deadline.status(&shared.method, "the call was started"), Keep::Nothing);
            return;
        }
        self.pool.runtime.spawn(driver::drive(EndGuard(shared), self.pool.clone(), plan));
    }

    /// Where the channel stands.
    pub fn state(&self) -> ConnectivityState {
        self.pool.connectivity()
    }

    /// Makes a connection now, if there is none and no attempt is under way or in back-off.
    pub fn connect(&self) {
        self.pool.kick();
    }

    /// Waits until the state is another than `last` and returns it.
    pub async fn state_change(&self, last: ConnectivityState) -> ConnectivityState {
        self.pool.state_change(last).await
    }

    /// Ready when the state is another than `last`. The waker is kept until the state changes: for
    /// a waiter that may give up there is [`Channel::state_change`].
    pub fn poll_state_change(&self, last: ConnectivityState, cx: &mut Context<'_>) -> Poll<()> {
        self.pool.poll_change(last, cx)
    }

    /// Ends the channel: open calls end with CANCELLED, new ones are refused with `CLOSED`. Closing
    /// it again changes nothing.
    pub fn close(&self) {
        self.pool.close();
    }
}
