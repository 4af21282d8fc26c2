//! The services, one module each.

use std::sync::Arc;

use millstream_proto::chat::v1::chat_service_server::ChatServiceServer;
use millstream_proto::contract::v1::echo_server::EchoServer;
use millstream_proto::logs::v1::log_collector_server::LogCollectorServer;
use millstream_proto::market::v1::market_data_server::MarketDataServer;
use millstream_proto::sync::v1::data_sync_server::DataSyncServer;
use millstream_proto::telemetry::v1::device_manager_server::DeviceManagerServer;
use millstream_proto::weather::v1::weather_server::WeatherServer;
use tonic::codec::CompressionEncoding::{Deflate, Gzip, Zstd};
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::calls::Calls;
use crate::data::Data;
use crate::error::{Context, Error};

mod answers;
mod chat;
mod echo;
mod logs;
mod market;
mod sync;
mod telemetry;
mod weather;

/// Full names of all services that the health service knows.
pub const NAMES: [&str; 7] = [
    "chat.v1.ChatService",
    "contract.v1.Echo",
    "logs.v1.LogCollector",
    "market.v1.MarketData",
    "sync.v1.DataSync",
    "telemetry.v1.DeviceManager",
    "weather.v1.Weather",
];

/// All of them, with health and reflection.
pub(crate) async fn routes(data: Arc<Data>, calls: Calls) -> Result<Routes, Error> {
    /// Understands and offers every compression; what is used is chosen per call.
    macro_rules! every_compression {
        ($service:expr) => {{
            let mut service = $service;
            for encoding in [Gzip, Deflate, Zstd] {
                service = service.accept_compressed(encoding).send_compressed(encoding);
            }
            service
        }};
    }

    let (reporter, health) = tonic_health::server::health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(millstream_proto::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context(|| "the descriptor set is wrong".to_owned())?;

    let echo = EchoServer::new(echo::Service::new(calls))
        .max_decoding_message_size(echo::MAX_PAYLOAD + 1024 * 1024);
    Ok(Routes::new(health)
        .add_service(reflection)
        .add_service(every_compression!(ChatServiceServer::new(chat::Service::default())))
        .add_service(every_compression!(echo))
        .add_service(every_compression!(LogCollectorServer::new(logs::Service)))
        .add_service(every_compression!(MarketDataServer::new(market::Service::new(data.clone()))))
        .add_service(every_compression!(DataSyncServer::new(sync::Service)))
        .add_service(every_compression!(DeviceManagerServer::new(telemetry::Service)))
        .add_service(every_compression!(WeatherServer::new(weather::Service::new(data))))
        .prepare())
}
