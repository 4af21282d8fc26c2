//! The completion queue: what the host is to look at next.
//!
//! Producers are the I/O threads, the consumer is the host. A producer never calls the host: it
//! leaves a tag and, if the queue was empty, wakes the consumer through a file descriptor and a
//! condition variable. So a busy host is woken once for a whole batch of tags.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use crate::{
    Error, ErrorCode,
    park::Deadline,
    process::{Bound, Counted, Kind, lock},
};

/// A queue of tags, which a host chose when it asked to be told
/// ([`Call::watch`](crate::Call::watch), [`Channel::watch_state`](crate::Channel::watch_state)).
///
/// Clones are the same queue. It holds at most one tag for each watch, so it is bounded by what
/// the host asked for. Dropping the last clone closes it.
///
/// ```
/// use millstream_boundary::Queue;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), millstream_boundary::Error> {
/// let queue = Queue::new()?;
/// assert!(!queue.wait(Some(Duration::ZERO))?); // nothing to look at
/// let mut tags = Vec::new();
/// assert_eq!(queue.drain(&mut tags, 64), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Queue(Arc<Bound<Owner>>);

/// Exists while the host holds a clone; watches only hold the inside.
struct Owner {
    inner: Arc<Inner>,
    fd: RawFd,
    _counted: Counted,
}

struct Inner {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    /// Slots that have a tag to deliver, first come first.
    pending: VecDeque<usize>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    closed: bool,
    /// Threads in `wait`.
    waiting: usize,
    /// Wakes of the consumer so far.
    wakes: u64,
    /// `None` once the owner is gone.
    event: Option<Event>,
    /// Whether the host uses the descriptor; if not, two system calls for each edge are saved.
    polled: bool,
}

/// The place of one watch in a queue.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The tag to deliver when the watch fires.
    armed: Option<u64>,
    /// The tag that waits in `pending`.
    ready: Option<u64>,
}

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    /// `SYSTEM` when no file descriptor can be had.
    pub fn new() -> Result<Queue, Error> {
        let event = Event::new().map_err(|error| {
            Error::new(
                ErrorCode::System,
                format!(
                    "cannot make the file descriptor of a completion queue: {error}; check the \
                     limit of open files (ulimit -n)"
                ),
            )
        })?;
        let fd = event.fd();
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                pending: VecDeque::new(),
                slots: Vec::new(),
                free: Vec::new(),
                closed: false,
                waiting: 0,
                wakes: 0,
                event: Some(event),
                polled: false,
            }),
            filled: Condvar::new(),
        });
        let owner = Owner {
            inner,
            fd,
            _counted: Counted::new(Kind::Queue),
        };
        Ok(Queue(Arc::new(Bound::new("this queue", owner))))
    }

    /// A file descriptor that is readable while the queue holds tags, for `poll`, `epoll` or an
    /// event loop. It belongs to the queue, which closes it with the last clone: neither read nor
    /// close it, and take it out of the event loop before the queue goes. In a forked child: -1.
    pub fn fd(&self) -> RawFd {
        let Some(owner) = self.0.ok() else { return -1 };
        let mut state = lock(&owner.inner.state);
        if !state.polled {
            state.polled = true;
            if !state.pending.is_empty() {
                state.signal();
            }
        }
        owner.fd
    }

    /// Moves up to `max` tags behind those in `tags`, first come first, and returns their number.
    /// Never blocks. A tag says where to look, not what is there: another thread may have taken it.
    /// In a forked child there never is one.
    pub fn drain(&self, tags: &mut Vec<u64>, max: usize) -> usize {
        let Some(owner) = self.0.ok() else { return 0 };
        let mut state = lock(&owner.inner.state);
        let taken = max.min(state.pending.len());
        for _ in 0..taken {
            let Some(index) = state.pending.pop_front() else {
                break;
            };
            tags.extend(state.slots[index].ready.take());
        }
        if taken > 0 {
            state.clear_if_empty();
        }
        taken
    }

    /// Blocks until the queue holds tags. False: the timeout ran out first; `None` waits for ever.
    ///
    /// # Errors
    /// `CLOSED` once the queue is closed, also for threads that wait already; `FORKED`.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        let inner = &self.0.get()?.inner;
        let deadline = Deadline::after(timeout);
        let mut state = lock(&inner.state);
        loop {
            if state.closed {
                return Err(closed());
            }
            if !state.pending.is_empty() {
                return Ok(true);
            }
            state.waiting += 1;
            let in_time;
            (state, in_time) = deadline.wait(&inner.filled, state);
            state.waiting -= 1;
            if !in_time {
                return Ok(false);
            }
        }
    }

    /// Drops the tags, wakes all waiters and refuses watches from now on. Idempotent. The
    /// descriptor stays valid, and is not readable, until the last clone is gone.
    pub fn close(&self) {
        if let Some(owner) = self.0.ok() {
            owner.inner.close();
        }
    }

    /// How often the consumer was woken: once whenever the queue became non-empty.
    pub fn wakes(&self) -> u64 {
        self.0
            .ok()
            .map_or(0, |owner| lock(&owner.inner.state).wakes)
    }

    /// Whether the queue can be used: it is neither closed nor of another process.
    ///
    /// # Errors
    /// `CLOSED`, `FORKED`.
    pub fn check(&self) -> Result<(), Error> {
        if lock(&self.0.get()?.inner.state).closed {
            Err(closed())
        } else {
            Ok(())
        }
    }

    /// A place in this queue.
    pub(crate) fn watch(&self) -> Result<Watch, Error> {
        let inner = self.0.get()?.inner.clone();
        let mut state = lock(&inner.state);
        if state.closed {
            return Err(closed());
        }
        let index = match state.free.pop() {
            Some(index) => index,
            None => {
                state.slots.push(Slot::default());
                state.slots.len() - 1
            }
        };
        drop(state);
        Ok(Watch(Bound::new("this watch", Place { inner, index })))
    }
}

fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the queue is closed; make a new one")
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.close();
        lock(&self.inner.state).event = None;
    }
}

impl Inner {
    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.pending.clear();
        for slot in &mut state.slots {
            *slot = Slot::default();
        }
        state.clear_if_empty();
        self.filled.notify_all();
    }
}

impl State {
    fn signal(&mut self) {
        if let Some(event) = &mut self.event {
            event.signal();
        }
    }

    fn clear_if_empty(&mut self) {
        if self.pending.is_empty()
            && let Some(event) = &mut self.event
        {
            event.clear();
        }
    }
}

/// One watch's place in a queue: armed with a tag it delivers it once.
pub(crate) struct Watch(Bound<Place>);

struct Place {
    inner: Arc<Inner>,
    index: usize,
}

impl Watch {
    pub fn is_of(&self, queue: &Queue) -> bool {
        match (self.0.ok(), queue.0.ok()) {
            (Some(place), Some(owner)) => Arc::ptr_eq(&place.inner, &owner.inner),
            _ => false,
        }
    }

    /// The next [`fire`](Watch::fire) delivers this tag.
    ///
    /// # Errors
    /// `CLOSED`, `FORKED`.
    pub fn arm(&self, tag: u64) -> Result<(), Error> {
        let place = self.0.get()?;
        let mut state = lock(&place.inner.state);
        if state.closed {
            return Err(closed());
        }
        state.slots[place.index].armed = Some(tag);
        Ok(())
    }

    /// Delivers the tag if the watch is armed. A tag of this watch that still waits in the queue
    /// makes way for it.
    pub fn fire(&self) {
        let Some(place) = self.0.ok() else { return };
        let mut state = lock(&place.inner.state);
        let slot = &mut state.slots[place.index];
        let Some(tag) = slot.armed.take() else { return };
        if slot.ready.replace(tag).is_some() {
            return;
        }
        state.pending.push_back(place.index);
        if state.pending.len() == 1 {
            state.wakes += 1;
            if state.polled {
                state.signal();
            }
            if state.waiting > 0 {
                place.inner.filled.notify_all();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.inner.state);
        let slot = mem::take(&mut state.slots[self.index]);
        if slot.ready.is_some() {
            let index = self.index;
            state.pending.retain(|pending| *pending != index);
            state.clear_if_empty();
        }
        state.free.push(self.index);
    }
}

/// A file descriptor that is readable while signalled: an eventfd, or a pipe where there is none.
struct Event {
    read: File,
    /// The other end of a pipe; an eventfd is both.
    write: Option<File>,
    signalled: bool,
}

/// What an eventfd reads and writes; a pipe takes any bytes.
const ONE: [u8; 8] = 1u64.to_ne_bytes();

impl Event {
    fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    fn signal(&mut self) {
        if !self.signalled {
            // There is room for one, so this fails only when the host has closed our descriptor.
            // Waits by condition variable work even then.
            self.signalled = self
                .write
                .as_ref()
                .unwrap_or(&self.read)
                .write_all(&ONE)
                .is_ok();
        }
    }

    fn clear(&mut self) {
        if self.signalled {
            self.signalled = false;
            // Nothing to read: the host has read it although it should not. The descriptor does
            // not block.
            let _ = self.read.read(&mut [0; ONE.len()]);
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn new() -> io::Result<Event> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Event {
            read: File::from(fd),
            write: None,
            signalled: false,
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn new() -> io::Result<Event> {
        let (read, write) = io::pipe()?;
        // SAFETY: the descriptor is open and no memory is passed.
        if unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
        Ok(Event {
            read: read.into(),
            write: Some(write.into()),
            signalled: false,
        })
    }
}
