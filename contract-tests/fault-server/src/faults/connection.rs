//! What happens to the whole connection while a call is open, and servers that take their time.

use std::time::Duration;

use crate::{
    frames::{encode_fields, error, flag, kind, write_frame},
    script::{Fault, Request, Step, Target, data, head, message, ok, raw, trailers},
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::with(
        "GoAwayBelowOnce",
        "<key>",
        "The first call of each pair gets a GOAWAY whose last stream id is below it: it was not \
         processed. The second call is good. Any key makes a path of its own.",
        |request| {
            Some(if request.attempt % 2 == 1 {
                vec![go_away(false, error::NO_ERROR, "not processed"), Step::Hang]
            } else {
                vec![head(), Step::Echo, ok()]
            })
        },
    ),
    Fault::plain(
        "GoAwayBelow",
        "Every call gets a GOAWAY whose last stream id is below it.",
        |_| Some(vec![go_away(false, error::NO_ERROR, "never processed"), Step::Hang]),
    ),
    Fault::plain(
        "GoAwayGraceful",
        "GOAWAY that includes the call, which goes on: a message, a pause, a message, OK.",
        |_| {
            Some(vec![
                Step::AwaitRequest,
                head(),
                data(message(b"before")),
                go_away(true, error::NO_ERROR, "graceful"),
                Step::Sleep(Duration::from_millis(200)),
                data(message(b"after")),
                ok(),
            ])
        },
    ),
    Fault::with(
        "GoAwayThenClose",
        "<code>",
        "A message, then GOAWAY with this code that includes the call, then the connection closes.",
        |request| {
            Some(vec![
                Step::AwaitRequest,
                head(),
                data(message(b"whole")),
                go_away(true, request.number()?, "closing"),
                Step::Close,
            ])
        },
    ),
    Fault::plain("CloseBeforeHead", "The connection closes instead of an answer.", |_| {
        Some(vec![Step::AwaitRequest, Step::Close])
    }),
    Fault::plain("CloseAfterHead", "The connection closes after the head.", |_| {
        Some(vec![Step::AwaitRequest, head(), Step::Close])
    }),
    Fault::plain("CloseAfterMessage", "The connection closes after a whole message.", |_| {
        Some(vec![Step::AwaitRequest, head(), data(message(b"whole")), Step::Close])
    }),
    Fault::plain("CloseInsideMessage", "The connection closes inside a message.", |_| {
        let half = message(b"never whole")[..8].to_vec();
        Some(vec![Step::AwaitRequest, head(), data(half), Step::Close])
    }),
    Fault::plain("CloseInsideFrame", "The connection closes inside a DATA frame.", |_| {
        Some(vec![Step::AwaitRequest, head(), Step::CutFrame, Step::Close])
    }),
    Fault::plain("AbortAfterMessage", "The TCP connection is reset after a whole message.", |_| {
        Some(vec![Step::AwaitRequest, head(), data(message(b"whole")), Step::Abort])
    }),
    Fault::plain("NeverAnswer", "The call is never answered; the connection is well.", |_| {
        Some(vec![Step::Hang])
    }),
    Fault::plain("HeadThenNothing", "A head, then never anything more.", |_| {
        Some(vec![head(), Step::Hang])
    }),
    Fault::plain(
        "FallSilent",
        "A head and a message, then nothing at all on the whole connection, not even the answer to \
         a PING: as when the machine behind it is gone.",
        |_| {
            let half = data(message(b"whole"));
            Some(vec![Step::AwaitRequest, head(), half, Step::FallSilent, Step::Hang])
        },
    ),
    Fault::with(
        "Drip",
        "<milliseconds>",
        "A message of 64 bytes after each pause, for ever.",
        |request| {
            let pause = request.number().filter(|n| *n > 0)?;
            Some(vec![head(), Step::Drip(Duration::from_millis(pause.into()))])
        },
    ),
    Fault::with(
        "Endless",
        "empty-data|empty-headers|informational|continuation|ping|settings|priority|unknown|window-update",
        "A head and a message, then frames of this kind as fast as the client reads, for ever.",
        endless,
    ),
    Fault::with(
        "CancelledAfter",
        "<milliseconds>",
        "Answers CANCELLED after this pause, whatever the deadline.",
        |request| {
            let pause = Duration::from_millis(request.number()?.into());
            Some(vec![Step::Sleep(pause), head(), trailers(1, "cancelled by the server")])
        },
    ),
    Fault::with("Slow", "<milliseconds>", "A good answer after this pause.", |request| {
        let pause = Duration::from_millis(request.number()?.into());
        Some(vec![Step::Sleep(pause), head(), Step::Echo, ok()])
    }),
    Fault::with(
        "Together",
        "<count>",
        "Answers only when this many calls are open at once: on a listener that allows one stream \
         per connection, a client has to open this many connections.",
        |request| {
            let count = request.number().filter(|n| (1..=1_000).contains(n))?;
            Some(vec![Step::Rendezvous(count as usize), head(), Step::Echo, ok()])
        },
    ),
    Fault::with(
        "ShrinkWindow",
        "<bytes>",
        "SETTINGS shrink the window of the requests while they come, below what was sent already; \
         from then on no more than this is granted at a time. Answers with the number of messages.",
        |request| {
            let window = request.number().filter(|n| (1..=65_535).contains(n))?;
            Some(vec![
                Step::AwaitMessages(1),
                Step::ShrinkWindow(window),
                Step::Then(|messages| {
                    vec![head(), data(message(messages.len().to_string().as_bytes())), ok()]
                }),
            ])
        },
    )
    .withholding(),
    Fault::with(
        "Pings",
        "<count>",
        "This many PINGs; a good response once all are answered in order.",
        |request| {
            let count = request.number().filter(|n| *n <= 10_000)?;
            Some(vec![Step::AwaitRequest, Step::Pings(count), head(), data(message(b"only")), ok()])
        },
    ),
    Fault::with(
        "Settings",
        "<count>",
        "This many SETTINGS; a good response once all are acknowledged.",
        |request| {
            let count = request.number().filter(|n| *n <= 10_000)?;
            let only = data(message(b"only"));
            Some(vec![Step::AwaitRequest, Step::Settings(count), head(), only, ok()])
        },
    ),
    Fault::plain(
        "UnknownFrames",
        "A good response among frames of unknown types and with undefined flags, on the stream and \
         on the connection; all are to be ignored.",
        |_| {
            let unknown = |stream| Step::Frame {
                stream,
                kind: 0xbb,
                flags: 0xff,
                payload: b"nobody knows".to_vec(),
            };
            Some(vec![
                Step::AwaitRequest,
                unknown(Target::Connection),
                head(),
                unknown(Target::Call),
                // ALTSVC (RFC 7838) and ORIGIN (RFC 8336), which a client need not know.
                Step::Frame {
                    stream: Target::Connection,
                    kind: 0x0a,
                    flags: 0,
                    payload: b"\x00\x03a.bh2=\":1\"".to_vec(),
                },
                Step::Frame {
                    stream: Target::Connection,
                    kind: 0x0c,
                    flags: 0,
                    payload: b"\x00\x09http://a.".to_vec(),
                },
                data(message(b"only")),
                raw(kind::WINDOW_UPDATE, 0xf0, 1_000u32.to_be_bytes()),
                unknown(Target::Call),
                ok(),
            ])
        },
    ),
    Fault::plain(
        "UnknownSettings",
        "SETTINGS with ids that nobody defined, then a good response.",
        |_| {
            let payload = [0xff, 0x01, 0, 0, 0, 1, 0x0a, 0x0a, 0xff, 0xff, 0xff, 0xff].to_vec();
            Some(vec![
                Step::AwaitRequest,
                Step::Frame { stream: Target::Connection, kind: kind::SETTINGS, flags: 0, payload },
                head(),
                data(message(b"only")),
                ok(),
            ])
        },
    ),
];

