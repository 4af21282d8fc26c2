//! Good calls, and calls that are good only when the client did its part right.

use std::io::Read;

use crate::{
    frames::Field,
    script::{
        Fault, Headers, Message, Request, Step, data, fields, flagged, head, message, ok,
        trailers_only,
    },
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::plain("Good", "No fault: every request message comes back, then OK.", |_| {
        Some(vec![head(), Step::Echo, ok()])
    }),
    Fault::plain(
        "Seen",
        "No fault: the request is the path of another method; the response is JSON with the number \
         of calls of it and the codes of the RST_STREAM frames that its clients sent.",
        |_| Some(vec![Step::Seen]),
    ),
    Fault::plain(
        "CheckHead",
        "Answers OK when the head of the request is as gRPC over HTTP/2 wants it, else \
         FAILED_PRECONDITION with all that is wrong.",
        |request| Some(verdict(&head_faults(request))),
    ),
    Fault::plain(
        "CheckTimeout",
        "Answers OK when the request has a well-formed grpc-timeout, else FAILED_PRECONDITION.",
        |request| Some(verdict(&timeout_fault(request).into_iter().collect::<Vec<_>>())),
    ),
    Fault::with(
        "CheckCompressed",
        "gzip|deflate|zstd",
        "Inflates the request messages and sends them back uncompressed, then OK; \
         FAILED_PRECONDITION when one was not compressed so.",
        check_compressed,
    ),
    Fault::plain(
        "EchoMetadata",
        "Sends the custom metadata of the request back, unchanged, in the head and in the trailers.",
        |request| {
            let custom: Vec<Field> =
                request.fields.iter().filter(|(name, _)| is_custom(name)).cloned().collect();
            let mut head = fields(&[(":status", "200"), ("content-type", "application/grpc")]);
            head.extend_from_slice(&custom);
            let mut trailers = fields(&[("grpc-status", "0")]);
            trailers.extend(custom);
            Some(vec![
                Step::AwaitRequest,
                Step::Headers(Headers { fields: head, ..Headers::default() }),
                data(message(b"echo")),
                Step::Headers(Headers { fields: trailers, end_stream: true, ..Headers::default() }),
            ])
        },
    ),
];

/// OK with one message, or all that is wrong.
fn verdict(wrong: &[String]) -> Vec<Step> {
    if wrong.is_empty() {
        vec![Step::AwaitRequest, head(), data(message(b"good")), ok()]
    } else {
        vec![Step::AwaitRequest, trailers_only(9, &wrong.join("; "), &[])]
    }
}

/// Header names that gRPC defines for the call itself.
fn is_call_definition(name: &[u8]) -> bool {
    name.starts_with(b"grpc-") || matches!(name, b"te" | b"content-type" | b"user-agent")
}

fn is_custom(name: &[u8]) -> bool {
    !name.starts_with(b":") && !is_call_definition(name) && name != b"content-length"
}

fn head_faults(request: &Request<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let is = |name: &str, value: &str| request.field(name) == Some(value.as_bytes());
    expect(is(":method", "POST"), ":method is not POST");
    expect(is(":scheme", "http") || is(":scheme", "https"), ":scheme is neither http nor https");
    expect(request.field(":authority").is_some_and(|v| !v.is_empty()), ":authority is missing");
    expect(is("te", "trailers"), "te is not trailers");
    expect(
        request.field("content-type").is_some_and(|v| v.starts_with(b"application/grpc")),
        "content-type is not application/grpc",
    );
    expect(
        request.field("user-agent").is_some_and(|v| {
            v.split(|b| *b == b' ').any(|part| part.starts_with(b"grpc-") && part.contains(&b'/'))
        }),
        "user-agent has no part of the form grpc-<language>/<version>",
    );
    expect(request.field("grpc-accept-encoding").is_some(), "grpc-accept-encoding is missing");

    let names: Vec<&[u8]> = request.fields.iter().map(|(name, _)| name.as_slice()).collect();
    let last_pseudo = names.iter().rposition(|name| name.starts_with(b":"));
    let first_other = names.iter().position(|name| !name.starts_with(b":"));
    expect(
        last_pseudo.is_none_or(|last| first_other.is_none_or(|first| last < first)),
        "a pseudo-header stands behind another header",
    );
    let last_definition = names.iter().rposition(|name| is_call_definition(name));
    let first_custom = names.iter().position(|name| is_custom(name));
    expect(
        first_custom.is_none_or(|custom| last_definition.is_none_or(|last| last < custom)),
        "custom metadata stands before a header of the call definition",
    );
    for (name, value) in request.fields {
        let shown = String::from_utf8_lossy(name);
        expect(
            !name.ends_with(b"-bin") || !value.contains(&b'='),
            &format!("the base64 of {shown} is padded"),
        );
        expect(
            !matches!(
                name.as_slice(),
                b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive"
            ),
            &format!("{shown} is not legal in HTTP/2"),
        );
    }
    wrong
}

/// `grpc-timeout` is 1 to 8 digits and a unit.
fn timeout_fault(request: &Request<'_>) -> Option<String> {
    let Some(value) = request.field("grpc-timeout") else {
        return Some("grpc-timeout is missing".to_owned());
    };
    let well_formed = value.split_last().is_some_and(|(unit, digits)| {
        b"HMSmun".contains(unit)
            && (1..=8).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
    });
    (!well_formed).then(|| "grpc-timeout is not 1 to 8 digits and a unit".to_owned())
}

fn check_compressed(request: &Request<'_>) -> Option<Vec<Step>> {
    let then: fn(&[Message]) -> Vec<Step> = match request.argument {
        "gzip" => |messages| inflated(messages, flate2::read::GzDecoder::new),
        "deflate" => |messages| inflated(messages, flate2::read::ZlibDecoder::new),
        "zstd" => |messages| {
            inflated(messages, |m| {
                zstd::stream::read::Decoder::with_buffer(m).map_or_else(
                    |error| Box::new(Broken(error.kind())) as Box<dyn Read>,
                    |decoder| Box::new(decoder),
                )
            })
        },
        _ => return None,
    };
    let declared = request.field("grpc-encoding");
    if !request.fields.is_empty() && declared != Some(request.argument.as_bytes()) {
        return Some(verdict(&[format!("grpc-encoding is not {}", request.argument)]));
    }
    Some(vec![Step::Then(then)])
}

/// A reader that only fails.
struct Broken(std::io::ErrorKind);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }
}

/// The requests again, inflated; no more than a test can mean of each.
fn inflated<'m, R: Read>(messages: &'m [Message], decoder: fn(&'m [u8]) -> R) -> Vec<Step> {
    const LIMIT: u64 = 16 << 20;
    let mut bytes = Vec::new();
    for (index, one) in messages.iter().enumerate() {
        if one.flag != 1 {
            return verdict(&[format!("message {index} is not compressed")]);
        }
        let mut payload = Vec::new();
        if let Err(error) = decoder(&one.payload).take(LIMIT).read_to_end(&mut payload) {
            return verdict(&[format!("message {index} cannot be inflated: {error}")]);
        }
        bytes.extend(flagged(0, &payload));
    }
    vec![head(), data(bytes), ok()]
}
