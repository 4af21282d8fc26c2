//! The objects behind the handles.

use std::sync::{Mutex, TryLockError};

use millstream_boundary::{
    Batch, Call, Channel, Error, ErrorCode, Queue, Received, handles::HandleTable,
};

use crate::wire::{frame_size, whole_frames};

/// The numbers of the kinds stand in the handles.
const CHANNEL: u8 = 1;
const CALL: u8 = 2;
const QUEUE: u8 = 3;

pub static CHANNELS: HandleTable<Channel> = HandleTable::new(CHANNEL, "channel");
pub static CALLS: HandleTable<JavaCall> = HandleTable::new(CALL, "call");
pub static QUEUES: HandleTable<Queue> = HandleTable::new(QUEUE, "queue");

/// A call and the batch that Java copies from, piece by piece when its array is small.
pub struct JavaCall {
    pub call: Call,
    reader: Mutex<Reader>,
}

#[derive(Default)]
struct Reader {
    batch: Batch,
    /// Bytes of the batch that Java has.
    taken: usize,
}

/// What a try to take messages found.
pub enum Taken {
    Bytes(usize),
    Empty,
    End,
    /// Not even the first frame fits; its size.
    TooLarge(usize),
}

impl JavaCall {
    pub fn new(call: Call) -> JavaCall {
        JavaCall { call, reader: Mutex::default() }
    }

    /// Hands as many whole frames as `room` bytes hold to `copy`.
    pub fn take(
        &self,
        room: usize,
        copy: impl FnOnce(&[u8]) -> Result<(), Error>,
    ) -> Result<Taken, Error> {
        let mut reader = match self.reader.try_lock() {
            Ok(reader) => reader,
            // A panic in the middle left a batch that is read at most twice, nothing worse.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorCode::Busy,
                    "another thread is receiving from this call; let one thread receive and hand \
                     the messages on",
                ));
            }
        };
        let reader = &mut *reader;
        if reader.taken == reader.batch.frames().len() {
            reader.taken = 0;
            match self.call.try_batch(&mut reader.batch)? {
                Received::Messages => {}
                Received::Empty => return Ok(Taken::Empty),
                Received::End => return Ok(Taken::End),
            }
        }
        let rest = &reader.batch.frames()[reader.taken..];
        let fitting = whole_frames(rest, room);
        if fitting == 0 {
            return Ok(Taken::TooLarge(frame_size(rest).unwrap_or(rest.len())));
        }
        copy(&rest[..fitting])?;
        reader.taken += fitting;
        Ok(Taken::Bytes(fitting))
    }
}
