//! A server that breaks gRPC and HTTP/2 on purpose, for tests of clients.
//!
//! The path of a call chooses the fault: `/fault.v1.Fault/ResetAfterHead-8`. Faults that need a whole
//! connection have a listener of their own. The server writes its frames byte by byte over its own
//! HTTP/2, so that it is another stack than the clients that it tests and can say what no
//! well-behaved server would.
#![forbid(unsafe_code)]

mod connection;
mod faults;
mod frames;
mod play;
mod script;
mod server;
pub mod vectors;

pub use faults::{SERVICE, all as faults, knows};
pub use frames::{Frame, PREFACE, encode_fields, flag, kind, read_frame};
pub use script::Fault;
pub use server::FaultServer;
