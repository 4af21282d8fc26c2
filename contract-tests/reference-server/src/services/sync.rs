//! `sync.v1.DataSync`.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;

use millstream_proto::sync::v1::data_sync_server::DataSync;
use millstream_proto::sync::v1::stream_message::Body;
use millstream_proto::sync::v1::{Ack, Record, StreamMessage};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::answers::Answers;

pub(super) struct Service;

/// Records of the client between two of the server.
const EVERY: u64 = 10;
/// Records of the server that may wait for their acknowledgement.
const MAX_UNACKNOWLEDGED: usize = 65_536;

/// Of one stream.
#[derive(Default)]
struct Exchange {
    /// Of the last message from the client.
    received_id: u64,
    received_clock: u64,
    /// Of the last message of the server.
    sent_id: u64,
    clock: u64,
    records: u64,
    checksum: crc32fast::Hasher,
    /// `logical_clock` by `sequence_id`.
    unacknowledged: HashMap<u64, u64>,
}

impl Exchange {
    fn receive(
        &mut self,
        message: StreamMessage,
        answers: &mut VecDeque<StreamMessage>,
    ) -> Result<(), Status> {
        self.check_order(&message)?;
        self.clock = self.clock.max(message.logical_clock);
        match message.body {
            Some(Body::Record(record)) => {
                self.checksum.update(record.key.as_bytes());
                self.checksum.update(&record.value);
                self.records += 1;
                let sequence_id = message.sequence_id;
                answers.push_back(self.send(Body::Ack(Ack { sequence_id }))?);
                if self.records.is_multiple_of(EVERY) {
                    answers.push_back(self.send_record()?);
                }
                Ok(())
            }
            Some(Body::Ack(ack)) => self.acknowledged(ack.sequence_id, message.logical_clock),
            None => Err(Status::invalid_argument(format!(
                "message {} has neither a record nor an acknowledgement",
                message.sequence_id
            ))),
        }
    }

    fn check_order(&mut self, message: &StreamMessage) -> Result<(), Status> {
        let (id, expected) = (message.sequence_id, self.received_id + 1);
        if id != expected {
            let what = if id < expected { "a repeat" } else { "a gap" };
            return Err(Status::aborted(format!(
                "sequence_id {id} is {what}: {expected} was expected"
            )));
        }
        let (clock, last) = (message.logical_clock, self.received_clock);
        if clock <= last {
            return Err(Status::aborted(format!(
                "logical_clock {clock} of message {id} is not greater than {last} of the one before"
            )));
        }
        self.received_id = id;
        self.received_clock = clock;
        Ok(())
    }

    fn acknowledged(&mut self, id: u64, clock: u64) -> Result<(), Status> {
        let Some(sent_clock) = self.unacknowledged.remove(&id) else {
            return Err(Status::aborted(format!(
                "acknowledgement of {id}, which is no record that waits for one"
            )));
        };
        if clock <= sent_clock {
            return Err(Status::aborted(format!(
                "logical_clock {clock} of the acknowledgement of {id} is not greater than its \
                 {sent_clock}"
            )));
        }
        Ok(())
    }

    fn send_record(&mut self) -> Result<StreamMessage, Status> {
        if self.unacknowledged.len() == MAX_UNACKNOWLEDGED {
            return Err(Status::resource_exhausted(format!(
                "{MAX_UNACKNOWLEDGED} records wait for their acknowledgement"
            )));
        }
        let record = Record {
            key: format!("server/{}", self.records / EVERY),
            value: self.checksum.clone().finalize().to_be_bytes().to_vec(),
        };
        let message = self.send(Body::Record(record))?;
        self.unacknowledged.insert(message.sequence_id, message.logical_clock);
        Ok(message)
    }

    fn send(&mut self, body: Body) -> Result<StreamMessage, Status> {
        self.sent_id += 1;
        self.clock = self.clock.checked_add(1).ok_or_else(|| {
            Status::out_of_range("logical_clock is at its end: no greater one is left")
        })?;
        Ok(StreamMessage { sequence_id: self.sent_id, logical_clock: self.clock, body: Some(body) })
    }
}

#[tonic::async_trait]
impl DataSync for Service {
    type ExchangeDataStream = Pin<Box<dyn Stream<Item = Result<StreamMessage, Status>> + Send>>;

    async fn exchange_data(
        &self,
        request: Request<Streaming<StreamMessage>>,
    ) -> Result<Response<Self::ExchangeDataStream>, Status> {
        let mut exchange = Exchange::default();
        let answers = Answers::new(request.into_inner(), move |message, answers| {
            exchange.receive(message, answers)
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
