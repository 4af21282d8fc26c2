//! The services of one answer, and those whose stream follows from the request.

mod common;

use common::{all, assert_status, connect, server, until_end, within};
use millstream_proto::logs::v1::log_collector_client::LogCollectorClient;
use millstream_proto::logs::v1::{LogBatch, LogEntry, Severity, SeverityCount, UploadSummary};
use millstream_proto::market::v1::market_data_client::MarketDataClient;
use millstream_proto::market::v1::{PriceUpdate, SubscribeRequest};
use millstream_proto::telemetry::v1::device_manager_client::DeviceManagerClient;
use millstream_proto::telemetry::v1::{DeviceState, TelemetryReply, TelemetryReport};
use millstream_proto::weather::v1::weather_client::WeatherClient;
use millstream_proto::weather::v1::{GetObservationRequest, GetWeatherStreamRequest, Observation};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// Observations of the excerpt.
const OBSERVATIONS: usize = 223;

fn request(origin: &str, hour: &str) -> GetObservationRequest {
    GetObservationRequest { origin: origin.to_owned(), hour: Some(hour.parse().expect("a time")) }
}

#[tokio::test]
async fn an_observation_has_what_was_measured_and_lacks_what_was_not() {
    let server = server().await;
    let mut weather = WeatherClient::new(connect(&server).await);

    let answer = weather.get_observation(request("EWR", "2013-01-01T06:00:00Z"));
    let observation = within(answer).await.expect("an answer").into_inner();
    assert_eq!(
        observation,
        Observation {
            origin: "EWR".to_owned(),
            hour: Some("2013-01-01T06:00:00Z".parse().expect("a time")),
            temperature_fahrenheit: Some(39.02),
            dew_point_fahrenheit: Some(26.06),
            relative_humidity_percent: Some(59.37),
            wind_direction_degrees: Some(270.0),
            wind_speed_mph: Some(10.357_019_999_999_999),
            wind_gust_mph: None,
            precipitation_inches: Some(0.0),
            pressure_millibars: Some(1012.0),
            visibility_miles: Some(10.0),
        }
    );
}

#[tokio::test]
async fn an_observation_that_is_not_there_is_not_found() {
    let server = server().await;
    let mut weather = WeatherClient::new(connect(&server).await);

    assert_status(
        within(weather.get_observation(request("EWR", "1999-01-01T00:00:00Z"))).await,
        Code::NotFound,
        "no observation of EWR at 1999-01-01T00:00:00Z",
    );
    assert_status(
        within(weather.get_observation(request("EWR", "2013-01-01T06:00:00.5Z"))).await,
        Code::NotFound,
        "no observation of EWR at 2013-01-01T06:00:00.500Z",
    );
    assert_status(
        within(weather.get_observation(request("SFO", "2013-01-01T06:00:00Z"))).await,
        Code::NotFound,
        "no observations of \"SFO\"; there are those of EWR, JFK, LGA",
    );
    let without_hour = GetObservationRequest { origin: "EWR".to_owned(), hour: None };
    assert_status(
        within(weather.get_observation(without_hour)).await,
        Code::InvalidArgument,
        "hour is missing",
    );
}

#[tokio::test]
async fn the_weather_stream_has_every_observation_of_the_filter_in_order() {
    let server = server().await;
    let mut weather = WeatherClient::new(connect(&server).await);
    let mut stream = async |origin: &str, limit| {
        let origin = origin.to_owned();
        let request = GetWeatherStreamRequest { origin, limit };
        let answer = within(weather.get_weather_stream(request)).await;
        all(answer.expect("a stream").into_inner()).await
    };

    let everything = stream("", 0).await;
    assert_eq!(everything.len(), OBSERVATIONS);
    let of_jfk: Vec<_> = everything.iter().filter(|o| o.origin == "JFK").collect();
    assert!(of_jfk.len() > 50);
    assert!(of_jfk.is_sorted_by_key(|o| o.hour.map(|hour| hour.seconds)));
    assert_eq!(stream("JFK", 0).await.iter().collect::<Vec<_>>(), of_jfk);
    assert_eq!(stream("JFK", 5).await.iter().collect::<Vec<_>>(), of_jfk[..5]);
    assert_eq!(stream("", u32::MAX).await, everything);

    // Each of these lacks somewhere, and is there elsewhere.
    let fields: [fn(&Observation) -> Option<f64>; 5] = [
        |o| o.temperature_fahrenheit,
        |o| o.wind_direction_degrees,
        |o| o.wind_speed_mph,
        |o| o.wind_gust_mph,
        |o| o.pressure_millibars,
    ];
    for field in fields {
        let known = everything.iter().filter(|o| field(o).is_some()).count();
        assert!((1..OBSERVATIONS).contains(&known), "{known}");
    }
}

