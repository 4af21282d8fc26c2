//! A tonic server of every example service, on real data, as a peer for clients in any language.
//!
//! `reference-server --help` tells how to run it as a program. In a test of the same process:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), reference_server::Error> {
//! let server = reference_server::start(reference_server::Options {
//!     http: Some(([127, 0, 0, 1], 0).into()),
//!     ..Default::default()
//! })
//! .await?;
//! let target = server.ready().http.as_deref();
//! assert!(target.is_some_and(|target| target.starts_with("http://127.0.0.1:")));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod calls;
pub mod data;
mod error;
mod server;
mod services;
mod tls;

pub use calls::Calls;
pub use error::Error;
pub use server::{Options, Ready, Running, start};
pub use services::NAMES as SERVICES;
pub use tls::SERVER_NAMES;
