//! The core from Rust, and the floor under it: what `h2` alone costs.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use benches::{
    clock::monotonic_nanos,
    corpus::{Corpus, PREFIX, frame, tick},
    measure::{Stopwatch, resident_kib},
    messages::{StreamRequest, Summary},
};
use bytes::{Bytes, BytesMut};
use clap::{Parser, ValueEnum};
use millstream::{Batch, Call, CallKind, CallOptions, Channel, ChannelOptions};
use prost::Message;
use tokio::runtime::{Builder, Runtime};

const WARM_UP: u64 = 1000;
/// Of a paced stream every so many messages are looked at: reading a clock is not free.
const LATENCY_EVERY: u64 = 64;
const FIREHOSE: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Server stream, many messages to a DATA frame.
    Packed,
    /// Server stream, one message to a DATA frame.
    Single,
    /// Server stream at a rate; latency from the due time.
    Paced,
    /// Client stream.
    Publish,
    /// Unary calls, one after the other.
    Unary,
    /// Bidirectional: a message goes out when the last one is back.
    Echo,
    /// A stream of 1 GB whose consumer stops after the first message.
    Stalled,
    /// `packed` with h2 alone.
    H2Packed,
    /// `single` with h2 alone.
    H2Single,
}

/// Measures the core from Rust and prints one line of JSON.
#[derive(Debug, Parser)]
struct Args {
    /// The load server, as host:port.
    address: String,
    mode: Mode,
    /// How many messages, or calls.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Messages a second (paced).
    #[arg(long, default_value_t = 500_000)]
    rate: u64,
    /// Pad each message up to this many bytes.
    #[arg(long, default_value_t = 0)]
    size: u32,
    /// One DATA frame for each message (paced, stalled).
    #[arg(long)]
    single: bool,
    /// Seconds to stall.
    #[arg(long, default_value_t = 4.0)]
    stall: f64,
}

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust_client: {:?} against {}: {error}", args.mode, args.address);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    // One thread for HTTP/2 and this one for the application, as at every language border.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if let Mode::H2Packed | Mode::H2Single = args.mode {
        return floor(&runtime, args);
    }
    let target = format!("http://{}", args.address);
    let channel =
        Channel::with_runtime(&target, ChannelOptions::default(), runtime.handle().clone())?;
    let client = Client { channel, args };
    runtime.block_on(async {
        // The connection, and code that has run once.
        let warm_up = StreamRequest { count: 1000, ..Default::default() };
        client.stream("Packed", &warm_up, |_| {}).await?;
        match args.mode {
            Mode::Packed => client.received("packed", "Packed").await,
            Mode::Single => client.received("single", "Single").await,
            Mode::Paced => client.paced().await,
            Mode::Publish => client.publish().await,
            Mode::Unary => client.unary().await,
            Mode::Echo => client.echo().await,
            Mode::Stalled => client.stalled().await,
            Mode::H2Packed | Mode::H2Single => Ok(()),
        }
    })
}

struct Client<'a> {
    channel: Channel,
    args: &'a Args,
}

