//! What happens at `fork`, and when a process is short of something: each case in a child process.
//!
//! Has its own `main`, since a test harness would fork with its threads and locks in any state, and
//! names to run can be given on the command line as usual.

mod common;

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{ECHO, LONG, NEVER, SHORT, Server, eventually};
use millstream_boundary::{
    Batch, Call, CallKind, CallOptions, Channel, ChannelOptions, Code, ConnectivityState, Error,
    ErrorCode, Interest, Live, Queue, Received, enter, handles::HandleTable, live,
};

type Case = (&'static str, fn(&Server));

const CASES: [Case; 12] = [
    ("what_the_parent_made_says_forked_in_the_child", forked),
    ("a_channel_that_the_child_opens_works", child_works),
    ("the_parent_goes_on_after_its_child_has_dropped_everything", parent_goes_on),
    ("a_child_of_a_child_works_as_well", grandchild),
    ("a_childs_handles_never_mean_what_the_parents_meant", handles),
    ("a_child_counts_only_what_it_made_itself", counts),
    ("a_child_takes_no_tags_from_the_parents_queue", queue),
    ("a_fork_in_the_middle_of_other_threads_work_leaves_no_lock_taken", busy_fork),
    ("a_child_that_waited_before_the_fork_can_wait_again", parker),
    ("a_wrong_number_of_threads_in_the_environment_is_an_error", environment),
    ("a_process_without_file_descriptors_gets_an_error_and_recovers", descriptors),
    ("a_process_ends_at_once_with_open_streams", exit),
];

fn main() {
    let wanted: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if env::args().any(|argument| argument == "--list") {
        CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let server = Server::start();
    let mut failed = 0;
    for (name, case) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        // A case runs in a child of its own, so that one does not see what another left behind.
        let result = in_child(|| case(&server));
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        if let Err(why) = result {
            println!("    {why}");
            failed += 1;
        }
    }
    if failed > 0 {
        println!("{failed} failed");
        process::exit(101);
    }
}

/// Runs something in a forked child and waits for it, but not for ever.
fn in_child(f: impl FnOnce()) -> Result<(), String> {
    wait_for(fork(f))
}

fn fork(f: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child only does what this crate promises to be possible there, and ends below.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "cannot fork");
    if pid == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: ends the child without what its parent wants to be done at exit.
        unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) };
    }
    pid
}

fn wait_for(pid: libc::pid_t) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: a child of this process and a place for its status.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
        if waited == pid {
            return match status {
                0 => Ok(()),
                status => Err(format!("the child ended with wait status {status:#x}")),
            };
        }
        if start.elapsed() > 2 * LONG {
            // SAFETY: a child of this process that was not waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            return Err("the child hung".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn open(server: &Server) -> Channel {
    Channel::open(&server.target(), ChannelOptions::default()).unwrap()
}

fn options() -> CallOptions {
    CallOptions { timeout: Some(LONG), ..CallOptions::default() }
}

fn echo(channel: &Channel, message: &[u8]) {
    let call = channel.call_with(ECHO, CallKind::Unary, options(), message).unwrap();
    receive(&call, message);
    assert_eq!(call.next_batch(&mut Batch::new(), Some(LONG)).unwrap(), Received::End);
    assert_eq!(call.status().map(|status| status.code), Some(Code::Ok));
}

fn receive(call: &Call, message: &[u8]) {
    let mut batch = Batch::new();
    let received = call.next_batch(&mut batch, Some(LONG)).unwrap();
    assert_eq!(received, Received::Messages, "{:?}", call.status());
    assert_eq!(batch.next(), Some(message));
}

fn is_forked<T>(result: Result<T, Error>) {
    let error = result.err().expect("an error");
    assert_eq!(error.code, ErrorCode::Forked, "{error}");
}

