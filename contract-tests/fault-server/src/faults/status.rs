//! How a response says how the call ended, and what can be wrong with it.

use crate::{
    frames::error,
    script::{
        Fault, Headers, Request, Step, data, empty_data, fields, head, headers, last_data, message,
        ok, trailers, trailers_only, trailers_with,
    },
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::with("Status", "<code>", "Trailers-Only with this status.", |request| {
        let code = request.number()?;
        Some(vec![Step::AwaitRequest, trailers_only(code, &format!("this is status {code}"), &[])])
    }),
    Fault::with(
        "StatusAfterMessages",
        "<code>",
        "Three messages (one, two, three), then this status.",
        |request| {
            let code = request.number()?;
            Some(after_messages(trailers(code, &format!("this is status {code}"))))
        },
    ),
    Fault::with("StatusAfterOne", "<code>", "One message (one), then this status.", |request| {
        let code = request.number()?;
        let end = trailers(code, &format!("this is status {code}"));
        Some(vec![Step::AwaitRequest, head(), data(message(b"one")), end])
    }),
    Fault::plain("InformationalFirst", "Heads 100 and 103 come before a good response.", |_| {
        Some(vec![
            headers(&[(":status", "100")], false),
            headers(&[(":status", "103"), ("link", "</style.css>; rel=preload")], false),
            head(),
            Step::Echo,
            ok(),
        ])
    }),
    Fault::plain("StatusMissing", "The head has no :status.", |_| {
        Some(after_request([headers(&[("content-type", "application/grpc")], false)]))
    }),
    Fault::plain("StatusGarbage", "The :status of the head is no number.", |_| {
        let pairs = [(":status", "fine"), ("content-type", "application/grpc")];
        Some(after_request([headers(&pairs, false)]))
    }),
    Fault::plain("DataBeforeHead", "DATA comes before the head.", |_| {
        Some(after_request([data(message(b"early")), head()]))
    }),
    Fault::with(
        "ContentType",
        "plus-proto|plus-json|parameter|upper-case|web|json|html|absent",
        "The head has this content type; message and trailers are good.",
        content_type,
    ),
    Fault::with(
        "Html",
        "<bytes>",
        "200 with a page of text/html of this size instead of a gRPC response.",
        |request| {
            let mut page = b"<html><title>Welcome</title>".to_vec();
            page.resize(page.len().max(request.number()? as usize), b'.');
            Some(vec![
                Step::AwaitRequest,
                headers(&[(":status", "200"), ("content-type", "text/html")], false),
                last_data(page),
            ])
        },
    ),
    Fault::with(
        "HttpStatus",
        "<status>",
        "This HTTP status with a text body and no grpc-status, as a proxy answers.",
        |request| {
            let head = [(":status", request.argument), ("content-type", "text/plain")];
            Some(vec![
                Step::AwaitRequest,
                headers(&head, false),
                last_data(format!("proxy says {}", request.argument)),
            ])
        },
    ),
    Fault::with(
        "HttpStatusOnly",
        "<status>",
        "One head of type application/grpc with this HTTP status, END_STREAM and no grpc-status.",
        |request| {
            let head = [(":status", request.argument), ("content-type", "application/grpc")];
            Some(vec![Step::AwaitRequest, headers(&head, true)])
        },
    ),
    Fault::with(
        "HttpStatusWithGrpcStatus",
        "<status>",
        "Trailers-Only with this HTTP status and grpc-status 5, which counts.",
        |request| {
            let head = [
                (":status", request.argument),
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                ("grpc-message", "the gRPC status counts"),
            ];
            Some(vec![Step::AwaitRequest, headers(&head, true)])
        },
    ),
    Fault::plain(
        "StatusInHead",
        "A head that does not end the stream has grpc-status 5; the trailers say OK and count.",
        |_| {
            let head = [
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                ("grpc-message", "not a status"),
            ];
            Some(vec![headers(&head, false), Step::Echo, ok()])
        },
    ),
    Fault::plain(
        "EndWithoutTrailers",
        "Head and message, then END_STREAM on DATA: there are no trailers.",
        |_| Some(vec![Step::AwaitRequest, head(), data(message(b"only")), last_data([])]),
    ),
    Fault::plain(
        "EndOnMessage",
        "END_STREAM stands on the DATA frame of the message itself: there are no trailers.",
        |_| Some(vec![Step::AwaitRequest, head(), last_data(message(b"only"))]),
    ),
    Fault::plain("TrailersWithoutStatus", "A message, then trailers without grpc-status.", |_| {
        Some(vec![
            Step::AwaitRequest,
            head(),
            data(message(b"only")),
            headers(&[("x-note", "no status here")], true),
        ])
    }),
    Fault::with(
        "StatusText",
        "letters|empty|99|17|negative|hexadecimal|overflow|fraction",
        "A message, then trailers whose grpc-status is this text.",
        |request| {
            let text = match request.argument {
                "letters" => "abc",
                "empty" => "",
                "99" => "99",
                "17" => "17",
                "negative" => "-1",
                "hexadecimal" => "0x5",
                "overflow" => "18446744073709551621",
                "fraction" => "5.0",
                _ => return None,
            };
            let fields = [("grpc-status", text), ("grpc-message", "the text stays")];
            Some(vec![Step::AwaitRequest, head(), data(message(b"only")), headers(&fields, true)])
        },
    ),
    Fault::with(
        "MessageText",
        "escaped|lower-case|bad-escape|cut-escape|bad-utf8|raw-utf8|long",
        "NOT_FOUND with this kind of grpc-message.",
        message_text,
    ),
    Fault::with(
        "Details",
        "unpadded|padded|malformed|comma|empty",
        "NOT_FOUND with this kind of grpc-status-details-bin.",
        |request| {
            // google.rpc.Status { code: 5, message: "hi!" }: 7 bytes, so that padding shows.
            let value = match request.argument {
                "unpadded" => "CAUSA2hpIQ",
                "padded" => "CAUSA2hpIQ==",
                "malformed" => "!!! not base64 !!!",
                "comma" => "CAUSA2hpIQ,CAUSA2hpIQ",
                "empty" => "",
                _ => return None,
            };
            let more = [("grpc-status-details-bin", value)];
            Some(vec![Step::AwaitRequest, head(), trailers_with(5, "with details", &more)])
        },
    ),
    Fault::with(
        "EarlyStatus",
        "reset|quiet|trailers-only",
        "PERMISSION_DENIED while the client still sends and is blocked by its window, then \
         RST_STREAM(NO_ERROR) (reset) or nothing.",
        |request| {
            let denied = trailers(7, "enough");
            Some(match request.argument {
                "reset" => {
                    vec![Step::AwaitMessages(1), head(), denied, Step::Reset(error::NO_ERROR)]
                }
                "quiet" => vec![Step::AwaitMessages(1), head(), denied],
                "trailers-only" => vec![trailers_only(7, "enough", &[])],
                _ => return None,
            })
        },
    )
    .withholding(),
    Fault::plain(
        "EarlyOk",
        "One message and OK while the client still sends, then RST_STREAM(NO_ERROR).",
        |_| {
            Some(vec![
                Step::AwaitMessages(1),
                head(),
                data(message(b"enough")),
                ok(),
                Step::Reset(error::NO_ERROR),
            ])
        },
    )
    .withholding(),
    Fault::plain(
        "DataAfterStatus",
        "A complete response, then one more message and another status on the same stream.",
        |_| {
            Some(vec![
                Step::AwaitRequest,
                head(),
                data(message(b"only")),
                ok(),
                data(message(b"late")),
                trailers(13, "too late"),
            ])
        },
    ),
    Fault::plain(
        "EmptyDataThenStatus",
        "A good head, an empty DATA frame, then trailers with status 5.",
        |_| Some(vec![Step::AwaitRequest, head(), empty_data(), trailers(5, "nothing there")]),
    ),
];

