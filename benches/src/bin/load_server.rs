//! The load server: plaintext HTTP/2 on loopback, one thread.
#![forbid(unsafe_code)]

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Parser;
use tokio::{io::AsyncReadExt, net::TcpListener};

/// Serves the methods of bench.v1.Bench to the clients of the measurements.
///
/// Prints one line of JSON once it listens: {"ready": true, "address": "127.0.0.1:50051", ...}.
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when standard input is closed, so that the server does not outlive who started it.
    #[arg(long)]
    exit_with_stdin: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load_server: {}: {error}", args.listen);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(args.listen).await?;
        let address = listener.local_addr()?;
        println!(
            "{}",
            serde_json::json!({
                "ready": true,
                "address": address.to_string(),
                "target": format!("http://{address}"),
                "message_bytes": benches::corpus::tick_bytes(),
            })
        );
        tokio::select! {
            result = benches::server::serve(listener) => result,
            result = end_of_stdin(), if args.exit_with_stdin => result,
        }
    });
    // A thread may still be blocked in a read of standard input.
    runtime.shutdown_background();
    result
}

async fn end_of_stdin() -> io::Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 256];
    while stdin.read(&mut buffer).await? > 0 {}
    Ok(())
}
