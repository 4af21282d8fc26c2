//! Streaming gRPC clients that last: the Rust API of Millstream.
//!
//! A [`Channel`] makes connections when calls need them. A call is started by its method name and
//! its kind; with [prost] messages through [`Channel::unary`], [`Channel::server_stream`],
//! [`Channel::client_stream`] and [`Channel::bidi`], with bytes through [`Channel::call`].
//!
//! ```
//! use millstream::{CallOptions, Channel, ChannelOptions};
//! use millstream_proto::weather::v1::{GetWeatherStreamRequest, Observation};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = reference_server::start(reference_server::Options {
//! #     http: Some(([127, 0, 0, 1], 0).into()),
//! #     ..Default::default()
//! # })
//! # .await?;
//! # let target = server.ready().http.as_deref().ok_or("no target")?;
//! let channel = Channel::new(target, ChannelOptions::default())?;
//! let request = GetWeatherStreamRequest { origin: "JFK".into(), limit: 24 };
//! let mut observations = channel.server_stream::<_, Observation>(
//!     "/weather.v1.Weather/GetWeatherStream",
//!     &request,
//!     CallOptions::default(),
//! )?;
//! let mut count = 0;
//! while let Some(observation) = observations.message().await? {
//!     assert_eq!(observation.origin, "JFK");
//!     count += 1;
//! }
//! assert_eq!(count, 24);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//! Operations fail with an [`Error`]. When it is the call that ended, [`Error::status`] says how;
//! otherwise [`Error::code`] says what was wrong with the use.
//!
//! # Threads
//! Everything here is `Send`. A [`Channel`] and a [`Call`] are cheap to clone, and a clone is the
//! same channel or call. Nothing blocks: connections run on the tokio runtime in which
//! [`Channel::new`] is called, or on the one given to [`Channel::with_runtime`]; calls may be
//! awaited on any executor.
#![forbid(unsafe_code)]

mod call;
mod channel;
#[cfg(feature = "tonic")]
pub mod tonic;
mod typed;

pub use call::Call;
pub use channel::Channel;
pub use millstream_rpc::{
    Batch, CHANNEL_OPTION_NAMES, CallKind, CallOptions, ChannelOptions, Code, Compression,
    ConnectivityState, Error, ErrorCode, Metadata, Status, TlsOptions,
};
pub use typed::{Reply, Requests, Responses};
