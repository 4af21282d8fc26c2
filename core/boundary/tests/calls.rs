//! Channels and calls over a server, as a host uses them: waits of threads and completions.

mod common;

use std::{
    collections::HashMap,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use common::{COUNT, DEAF, ECHO, LONG, NEVER, SHORT, Server, eventually};
use millstream_boundary::{
    Batch, Call, CallKind, CallOptions, Channel, ChannelOptions, Code, ConnectivityState,
    ErrorCode, Interest, Queue, Received,
};

fn open(server: &Server) -> Channel {
    Channel::open(&server.target(), ChannelOptions::default()).unwrap()
}

fn options() -> CallOptions {
    CallOptions { timeout: Some(LONG), ..CallOptions::default() }
}

fn count(channel: &Channel, messages: u64) -> Call {
    let request = messages.to_be_bytes();
    channel.call_with(COUNT, CallKind::ServerStream, options(), &request).unwrap()
}

fn number(message: &[u8]) -> u64 {
    u64::from_be_bytes(message.try_into().expect("8 bytes"))
}

fn code(call: &Call) -> Option<Code> {
    call.status().map(|status| status.code)
}

#[test]
fn a_thread_waits_for_a_unary_call_and_finds_the_message_before_the_status() {
    let server = Server::start();
    let call = open(&server).call_with(ECHO, CallKind::Unary, options(), b"hello").unwrap();
    assert!(call.wait(Interest::STATUS, Some(LONG)).unwrap());
    let mut batch = Batch::new();
    assert_eq!(call.try_batch(&mut batch).unwrap(), Received::Messages);
    assert_eq!(batch.next(), Some(&b"hello"[..]));
    assert_eq!(call.try_batch(&mut batch).unwrap(), Received::End);
    assert_eq!(code(&call), Some(Code::Ok));
    assert_eq!(call.headers().unwrap().get("content-type"), Some(&b"application/grpc"[..]));
}

#[test]
fn a_thread_that_takes_batch_after_batch_gets_every_message_once_and_in_order() {
    const MESSAGES: u64 = 100_000;
    let server = Server::start();
    let call = count(&open(&server), MESSAGES);
    let mut batch = Batch::new();
    let mut expected = 0;
    while call.next_batch(&mut batch, Some(LONG)).unwrap() == Received::Messages {
        while let Some(message) = batch.next() {
            assert_eq!(number(message), expected);
            expected += 1;
        }
    }
    assert_eq!((expected, code(&call)), (MESSAGES, Some(Code::Ok)));
}

#[test]
fn a_host_with_one_queue_for_many_calls_is_told_of_every_message() {
    const CALLS: u64 = 50;
    const MESSAGES: u64 = 5_000;
    let server = Server::start();
    let channel = open(&server);
    let queue = Queue::new().unwrap();
    let mut calls: HashMap<u64, (Call, u64)> = HashMap::new();
    for tag in 0..CALLS {
        let call = count(&channel, MESSAGES);
        call.watch(Interest::MESSAGES, &queue, tag).unwrap();
        calls.insert(tag, (call, 0));
    }
    let (mut tags, mut batch, mut drains) = (Vec::new(), Batch::new(), 0);
    while !calls.is_empty() {
        assert!(queue.wait(Some(LONG)).unwrap(), "a completion was lost");
        queue.drain(&mut tags, 16);
        drains += 1;
        for tag in tags.drain(..) {
            let (call, seen) = calls.get_mut(&tag).expect("no tag of a call that has ended");
            loop {
                match call.try_batch(&mut batch).unwrap() {
                    Received::Messages => {
                        for message in &batch {
                            assert_eq!(number(message), *seen);
                            *seen += 1;
                        }
                    }
                    Received::Empty => {
                        call.watch(Interest::MESSAGES, &queue, tag).unwrap();
                        break;
                    }
                    Received::End => {
                        assert_eq!((*seen, code(call)), (MESSAGES, Some(Code::Ok)));
                        calls.remove(&tag);
                        break;
                    }
                }
            }
        }
    }
    assert!(queue.wakes() <= drains, "{} wakes for {drains} drains", queue.wakes());
}

#[test]
fn a_watch_of_what_is_there_already_delivers_at_once() {
    let server = Server::start();
    let queue = Queue::new().unwrap();
    let call = count(&open(&server), 1);
    assert!(call.wait(Interest::STATUS, Some(LONG)).unwrap());
    call.watch(Interest::MESSAGES, &queue, 5).unwrap();
    call.watch(Interest::STATUS, &queue, 6).unwrap();
    call.watch(Interest::HEADERS, &queue, 7).unwrap();
    let mut tags = Vec::new();
    assert_eq!(queue.drain(&mut tags, 64), 3);
    assert_eq!(tags, [5, 6, 7]);
    assert_eq!(queue.wakes(), 1);
}

#[test]
fn headers_messages_and_status_are_told_apart() {
    let server = Server::start();
    let queue = Queue::new().unwrap();
    let call = open(&server).call(ECHO, CallKind::Bidi, options()).unwrap();
    call.watch(Interest::HEADERS, &queue, 1).unwrap();
    call.watch(Interest::MESSAGES, &queue, 2).unwrap();
    call.watch(Interest::STATUS, &queue, 8).unwrap();
    let next = || {
        let mut tags = Vec::new();
        assert!(queue.wait(Some(LONG)).unwrap());
        queue.drain(&mut tags, 1);
        tags[0]
    };
    assert_eq!(next(), 1);
    assert!(call.headers().is_some());
    assert!(call.try_send(b"ping").unwrap());
    assert_eq!(next(), 2);
    assert_eq!(code(&call), None);
    call.half_close().unwrap();
    assert_eq!(next(), 8);
    assert_eq!(code(&call), Some(Code::Ok));
}

#[test]
fn cancelling_from_another_thread_ends_every_wait_at_once() {
    let server = Server::start();
    let queue = Queue::new().unwrap();
    let call = &open(&server).call(NEVER, CallKind::Bidi, options()).unwrap();
    call.watch(Interest::HEADERS, &queue, 1).unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = [Interest::MESSAGES, Interest::STATUS, Interest::HEADERS]
            .into_iter()
            .map(|interest| scope.spawn(move || call.wait(interest, Some(LONG)).unwrap()))
            .collect();
        let receiver = scope.spawn(|| call.next_batch(&mut Batch::new(), Some(LONG)).unwrap());
        thread::sleep(SHORT);
        call.cancel("enough");
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
        assert_eq!(receiver.join().unwrap(), Received::End);
    });
    assert!(queue.wait(Some(LONG)).unwrap());
    let status = call.status().unwrap();
    assert_eq!((status.code, status.message.as_str()), (Code::Cancelled, "enough"));
    call.cancel("again");
    assert_eq!(call.status().unwrap().message, "enough");
}

