//! Plays the script of a call.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    connection::{Connection, Gone},
    frames::{Frame, MAX_FRAME, encode_fields, error, flag, kind, pad, setting, write_frame},
    script::{Data, Headers, Message, Step, Target, data, end_flag, head, message, numbered, ok},
};

/// A message of a flood with its prefix.
const FLOOD_MESSAGE: usize = 69;
/// Bytes of a flood that are written at once.
const FLOOD_WRITE: usize = 64 << 10;
/// Between two grants of a shrunk window: long enough for the client to be seen waiting.
const GRANT_PAUSE: Duration = Duration::from_millis(1);

/// Plays a script; it ends early, and quietly, when the client is gone.
pub async fn play(connection: Arc<Connection>, id: u32, steps: Vec<Step>) {
    let player = Player { connection: &connection, id };
    // A client that is gone ends the script: that is all there is to do about it.
    let _ = player.play_all(steps.into()).await;
    connection.books().calls.remove(&id);
}

struct Player<'c> {
    connection: &'c Connection,
    id: u32,
}

impl Player<'_> {
    async fn play_all(&self, mut steps: VecDeque<Step>) -> Result<(), Gone> {
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Then(then) => steps = then(&self.whole_request().await?).into(),
                Step::Seen => {
                    let asked = self.whole_request().await?;
                    let path = asked.first().map(|m| m.payload.as_slice()).unwrap_or_default();
                    let seen = self.connection.world.seen(&String::from_utf8_lossy(path));
                    steps = [head(), data(message(seen.to_string().as_bytes())), ok()].into();
                }
                step => self.play_one(step).await?,
            }
        }
        Ok(())
    }

    async fn play_one(&self, step: Step) -> Result<(), Gone> {
        let connection = self.connection;
        match step {
            Step::AwaitRequest => {
                connection.until(self.id, |books| books.calls[&self.id].ended.then_some(())).await
            }
            Step::AwaitMessages(count) => {
                let come =
                    |call: &crate::connection::Call| call.ended || call.messages.len() >= count;
                connection.until(self.id, |books| come(&books.calls[&self.id]).then_some(())).await
            }
            Step::Headers(headers) => self.send_headers(&headers).await,
            Step::Data(data) => self.send_data(&data).await,
            Step::Flood(count) => self.flood(count).await,
            Step::Lockstep(count) => {
                for number in 0..count {
                    self.send(message(&numbered(number)[..number as usize % 64])).await?;
                    self.pings(1).await?;
                }
                Ok(())
            }
            Step::Drip(pause) => self.drip(pause).await,
            Step::Endless(frames) => self.endless(&frames(self.id)).await,
            Step::Frame { stream, kind, flags, payload } => {
                let stream = self.stream_of(stream);
                connection.write_frame(&Frame { kind, flags, stream, payload }).await
            }
            Step::CutFrame => {
                let mut bytes = Vec::new();
                write_frame(kind::DATA, 0, self.id, &[0; 100], &mut bytes);
                connection.write(&bytes[..50]).await
            }
            Step::Reset(code) => connection.write_frame(&Frame::reset(self.id, code)).await,
            Step::GoAway { with_this, code, debug } => {
                let last = if with_this { self.id } else { self.id.saturating_sub(2) };
                connection.write_frame(&Frame::go_away(last, code, debug.as_bytes())).await
            }
            Step::Echo => self.echo().await,
            Step::Pings(count) => self.pings(count).await,
            Step::Settings(count) => self.settings(count).await,
            Step::ShrinkWindow(size) => self.shrink_window(size).await,
            Step::Rendezvous(count) => {
                let path = connection
                    .until(self.id, |books| Some(books.calls[&self.id].path.clone()))
                    .await?;
                let reset = connection.until(self.id, |_| None::<()>);
                tokio::select! {
                    () = connection.world.meet(&path, count) => Ok(()),
                    _ = reset => Err(Gone),
                }
            }
            Step::Sleep(pause) => self.sleep(pause).await,
            Step::Hang => connection.until(self.id, |_| None).await,
            Step::FallSilent => {
                connection.books().silent = true;
                Ok(())
            }
            Step::Close => self.end(false).await,
            Step::Abort => self.end(true).await,
            // These replace the script and are played above.
            Step::Then(_) | Step::Seen => Ok(()),
        }
    }

    async fn end(&self, abort: bool) -> Result<(), Gone> {
        self.connection.end(abort).await;
        // The connection ends this script with itself.
        pending().await
    }

    fn stream_of(&self, target: Target) -> u32 {
        match target {
            Target::Call => self.id,
            Target::Connection => 0,
            Target::Idle => self.id + 2_000,
        }
    }

    /// All messages of the request, once it has ended.
    async fn whole_request(&self) -> Result<Vec<Message>, Gone> {
        self.connection
            .until(self.id, |books| {
                let call = books.calls.get_mut(&self.id)?;
                call.ended.then(|| call.messages.drain(..).collect())
            })
            .await
    }

    async fn send_headers(&self, headers: &Headers) -> Result<(), Gone> {
        let block = encode_fields(headers.fields.iter().map(|(n, v)| (&n[..], &v[..])));
        let extra = headers.padding.map_or(0, |padding| 1 + usize::from(padding))
            + if headers.priority { 5 } else { 0 };
        let fragment = headers.fragment.unwrap_or(MAX_FRAME - extra).min(MAX_FRAME - extra);
        let mut fragments = block.chunks(fragment.max(1)).peekable();
        let first = fragments.next().unwrap_or_default();

        let mut flags = end_flag(headers.end_stream);
        let mut payload = first.to_vec();
        if headers.priority {
            flags |= flag::PRIORITY;
            payload.splice(..0, [0, 0, 0, 0, 15]);
        }
        if let Some(padding) = headers.padding {
            flags |= flag::PADDED;
            payload = pad(&payload, padding);
        }
        if fragments.peek().is_none() {
            flags |= flag::END_HEADERS;
        }
        // One write: nothing may come between HEADERS and its CONTINUATIONs.
        let mut bytes = Vec::with_capacity(block.len() + 64);
        write_frame(kind::HEADERS, flags, self.id, &payload, &mut bytes);
        while let Some(fragment) = fragments.next() {
            let flags = if fragments.peek().is_none() { flag::END_HEADERS } else { 0 };
            write_frame(kind::CONTINUATION, flags, self.id, fragment, &mut bytes);
        }
        self.connection.write(&bytes).await
    }

    async fn send_data(&self, data: &Data) -> Result<(), Gone> {
        let overhead = data.padding.map_or(0, |padding| 1 + usize::from(padding));
        let padded = if data.padding.is_some() { flag::PADDED } else { 0 };
        let mut rest = data.bytes.as_slice();
        loop {
            let most = (rest.len() + overhead).min(MAX_FRAME);
            let least = overhead + usize::from(!rest.is_empty());
            let granted = self.reserve(least, most).await?;
            let (chunk, behind) = rest.split_at(granted - overhead);
            rest = behind;
            let mut flags = padded;
            if rest.is_empty() {
                flags |= end_flag(data.end_stream);
            }
            let mut bytes = Vec::with_capacity(granted + 9);
            match data.padding {
                Some(padding) => {
                    write_frame(kind::DATA, flags, self.id, &pad(chunk, padding), &mut bytes);
                }
                None => write_frame(kind::DATA, flags, self.id, chunk, &mut bytes),
            }
            self.connection.write(&bytes).await?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits until both windows have room for `least` bytes and takes up to `most` of it.
    async fn reserve(&self, least: usize, most: usize) -> Result<usize, Gone> {
        if most == 0 {
            return Ok(0);
        }
        self.connection
            .until(self.id, |books| {
                let call = books.calls.get_mut(&self.id)?;
                let room = books.send_window.min(call.send_window).min(most as i64);
                if room < least as i64 {
                    return None;
                }
                books.send_window -= room;
                call.send_window -= room;
                usize::try_from(room).ok()
            })
            .await
    }

    async fn flood(&self, count: u32) -> Result<(), Gone> {
        let mut next = 0;
        while next < count {
            let most = (FLOOD_WRITE / FLOOD_MESSAGE).min((count - next) as usize) * FLOOD_MESSAGE;
            let room = self.reserve(FLOOD_MESSAGE, most).await?;
            let messages = room / FLOOD_MESSAGE;
            let unused = (room % FLOOD_MESSAGE) as i64;
            {
                let mut books = self.connection.books();
                books.send_window += unused;
                if let Some(call) = books.calls.get_mut(&self.id) {
                    call.send_window += unused;
                }
            }
            let mut bytes = Vec::with_capacity(messages * (FLOOD_MESSAGE + 9));
            for number in next..next + messages as u32 {
                write_frame(kind::DATA, 0, self.id, &message(&numbered(number)), &mut bytes);
            }
            self.connection.write(&bytes).await?;
            next += messages as u32;
        }
        Ok(())
    }

    async fn drip(&self, pause: Duration) -> Result<(), Gone> {
        for number in 0.. {
            self.sleep(pause).await?;
            self.send(message(&numbered(number))).await?;
        }
        Ok(())
    }

    async fn endless(&self, frames: &[u8]) -> Result<(), Gone> {
        let many = frames.repeat((FLOOD_WRITE / frames.len().max(1)).max(1));
        loop {
            self.connection.write(&many).await?;
            // Notices the client's reset, and lets others run when the client reads all of it.
            self.connection.until(self.id, |_| Some(())).await?;
            tokio::task::yield_now().await;
        }
    }

    async fn sleep(&self, pause: Duration) -> Result<(), Gone> {
        let reset = self.connection.until(self.id, |_| None::<()>);
        tokio::select! {
            () = sleep(pause) => Ok(()),
            _ = reset => Err(Gone),
        }
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.send_data(&Data { bytes, ..Data::default() }).await
    }

    async fn echo(&self) -> Result<(), Gone> {
        loop {
            let next = self
                .connection
                .until(self.id, |books| {
                    let call = books.calls.get_mut(&self.id)?;
                    match call.next_message() {
                        Some(next) => Some(Some(next)),
                        None => call.ended.then_some(None),
                    }
                })
                .await?;
            match next {
                Some(next) => self.send(message(&next.payload)).await?,
                None => return Ok(()),
            }
        }
    }

    async fn pings(&self, count: u32) -> Result<(), Gone> {
        self.connection.books().pongs.clear();
        for number in 0..count {
            let payload = (u64::from(self.id) << 32 | u64::from(number)).to_be_bytes();
            self.connection.write_frame(&Frame::new(kind::PING, 0, 0, payload)).await?;
        }
        for number in 0..count {
            let expected = (u64::from(self.id) << 32 | u64::from(number)).to_be_bytes();
            let pong = self.connection.until(self.id, |books| books.pongs.pop_front()).await?;
            if pong != expected {
                let wrong = Frame::go_away(self.id, error::PROTOCOL_ERROR, b"PONGs out of order");
                self.connection.write_frame(&wrong).await?;
                return self.end(false).await;
            }
        }
        Ok(())
    }

    async fn settings(&self, count: u32) -> Result<(), Gone> {
        let before = self.connection.books().settings_acknowledged;
        let outstanding = u64::from(count);
        for _ in 0..count {
            self.connection.write_settings(&[(setting::MAX_CONCURRENT_STREAMS, 100)]).await?;
        }
        self.connection
            .until(self.id, |books| {
                (books.settings_acknowledged >= before + outstanding).then_some(())
            })
            .await
    }

    async fn shrink_window(&self, size: u32) -> Result<(), Gone> {
        let original = crate::frames::DEFAULT_WINDOW as u32;
        self.connection.write_settings(&[(setting::INITIAL_WINDOW_SIZE, size)]).await?;
        loop {
            let ended = self
                .connection
                .until(self.id, |books| {
                    let call = &books.calls[&self.id];
                    // Every byte that was granted has been used.
                    (call.ended || call.receive_window <= 0).then_some(call.ended)
                })
                .await?;
            if ended {
                break;
            }
            sleep(GRANT_PAUSE).await;
            let grant = {
                let mut books = self.connection.books();
                let Some(call) = books.calls.get_mut(&self.id) else {
                    return Err(Gone);
                };
                let grant = i64::from(size) - call.receive_window;
                call.receive_window += grant;
                u32::try_from(grant).unwrap_or(size)
            };
            self.connection.write_frame(&Frame::window_update(self.id, grant)).await?;
        }
        self.connection.write_settings(&[(setting::INITIAL_WINDOW_SIZE, original)]).await
    }
}
