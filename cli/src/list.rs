//! `millstream list`

use clap::Args;

use crate::{Failure, connect::Connection, schema};

/// Lists the services of a server, or the methods of one of them
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,

    /// The service whose methods are listed
    service: Option<String>,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let channel = arguments.connection.channel()?;
    let options = arguments.connection.call_options()?;
    let Some(service) = &arguments.service else {
        for service in schema::services(&channel, &options).await? {
            println!("{service}");
        }
        return Ok(());
    };
    let pool = schema::pool(&channel, &options, service, None).await?;
    let service =
        pool.get_service_by_name(service).ok_or_else(|| format!("{service:?} is not a service"))?;
    for method in service.methods() {
        let stream = |is: bool| if is { "stream " } else { "" };
        println!(
            "{}/{} ({}{}) -> {}{}",
            service.full_name(),
            method.name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name(),
        );
    }
    Ok(())
}
