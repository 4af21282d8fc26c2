//! Integers that stand for objects.
//!
//! A host that cannot hold an `Arc` (C, the JVM) holds a handle:
//! `kind (8 bits) | generation (24 bits) | index (32 bits)`. Each use is checked, so that a handle
//! that is zero, was removed, belongs to another kind or comes from the parent process is an error
//! with a name and never touches memory. Resolving one clones the `Arc`: an object that is removed
//! while another thread uses it lives until that use ends.

use std::{
    cell::Cell,
    process,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use crate::{
    Error, ErrorCode,
    process::{PerProcess, Stamp},
};

/// Threads that make objects are spread over the shards; a power of two.
const SHARDS: usize = 16;
/// The last generation that 24 bits hold. A slot that has come so far is not used again.
const LAST_GENERATION: u32 = (1 << 24) - 1;

/// A table of objects of one kind, made for a `static`:
///
/// ```
/// use millstream_boundary::{ErrorCode, Queue, handles::HandleTable};
/// use std::sync::Arc;
///
/// static NAMES: HandleTable<String> = HandleTable::new(9, "name");
///
/// let handle = NAMES.insert(Arc::new("Ada".to_owned()));
/// assert_eq!(NAMES.get(handle).unwrap().as_str(), "Ada");
/// NAMES.remove(handle).unwrap();
/// assert_eq!(NAMES.get(handle).unwrap_err().code, ErrorCode::InvalidHandle);
/// ```
pub struct HandleTable<T> {
    kind: u8,
    name: &'static str,
    last_generation: u32,
    table: PerProcess<Table<T>>,
}

/// The objects of one process.
struct Table<T> {
    /// Of the process that made it.
    stamp: Stamp,
    /// The process id of the parent, if that had a table.
    parent: Option<Stamp>,
    shards: [Shard<T>; SHARDS],
    live: AtomicUsize,
}

struct Shard<T> {
    slots: RwLock<Slots<T>>,
    /// Positions below were given out by a parent process.
    base: u32,
    /// Positions below were given out; read by a forked child, which must not take the lock.
    end: AtomicU32,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    /// Of the handle that is, or will next be, given out.
    generation: u32,
    object: Option<Arc<T>>,
}

impl<T: Send + Sync> HandleTable<T> {
    /// An empty table. `kind` is in each of its handles and not 0; `name` is for errors, such as
    /// "channel".
    pub const fn new(kind: u8, name: &'static str) -> HandleTable<T> {
        assert!(kind != 0, "kind 0 would make handles that are 0");
        HandleTable {
            kind,
            name,
            last_generation: LAST_GENERATION,
            table: PerProcess::new(),
        }
    }

    /// Gives an object a handle, which is never 0.
    pub fn insert(&self, object: Arc<T>) -> u64 {
        todo!()
    }
    /// The object of a handle.
    ///
    /// # Errors
    /// `INVALID_HANDLE`, `FORKED`.
    pub fn get(&self, handle: u64) -> Result<Arc<T>, Error> {
        todo!()
    }
    /// Takes the object.
    ///
    /// # Errors
    /// Those of `get`.
    pub fn remove(&self, handle: u64) -> Result<Arc<T>, Error> {
        todo!()
    }
    /// The number of handles.
    pub fn live(&self) -> usize {
        todo!()
    }
}