#[tokio::test]
async fn the_weather_stream_of_an_unknown_airport_is_not_found() {
    let server = server().await;
    let mut weather = WeatherClient::new(connect(&server).await);
    let request = GetWeatherStreamRequest { origin: "SFO".to_owned(), limit: 0 };
    assert_status(
        within(weather.get_weather_stream(request)).await,
        Code::NotFound,
        "no observations of \"SFO\"; there are those of EWR, JFK, LGA",
    );
}

#[tokio::test]
async fn an_upload_is_summed_up_once() {
    let server = server().await;
    let mut logs = LogCollectorClient::new(connect(&server).await);
    let entry = |severity: Severity, attributes: &[(&str, &str)]| LogEntry {
        severity: severity.into(),
        message: "departed".to_owned(),
        attributes: attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..LogEntry::default()
    };
    let batches = vec![
        LogBatch {
            entries: vec![
                entry(Severity::Info, &[("b", "1"), ("a", "2"), ("c", "3")]),
                entry(Severity::Error, &[]),
            ],
        },
        LogBatch::default(),
        LogBatch { entries: vec![entry(Severity::Info, &[])] },
    ];
    let encoded: Vec<u8> = batches.iter().flat_map(Message::encode_to_vec).collect();

    let answer = logs.upload(tokio_stream::iter(batches));
    let summary = within(answer).await.expect("a summary").into_inner();
    assert_eq!(
        summary,
        UploadSummary {
            batches: 3,
            entries: 3,
            bytes: encoded.len() as u64,
            counts: vec![
                SeverityCount { severity: Severity::Info.into(), entries: 2 },
                SeverityCount { severity: Severity::Error.into(), entries: 1 },
            ],
            crc32: crc32fast::hash(&encoded),
        }
    );

    let nothing = within(logs.upload(tokio_stream::empty())).await;
    let nothing = nothing.expect("a summary").into_inner();
    assert_eq!(nothing, UploadSummary::default());
}

fn report(sequence: u64, device: Option<&str>, delay: Option<i32>) -> TelemetryReport {
    TelemetryReport {
        device_id: device.map(str::to_owned),
        sequence,
        departure_time: delay.map(|_| 517),
        departure_delay_minutes: delay,
        ..TelemetryReport::default()
    }
}

#[tokio::test]
async fn every_telemetry_report_is_replied_to_in_order() {
    let server = server().await;
    let mut devices = DeviceManagerClient::new(connect(&server).await);
    let reports = vec![
        report(1, Some("N14228"), Some(2)),
        report(2, Some("N24211"), Some(-4)),
        report(3, None, Some(0)),
        report(4, Some("N14228"), None),
    ];
    let answer = devices.stream_telemetry(tokio_stream::iter(reports));
    let replies = all(within(answer).await.expect("a stream").into_inner()).await;

    let reply = |sequence, state: DeviceState, reports_of_device, total_delay_minutes| {
        TelemetryReply { sequence, state: state.into(), reports_of_device, total_delay_minutes }
    };
    assert_eq!(
        replies,
        [
            reply(1, DeviceState::DepartedLate, 1, 2),
            reply(2, DeviceState::DepartedOnTime, 1, -2),
            reply(3, DeviceState::DepartedOnTime, 0, -2),
            reply(4, DeviceState::Cancelled, 2, -2),
        ]
    );
}

#[tokio::test]
async fn a_telemetry_reply_does_not_wait_for_the_next_report() {
    let server = server().await;
    let mut devices = DeviceManagerClient::new(connect(&server).await);
    let (send, reports) = mpsc::channel(1);
    let answer = within(devices.stream_telemetry(ReceiverStream::new(reports))).await;
    let mut replies = answer.expect("a stream").into_inner();
    for sequence in 1..=3 {
        let sent = send.send(report(sequence, None, None)).await;
        sent.expect("the call is open");
        let reply = within(replies.message()).await.expect("a reply");
        assert_eq!(reply.map(|reply| reply.sequence), Some(sequence));
    }
}

