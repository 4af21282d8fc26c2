//! The channel, with what needs a runtime or a message type.

use std::sync::Arc;

use millstream_rpc as rpc;
use prost::Message;
use tokio::runtime::Handle;

use crate::{
    Call, CallKind, CallOptions, ChannelOptions, ConnectivityState, Error, ErrorCode, Reply,
    Requests, Responses, typed,
};

/// A channel to one target. Clones are the same channel.
///
/// Connections are made when calls need them, made again with a back-off when they break, and ended
/// by [`Channel::close`] or with the last clone and the last call.
#[derive(Clone, Debug)]
pub struct Channel {
    inner: rpc::Channel,
}

impl Channel {
    /// A channel on the tokio runtime of the caller. The target is `http://host:port`,
    /// `https://host:port` or `unix:/path`.
    ///
    /// # Errors
    /// `INVALID_TARGET`, `INVALID_TLS` or `INVALID_ARGUMENT`, and `INVALID_STATE` outside of a
    /// runtime. Whether the target can be reached shows with the first call.
    pub fn new(target: &str, options: ChannelOptions) -> Result<Channel, Error> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::new(
                ErrorCode::InvalidState,
                "Channel::new needs a tokio runtime around it; use Channel::with_runtime elsewhere",
            )
        })?;
        Channel::with_runtime(target, options, runtime)
    }

    /// A channel on the given runtime, which must have time and IO enabled.
    ///
    /// # Errors
    /// As [`Channel::new`].
    pub fn with_runtime(
        target: &str,
        options: ChannelOptions,
        runtime: Handle,
    ) -> Result<Channel, Error> {
        Ok(Channel { inner: rpc::Channel::new(target, options, runtime)? })
    }

    /// Starts a call of a method, `/package.Service/Method`, whose messages are bytes.
    ///
    /// # Errors
    /// `CLOSED`, or `INVALID_ARGUMENT` for the method or the authority. Whatever happens later is
    /// the status of the call.
    pub fn call(&self, method: &str, kind: CallKind, options: CallOptions) -> Result<Call, Error> {
        Ok(Call::new(self.inner.call(method, kind, options)?))
    }

    /// Starts a call whose only request is `request`.
    ///
    /// # Errors
    /// Those of [`Channel::call`].
    pub fn call_with(
        &self,
        method: &str,
        kind: CallKind,
        options: CallOptions,
        request: &[u8],
    ) -> Result<Call, Error> {
        Ok(Call::new(self.inner.call_with(method, kind, options, request)?))
    }

    /// One request, one response.
    ///
    /// # Errors
    /// The status of the call when it is not OK; INTERNAL when the response does not parse.
    pub async fn unary<Req: Message, Res: Message + Default>(
        &self,
        method: &str,
        request: &Req,
        options: CallOptions,
    ) -> Result<Reply<Res>, Error> {
        let call = self.call_with(method, CallKind::Unary, options, &request.encode_to_vec())?;
        typed::reply(call).await
    }

    /// One request, a stream of responses.
    ///
    /// # Errors
    /// Those of [`Channel::call`].
    pub fn server_stream<Req: Message, Res: Message + Default>(
        &self,
        method: &str,
        request: &Req,
        options: CallOptions,
    ) -> Result<Responses<Res>, Error> {
        let request = request.encode_to_vec();
        let call = self.call_with(method, CallKind::ServerStream, options, &request)?;
        Ok(Responses::new(call))
    }

    /// A stream of requests; [`Requests::finish`] gives the one response.
    ///
    /// # Errors
    /// Those of [`Channel::call`].
    pub fn client_stream<Req: Message, Res: Message + Default>(
        &self,
        method: &str,
        options: CallOptions,
    ) -> Result<Requests<Req, Res>, Error> {
        Ok(Requests::new(self.call(method, CallKind::ClientStream, options)?))
    }

    /// Two streams, independent of each other.
    ///
    /// # Errors
    /// Those of [`Channel::call`].
    pub fn bidi<Req: Message, Res: Message + Default>(
        &self,
        method: &str,
        options: CallOptions,
    ) -> Result<(Requests<Req>, Responses<Res>), Error> {
        let call = self.call(method, CallKind::Bidi, options)?;
        Ok((Requests::new(call.clone()), Responses::new(call)))
    }

    /// Where the channel stands.
    pub fn state(&self) -> ConnectivityState {
        self.inner.state()
    }

    /// Makes a connection now, if there is none and no attempt is under way or in back-off.
    pub fn connect(&self) {
        self.inner.connect();
    }

    /// Waits until the state is another than `last` and returns it.
    pub async fn state_change(&self, last: ConnectivityState) -> ConnectivityState {
        self.inner.state_change(last).await
    }

    /// Ends the channel: open calls end with CANCELLED, new ones are refused with `CLOSED`. Closing
    /// it again changes nothing.
    pub fn close(&self) {
        self.inner.close();
    }
}

/// The error of a call that ended other than OK.
pub(crate) fn ended(status: Arc<rpc::Status>) -> Error {
    Error::call_ended(status)
}