fn forked(server: &Server) {
    let channel = open(server);
    let queue = Queue::new().unwrap();
    let call = channel.call(ECHO, CallKind::Bidi, options()).unwrap();
    call.send(b"one", Some(LONG)).unwrap();
    assert!(call.wait(Interest::MESSAGES, Some(LONG)).unwrap());
    let parent = process::id();
    let in_child = in_child(|| {
        let error = channel.call(ECHO, CallKind::Unary, options()).err().unwrap();
        assert_eq!(
            error.message,
            format!(
                "this channel was made in process {parent} and cannot be used after fork in \
                 process {}; open a new channel",
                process::id()
            )
        );
        let idle = ConnectivityState::Idle;
        is_forked(channel.call(ECHO, CallKind::Unary, options()));
        is_forked(channel.call_with(ECHO, CallKind::Unary, options(), b""));
        is_forked(channel.wait_state(idle, Some(LONG)));
        is_forked(channel.watch_state(idle, &Queue::new().unwrap(), 1));
        is_forked(channel.check());
        assert_eq!(channel.state(), ConnectivityState::Shutdown);
        channel.connect();
        channel.close();

        let mut batch = Batch::new();
        is_forked(call.try_send(b"x"));
        is_forked(call.try_send_many(&mut [&b"x"[..]].into_iter()));
        is_forked(call.half_close());
        is_forked(call.try_batch(&mut batch));
        is_forked(call.wait(Interest::MESSAGES, Some(LONG)));
        is_forked(call.watch(Interest::MESSAGES, &Queue::new().unwrap(), 1));
        is_forked(call.send(b"x", Some(LONG)));
        is_forked(call.next_batch(&mut batch, Some(LONG)));
        is_forked(call.check());
        assert!(call.ready(Interest::STATUS), "so that the host comes to the error");
        assert!(call.headers().is_none() && call.status().is_none());
        call.cancel("");

        is_forked(queue.wait(Some(LONG)));
        is_forked(queue.check());
        assert_eq!((queue.fd(), queue.wakes()), (-1, 0));
        assert_eq!(queue.drain(&mut Vec::new(), 64), 0);
        queue.close();
        let fresh = open(server);
        let mine = fresh.call(NEVER, CallKind::Bidi, options()).unwrap();
        is_forked(mine.watch(Interest::MESSAGES, &queue, 1));

        // The guard itself knows no process.
        is_forked(enter(|| call.try_send(b"x")));
        assert_eq!(enter(|| Ok(1)).unwrap(), 1);
    });
    assert_eq!(in_child, Ok(()));
    receive(&call, b"one");
    call.send(b"two", Some(LONG)).unwrap();
    receive(&call, b"two");
}

fn child_works(server: &Server) {
    let channel = open(server);
    echo(&channel, b"parent");
    let children: Vec<_> = (0..3u8)
        .map(|child| {
            fork(|| {
                let own = open(server);
                (0..50).for_each(|round| echo(&own, &[child, round]));
                own.close();
            })
        })
        .collect();
    (0..50).for_each(|round| echo(&channel, &[255, round]));
    children.into_iter().for_each(|child| wait_for(child).unwrap());
    echo(&channel, b"parent");
}

fn parent_goes_on(server: &Server) {
    let channel = open(server);
    let queue = Queue::new().unwrap();
    let fd = queue.fd();
    let call = channel.call(ECHO, CallKind::Bidi, options()).unwrap();
    call.watch(Interest::MESSAGES, &queue, 1).unwrap();
    let (channel, call, queue) = {
        let mut all = Some((channel, call, queue));
        in_child(|| {
            drop(all.take());
            // What a daemon does; nothing may close one of these numbers later.
            // SAFETY: the child uses none of the files that it closes.
            unsafe { libc::close(fd) };
            let reused = std::fs::File::open("/dev/null").unwrap();
            echo(&open(server), b"child");
            assert!(reused.metadata().is_ok());
        })
        .unwrap();
        all.take().expect("the child's was a copy")
    };
    call.send(b"x", Some(LONG)).unwrap();
    assert!(queue.wait(Some(LONG)).unwrap());
    receive(&call, b"x");
    echo(&channel, b"parent");
}

fn grandchild(server: &Server) {
    let first = open(server);
    echo(&first, b"1");
    in_child(|| {
        let second = open(server);
        echo(&second, b"2");
        in_child(|| {
            is_forked(first.check());
            is_forked(second.check());
            echo(&open(server), b"3");
        })
        .unwrap();
        echo(&second, b"2");
    })
    .unwrap();
    echo(&first, b"1");
}

static NUMBERS: HandleTable<u32> = HandleTable::new(1, "number");

fn handles(_: &Server) {
    let parents: Vec<u64> = (0..100).map(|number| NUMBERS.insert(Arc::new(number))).collect();
    NUMBERS.remove(parents[7]).unwrap();
    let check_parents = |parents: &[u64]| {
        for handle in parents {
            is_forked(NUMBERS.get(*handle));
            is_forked(NUMBERS.remove(*handle));
        }
    };
    in_child(|| {
        assert_eq!(NUMBERS.live(), 0);
        check_parents(&parents);
        let own: Vec<u64> =
            (0..200).map(|number| NUMBERS.insert(Arc::new(1000 + number))).collect();
        check_parents(&parents);
        assert!(own.iter().all(|handle| !parents.contains(handle)));
        for (handle, number) in own.iter().zip(1000..) {
            assert_eq!(*NUMBERS.get(*handle).unwrap(), number);
        }
        assert_eq!(NUMBERS.live(), 200);
        in_child(|| {
            check_parents(&parents);
            check_parents(&own);
            let handle = NUMBERS.insert(Arc::new(5));
            assert!(!parents.contains(&handle) && !own.contains(&handle));
        })
        .unwrap();
        let error = NUMBERS.get(parents[0]).unwrap_err();
        assert!(error.message.contains(&process::id().to_string()), "{error}");
    })
    .unwrap();
    assert_eq!(*NUMBERS.get(parents[5]).unwrap(), 5);
    assert_eq!(NUMBERS.live(), 99);
}

