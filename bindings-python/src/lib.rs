//! The native half of the Python package `millstream`: the private module `millstream._native`.
//!
//! What is here is what must be fast or must not be Python: calls, batches, and the awaitables of
//! asyncio. Everything that happens once per channel or is a matter of taste is Python source.
//!
//! Python pulls. No thread of the runtime ever takes the interpreter's lock: a synchronous caller
//! waits for its own call with the lock released, an event loop is woken through a file descriptor.

mod aio;
mod batch;
mod call;
mod channel;
mod codecs;
mod convert;
mod core;
mod guard;
mod options;
mod wait;

use pyo3::prelude::*;

/// The native half of the package; private.
#[pymodule(gil_used = true)]
mod _native {
    use millstream_boundary::{self as boundary, CHANNEL_OPTION_NAMES, errors};
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::{
        aio::{call::AioCall, call::Sender, driver::Driver},
        batch::{Batch, BatchIterator},
        call::{Batches, Call, RequestPump},
        channel::Channel,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("Operation", crate::aio::operation::type_object(module.py())?)
    }

    /// The version of the library.
    #[pyfunction]
    fn version() -> &'static str {
        boundary::version()
    }

    /// Names the sources that the library was built from.
    #[pyfunction]
    fn build_id() -> &'static str {
        boundary::build_id()
    }

    /// How many objects are alive in this process: channels, calls, completion queues.
    #[pyfunction]
    fn live() -> (usize, usize, usize) {
        let live = boundary::live();
        (live.channels, live.calls, live.queues)
    }

    /// The error table: number, name, gRPC code or None, retryable, documentation.
    #[pyfunction]
    fn error_table() -> Vec<(i32, &'static str, Option<i32>, bool, &'static str)> {
        let row = |entry: &errors::ErrorEntry| {
            let grpc = entry.grpc.map(|code| code as i32);
            (entry.number, entry.name, grpc, entry.retryable, entry.doc)
        };
        errors::TABLE.iter().map(row).collect()
    }

    /// The options of a channel: name and form of the value.
    #[pyfunction]
    fn channel_options() -> Vec<(&'static str, &'static str)> {
        CHANNEL_OPTION_NAMES.to_vec()
    }

    /// Panics, so that a test can see what becomes of it.
    #[pyfunction]
    fn panic(py: Python<'_>, text: &str) -> PyResult<()> {
        crate::guard::enter(py, || panic!("{text}"))
    }
}
