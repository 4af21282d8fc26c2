//! How messages stand in DATA frames, and what can be wrong with it.

use crate::{
    frames::kind,
    script::{
        Data, Fault, Headers, Request, Step, data, empty_data, fields, flagged, head, message,
        numbered, ok, prefix, raw, trailers,
    },
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::plain(
        "ByteByByte",
        "Three messages (one, two, three) whose every byte is a DATA frame.",
        |_| {
            let bytes = [message(b"one"), message(b"two"), message(b"three")].concat();
            let mut script = vec![Step::AwaitRequest, head()];
            script.extend(bytes.into_iter().map(|byte| data([byte])));
            script.push(ok());
            Some(script)
        },
    ),
    Fault::with(
        "OneFrame",
        "<count>",
        "This many messages of 64 bytes packed into full DATA frames.",
        |request| {
            let count = request.number().filter(|n| *n <= 1_000_000)?;
            let bytes: Vec<u8> = (0..count).flat_map(|i| message(&numbered(i))).collect();
            Some(vec![Step::AwaitRequest, head(), data(bytes), ok()])
        },
    ),
    Fault::with(
        "OnePerFrame",
        "<count>",
        "This many messages of 64 bytes, each in a DATA frame of its own, at full speed.",
        |request| Some(vec![Step::AwaitRequest, head(), Step::Flood(request.number()?), ok()]),
    ),
    Fault::with(
        "Lockstep",
        "<count>",
        "This many messages of 0 to 63 bytes, each sent when the client has answered a PING behind \
         the one before: it reads them in small pieces that end everywhere in its buffers.",
        |request| {
            let count = request.number().filter(|n| *n <= 1_000_000)?;
            Some(vec![Step::AwaitRequest, head(), Step::Lockstep(count), ok()])
        },
    ),
    Fault::with(
        "Messages",
        "<count>",
        "This many messages (0, 1, 2, ... as text), then OK.",
        |request| {
            let count = request.number().filter(|n| *n <= 1_000_000)?;
            let bytes: Vec<u8> =
                (0..count).flat_map(|i| message(i.to_string().as_bytes())).collect();
            Some(vec![Step::AwaitRequest, head(), data(bytes), ok()])
        },
    ),
    Fault::with("EmptyMessages", "<count>", "This many messages of no bytes.", |request| {
        let count = request.number().filter(|n| *n <= 1_000_000)?;
        let bytes = message(b"").repeat(count as usize);
        Some(vec![Step::AwaitRequest, head(), data(bytes), ok()])
    }),
    Fault::with(
        "EmptyFrames",
        "<count>",
        "This many empty DATA frames before, within and behind a message. A client may take many of \
         them for an attack and close the connection with ENHANCE_YOUR_CALM.",
        |request| {
            let count = request.number().filter(|n| *n <= 100_000)? as usize;
            let empties = || (0..count).map(|_| empty_data());
            let bytes = message(b"between");
            let mut script = vec![Step::AwaitRequest, head()];
            script.extend(empties());
            script.push(data(&bytes[..3]));
            script.extend(empties());
            script.push(data(&bytes[3..]));
            script.extend(empties());
            script.push(ok());
            Some(script)
        },
    ),
    Fault::plain(
        "PaddedData",
        "Three messages in DATA frames with 0, 1 and 255 bytes of padding, and an empty padded frame.",
        |_| {
            let padded = |bytes: &[u8], padding| {
                Step::Data(Data {
                    bytes: bytes.to_vec(),
                    padding: Some(padding),
                    end_stream: false,
                })
            };
            Some(vec![
                Step::AwaitRequest,
                head(),
                padded(&message(b"one"), 0),
                padded(&message(b"two"), 1),
                padded(&[], 255),
                padded(&message(b"three"), 255),
                ok(),
            ])
        },
    ),
    Fault::plain(
        "PaddedHeaders",
        "Head and trailers are padded and have priority fields; PRIORITY frames stand between.",
        |_| {
            let block = |pairs: &[(&str, &str)], end_stream| {
                Step::Headers(Headers {
                    fields: fields(pairs),
                    end_stream,
                    padding: Some(100),
                    priority: true,
                    fragment: None,
                })
            };
            let priority = || raw(kind::PRIORITY, 0, [0, 0, 0, 0, 15]);
            Some(vec![
                Step::AwaitRequest,
                block(&[(":status", "200"), ("content-type", "application/grpc")], false),
                priority(),
                data(message(b"only")),
                priority(),
                block(&[("grpc-status", "0")], true),
            ])
        },
    ),
    Fault::with(
        "Flag",
        "<number>",
        "A good message, then one with this flag byte, then OK.",
        |request| {
            let flag = u8::try_from(request.number()?).ok()?;
            let bytes = [message(b"one"), flagged(flag, b"two")].concat();
            Some(vec![Step::AwaitRequest, head(), data(bytes), ok()])
        },
    ),
    Fault::with(
        "EndInside",
        "prefix-<code>|message-<code>",
        "A good message, then the stream ends inside a prefix or a message, with this status.",
        end_inside,
    ),
    Fault::with(
        "DeclaredLength",
        "<bytes>",
        "A prefix that promises this many bytes, ten of them, then silence: a client that checks the \
         length before it waits for the message need not wait.",
        |request| {
            let mut bytes = prefix(0, request.number()?).to_vec();
            bytes.extend([b'x'; 10]);
            Some(vec![Step::AwaitRequest, head(), data(bytes), Step::Hang])
        },
    ),
    Fault::with(
        "MessageOfSize",
        "<bytes>",
        "One message of this many bytes, then OK.",
        |request| {
            let size = request.number().filter(|n| *n <= 256 << 20)? as usize;
            Some(vec![Step::AwaitRequest, head(), data(message(&vec![b'm'; size])), ok()])
        },
    ),
    Fault::plain(
        "WindowOverrun",
        "One message of 128 KB in DATA frames of 16,000 bytes, whatever the window of the stream is; \
         a violation for a client whose stream window is smaller than a frame.",
        |_| {
            let bytes = message(&[b'm'; 127_995]);
            let mut script = vec![Step::AwaitRequest, head()];
            script.extend(bytes.chunks(16_000).map(|chunk| raw(kind::DATA, 0, chunk)));
            script.push(Step::Hang);
            Some(script)
        },
    ),
];

fn end_inside(request: &Request<'_>) -> Option<Vec<Step>> {
    let (place, code) = request.argument.split_once('-')?;
    let code: u32 = code.parse().ok()?;
    let cut = match place {
        "prefix" => 3,
        "message" => 8,
        _ => return None,
    };
    let mut bytes = message(b"whole");
    bytes.extend_from_slice(&message(b"never whole")[..cut]);
    let end = if code == 0 { ok() } else { trailers(code, "cut short") };
    Some(vec![Step::AwaitRequest, head(), data(bytes), end])
}