impl Client<'_> {
    fn start(&self, method: &str, request: &StreamRequest) -> Result<Call, Failure> {
        let path = format!("/bench.v1.Bench/{method}");
        let message = request.encode_to_vec();
        Ok(self.channel.call_with(
            &path,
            CallKind::ServerStream,
            CallOptions::default(),
            &message,
        )?)
    }

    fn request(&self) -> StreamRequest {
        StreamRequest {
            count: self.args.messages,
            rate: self.args.rate,
            size: self.args.size,
            bytes: FIREHOSE,
            single: self.args.single,
        }
    }

    async fn stream(
        &self,
        method: &str,
        request: &StreamRequest,
        mut each: impl FnMut(&[u8]),
    ) -> Result<u64, Failure> {
        let call = self.start(method, request)?;
        let mut batch = Batch::new();
        let mut messages = 0;
        while call.next_batch(&mut batch).await? {
            messages += batch.len() as u64;
            batch.iter().for_each(&mut each);
        }
        Ok(messages)
    }

    async fn received(&self, name: &str, method: &str) -> Result<(), Failure> {
        let watch = Stopwatch::start();
        // Looks into every message: a walk that reads nothing could be optimised away.
        let (mut bytes, mut sum) = (0, 0_u64);
        let messages = self
            .stream(method, &self.request(), |message| {
                bytes += message.len();
                sum = sum.wrapping_add(u64::from(message[message.len() / 2]));
            })
            .await?;
        let line = watch.stop(name, messages);
        expect(messages, self.args.messages)?;
        line.with("bytes", bytes).with("sum", sum).print();
        Ok(())
    }

    async fn paced(&self) -> Result<(), Failure> {
        let mut latencies = Vec::with_capacity(self.args.messages as usize / 64 + 1);
        let mut number = 0_u64;
        let watch = Stopwatch::start();
        let messages = self
            .stream("Paced", &self.request(), |message| {
                if number.is_multiple_of(LATENCY_EVERY) {
                    latencies.push(monotonic_nanos().saturating_sub(due(message)));
                }
                number += 1;
            })
            .await?;
        let line = watch.stop("paced", messages);
        expect(messages, self.args.messages)?;
        line.with_latencies(&mut latencies).print();
        Ok(())
    }

    async fn publish(&self) -> Result<(), Failure> {
        let corpus = Corpus::new(self.args.size as usize);
        let watch = Stopwatch::start();
        let path = "/bench.v1.Bench/Publish";
        let call = self.channel.call(path, CallKind::ClientStream, CallOptions::default())?;
        for index in 0..self.args.messages as usize {
            call.send(&corpus.frame(index)[PREFIX..]).await?;
        }
        call.half_close()?;
        let mut batch = Batch::new();
        let mut summary = Summary::default();
        while call.next_batch(&mut batch).await? {
            summary = Summary::decode(batch.next().unwrap_or_default())?;
        }
        let line = watch.stop("publish", summary.messages);
        expect(summary.messages, self.args.messages)?;
        line.print();
        Ok(())
    }

    async fn unary(&self) -> Result<(), Failure> {
        let request = tick(0, 0).encode_to_vec();
        let mut batch = Batch::new();
        let mut latencies = Vec::new();
        let mut watch = Stopwatch::start();
        for number in 0..WARM_UP + self.args.messages {
            if number == WARM_UP {
                latencies.clear();
                watch = Stopwatch::start();
            }
            let begin = monotonic_nanos();
            let path = "/bench.v1.Bench/Unary";
            let call =
                self.channel.call_with(path, CallKind::Unary, CallOptions::default(), &request)?;
            let mut answers = 0;
            while call.next_batch(&mut batch).await? {
                answers += batch.len();
            }
            latencies.push(monotonic_nanos() - begin);
            expect(answers as u64, 1)?;
        }
        watch.stop("unary", self.args.messages).with_latencies(&mut latencies).print();
        Ok(())
    }

    async fn echo(&self) -> Result<(), Failure> {
        let path = "/bench.v1.Bench/Echo";
        let call = self.channel.call(path, CallKind::Bidi, CallOptions::default())?;
        let message = tick(0, 0).encode_to_vec();
        let mut batch = Batch::new();
        let mut latencies = Vec::new();
        let mut watch = Stopwatch::start();
        for number in 0..WARM_UP + self.args.messages {
            if number == WARM_UP {
                latencies.clear();
                watch = Stopwatch::start();
            }
            let begin = monotonic_nanos();
            call.send(&message).await?;
            call.next_batch(&mut batch).await?;
            latencies.push(monotonic_nanos() - begin);
            expect(batch.len() as u64, 1)?;
        }
        watch.stop("echo", self.args.messages).with_latencies(&mut latencies).print();
        Ok(())
    }

    async fn stalled(&self) -> Result<(), Failure> {
        let rss = || resident_kib().ok_or("the resident memory cannot be read");
        let before = rss()?;
        let watch = Stopwatch::start();
        let call = self.start("Firehose", &self.request())?;
        let mut batch = Batch::new();
        call.next_batch(&mut batch).await?;
        let mut bytes: usize = batch.iter().map(<[u8]>::len).sum();
        let mut most = 0;
        let end = Instant::now() + Duration::from_secs_f64(self.args.stall);
        while Instant::now() < end {
            most = most.max(rss()?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The stream is whole all the same.
        while call.next_batch(&mut batch).await? {
            bytes += batch.iter().map(<[u8]>::len).sum::<usize>();
        }
        watch
            .stop("stalled", 1)
            .with("rss_growth_kb", most.max(rss()?).saturating_sub(before))
            .with("bytes", bytes)
            .print();
        Ok(())
    }
}

fn due(message: &[u8]) -> u64 {
    // The first field of a tick, behind its key.
    message.get(1..9).and_then(|due| due.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn expect(messages: u64, expected: u64) -> Result<(), Failure> {
    if messages == expected {
        return Ok(());
    }
    Err(format!("{messages} messages came, {expected} were expected").into())
}

/// What `h2` costs when nothing is done with the frames but to find the messages in them.
fn floor(runtime: &Runtime, args: &Args) -> Result<(), Failure> {
    let (name, method) = match args.mode {
        Mode::H2Single => ("h2-single", "Single"),
        _ => ("h2-packed", "Packed"),
    };
    let address = args.address.clone();
    let request = StreamRequest { count: args.messages, size: args.size, ..Default::default() };
    let task = runtime.spawn(async move {
        h2_stream(&address, method, &request).await.map_err(|error| error.to_string())
    });
    let (watch, messages) = runtime.block_on(task)??;
    let line = watch.stop(name, messages);
    expect(messages, args.messages)?;
    line.print();
    Ok(())
}

async fn h2_stream(
    address: &str,
    method: &str,
    request: &StreamRequest,
) -> Result<(Stopwatch, u64), Failure> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(256 << 10)
        .initial_connection_window_size(i32::MAX as u32)
        .handshake::<_, Bytes>(socket)
        .await?;
    tokio::spawn(connection);
    let mut sender = sender.ready().await?;
    let head = http::Request::post(format!("http://{address}/bench.v1.Bench/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut body = BytesMut::new();
    frame(request, &mut body);
    let watch = Stopwatch::start();
    let (response, mut stream) = sender.send_request(head, false)?;
    stream.send_data(body.freeze(), true)?;
    let mut body = response.await?.into_body();
    let (mut messages, mut left, mut joined) = (0, 0_usize, BytesMut::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        left += chunk.len();
        joined.extend_from_slice(&chunk);
        if left >= 64 << 10 {
            body.flow_control().release_capacity(std::mem::take(&mut left))?;
        }
        messages += take_messages(&mut joined);
    }
    Ok((watch, messages))
}

/// Removes the whole messages at the front and counts them.
fn take_messages(joined: &mut BytesMut) -> u64 {
    let (mut at, mut messages) = (0, 0);
    while let Some(&[_, a, b, c, d]) = joined[at..].first_chunk::<PREFIX>() {
        let end = at + PREFIX + u32::from_be_bytes([a, b, c, d]) as usize;
        if end > joined.len() {
            break;
        }
        at = end;
        messages += 1;
    }
    let rest = joined.len() - at;
    joined.copy_within(at.., 0);
    joined.truncate(rest);
    messages
}