fn endless(request: &Request<'_>) -> Option<Vec<Step>> {
    fn one(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(kind, flags, stream, payload, &mut bytes);
        bytes
    }
    let good = [head(), data(message(b"whole"))];
    let none = [];
    let (before, frames): (_, fn(u32) -> Vec<u8>) = match request.argument {
        "empty-data" => (good.into(), |stream| one(kind::DATA, 0, stream, b"")),
        "empty-headers" => {
            (good.into(), |stream| one(kind::HEADERS, flag::END_HEADERS, stream, b""))
        }
        "informational" => (Vec::from(none), |stream| {
            let block = encode_fields([(&b":status"[..], &b"103"[..]), (b"x-hint", &[b'h'; 200])]);
            one(kind::HEADERS, flag::END_HEADERS, stream, &block)
        }),
        // The HEADERS that they continue comes once, and never its end.
        "continuation" => (vec![raw(kind::HEADERS, 0, [])], |stream| {
            let block = encode_fields([(&b"x-more"[..], &[b'm'; 200][..])]);
            one(kind::CONTINUATION, 0, stream, &block)
        }),
        "ping" => (good.into(), |_| one(kind::PING, 0, 0, b"for ever")),
        "settings" => (good.into(), |_| one(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        "priority" => (good.into(), |stream| one(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 15])),
        "unknown" => (good.into(), |stream| one(0xbb, 0, stream, b"nobody knows")),
        "window-update" => (good.into(), |_| one(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        _ => return None,
    };
    let mut script = vec![Step::AwaitRequest];
    script.extend(before);
    script.push(Step::Endless(frames));
    Some(script)
}

fn go_away(with_this: bool, code: u32, debug: &'static str) -> Step {
    Step::GoAway { with_this, code, debug }
}