#[test]
fn a_deadline_ends_a_wait_although_the_server_says_nothing() {
    let server = Server::start();
    let options = CallOptions { timeout: Some(SHORT), ..CallOptions::default() };
    let call = open(&server).call(NEVER, CallKind::Unary, options).unwrap();
    assert!(call.wait(Interest::MESSAGES, Some(LONG)).unwrap());
    assert_eq!(code(&call), Some(Code::DeadlineExceeded));
}

#[test]
fn closing_the_channel_during_a_call_ends_the_call_and_refuses_the_next() {
    let server = Server::start();
    let channel = open(&server);
    let call = channel.call(NEVER, CallKind::Unary, options()).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| call.wait(Interest::STATUS, Some(LONG)).unwrap());
        eventually("the call reaches the server", || {
            server.seen.started.load(Ordering::SeqCst) == 1
        });
        channel.close();
        assert!(waiter.join().unwrap());
    });
    assert_eq!(code(&call), Some(Code::Cancelled));
    channel.close();
    assert_eq!(channel.state(), ConnectivityState::Shutdown);
    let error = channel.call(NEVER, CallKind::Unary, options()).err().unwrap();
    assert_eq!(error.code, ErrorCode::Closed);
    let error = channel.call_with(ECHO, CallKind::Unary, options(), b"").err().unwrap();
    assert_eq!(error.code, ErrorCode::Closed);
}

#[test]
fn dropping_the_last_clone_of_a_call_cancels_it_and_takes_its_watches_back() {
    let server = Server::start();
    let channel = open(&server);
    let queue = Queue::new().unwrap();
    let call = channel.call(NEVER, CallKind::Bidi, options()).unwrap();
    call.watch(Interest::STATUS, &queue, 1).unwrap();
    let clone = call.clone();
    eventually("the call reaches the server", || server.seen.started.load(Ordering::SeqCst) == 1);
    drop(call);
    assert_eq!(code(&clone), None);
    drop(clone);
    eventually("the server sees the reset", || server.seen.resets.load(Ordering::SeqCst) == 1);
    assert!(!queue.wait(Some(SHORT)).unwrap(), "the host has let go of the call");
    assert_eq!(queue.wakes(), 0, "not even for a moment");
}

