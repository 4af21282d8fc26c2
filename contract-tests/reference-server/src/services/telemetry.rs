//! `telemetry.v1.DeviceManager`.

use std::collections::HashMap;
use std::pin::Pin;

use millstream_proto::telemetry::v1::device_manager_server::DeviceManager;
use millstream_proto::telemetry::v1::{DeviceState, TelemetryReply, TelemetryReport};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::answers::Answers;

pub(super) struct Service;

/// Of one stream.
#[derive(Default)]
struct Seen {
    sequence: u64,
    reports: HashMap<String, u64>,
    delay: i64,
}

impl Seen {
    fn reply(&mut self, report: TelemetryReport) -> Result<TelemetryReply, Status> {
        let expected = self.sequence + 1;
        if report.sequence != expected {
            return Err(Status::aborted(format!(
                "report {} where {expected} was expected",
                report.sequence
            )));
        }
        self.sequence = expected;

        let delay = report.departure_delay_minutes;
        self.delay += i64::from(delay.unwrap_or(0));
        let state = match (report.departure_time, delay) {
            (None, _) => DeviceState::Cancelled,
            (Some(_), Some(1..)) => DeviceState::DepartedLate,
            (Some(_), _) => DeviceState::DepartedOnTime,
        };
        let reports_of_device = report.device_id.map_or(0, |device| {
            let reports = self.reports.entry(device).or_default();
            *reports += 1;
            *reports
        });
        Ok(TelemetryReply {
            sequence: expected,
            state: state.into(),
            reports_of_device,
            total_delay_minutes: self.delay,
        })
    }
}

#[tonic::async_trait]
impl DeviceManager for Service {
    type StreamTelemetryStream = Pin<Box<dyn Stream<Item = Result<TelemetryReply, Status>> + Send>>;

    async fn stream_telemetry(
        &self,
        request: Request<Streaming<TelemetryReport>>,
    ) -> Result<Response<Self::StreamTelemetryStream>, Status> {
        let mut seen = Seen::default();
        let replies = Answers::new(request.into_inner(), move |report, replies| {
            replies.push_back(seen.reply(report)?);
            Ok(())
        });
        Ok(Response::new(Box::pin(replies)))
    }
}
