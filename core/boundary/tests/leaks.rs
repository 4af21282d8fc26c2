//! Alone in its process, since the counters are the process's.

mod common;

use common::{COUNT, ECHO, LONG, NEVER, Server};
use millstream_boundary::{
    Batch, CallKind, CallOptions, Channel, ChannelOptions, Interest, Live, Queue, Received, live,
};

#[test]
fn nothing_is_left_of_calls_that_ended_were_dropped_or_lost_their_channel() {
    let server = Server::start();
    assert_eq!(live(), Live::default());
    for _ in 0..20 {
        let queue = Queue::new().unwrap();
        let channel = Channel::open(&server.target(), ChannelOptions::default()).unwrap();
        let options = CallOptions::default;
        let mut batch = Batch::new();

        let ended = channel.call_with(ECHO, CallKind::Unary, options(), b"x").unwrap();
        assert!(ended.wait(Interest::STATUS, Some(LONG)).unwrap());
        let request = 1_000_000u64.to_be_bytes();
        let running =
            channel.call_with(COUNT, CallKind::ServerStream, options(), &request).unwrap();
        assert_eq!(running.next_batch(&mut batch, Some(LONG)).unwrap(), Received::Messages);
        let watched = channel.call(NEVER, CallKind::Bidi, options()).unwrap();
        watched.watch(Interest::MESSAGES, &queue, 1).unwrap();
        let closed = channel.call(NEVER, CallKind::Unary, options()).unwrap();

        assert_eq!(live(), Live { channels: 1, calls: 4, queues: 1 });
        drop((ended, running, watched));
        assert_eq!(live(), Live { channels: 1, calls: 1, queues: 1 });
        channel.close();
        assert!(closed.wait(Interest::STATUS, Some(LONG)).unwrap());
        drop((queue, channel));
        assert_eq!(live(), Live { channels: 0, calls: 1, queues: 0 });
        drop(closed);
        assert_eq!(live(), Live::default());
    }
}