#[test]
fn dropping_the_channel_leaves_its_calls_alone() {
    let server = Server::start();
    let channel = open(&server);
    let call = channel.call(ECHO, CallKind::Bidi, options()).unwrap();
    drop(channel);
    call.send(b"still there", Some(LONG)).unwrap();
    call.half_close().unwrap();
    let mut batch = Batch::new();
    assert_eq!(call.next_batch(&mut batch, Some(LONG)).unwrap(), Received::Messages);
    assert_eq!(batch.next(), Some(&b"still there"[..]));
    assert_eq!(call.next_batch(&mut batch, Some(LONG)).unwrap(), Received::End);
}

#[test]
fn a_receive_that_times_out_says_so_and_the_call_goes_on() {
    let server = Server::start();
    let call = open(&server).call(ECHO, CallKind::Bidi, options()).unwrap();
    let mut batch = Batch::new();
    let start = Instant::now();
    let error = call.next_batch(&mut batch, Some(SHORT)).unwrap_err();
    assert_eq!(error.code, ErrorCode::Timeout);
    assert!(start.elapsed() >= SHORT);
    assert!(!call.wait(Interest::MESSAGES, Some(Duration::ZERO)).unwrap());
    call.send(b"x", Some(LONG)).unwrap();
    assert_eq!(call.next_batch(&mut batch, Some(LONG)).unwrap(), Received::Messages);
}

#[test]
fn a_second_thread_that_receives_is_told_that_the_call_is_busy() {
    let server = Server::start();
    let call = open(&server).call(NEVER, CallKind::ServerStream, options()).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| call.next_batch(&mut Batch::new(), Some(LONG)));
        let mut second = Batch::new();
        eventually("the first thread receives", || {
            call.try_batch(&mut second).is_err_and(|error| error.code == ErrorCode::Busy)
        });
        let error = call.next_batch(&mut second, Some(LONG)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Busy);
        call.cancel("");
        // The second look of the loop above may have been in the first thread's way.
        match first.join().unwrap() {
            Ok(received) => assert_eq!(received, Received::End),
            Err(error) => assert_eq!(error.code, ErrorCode::Busy),
        }
    });
    assert_eq!(call.try_batch(&mut Batch::new()).unwrap(), Received::End);
}

#[test]
fn a_sender_is_held_up_by_a_server_that_does_not_read_until_the_call_ends() {
    let server = Server::start();
    let queue = Queue::new().unwrap();
    let call = open(&server).call(DEAF, CallKind::ClientStream, options()).unwrap();
    let message = vec![7; 64 << 10];
    let mut sent = 0;
    let error = loop {
        match call.send(&message, Some(SHORT)) {
            Ok(()) => sent += message.len(),
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "the memory for unsent messages is bounded");
    };
    assert_eq!(error.code, ErrorCode::Timeout);
    assert!(!call.try_send(&message).unwrap());
    assert_eq!(call.try_send_many(&mut [&message[..]].into_iter()).unwrap(), 0);
    call.watch(Interest::SENDABLE, &queue, 4).unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| call.send(&message, Some(LONG)));
        thread::sleep(SHORT);
        call.cancel("enough");
        let error = sender.join().unwrap().unwrap_err();
        assert_eq!(error.code, ErrorCode::CallEnded);
        assert_eq!(error.status.unwrap().code, Code::Cancelled);
    });
    assert!(queue.wait(Some(LONG)).unwrap());
}

#[test]
fn a_sender_goes_on_when_a_slow_reader_makes_room() {
    const MESSAGES: u64 = 200;
    let server = Server::start();
    let call = open(&server).call(ECHO, CallKind::Bidi, options()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut message = vec![0; 16 << 10];
            for number in 0..MESSAGES {
                message[..8].copy_from_slice(&number.to_be_bytes());
                call.send(&message, Some(LONG)).unwrap();
            }
            call.half_close().unwrap();
        });
        let (mut batch, mut expected) = (Batch::new(), 0);
        while call.next_batch(&mut batch, Some(LONG)).unwrap() == Received::Messages {
            for message in &batch {
                assert_eq!(number(&message[..8]), expected);
                expected += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(expected, MESSAGES);
    });
    assert_eq!(code(&call), Some(Code::Ok));
}

#[test]
fn an_interest_that_is_none_is_refused_with_the_ones_there_are() {
    let server = Server::start();
    let queue = Queue::new().unwrap();
    let call = open(&server).call(NEVER, CallKind::Unary, options()).unwrap();
    for wrong in [0, 16, 17, u32::MAX] {
        let waited = call.wait(Interest(wrong), Some(LONG)).unwrap_err();
        let watched = call.watch(Interest(wrong), &queue, 1).unwrap_err();
        for error in [waited, watched] {
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.message.contains("MESSAGES (2)"), "{error}");
        }
    }
}

