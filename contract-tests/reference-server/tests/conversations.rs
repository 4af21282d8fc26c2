//! The services in which each side depends on what the other said: sync and chat.

mod common;

use common::{all, assert_status, connect, connect_to, server, until_end, within};
use millstream_proto::chat::v1::chat_message::Event;
use millstream_proto::chat::v1::chat_service_client::ChatServiceClient;
use millstream_proto::chat::v1::{ChatMessage, Join, Leave};
use millstream_proto::sync::v1::data_sync_client::DataSyncClient;
use millstream_proto::sync::v1::stream_message::Body;
use millstream_proto::sync::v1::{Ack, Record, StreamMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

fn record(number: u64) -> Record {
    Record { key: format!("plane/N{number}"), value: number.to_be_bytes().to_vec() }
}

fn data(sequence_id: u64, logical_clock: u64) -> StreamMessage {
    StreamMessage { sequence_id, logical_clock, body: Some(Body::Record(record(sequence_id))) }
}

fn ack(sequence_id: u64, logical_clock: u64, of: u64) -> StreamMessage {
    StreamMessage { sequence_id, logical_clock, body: Some(Body::Ack(Ack { sequence_id: of })) }
}

#[tokio::test]
async fn every_record_is_acknowledged_and_every_tenth_answered_by_one_of_the_server() {
    let server = server().await;
    let mut sync = DataSyncClient::new(connect(&server).await);
    let (send, messages) = mpsc::channel(1);
    let answer = within(sync.exchange_data(ReceiverStream::new(messages))).await;
    let mut answers = answer.expect("a stream").into_inner();

    let (mut id, mut clock, mut server_clock, mut server_id) = (0, 0, 0, 0);
    let mut checksum = crc32fast::Hasher::new();
    let mut next = async |sent_clock: u64| {
        let answer = within(answers.message()).await.expect("an answer");
        let answer = answer.expect("an answer");
        server_id += 1;
        assert_eq!(answer.sequence_id, server_id);
        assert!(answer.logical_clock > sent_clock && answer.logical_clock > server_clock);
        server_clock = answer.logical_clock;
        answer
    };
    for number in 1..=30 {
        (id, clock) = (id + 1, clock + 1);
        let message = data(id, clock);
        let Some(Body::Record(record)) = &message.body else { unreachable!() };
        checksum.update(record.key.as_bytes());
        checksum.update(&record.value);
        send.send(message).await.expect("the call is open");

        let answer = next(clock).await;
        assert_eq!(answer.body, Some(Body::Ack(Ack { sequence_id: id })));
        clock = answer.logical_clock;
        if number % 10 == 0 {
            let answer = next(clock).await;
            let expected = Record {
                key: format!("server/{}", number / 10),
                value: checksum.clone().finalize().to_be_bytes().to_vec(),
            };
            assert_eq!(answer.body, Some(Body::Record(expected)));
            (id, clock) = (id + 1, answer.logical_clock + 1);
            let message = ack(id, clock, answer.sequence_id);
            send.send(message).await.expect("the call is open");
        }
    }
    drop(send);
    assert_eq!(all(answers).await, []);
}

#[tokio::test]
async fn a_message_out_of_order_aborts_the_exchange_and_says_why() {
    let server = server().await;
    let mut sync = DataSyncClient::new(connect(&server).await);
    let ten = (1..=10).map(|number| data(number, number));
    let (two, ten): (Vec<_>, Vec<_>) = (ten.clone().take(2).collect(), ten.collect());
    let no_body = StreamMessage { body: None, ..data(3, 3) };
    for (before, wrong, code, message) in [
        (&two, data(4, 4), Code::Aborted, "sequence_id 4 is a gap: 3 was expected"),
        (&two, data(2, 3), Code::Aborted, "sequence_id 2 is a repeat: 3 was expected"),
        (
            &two,
            data(3, 2),
            Code::Aborted,
            "logical_clock 2 of message 3 is not greater than 2 of the one before",
        ),
        (
            &two,
            ack(3, 3, 1),
            Code::Aborted,
            "acknowledgement of 1, which is no record that waits for one",
        ),
        (
            &ten,
            ack(11, 11, 11),
            Code::Aborted,
            "logical_clock 11 of the acknowledgement of 11 is not greater than its 12",
        ),
        (
            &two,
            no_body,
            Code::InvalidArgument,
            "message 3 has neither a record nor an acknowledgement",
        ),
        (
            &two,
            data(3, u64::MAX),
            Code::OutOfRange,
            "logical_clock is at its end: no greater one is left",
        ),
    ] {
        let messages: Vec<_> = before.iter().cloned().chain([wrong]).collect();
        let answer = within(sync.exchange_data(tokio_stream::iter(messages))).await;
        let (answers, end) = until_end(answer.expect("a stream").into_inner()).await;
        assert_eq!(answers.len(), before.len() + before.len() / 10, "{message}");
        assert_status(end, code, message);
    }
}

#[tokio::test]
async fn a_record_is_acknowledged_once() {
    let server = server().await;
    let mut sync = DataSyncClient::new(connect(&server).await);
    let ten = (1..=10).map(|number| data(number, number));
    let messages = ten.chain([ack(11, 13, 11), ack(12, 14, 11)]);
    let answer = within(sync.exchange_data(tokio_stream::iter(messages.collect::<Vec<_>>()))).await;
    let (_, end) = until_end(answer.expect("a stream").into_inner()).await;
    assert_status(
        end,
        Code::Aborted,
        "acknowledgement of 11, which is no record that waits for one",
    );
}

const ROOM: &str = "departures";

fn says(member: &str, event: Event) -> ChatMessage {
    ChatMessage { room: ROOM.to_owned(), member: member.to_owned(), event: Some(event) }
}

fn text(member: &str, text: &str) -> ChatMessage {
    says(member, Event::Text(text.to_owned()))
}

fn joins(member: &str, members: &[&str]) -> ChatMessage {
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    says(member, Event::Join(Join { members }))
}

fn leaves(member: &str) -> ChatMessage {
    says(member, Event::Leave(Leave {}))
}

struct Member {
    name: &'static str,
    send: mpsc::Sender<ChatMessage>,
    heard: Streaming<ChatMessage>,
}

impl Member {
    async fn join(channel: &Channel, name: &'static str) -> Self {
        let (send, messages) = mpsc::channel(16);
        let mut chat = ChatServiceClient::new(channel.clone());
        // The headers come before anything is sent.
        let answer = within(chat.chat(ReceiverStream::new(messages))).await;
        let heard = answer.expect("a stream").into_inner();
        let member = Self { name, send, heard };
        member.send(joins(name, &[])).await;
        member
    }

    async fn send(&self, message: ChatMessage) {
        within(self.send.send(message)).await.expect("the call is open");
    }

    async fn hears(&mut self, expected: ChatMessage) {
        let message = within(self.heard.message()).await.expect("a message");
        assert_eq!(message, Some(expected), "{}", self.name);
    }
}

#[tokio::test]
async fn members_of_a_room_hear_each_other_but_not_themselves() {
    let server = server().await;
    let channel = connect(&server).await;
    let mut ann = Member::join(&channel, "ann").await;
    ann.hears(joins("ann", &["ann"])).await;
    let mut bob = Member::join(&channel, "bob").await;
    bob.hears(joins("bob", &["ann", "bob"])).await;
    ann.hears(joins("bob", &[])).await;

    ann.send(text("ann", "boarding")).await;
    bob.hears(text("ann", "boarding")).await;
    bob.send(text("bob", "thank you")).await;
    ann.hears(text("bob", "thank you")).await;

    // By half-close.
    let Member { send, heard, .. } = bob;
    drop(send);
    ann.hears(leaves("bob")).await;
    assert_eq!(all(heard).await, []);

    // By saying so.
    let mut bob = Member::join(&channel, "bob").await;
    bob.hears(joins("bob", &["ann", "bob"])).await;
    ann.hears(joins("bob", &[])).await;
    bob.send(leaves("bob")).await;
    ann.hears(leaves("bob")).await;
    assert_eq!(all(bob.heard).await, []);
}

#[tokio::test]
async fn rooms_do_not_hear_each_other() {
    let server = server().await;
    let channel = connect(&server).await;
    let mut ann = Member::join(&channel, "ann").await;
    ann.hears(joins("ann", &["ann"])).await;
    let elsewhere = |event| ChatMessage {
        room: "arrivals".to_owned(),
        member: "bob".to_owned(),
        event: Some(event),
    };
    let messages =
        [elsewhere(Event::Join(Join::default())), elsewhere(Event::Text("landed".to_owned()))];
    let mut chat = ChatServiceClient::new(channel);
    let answer = within(chat.chat(tokio_stream::iter(messages))).await;
    let heard = all(answer.expect("a stream").into_inner()).await;
    let members = vec!["bob".to_owned()];
    assert_eq!(heard, [elsewhere(Event::Join(Join { members }))]);

    drop(ann.send);
    assert_eq!(all(ann.heard).await, []);
}

#[tokio::test]
async fn a_member_who_loses_its_connection_leaves_the_room() {
    let server = server().await;
    let mut ann = Member::join(&connect(&server).await, "ann").await;
    ann.hears(joins("ann", &["ann"])).await;

    // Its sockets close with its runtime.
    let elsewhere = tokio::runtime::Runtime::new().expect("a runtime");
    let target = server.ready().http.clone().expect("a target");
    let join = async move { Member::join(&connect_to(&target).await, "bob").await };
    let bob = elsewhere.spawn(join).await.expect("bob joins");
    ann.hears(joins("bob", &[])).await;
    elsewhere.shutdown_background();
    ann.hears(leaves("bob")).await;
    drop(bob);
}

#[tokio::test]
async fn a_conversation_against_the_rules_ends_with_the_rule() {
    let server = server().await;
    let channel = connect(&server).await;
    let mut ann = Member::join(&channel, "ann").await;
    ann.hears(joins("ann", &["ann"])).await;

    let nobody = ChatMessage { member: String::new(), ..joins("", &[]) };
    let silent = ChatMessage { event: None, ..text("bob", "") };
    let invalid = Code::InvalidArgument;
    for (messages, code, message) in [
        (vec![text("bob", "?")], invalid, "the first message must be a join"),
        (vec![joins("bob", &["eve"])], invalid, "the server lists the members"),
        (vec![nobody], invalid, "room and member must not be empty"),
        (vec![joins("ann", &[])], Code::AlreadyExists, "room \"departures\" has a member \"ann\""),
        (vec![joins("bob", &[]), joins("bob", &[])], invalid, "the room is joined already"),
        (
            vec![joins("bob", &[]), text("ann", "I am ann")],
            invalid,
            "this stream is that of member \"bob\" of room \"departures\"",
        ),
        (vec![joins("bob", &[]), silent], invalid, "the message has no event"),
    ] {
        let joined = messages.len() > 1;
        let mut chat = ChatServiceClient::new(channel.clone());
        let answer = within(chat.chat(tokio_stream::iter(messages))).await;
        let (heard, end) = until_end(answer.expect("a stream").into_inner()).await;
        assert_status(end, code, message);
        if joined {
            assert_eq!(heard, [joins("bob", &["ann", "bob"])]);
            ann.hears(joins("bob", &[])).await;
            ann.hears(leaves("bob")).await;
        }
    }
}

#[tokio::test]
async fn a_member_who_does_not_read_is_disconnected_and_the_others_go_on() {
    let server = server().await;
    let channel = connect(&server).await;
    let mut ann = Member::join(&channel, "ann").await;
    ann.hears(joins("ann", &["ann"])).await;
    // A connection of its own: its flow control holds up nobody else.
    let mut slow = Member::join(&connect(&server).await, "slow").await;
    slow.hears(joins("slow", &["ann", "slow"])).await;
    ann.hears(joins("slow", &[])).await;

    // Far more than the buffer (4 MiB) and what the connection holds.
    let long = "x".repeat(64 * 1024);
    let (sender, mut sent) = (ann.send.clone(), 0);
    let talk = async {
        loop {
            let sending = sender.send(text("ann", &long)).await;
            sending.expect("the call is open");
            sent += 1;
            assert!(sent < 10_000, "the slow member is never disconnected");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = within(talk) => unreachable!(),
        () = ann.hears(leaves("slow")) => {}
    }

    let (heard, end) = until_end(slow.heard).await;
    assert!(heard.iter().all(|message| *message == text("ann", &long)));
    // What was buffered came, and not everything did.
    assert!((32..sent).contains(&heard.len()), "{} of {sent}", heard.len());
    assert_status(
        end,
        Code::ResourceExhausted,
        "disconnected: more than 4194304 bytes of messages waited to be read",
    );

    let mut eve = Member::join(&channel, "eve").await;
    eve.hears(joins("eve", &["ann", "eve"])).await;
}
