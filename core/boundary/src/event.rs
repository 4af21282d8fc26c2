//! What wakes a host that sleeps in `poll`, `epoll` or an event loop.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// A file descriptor that is readable while signalled: an eventfd, or a pipe where there is none.
pub(crate) struct Event {
    read: File,
    /// The other end of a pipe; an eventfd is both.
    write: Option<File>,
}

/// What an eventfd reads and writes; a pipe takes any bytes.
const ONE: [u8; 8] = 1u64.to_ne_bytes();

impl Event {
    pub fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    pub fn signal(&self) {
        // There is room for one, so this fails only when the host has closed our descriptor. Waits
        // by condition variable work even then.
        let _ = (&mut self.write.as_ref().unwrap_or(&self.read)).write_all(&ONE);
    }

    pub fn clear(&self) {
        // Nothing to read: the signal is still on its way, or the host has read it although it
        // should not. The descriptor does not block.
        let _ = (&self.read).read(&mut [0; ONE.len()]);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn new() -> io::Result<Event> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Event { read: File::from(fd), write: None })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn new() -> io::Result<Event> {
        let (read, write) = io::pipe()?;
        // SAFETY: the descriptor is open and no memory is passed.
        if unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
        Ok(Event { read: read.into(), write: Some(write.into()) })
    }
}
