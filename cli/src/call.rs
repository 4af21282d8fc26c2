//! `millstream call`

use std::{
    io::{BufReader, IsTerminal, Read, Write},
    path::PathBuf,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use millstream::{Batch, Call, CallKind, Metadata};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use tokio::sync::mpsc;

use crate::{
    Failure,
    connect::{Connection, explain},
    schema,
};

/// Calls a method of any kind: JSON in, JSON out, one message a line
///
/// The schema comes from the server's reflection service or from --schema. With several requests
/// from standard input, each is sent as soon as it is read, so that a conversation works.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,

    /// package.Service/Method
    method: String,

    /// The requests as JSON, several one after the other; @FILE reads a file, - standard input.
    /// Without it a method that takes one request gets an empty one
    #[arg(short, long, value_name = "JSON", help_heading = "Call")]
    data: Option<String>,

    /// A descriptor set to use instead of the server's reflection service
    #[arg(long, value_name = "FILE", help_heading = "Call")]
    schema: Option<PathBuf>,

    /// Print headers, trailers and the status to standard error
    #[arg(short, long)]
    verbose: bool,

    /// Indent the JSON, even when the output is not a terminal
    #[arg(long)]
    pretty: bool,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let channel = arguments.connection.channel()?;
    let options = arguments.connection.call_options()?;
    let (service, name) = schema::split_method(&arguments.method)?;
    let pool = schema::pool(&channel, &options, service, arguments.schema.as_deref()).await?;
    let method = schema::method(&pool, service, name)?;
    let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => CallKind::Unary,
        (true, false) => CallKind::ClientStream,
        (false, true) => CallKind::ServerStream,
        (true, true) => CallKind::Bidi,
    };
    let requests = requests(arguments.data.as_deref(), &method)?;
    let call = channel.call(&format!("/{service}/{name}"), kind, options)?;
    let sending = tokio::spawn(send(call.clone(), requests, kind));
    let pretty = arguments.pretty || std::io::stdout().is_terminal();
    let received = receive(&call, &method.output(), pretty).await;
    if arguments.verbose {
        show("header", call.headers().await.as_ref());
        let status = call.status().await;
        show("trailer", &status.trailers);
        eprintln!("status: {status}");
    }
    // What was wrong with the input explains a call that was cancelled for it.
    if sending.is_finished() {
        sending.await??;
    }
    received
}

/// Reads requests on a thread of their own: standard input blocks.
fn requests(
    data: Option<&str>,
    method: &MethodDescriptor,
) -> Result<mpsc::Receiver<Result<Vec<u8>, String>>, Failure> {
    const AHEAD: usize = 16;
    let (found, requests) = mpsc::channel(AHEAD);
    let source: Box<dyn Read + Send> = match data {
        None if method.is_client_streaming() => Box::new(std::io::empty()),
        None => Box::new("{}".as_bytes()),
        Some("-") => Box::new(BufReader::new(std::io::stdin())),
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                let opened = std::fs::File::open(file).map_err(|e| format!("{file}: {e}"))?;
                Box::new(BufReader::new(opened))
            }
            None => Box::new(std::io::Cursor::new(text.to_owned())),
        },
    };
    let input = method.input();
    std::thread::spawn(move || {
        let values = serde_json::Deserializer::from_reader(source).into_iter::<serde_json::Value>();
        for (number, value) in (1..).zip(values) {
            let request = value.map_err(|e| format!("request {number}: {e}")).and_then(|value| {
                DynamicMessage::deserialize(input.clone(), value)
                    .map(|message| message.encode_to_vec())
                    .map_err(|e| format!("request {number} is no {}: {e}", input.full_name()))
            });
            let wrong = request.is_err();
            if found.blocking_send(request).is_err() || wrong {
                return;
            }
        }
    });
    Ok(requests)
}

async fn send(
    call: Call,
    mut requests: mpsc::Receiver<Result<Vec<u8>, String>>,
    kind: CallKind,
) -> Result<(), Failure> {
    let mut count = 0;
    while let Some(request) = requests.recv().await {
        count += 1;
        let wrong = match request {
            Ok(_) if count == 2 && kind.one_request() => {
                "the method takes one request and --data holds several".to_owned()
            }
            Ok(request) => match call.send(&request).await {
                Ok(()) => continue,
                // The call has ended; its status says how.
                Err(_) => return Ok(()),
            },
            Err(wrong) => wrong,
        };
        call.cancel(&wrong);
        return Err(wrong.into());
    }
    if count == 0 && kind.one_request() {
        let wrong = "--data holds no request, and the method takes one";
        call.cancel(wrong);
        return Err(wrong.into());
    }
    Ok(call.half_close()?)
}

async fn receive(call: &Call, output: &MessageDescriptor, pretty: bool) -> Result<(), Failure> {
    let options = SerializeOptions::new().skip_default_fields(true);
    let mut stdout = std::io::stdout().lock();
    let mut batch = Batch::new();
    while call.next_batch(&mut batch).await.map_err(explain)? {
        while let Some(payload) = batch.next() {
            let message = DynamicMessage::decode(output.clone(), payload)
                .map_err(|e| format!("a response is no {}: {e}", output.full_name()))?;
            if pretty {
                let mut json = serde_json::Serializer::pretty(&mut stdout);
                message.serialize_with_options(&mut json, &options)?;
            } else {
                let mut json = serde_json::Serializer::new(&mut stdout);
                message.serialize_with_options(&mut json, &options)?;
            }
            writeln!(stdout)?;
        }
        stdout.flush()?;
    }
    Ok(())
}

fn show(what: &str, metadata: &Metadata) {
    for (key, value) in metadata.iter() {
        if key.ends_with("-bin") {
            eprintln!("{what}: {key}: {} (base64)", STANDARD.encode(value));
        } else {
            eprintln!("{what}: {key}: {}", String::from_utf8_lossy(value));
        }
    }
}
