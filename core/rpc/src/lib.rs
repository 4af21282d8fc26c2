//! Millstream's gRPC client call layer over HTTP/2.
#![forbid(unsafe_code)]

mod batch;
mod call;
mod channel;
mod code;
mod compression;
mod connect;
mod connection;
mod deframe;
mod driver;
mod error;
mod head;
mod metadata;
mod monitor;
mod options;
mod pool;
mod resets;
mod status;
mod target;
mod tls;

pub use batch::{Batch, Iter, PREFIX};
pub use call::{Call, Interest, Received};
pub use channel::{Channel, ConnectivityState};
pub use code::Code;
pub use compression::Compression;
pub use error::{Error, ErrorCode};
pub use metadata::Metadata;
pub use options::{CHANNEL_OPTION_NAMES, CallKind, CallOptions, ChannelOptions, TlsOptions};
pub use status::Status;
