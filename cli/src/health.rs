//! `millstream health`

use clap::Args;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use crate::{
    Failure,
    connect::{Connection, explain},
};

/// Asks whether a server, or one of its services, is serving
///
/// Prints SERVING, NOT_SERVING, UNKNOWN or SERVICE_UNKNOWN; the exit code is 0 for SERVING only.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,

    /// The service; without one, the server as a whole
    #[arg(default_value = "")]
    service: String,

    /// Print each change until interrupted
    #[arg(long)]
    watch: bool,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let channel = arguments.connection.channel()?;
    let options = arguments.connection.call_options()?;
    let request = HealthCheckRequest { service: arguments.service };
    if arguments.watch {
        let mut changes = channel.server_stream::<_, HealthCheckResponse>(
            "/grpc.health.v1.Health/Watch",
            &request,
            options,
        )?;
        while let Some(change) = changes.message().await.map_err(explain)? {
            println!("{}", change.status().as_str_name());
        }
        return Ok(());
    }
    let method = "/grpc.health.v1.Health/Check";
    let reply = channel
        .unary::<_, HealthCheckResponse>(method, &request, options)
        .await
        .map_err(explain)?;
    let status = reply.message.status();
    println!("{}", status.as_str_name());
    match status {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("the server answers {}", other.as_str_name()).into()),
    }
}
