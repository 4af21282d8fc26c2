//! The demo scenario: all six services over real data, one JSON line for each on standard output.
//!
//! The same scenario stands in every language. What each service sends back is summed up by a CRC-32
//! over the payload bytes of every message received, in order, so that the languages can be compared.
#![forbid(unsafe_code)]

mod scenario;

use std::{path::PathBuf, process::ExitCode};

use millstream::{Channel, ChannelOptions};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(target), Some(data), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: example-rust TARGET DATA_DIR");
        return ExitCode::from(2);
    };
    match run(&target, PathBuf::from(data)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(target: &str, data: PathBuf) -> Result<(), scenario::Failure> {
    let channel = Channel::new(target, ChannelOptions::default())?;
    scenario::weather(&channel).await?;
    scenario::logs(&channel, &data).await?;
    scenario::chat(&channel).await?;
    scenario::market(&channel).await?;
    scenario::telemetry(&channel, &data).await?;
    scenario::sync(&channel, &data).await?;
    channel.close();
    Ok(())
}