#[test]
fn a_watch_into_a_closed_queue_is_refused_and_the_call_goes_on() {
    let server = Server::start();
    let queue = Queue::new().unwrap();
    let call = open(&server).call(ECHO, CallKind::Bidi, options()).unwrap();
    call.watch(Interest::MESSAGES, &queue, 1).unwrap();
    queue.close();
    let error = call.watch(Interest::MESSAGES, &queue, 1).unwrap_err();
    assert_eq!(error.code, ErrorCode::Closed);
    drop(queue);
    call.send(b"x", Some(LONG)).unwrap();
    assert!(call.wait(Interest::MESSAGES, Some(LONG)).unwrap());
}

#[test]
fn the_state_of_a_channel_can_be_waited_for_and_watched() {
    let server = Server::start();
    let channel = open(&server);
    let queue = Queue::new().unwrap();
    assert_eq!(channel.state(), ConnectivityState::Idle);
    assert!(!channel.wait_state(ConnectivityState::Idle, Some(SHORT)).unwrap());
    assert!(channel.wait_state(ConnectivityState::Ready, Some(Duration::ZERO)).unwrap());
    channel.watch_state(ConnectivityState::Idle, &queue, 3).unwrap();
    channel.connect();
    assert!(channel.wait_state(ConnectivityState::Idle, Some(LONG)).unwrap());
    assert!(queue.wait(Some(LONG)).unwrap());
    assert!(channel.wait_state(ConnectivityState::Connecting, Some(LONG)).unwrap());
    assert_eq!(channel.state(), ConnectivityState::Ready);
    thread::scope(|scope| {
        let waiter =
            scope.spawn(|| channel.wait_state(ConnectivityState::Ready, Some(LONG)).unwrap());
        thread::sleep(SHORT);
        channel.close();
        assert!(waiter.join().unwrap());
    });
    assert_eq!(channel.state(), ConnectivityState::Shutdown);
}

#[test]
fn many_threads_share_a_channel() {
    let server = Server::start();
    let channel = open(&server);
    thread::scope(|scope| {
        for thread in 0..8u64 {
            let channel = &channel;
            scope.spawn(move || {
                let mut batch = Batch::new();
                for round in 0..200 {
                    let request = (thread << 32 | round).to_be_bytes();
                    let call =
                        channel.call_with(ECHO, CallKind::Unary, options(), &request).unwrap();
                    assert_eq!(
                        call.next_batch(&mut batch, Some(LONG)).unwrap(),
                        Received::Messages,
                        "{:?}",
                        call.status()
                    );
                    assert_eq!(batch.next(), Some(&request[..]));
                    assert_eq!(code(&call), Some(Code::Ok));
                }
            });
        }
    });
}

#[test]
fn a_lost_connection_ends_the_wait_for_its_messages_and_the_next_call_connects_again() {
    let server = Server::start();
    let channel = open(&server);
    let call = channel.call(ECHO, CallKind::Bidi, options()).unwrap();
    assert!(call.wait(Interest::HEADERS, Some(LONG)).unwrap());
    thread::scope(|scope| {
        let receiver = scope.spawn(|| call.next_batch(&mut Batch::new(), Some(LONG)).unwrap());
        thread::sleep(SHORT);
        server.hang_up();
        assert_eq!(receiver.join().unwrap(), Received::End);
    });
    assert_eq!(code(&call), Some(Code::Unavailable));
    let options = CallOptions { wait_for_ready: true, ..options() };
    let again = channel.call_with(ECHO, CallKind::Unary, options, b"again").unwrap();
    assert!(again.wait(Interest::STATUS, Some(LONG)).unwrap());
    assert_eq!(code(&again), Some(Code::Ok));
}

#[test]
fn dropping_a_channel_takes_the_watch_of_its_state_back() {
    let server = Server::start();
    let channel = open(&server);
    let queue = Queue::new().unwrap();
    let call = channel.call(ECHO, CallKind::Bidi, options()).unwrap();
    assert!(call.wait(Interest::HEADERS, Some(LONG)).unwrap());
    channel.watch_state(ConnectivityState::Ready, &queue, 1).unwrap();
    drop(channel);
    server.hang_up(); // which changes the state of what the call still uses
    assert!(call.wait(Interest::STATUS, Some(LONG)).unwrap());
    assert_eq!(code(&call), Some(Code::Unavailable));
    assert!(!queue.wait(Some(SHORT)).unwrap(), "the host has let go of the channel");
    assert_eq!(queue.wakes(), 0);
}

#[test]
fn a_target_that_is_none_is_refused() {
    for target in ["", "localhost:1", "ftp://x:1", "http://"] {
        let error = Channel::open(target, ChannelOptions::default()).err().unwrap();
        assert_eq!(error.code, ErrorCode::InvalidTarget, "{target}");
    }
}
