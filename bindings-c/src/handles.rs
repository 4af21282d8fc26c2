//! The live things of this process as checked numbers.

use std::sync::Arc;

use millstream_boundary::{Call, Channel, ErrorCode, Queue, handles::HandleTable};

use crate::{error::Failure, status::mill_status};

pub(crate) static CHANNELS: Handles<Channel> = Handles::new(1, "channel");
pub(crate) static CALLS: Handles<Call> = Handles::new(2, "call");
pub(crate) static QUEUES: Handles<Queue> = Handles::new(3, "queue");

/// A handle table whose handles are closed rather than removed: C has one function that ends a thing
/// and lets go of it.
pub(crate) struct Handles<T: 'static> {
    table: HandleTable<T>,
    kind: u8,
    name: &'static str,
}

impl<T: Send + Sync> Handles<T> {
    const fn new(kind: u8, name: &'static str) -> Handles<T> {
        Handles { table: HandleTable::new(kind, name), kind, name }
    }

    pub(crate) fn insert(&self, object: T) -> Result<u64, Failure> {
        match self.table.insert(Arc::new(object)) {
            0 => Err(Failure::new(
                mill_status::MILL_ERROR_OUT_OF_MEMORY,
                format!("every {} handle is in use; close some", self.name),
            )),
            handle => Ok(handle),
        }
    }

    /// The object of a handle; `CLOSED` for one that was closed.
    pub(crate) fn get(&self, handle: u64) -> Result<Arc<T>, Failure> {
        self.table.get(handle).map_err(|error| {
            if error.code == ErrorCode::InvalidHandle && self.is_of_this_kind(handle) {
                Failure::new(
                    mill_status::MILL_ERROR_CLOSED,
                    format!(
                        "{} handle {handle:#x} was closed and cannot be used any more",
                        self.name
                    ),
                )
            } else {
                error.into()
            }
        })
    }

    /// Takes the object out. `None` where there is nothing to close any more, or nothing that is
    /// ours: a handle that is zero, was closed before, or belongs to the parent process.
    pub(crate) fn close(&self, handle: u64) -> Result<Option<Arc<T>>, Failure> {
        if handle == 0 {
            return Ok(None);
        }
        match self.table.remove(handle) {
            Ok(object) => Ok(Some(object)),
            Err(_) if self.is_of_this_kind(handle) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_of_this_kind(&self, handle: u64) -> bool {
        handle >> 56 == u64::from(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NAMES: Handles<&str> = Handles::new(9, "name");

    fn code<T>(result: Result<T, Failure>) -> Option<mill_status> {
        result.err().map(|failure| failure.code())
    }

    #[test]
    fn a_closed_handle_is_called_closed_and_a_foreign_or_zero_one_invalid()
    -> Result<(), &'static str> {
        let handle = NAMES.insert("ada").map_err(|_| "full")?;
        assert_eq!(NAMES.get(handle).map(|name| *name).ok(), Some("ada"));
        assert!(matches!(NAMES.close(handle), Ok(Some(_))));
        assert_eq!(code(NAMES.get(handle)), Some(mill_status::MILL_ERROR_CLOSED));
        assert_eq!(code(NAMES.get(0)), Some(mill_status::MILL_ERROR_INVALID_HANDLE));
        assert_eq!(
            code(NAMES.get(1 << 56 | 1 << 32)),
            Some(mill_status::MILL_ERROR_INVALID_HANDLE)
        );
        Ok(())
    }

    #[test]
    fn closing_twice_and_closing_zero_do_nothing_and_closing_another_kind_is_refused()
    -> Result<(), &'static str> {
        let handle = NAMES.insert("bob").map_err(|_| "full")?;
        assert!(matches!(NAMES.close(handle), Ok(Some(_))));
        assert!(matches!(NAMES.close(handle), Ok(None)));
        assert!(matches!(NAMES.close(0), Ok(None)));
        assert_eq!(
            code(NAMES.close(1 << 56 | 1 << 32)),
            Some(mill_status::MILL_ERROR_INVALID_HANDLE)
        );
        Ok(())
    }
}