fn counts(server: &Server) {
    let channel = open(server);
    let call = channel.call(NEVER, CallKind::Unary, options()).unwrap();
    let queue = Queue::new().unwrap();
    let all = Live { channels: 1, calls: 1, queues: 1 };
    assert_eq!(live(), all);
    let mut handles = Some((channel, call, queue));
    in_child(|| {
        assert_eq!(live(), Live::default());
        let own = open(server);
        drop(handles.take());
        assert_eq!(live(), Live { channels: 1, ..Live::default() });
        drop(own);
        assert_eq!(live(), Live::default());
    })
    .unwrap();
    assert_eq!(live(), all);
    drop(handles.take());
    assert_eq!(live(), Live::default());
}

fn queue(server: &Server) {
    let queue = Queue::new().unwrap();
    let call = open(server).call_with(ECHO, CallKind::Unary, options(), b"x").unwrap();
    assert!(call.wait(Interest::STATUS, Some(LONG)).unwrap());
    call.watch(Interest::STATUS, &queue, 9).unwrap();
    let fd = queue.fd();
    in_child(|| {
        assert_eq!(queue.drain(&mut Vec::new(), 64), 0);
        queue.close();
    })
    .unwrap();
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which lives through the call.
    assert_eq!(unsafe { libc::poll(&raw mut polled, 1, 0) }, 1);
    let mut tags = Vec::new();
    assert_eq!(queue.drain(&mut tags, 64), 1);
    assert_eq!(tags, [9]);
}

/// Other threads take every lock there is while this one forks.
fn busy_fork(server: &Server) {
    let stop = AtomicBool::new(false);
    let channel = open(server);
    let queue = Queue::new().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let handle = NUMBERS.insert(Arc::new(1));
                    NUMBERS.remove(handle).unwrap();
                }
            });
            scope.spawn(|| {
                let mut tags = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let call =
                        channel.call_with(ECHO, CallKind::Unary, options(), b"busy").unwrap();
                    call.watch(Interest::MESSAGES, &queue, 1).unwrap();
                    call.wait(Interest::STATUS, Some(LONG)).unwrap();
                    queue.drain(&mut tags, 64);
                    tags.clear();
                }
            });
        }
        thread::sleep(SHORT);
        let mut result = Ok(());
        for _ in 0..30 {
            result = in_child(|| {
                assert_eq!(NUMBERS.live(), 0);
                let handle = NUMBERS.insert(Arc::new(2));
                assert_eq!(*NUMBERS.get(handle).unwrap(), 2);
                is_forked(channel.check());
                is_forked(queue.wait(Some(LONG)));
                let own = Queue::new().unwrap();
                let fresh = open(server);
                let call = fresh.call_with(ECHO, CallKind::Unary, options(), b"child").unwrap();
                call.watch(Interest::MESSAGES, &own, 1).unwrap();
                assert!(own.wait(Some(LONG)).unwrap());
                receive(&call, b"child");
            });
            if result.is_err() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(result, Ok(()));
    });
}

fn parker(server: &Server) {
    let channel = open(server);
    let call = channel.call(ECHO, CallKind::Bidi, options()).unwrap();
    assert!(!call.wait(Interest::MESSAGES, Some(SHORT)).unwrap());
    in_child(|| echo(&open(server), b"child")).unwrap();
    call.send(b"parent", Some(LONG)).unwrap();
    receive(&call, b"parent");
}

fn environment(server: &Server) {
    let set = |value: &str| {
        // SAFETY: there is no other thread in this process that reads the environment.
        unsafe { env::set_var("MILLSTREAM_IO_THREADS", value) };
    };
    set("many");
    let error = Channel::open(&server.target(), ChannelOptions::default()).err().unwrap();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("MILLSTREAM_IO_THREADS is \"many\""), "{error}");
    set("3");
    echo(&open(server), b"three");
    if cfg!(target_os = "linux") {
        // A thread names itself, a little after it was started.
        eventually("three I/O threads", || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let names = tasks.flat_map(|task| std::fs::read_to_string(task.path().join("comm")));
            names.filter(|name| name.starts_with("millstream-io-")).count() == 3
        });
    }
}

fn descriptors(server: &Server) {
    let limit = |soft: Option<u64>| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a structure that lives through the calls.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
            limit.rlim_cur = soft.unwrap_or(limit.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        }
    };
    limit(Some(3));
    let no_queue = Queue::new().err();
    let no_channel = Channel::open(&server.target(), ChannelOptions::default()).err();
    limit(None);
    for error in [no_queue, no_channel] {
        let error = error.expect("an error");
        assert_eq!(error.code, ErrorCode::System);
        assert!(error.message.contains("ulimit"), "{error}");
    }
    Queue::new().unwrap();
    echo(&open(server), b"recovered");
}

fn exit(server: &Server) {
    let child = fork(|| {
        let channel = open(server);
        let call = channel.call(NEVER, CallKind::Bidi, options()).unwrap();
        let waiting = call.clone();
        thread::spawn(move || waiting.wait(Interest::MESSAGES, None));
        thread::sleep(SHORT);
        std::mem::forget((channel, call));
        process::exit(0);
    });
    wait_for(child).unwrap();
}
