//! The private runtime: one per process, made with the first channel.
//!
//! It is never shut down. A destructor that ran at the exit of the process, at the end of an
//! interpreter or in a forked child would wait for threads that may be blocked or no longer there.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    Error, ErrorCode, guard,
    process::{PerProcess, lock},
};

/// Sets the number of I/O threads: 1 to 64.
pub(crate) const THREADS: &str = "MILLSTREAM_IO_THREADS";

const MAX_THREADS: usize = 64;

static RUNTIME: PerProcess<Mutex<Option<Runtime>>> = PerProcess::new();

/// The runtime of this process.
///
/// # Errors
/// `INVALID_ARGUMENT` when `MILLSTREAM_IO_THREADS` is not a number from 1 to 64, `SYSTEM` when no
/// threads can be started. The next use tries again.
pub(crate) fn handle() -> Result<Handle, Error> {
    let mut runtime = lock(RUNTIME.get(|_| Mutex::new(None)));
    if let Some(runtime) = &*runtime {
        return Ok(runtime.handle().clone());
    }
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = threads(env::var_os(THREADS).map(|v| v.to_string_lossy().into_owned()), cores)?;
    Ok(runtime.insert(start(threads)?).handle().clone())
}

/// One thread carries millions of messages a second; a second one pays off only where there are
/// cores to spare.
fn threads(wanted: Option<String>, cores: usize) -> Result<usize, Error> {
    let Some(wanted) = wanted else {
        return Ok((cores / 4).clamp(1, 4));
    };
    match wanted.trim().parse() {
        Ok(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(threads),
        _ => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "the environment variable {THREADS} is {wanted:?}; it must be a number from 1 to \
                 {MAX_THREADS}, or not set"
            ),
        )),
    }
}

fn start(threads: usize) -> Result<Runtime, Error> {
    let next = AtomicUsize::new(0);
    let failed = |why: String| {
        Error::new(
            ErrorCode::System,
            format!(
                "cannot start the {threads} I/O threads of Millstream: {why}; check the limits of \
                 threads, memory and open files (ulimit -u, -v, -n)"
            ),
        )
    };
    // tokio reports a thread that cannot be started as a panic.
    let built = panic::catch_unwind(AssertUnwindSafe(|| {
        Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name_fn(move || {
                format!("millstream-io-{}", next.fetch_add(1, Ordering::Relaxed))
            })
            .on_thread_start(leave_signals_to_the_host)
            .enable_io()
            .enable_time()
            .build()
    }));
    match built {
        Ok(Ok(runtime)) => Ok(runtime),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(payload) => Err(failed(guard::text(&*payload))),
    }
}

/// Signals are for the threads of the host, where its handlers expect them. One matters most: a write
/// to a socket whose peer is gone raises SIGPIPE, which ends every program that does not ignore it, as
/// C programs do not. Blocked, such a write fails like any other. Only what a defect raises in this
/// very thread cannot be left to another.
fn leave_signals_to_the_host() {
    use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};

    // SAFETY: an all-zero set is a value, sigfillset makes it a meaningful one, and it outlives the
    // calls; no old mask is asked for.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        for own in [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP] {
            libc::sigdelset(&mut set, own);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_thread_for_each_four_cores_from_one_to_four() {
        let by_default = |cores| threads(None, cores).unwrap();
        assert_eq!([1, 2, 7, 8, 12, 16, 128].map(by_default), [1, 1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn the_environment_variable_wins() {
        assert_eq!(threads(Some("3".into()), 128).unwrap(), 3);
        assert_eq!(threads(Some(" 64 ".into()), 1).unwrap(), 64);
    }

    #[test]
    fn an_environment_variable_that_is_no_number_of_threads_is_an_error_with_its_name() {
        for wrong in ["", "0", "65", "-1", "two", "1.5", "99999999999999999999"] {
            let error = threads(Some(wrong.into()), 4).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.message.contains(THREADS), "{error}");
            assert!(error.message.contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "epoll and threads of tokio")]
    fn the_runtime_is_one_and_its_threads_bear_the_librarys_name() {
        let (first, second) = (handle().unwrap(), handle().unwrap());
        assert_eq!(first.id(), second.id());
        let (send, receive) = std::sync::mpsc::channel();
        first.spawn(async move { send.send(thread::current().name().map(str::to_owned)) });
        let name = receive.recv_timeout(std::time::Duration::from_secs(60)).unwrap().unwrap();
        let number = name.strip_prefix("millstream-io-").expect("the prefix");
        assert!(number.parse::<usize>().is_ok(), "{name}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "epoll and threads of tokio")]
    fn its_threads_leave_signals_to_the_host_and_write_to_closed_sockets_without_sigpipe() {
        let (send, receive) = std::sync::mpsc::channel();
        handle().unwrap().spawn(async move {
            // SAFETY: an all-zero set is a value; it is only written, and asked afterwards.
            let blocked = unsafe {
                let mut set = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set);
                [libc::SIGPIPE, libc::SIGINT, libc::SIGTERM, libc::SIGSEGV]
                    .map(|signal| libc::sigismember(&set, signal))
            };
            send.send(blocked)
        });
        let blocked = receive.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        assert_eq!(blocked, [1, 1, 1, 0]);
    }
}
