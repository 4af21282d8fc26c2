//! What the demo does with each service.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use millstream::{Batch, Call, CallKind, CallOptions, Channel};
use millstream_proto::{chat, logs, market, sync, telemetry, weather};
use prost::Message;

pub type Failure = Box<dyn std::error::Error>;

/// Sums up what one service sent and tells how far it is.
struct Tally {
    service: &'static str,
    started: Instant,
    told: Option<Instant>,
    messages: u64,
    expected: u64,
    crc: crc32fast::Hasher,
}

impl Tally {
    fn new(service: &'static str, expected: u64) -> Tally {
        let crc = crc32fast::Hasher::new();
        Tally { service, started: Instant::now(), told: None, messages: 0, expected, crc }
    }

    fn add(&mut self, payload: &[u8]) {
        self.messages += 1;
        self.crc.update(payload);
        // The clock is not asked for every message.
        let due = self.messages & 0xff == 0
            && self.told.is_none_or(|told| told.elapsed() > Duration::from_millis(100));
        if due {
            self.tell();
            self.told = Some(Instant::now());
        }
    }

    fn tell(&self) {
        eprintln!("progress {} {} {}", self.service, self.messages, self.expected);
    }

    fn finish(self) {
        self.tell();
        println!(
            r#"{{"language":"rust","service":"{}","messages":{},"seconds":{:.6},"crc32":"{:08x}"}}"#,
            self.service,
            self.messages,
            self.started.elapsed().as_secs_f64(),
            self.crc.finalize(),
        );
    }
}

/// The length-delimited messages of a file.
fn read_messages<M: Message + Default>(file: &Path) -> Result<Vec<M>, Failure> {
    let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(
            M::decode_length_delimited(&mut rest)
                .map_err(|e| format!("{}: {e}", file.display()))?,
        );
    }
    Ok(messages)
}

/// Receives one message of a call at a time.
struct Inbox {
    call: Call,
    batch: Batch,
}

impl Inbox {
    fn new(call: Call) -> Inbox {
        Inbox { call, batch: Batch::new() }
    }

    async fn next(&mut self) -> Result<Option<&[u8]>, millstream::Error> {
        if self.batch.remaining() == 0 && !self.call.next_batch(&mut self.batch).await? {
            return Ok(None);
        }
        Ok(self.batch.next())
    }

    async fn expect(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(self.next().await?.ok_or("the stream ended early")?.to_vec())
    }

    async fn end(&mut self) -> Result<(), Failure> {
        match self.next().await? {
            None => Ok(()),
            Some(_) => Err("a message came behind the last one".into()),
        }
    }
}

fn options() -> CallOptions {
    CallOptions { timeout: Some(Duration::from_secs(300)), ..CallOptions::default() }
}

pub async fn weather(channel: &Channel) -> Result<(), Failure> {
    const EVERY: usize = 1000;
    let mut tally = Tally::new("weather.v1.Weather", 26_115);
    let request = weather::v1::GetWeatherStreamRequest::default().encode_to_vec();
    let mut inbox = Inbox::new(channel.call_with(
        "/weather.v1.Weather/GetWeatherStream",
        CallKind::ServerStream,
        options(),
        &request,
    )?);
    let mut picked = Vec::new();
    let mut index = 0;
    while let Some(payload) = inbox.next().await? {
        if index % EVERY == 0 {
            picked.push(weather::v1::Observation::decode(payload)?);
        }
        index += 1;
        tally.add(payload);
    }
    for observation in picked {
        let request = weather::v1::GetObservationRequest {
            origin: observation.origin,
            hour: observation.hour,
        };
        let mut inbox = Inbox::new(channel.call_with(
            "/weather.v1.Weather/GetObservation",
            CallKind::Unary,
            options(),
            &request.encode_to_vec(),
        )?);
        tally.add(&inbox.expect().await?);
        inbox.end().await?;
    }
    tally.finish();
    Ok(())
}

pub async fn logs(channel: &Channel, data: &Path) -> Result<(), Failure> {
    let batches: Vec<logs::v1::LogBatch> = read_messages(&data.join("log_batches.binpb"))?;
    let mut tally = Tally::new("logs.v1.LogCollector", 1);
    let call = channel.call("/logs.v1.LogCollector/Upload", CallKind::ClientStream, options())?;
    for batch in &batches {
        call.send(&batch.encode_to_vec()).await?;
    }
    call.half_close()?;
    let mut inbox = Inbox::new(call);
    tally.add(&inbox.expect().await?);
    inbox.end().await?;
    tally.finish();
    Ok(())
}

/// One member of the demo's room.
struct Member {
    name: &'static str,
    inbox: Inbox,
    received: Vec<Vec<u8>>,
}

impl Member {
    async fn join(channel: &Channel, name: &'static str) -> Result<Member, Failure> {
        let call = channel.call("/chat.v1.ChatService/Chat", CallKind::Bidi, options())?;
        let mut member = Member { name, inbox: Inbox::new(call), received: Vec::new() };
        member.send(chat::v1::chat_message::Event::Join(chat::v1::Join::default())).await?;
        member.receive().await?;
        Ok(member)
    }

