//! `chat.v1.ChatService`.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use millstream_proto::chat::v1::chat_message::Event;
use millstream_proto::chat::v1::chat_service_server::ChatService;
use millstream_proto::chat::v1::{ChatMessage, Join, Leave};
use prost::Message;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Bytes that wait for one member.
const MAX_WAITING: usize = 4 * 1024 * 1024;
/// What a waiting message takes beside its text, about.
const OVERHEAD: usize = 128;

#[derive(Clone, Default)]
pub(super) struct Service {
    rooms: Rooms,
}

/// One lock for all rooms: every member of a room sees the same order.
#[derive(Clone, Default)]
struct Rooms(Arc<Mutex<HashMap<String, Vec<Member>>>>);

struct Member {
    name: String,
    outbox: Arc<Outbox>,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Member>>> {
        lock(&self.0)
    }

    fn join(&self, room: &str, name: &str, outbox: &Arc<Outbox>) -> Result<Membership, Status> {
        let mut rooms = self.lock();
        let members = rooms.entry(room.to_owned()).or_default();
        if members.iter().any(|member| member.name == name) {
            return Err(Status::already_exists(format!("room {room:?} has a member {name:?}")));
        }
        broadcast(members, room, name, &Event::Join(Join::default()));
        members.push(Member { name: name.to_owned(), outbox: outbox.clone() });
        let members = members.iter().map(|member| member.name.clone()).collect();
        outbox.push(message(room, name, Event::Join(Join { members })));
        Ok(Membership {
            rooms: self.clone(),
            room: room.to_owned(),
            name: name.to_owned(),
            outbox: outbox.clone(),
        })
    }
}

/// To every member but the sender. Whoever reads too slowly leaves, which is told to the rest.
fn broadcast(members: &mut Vec<Member>, room: &str, sender: &str, event: &Event) {
    let mut news = VecDeque::from([(sender.to_owned(), event.clone())]);
    while let Some((sender, event)) = news.pop_front() {
        members.retain(|member| {
            if member.name == sender {
                return true;
            }
            let fits = member.outbox.push(message(room, &sender, event.clone()));
            if !fits {
                news.push_back((member.name.clone(), Event::Leave(Leave {})));
            }
            fits
        });
    }
}

fn message(room: &str, member: &str, event: Event) -> ChatMessage {
    ChatMessage { room: room.to_owned(), member: member.to_owned(), event: Some(event) }
}

/// Leaves the room when dropped.
struct Membership {
    rooms: Rooms,
    room: String,
    name: String,
    outbox: Arc<Outbox>,
}

impl Membership {
    fn say(&self, text: String) {
        let mut rooms = self.rooms.lock();
        if let Some(members) = rooms.get_mut(&self.room)
            // A slow member may have left without its own doing.
            && members.iter().any(|member| Arc::ptr_eq(&member.outbox, &self.outbox))
        {
            broadcast(members, &self.room, &self.name, &Event::Text(text));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        let Some(members) = rooms.get_mut(&self.room) else {
            return;
        };
        let own = |member: &Member| Arc::ptr_eq(&member.outbox, &self.outbox);
        if let Some(index) = members.iter().position(own) {
            members.remove(index);
            broadcast(members, &self.room, &self.name, &Event::Leave(Leave {}));
        }
        if members.is_empty() {
            rooms.remove(&self.room);
        }
    }
}

/// The messages that wait for one member, and how its stream ends after them.
#[derive(Default)]
struct Outbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    messages: VecDeque<ChatMessage>,
    bytes: usize,
    end: Option<Result<(), Status>>,
    waker: Option<Waker>,
}

impl Outbox {
    /// False when the message does not fit: the stream then ends after those before it.
    fn push(&self, message: ChatMessage) -> bool {
        let mut waiting = lock(&self.0);
        let size = message.encoded_len() + OVERHEAD;
        let fits = waiting.bytes + size <= MAX_WAITING;
        if fits {
            waiting.bytes += size;
            waiting.messages.push_back(message);
        } else {
            waiting.end.get_or_insert(Err(Status::resource_exhausted(format!(
                "disconnected: more than {MAX_WAITING} bytes of messages waited to be read"
            ))));
        }
        waiting.wake();
        fits
    }

    fn end(&self, result: Result<(), Status>) {
        let mut waiting = lock(&self.0);
        waiting.end.get_or_insert(result);
        waiting.wake();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatMessage, Status>>> {
        let mut waiting = lock(&self.0);
        if let Some(message) = waiting.messages.pop_front() {
            waiting.bytes -= message.encoded_len() + OVERHEAD;
            return Poll::Ready(Some(Ok(message)));
        }
        match &mut waiting.end {
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
        }
    }
}

impl Waiting {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks stops half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what a member sends until it leaves.
async fn listen(
    rooms: Rooms,
    mut requests: Streaming<ChatMessage>,
    outbox: &Arc<Outbox>,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else {
        return Ok(());
    };
    let (room, name) = (first.room, first.member);
    if room.is_empty() || name.is_empty() {
        return Err(Status::invalid_argument("room and member must not be empty"));
    }
    match first.event {
        Some(Event::Join(join)) if join.members.is_empty() => {}
        Some(Event::Join(_)) => {
            return Err(Status::invalid_argument("the server lists the members"));
        }
        _ => return Err(Status::invalid_argument("the first message must be a join")),
    }
    let membership = rooms.join(&room, &name, outbox)?;

    while let Some(message) = requests.message().await? {
        if message.room != room || message.member != name {
            return Err(Status::invalid_argument(format!(
                "this stream is that of member {name:?} of room {room:?}"
            )));
        }
        match message.event {
            Some(Event::Text(text)) => membership.say(text),
            Some(Event::Leave(Leave {})) => break,
            Some(Event::Join(_)) => {
                return Err(Status::invalid_argument("the room is joined already"));
            }
            None => return Err(Status::invalid_argument("the message has no event")),
        }
    }
    Ok(())
}

/// What a member hears. Ends its part of the conversation when dropped.
pub(super) struct Heard {
    outbox: Arc<Outbox>,
    listener: JoinHandle<()>,
}

impl Stream for Heard {
    type Item = Result<ChatMessage, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outbox.poll(cx)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[tonic::async_trait]
impl ChatService for Service {
    type ChatStream = Heard;

    async fn chat(
        &self,
        request: Request<Streaming<ChatMessage>>,
    ) -> Result<Response<Heard>, Status> {
        let outbox = Arc::new(Outbox::default());
        let rooms = self.rooms.clone();
        // Reads on its own, so that a member who does not read cannot hold up what it says.
        let listener = tokio::spawn({
            let outbox = outbox.clone();
            async move {
                let result = listen(rooms, request.into_inner(), &outbox).await;
                outbox.end(result);
            }
        });
        Ok(Response::new(Heard { outbox, listener }))
    }
}
