//! Violations of HTTP/2 itself: what a client must answer with a stream or a connection error.

use crate::{
    frames::{Frame, encode_fields, flag, kind, setting},
    script::{Fault, Request, Step, Target, data, head, headers, last_data, message, ok, raw},
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::with(
        "Malformed",
        "upper-case-header|pseudo-header-late|pseudo-header-unknown|pseudo-header-in-trailers|\
         connection-header|content-length-short|content-length-long|trailers-without-end|\
         empty-header-name|zero-window-update|request-pseudo-header",
        "A response that is malformed (RFC 9113, 8.1.1), which is an error of its stream.",
        malformed,
    ),
    Fault::with(
        "Violation",
        "push-promise|data-on-connection|data-on-idle-stream|headers-on-idle-stream|\
         reset-on-idle-stream|reset-on-connection|oversized-frame|broken-hpack|\
         hpack-bad-index|lone-continuation|interleaved-continuation|settings-length|\
         settings-value|settings-on-stream|settings-ack-payload|ping-length|ping-on-stream|\
         goaway-on-stream|goaway-length|reset-length|window-update-length|\
         zero-connection-window-update|connection-window-overflow|padding-too-long",
        "A message, then a violation that is an error of the connection, then silence.",
        violation,
    ),
    Fault::plain(
        "StreamWindowOverflow",
        "A message while the request is open, then a WINDOW_UPDATE that lifts the window of the \
         stream over 2^31-1.",
        |_| {
            let most = raw(kind::WINDOW_UPDATE, 0, 0x7fff_ffffu32.to_be_bytes());
            Some(vec![Step::AwaitMessages(1), head(), data(message(b"one")), most, Step::Hang])
        },
    ),
];

fn malformed(request: &Request<'_>) -> Option<Vec<Step>> {
    let good_head = [(":status", "200"), ("content-type", "application/grpc")];
    let only = || data(message(b"only"));
    // A response of head, message and trailers whose head has one more field.
    let with_field = |name, value| {
        vec![headers(&[good_head[0], good_head[1], (name, value)], false), only(), ok()]
    };
    let steps = match request.argument {
        "upper-case-header" => with_field("X-Upper", "case"),
        "pseudo-header-late" => {
            vec![headers(&[good_head[1], good_head[0]], false), only(), ok()]
        }
        "pseudo-header-unknown" => {
            vec![headers(&[good_head[0], (":what", "is this"), good_head[1]], false), only(), ok()]
        }
        "request-pseudo-header" => {
            vec![headers(&[good_head[0], (":path", "/"), good_head[1]], false), only(), ok()]
        }
        "pseudo-header-in-trailers" => {
            vec![head(), only(), headers(&[(":status", "200"), ("grpc-status", "0")], true)]
        }
        "connection-header" => with_field("connection", "close"),
        "content-length-short" => with_field("content-length", "3"),
        "content-length-long" => with_field("content-length", "3000"),
        "empty-header-name" => with_field("", "no name"),
        "trailers-without-end" => {
            vec![head(), only(), headers(&[("grpc-status", "0")], false), last_data([])]
        }
        "zero-window-update" => {
            vec![head(), only(), raw(kind::WINDOW_UPDATE, 0, 0u32.to_be_bytes()), Step::Hang]
        }
        _ => return None,
    };
    let mut script = vec![Step::AwaitRequest];
    script.extend(steps);
    Some(script)
}

fn violation(request: &Request<'_>) -> Option<Vec<Step>> {
    let on = |stream, kind, flags, payload: &[u8]| Step::Frame {
        stream,
        kind,
        flags,
        payload: payload.to_vec(),
    };
    let connection = |kind, flags, payload: &[u8]| on(Target::Connection, kind, flags, payload);
    let small_block = encode_fields([(&b"x-note"[..], &b"in pieces"[..])]);
    let settings = |id, value| Frame::settings(&[(id, value)]).payload;
    let steps = match request.argument {
        "push-promise" => {
            // Promises stream 2; clients of gRPC say that they want no push.
            let mut payload = 2u32.to_be_bytes().to_vec();
            payload.extend(encode_fields([
                (&b":method"[..], &b"GET"[..]),
                (b":scheme", b"http"),
                (b":authority", b"localhost"),
                (b":path", b"/pushed"),
            ]));
            vec![raw(kind::PUSH_PROMISE, flag::END_HEADERS, payload)]
        }
        "data-on-connection" => vec![connection(kind::DATA, 0, b"stray")],
        "data-on-idle-stream" => vec![on(Target::Idle, kind::DATA, 0, b"stray")],
        "headers-on-idle-stream" => {
            vec![on(Target::Idle, kind::HEADERS, flag::END_HEADERS, &small_block)]
        }
        "reset-on-idle-stream" => vec![on(Target::Idle, kind::RST_STREAM, 0, &[0, 0, 0, 8])],
        "reset-on-connection" => vec![connection(kind::RST_STREAM, 0, &[0, 0, 0, 8])],
        // 16 MiB - 1: more than any client says that it takes.
        "oversized-frame" => vec![raw(kind::DATA, 0, vec![0; 0x00ff_ffff])],
        // A literal whose name is longer than the block.
        "broken-hpack" => {
            vec![raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, [0, 0x7e, 0])]
        }
        // Index 126, far behind an empty dynamic table.
        "hpack-bad-index" => vec![raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, [0xfe])],
        "lone-continuation" => vec![raw(kind::CONTINUATION, flag::END_HEADERS, small_block)],
        "interleaved-continuation" => vec![
            raw(kind::HEADERS, flag::END_STREAM, small_block.clone()),
            connection(kind::PING, 0, b"between!"),
            raw(kind::CONTINUATION, flag::END_HEADERS, small_block),
        ],
        "settings-length" => vec![connection(kind::SETTINGS, 0, &[0, 3, 0, 0, 0])],
        "settings-value" => {
            vec![connection(kind::SETTINGS, 0, &settings(setting::INITIAL_WINDOW_SIZE, 1 << 31))]
        }
        "settings-on-stream" => vec![raw(kind::SETTINGS, 0, [])],
        "settings-ack-payload" => {
            let payload = settings(setting::INITIAL_WINDOW_SIZE, 1);
            vec![connection(kind::SETTINGS, flag::ACK, &payload)]
        }
        "ping-length" => vec![connection(kind::PING, 0, b"short")],
        "ping-on-stream" => vec![raw(kind::PING, 0, *b"a stream")],
        "goaway-on-stream" => vec![raw(kind::GOAWAY, 0, [0; 8])],
        "goaway-length" => vec![connection(kind::GOAWAY, 0, &[0; 4])],
        "reset-length" => vec![raw(kind::RST_STREAM, 0, [0; 3])],
        "window-update-length" => vec![raw(kind::WINDOW_UPDATE, 0, [0; 3])],
        "zero-connection-window-update" => vec![connection(kind::WINDOW_UPDATE, 0, &[0; 4])],
        "connection-window-overflow" => {
            vec![connection(kind::WINDOW_UPDATE, 0, &0x7fff_ffffu32.to_be_bytes())]
        }
        "padding-too-long" => vec![raw(kind::DATA, flag::PADDED, [200, 0, 0])],
        _ => return None,
    };
    let mut script = vec![Step::AwaitRequest, head(), data(message(b"whole"))];
    script.extend(steps);
    script.push(Step::Hang);
    Some(script)
}