#[tokio::test]
async fn a_gap_or_a_repeat_in_the_telemetry_aborts_after_the_replies_before() {
    let server = server().await;
    let mut devices = DeviceManagerClient::new(connect(&server).await);
    for wrong in [0, 2, 4] {
        let reports = [1, 2, wrong].map(|sequence| report(sequence, None, None));
        let answer = devices.stream_telemetry(tokio_stream::iter(reports));
        let (replies, end) = until_end(within(answer).await.expect("a stream").into_inner()).await;
        assert_eq!(replies.len(), 2);
        let message = format!("report {wrong} where 3 was expected");
        assert_status(end, Code::Aborted, &message);
    }
}

fn add(symbols: &[&str]) -> SubscribeRequest {
    SubscribeRequest {
        add: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
        remove: Vec::new(),
    }
}

fn remove(symbol: &str) -> SubscribeRequest {
    SubscribeRequest { add: Vec::new(), remove: vec![symbol.to_owned()] }
}

fn assert_without_gaps(updates: &[PriceUpdate], symbol: &str, count: usize) {
    let own = updates.iter().filter(|update| update.symbol == symbol);
    let sequences: Vec<u64> = own.map(|update| update.sequence).collect();
    assert_eq!(sequences, (1..=count as u64).collect::<Vec<_>>(), "{symbol}");
}

#[tokio::test]
async fn a_subscription_to_all_symbols_replays_every_tick_by_time() {
    let server = server().await;
    let mut market = MarketDataClient::new(connect(&server).await);
    let symbols = ["AAPL", "GOOG", "IBM", "AMZN", "MSFT"];
    let answer = market.subscribe(tokio_stream::iter([add(&symbols)]));
    let updates = all(within(answer).await.expect("a stream").into_inner()).await;

    assert_eq!(updates.len(), 560);
    assert!(updates.is_sorted_by_key(|update| update.time.map(|time| time.seconds)));
    for symbol in symbols {
        assert_without_gaps(&updates, symbol, if symbol == "GOOG" { 68 } else { 123 });
    }
    let first = PriceUpdate {
        symbol: "MSFT".to_owned(),
        time: Some("2000-01-01T00:00:00Z".parse().expect("a time")),
        price: 39.81,
        sequence: 1,
    };
    assert_eq!(updates[0], first);
    // At the same time in the order of the symbols in the data set.
    let start: Vec<_> = updates[..4].iter().map(|u| u.symbol.as_str()).collect();
    assert_eq!(start, ["MSFT", "AMZN", "IBM", "AAPL"]);
}

#[tokio::test]
async fn a_removed_symbol_pauses_and_goes_on_when_it_is_added_again() {
    let server = server().await;
    let mut market = MarketDataClient::new(connect(&server).await);
    let (send, requests) = mpsc::channel(8);
    // They are ready together, so that they arrive in one frame, before the first tick is sent.
    for request in [add(&["IBM", "MSFT"]), remove("IBM"), add(&["MSFT"])] {
        send.send(request).await.expect("room for it");
    }
    let answer = within(market.subscribe(ReceiverStream::new(requests))).await;
    let mut stream = answer.expect("a stream").into_inner();
    let mut updates = Vec::new();
    while updates.iter().filter(|u: &&PriceUpdate| u.symbol == "MSFT").count() < 123 {
        let update = within(stream.message()).await.expect("an update");
        updates.push(update.expect("an update"));
    }
    assert_eq!(updates.len(), 123, "IBM is removed");

    send.send(add(&["IBM"])).await.expect("the call is open");
    drop(send);
    updates.extend(all(stream).await);
    assert_without_gaps(&updates, "MSFT", 123);
    assert_without_gaps(&updates, "IBM", 123);
}

#[tokio::test]
async fn an_unknown_symbol_is_an_invalid_argument_that_names_the_known_ones() {
    let server = server().await;
    let mut market = MarketDataClient::new(connect(&server).await);
    for request in [add(&["TSLA"]), remove("TSLA")] {
        let answer = within(market.subscribe(tokio_stream::iter([request]))).await;
        let (updates, end) = until_end(answer.expect("a stream").into_inner()).await;
        assert_eq!(updates, []);
        assert_status(
            end,
            Code::InvalidArgument,
            "unknown symbol \"TSLA\"; the symbols are MSFT, AMZN, IBM, GOOG, AAPL",
        );
    }
}

#[tokio::test]
async fn a_stream_without_a_subscription_ends_with_its_requests() {
    let server = server().await;
    let mut market = MarketDataClient::new(connect(&server).await);
    let answer = within(market.subscribe(tokio_stream::empty())).await;
    assert_eq!(all(answer.expect("a stream").into_inner()).await, []);
}
