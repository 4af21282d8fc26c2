//! What the programs of the measurements share: the messages, the load server and the measuring.
//!
//! Every measurement is a process of its own against one [`server`]; it prints one line of JSON
//! ([`measure::Measurement`]). `run.py` starts them and makes the table.
#![forbid(unsafe_code)]

pub mod clock;
pub mod corpus;
pub mod measure;
pub mod server;

/// The messages of `bench/v1/bench.proto`.
#[allow(missing_docs)] // the documentation stands in the .proto file
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/bench.v1.rs"));
}
