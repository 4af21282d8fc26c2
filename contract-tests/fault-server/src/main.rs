//! The fault server as a program.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use fault_server::{FaultServer, SERVICE, faults};
use tokio::io::{AsyncReadExt, stdin};

/// A server that breaks gRPC and HTTP/2 on purpose, for tests of clients.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until interrupted; prints one line of JSON with the target of every listener once
    /// all of them accept connections.
    Serve {
        /// Where the default listener binds; the others take free ports of the same IP.
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// End when standard input is closed, so that the server cannot outlive what started it.
        #[arg(long)]
        exit_with_stdin: bool,
    },
    /// Print every method and listener with one line about each.
    List,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve { listen, exit_with_stdin } => serve(listen, exit_with_stdin),
        Command::List => list(&mut io::stdout().lock()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the list has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fault-server: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(listen: SocketAddr, exit_with_stdin: bool) -> io::Result<()> {
    let server = FaultServer::start(listen).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
    })?;
    let ready = serde_json::to_string(server.endpoints())?;
    let mut out = io::stdout();
    writeln!(out, "{ready}")?;
    out.flush()?;
    if exit_with_stdin {
        let mut sink = [0; 1024];
        while stdin().read(&mut sink).await? > 0 {}
        return Ok(());
    }
    std::future::pending().await
}

fn list(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Methods of {SERVICE}")?;
    for fault in faults() {
        let hyphen = if fault.argument.is_empty() { "" } else { "-" };
        writeln!(out, "  {}{hyphen}{}\n      {}", fault.name, fault.argument, fault.doc)?;
    }
    writeln!(out, "\nListeners")?;
    for (name, doc) in FaultServer::listeners() {
        writeln!(out, "  {name}\n      {doc}")?;
    }
    Ok(())
}
