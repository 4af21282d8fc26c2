//! The README's example: a day of weather at JFK, as a stream.
//!
//! `cargo run -p example-rust --bin readme-example -- http://127.0.0.1:50051`
#![forbid(unsafe_code)]

// readme: begin
use millstream::{CallOptions, Channel, ChannelOptions};
use millstream_proto::weather::v1::{GetWeatherStreamRequest, Observation};

#[tokio::main]
async fn main() -> Result<(), millstream::Error> {
    let target = std::env::args().nth(1).unwrap_or("http://127.0.0.1:50051".into());
    let channel = Channel::new(&target, ChannelOptions::default())?;

    let request = GetWeatherStreamRequest { origin: "JFK".into(), limit: 24 };
    let method = "/weather.v1.Weather/GetWeatherStream";
    let mut observations =
        channel.server_stream::<_, Observation>(method, &request, CallOptions::default())?;

    while let Some(observation) = observations.message().await? {
        println!("{} {:?} F", observation.origin, observation.temperature_fahrenheit);
    }
    Ok(())
}
// readme: end