    async fn send(&self, event: chat::v1::chat_message::Event) -> Result<(), Failure> {
        let message = chat::v1::ChatMessage {
            room: "demo".into(),
            member: self.name.into(),
            event: Some(event),
        };
        Ok(self.inbox.call.send(&message.encode_to_vec()).await?)
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        let payload = self.inbox.expect().await?;
        self.received.push(payload);
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), Failure> {
        self.inbox.call.half_close()?;
        self.inbox.end().await
    }
}

pub async fn chat(channel: &Channel) -> Result<(), Failure> {
    let mut tally = Tally::new("chat.v1.ChatService", 104);
    let mut ada = Member::join(channel, "ada").await?;
    let mut bob = Member::join(channel, "bob").await?;
    ada.receive().await?;
    for number in 0..100 {
        let text = chat::v1::chat_message::Event::Text(format!("message {number}"));
        let (speaker, listener) = if number % 2 == 0 { (&ada, &mut bob) } else { (&bob, &mut ada) };
        speaker.send(text).await?;
        listener.receive().await?;
    }
    ada.leave().await?;
    bob.receive().await?;
    bob.leave().await?;
    for payload in ada.received.iter().chain(&bob.received) {
        tally.add(payload);
    }
    tally.finish();
    Ok(())
}

pub async fn market(channel: &Channel) -> Result<(), Failure> {
    let mut tally = Tally::new("market.v1.MarketData", 560);
    let call = channel.call("/market.v1.MarketData/Subscribe", CallKind::Bidi, options())?;
    let request = market::v1::SubscribeRequest {
        add: ["MSFT", "AMZN", "IBM", "GOOG", "AAPL"].map(String::from).to_vec(),
        ..Default::default()
    };
    call.send(&request.encode_to_vec()).await?;
    call.half_close()?;
    let mut inbox = Inbox::new(call);
    while let Some(payload) = inbox.next().await? {
        tally.add(payload);
    }
    tally.finish();
    Ok(())
}

pub async fn telemetry(channel: &Channel, data: &Path) -> Result<(), Failure> {
    let reports: Vec<telemetry::v1::TelemetryReport> =
        read_messages(&data.join("telemetry_reports.binpb"))?;
    let mut tally = Tally::new("telemetry.v1.DeviceManager", reports.len() as u64);
    let call =
        channel.call("/telemetry.v1.DeviceManager/StreamTelemetry", CallKind::Bidi, options())?;
    let sending = tokio::spawn({
        let call = call.clone();
        async move {
            for report in &reports {
                call.send(&report.encode_to_vec()).await?;
            }
            call.half_close()
        }
    });
    let mut inbox = Inbox::new(call);
    while let Some(payload) = inbox.next().await? {
        tally.add(payload);
    }
    sending.await??;
    tally.finish();
    Ok(())
}

pub async fn sync(channel: &Channel, data: &Path) -> Result<(), Failure> {
    use sync::v1::{Ack, Record, StreamMessage, stream_message::Body};

    /// Our side of the exchange: numbers and stamps what is sent.
    struct Side {
        inbox: Inbox,
        sequence: u64,
        clock: u64,
    }

    impl Side {
        async fn send(&mut self, body: Body) -> Result<(), Failure> {
            self.sequence += 1;
            self.clock += 1;
            let message = StreamMessage {
                sequence_id: self.sequence,
                logical_clock: self.clock,
                body: Some(body),
            };
            Ok(self.inbox.call.send(&message.encode_to_vec()).await?)
        }

        async fn receive(&mut self, tally: &mut Tally) -> Result<StreamMessage, Failure> {
            let payload = self.inbox.expect().await?;
            tally.add(&payload);
            let message = StreamMessage::decode(payload.as_slice())?;
            self.clock = self.clock.max(message.logical_clock) + 1;
            Ok(message)
        }
    }

    const SERVER_RECORD_EVERY: usize = 10;
    let records: Vec<Record> = read_messages(&data.join("sync_records.binpb"))?;
    let expected = records.len() + records.len() / SERVER_RECORD_EVERY;
    let mut tally = Tally::new("sync.v1.DataSync", expected as u64);
    let call = channel.call("/sync.v1.DataSync/ExchangeData", CallKind::Bidi, options())?;
    let mut side = Side { inbox: Inbox::new(call), sequence: 0, clock: 0 };
    for (index, record) in records.into_iter().enumerate() {
        side.send(Body::Record(record)).await?;
        let answer = side.receive(&mut tally).await?;
        match answer.body {
            Some(Body::Ack(ack)) if ack.sequence_id == side.sequence => {}
            other => {
                return Err(format!("wanted an ack of {}, got {other:?}", side.sequence).into());
            }
        }
        if (index + 1) % SERVER_RECORD_EVERY == 0 {
            let theirs = side.receive(&mut tally).await?;
            if !matches!(theirs.body, Some(Body::Record(_))) {
                return Err(format!("wanted a record of the server, got {theirs:?}").into());
            }
            side.send(Body::Ack(Ack { sequence_id: theirs.sequence_id })).await?;
        }
    }
    side.inbox.call.half_close()?;
    side.inbox.end().await?;
    tally.finish();
    Ok(())
}