/// A script that ends with a message and OK.
fn after_request(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut script = vec![Step::AwaitRequest];
    script.extend(steps);
    script.extend([data(message(b"only")), ok()]);
    script
}

/// Three messages and an end.
pub(super) fn after_messages(end: Step) -> Vec<Step> {
    let messages = [message(b"one"), message(b"two"), message(b"three")].concat();
    vec![Step::AwaitRequest, head(), data(messages), end]
}

fn content_type(request: &Request<'_>) -> Option<Vec<Step>> {
    let value = match request.argument {
        "plus-proto" => "application/grpc+proto",
        "plus-json" => "application/grpc+json",
        "parameter" => "application/grpc;charset=utf-8",
        "upper-case" => "Application/GRPC+Proto",
        "web" => "application/grpc-web",
        "json" => "application/json",
        "html" => "text/html",
        "absent" => return Some(after_request([headers(&[(":status", "200")], false)])),
        _ => return None,
    };
    Some(after_request([headers(&[(":status", "200"), ("content-type", value)], false)]))
}

fn message_text(request: &Request<'_>) -> Option<Vec<Step>> {
    let long = "0123456789".repeat(200);
    let text: &[u8] = match request.argument {
        "escaped" => b"caf%C3%A9 100%25 %E2%98%83".as_slice(),
        "lower-case" => b"caf%c3%a9 is open",
        "bad-escape" => b"before %zz after",
        "cut-escape" => b"before the cut %4",
        "bad-utf8" => b"before %FF%FE after",
        "raw-utf8" => b"before \xc3\xa9 after",
        "long" => long.as_bytes(),
        _ => return None,
    };
    let mut fields = fields(&[("grpc-status", "5")]);
    fields.push((b"grpc-message".to_vec(), text.to_vec()));
    Some(vec![
        Step::AwaitRequest,
        head(),
        Step::Headers(Headers { fields, end_stream: true, ..Headers::default() }),
    ])
}
