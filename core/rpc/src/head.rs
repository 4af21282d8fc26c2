//! What a call says first, and what the server's head and trailers mean: the order of decisions of
//! gRPC over HTTP/2 ("Responses") and doc/http-grpc-status-mapping.md.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use crate::{
    Code, Compression, Error, ErrorCode, Metadata, Status,
    compression::ACCEPTED,
    deframe::Encoding,
    metadata::{BASE64, list_size},
};

/// How much of an answer that is not gRPC is quoted.
pub(crate) const QUOTE: usize = 1000;

const TIMEOUT: &str = "grpc-timeout";

/// What does not change between the attempts of a call.
#[derive(Debug)]
pub(crate) struct RequestHead {
    uri: Uri,
    headers: HeaderMap,
}

impl RequestHead {
    /// # Errors
    /// `INVALID_METADATA` for more than headers hold.
    pub(crate) fn new(
        uri: Uri,
        user_agent: HeaderValue,
        compression: Compression,
        has_deadline: bool,
        metadata: &Metadata,
    ) -> Result<RequestHead, Error> {
        let mut headers = HeaderMap::new();
        if has_deadline {
            // Keeps the first place for the value that each attempt has.
            headers.insert(TIMEOUT, HeaderValue::from_static("0n"));
        }
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("user-agent", user_agent);
        headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
        if compression != Compression::Identity {
            headers.insert("grpc-encoding", HeaderValue::from_static(compression.name()));
        }
        metadata.write_to(&mut headers)?;
        Ok(RequestHead { uri, headers })
    }

    /// The HTTP/2 request, with the time that is left until the deadline.
    pub(crate) fn request(&self, time_left: Option<Duration>) -> Request<()> {
        let mut headers = self.headers.clone();
        if let Some(left) = time_left
            && let Ok(value) = HeaderValue::from_str(&timeout(left))
        {
            headers.insert(TIMEOUT, value);
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

/// The URI of a method: checks what the caller gave.
pub(crate) fn method_uri(tls: bool, authority: &str, path: &str) -> Result<Uri, Error> {
    let legal = path
        .strip_prefix('/')
        .and_then(|path| path.rsplit_once('/'))
        .is_some_and(|(service, method)| !service.is_empty() && !method.is_empty())
        && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if !legal {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("method {path:?} is not of the form /package.Service/Method"),
        ));
    }
    Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|e| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("method {path:?} at authority {authority:?} is not a URI: {e}"),
            )
        })
}

/// `TimeoutValue TimeoutUnit`: at most eight digits in the finest unit that holds the value.
fn timeout(left: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let nanos = left.as_nanos();
    for (unit, size) in [
        ('n', 1),
        ('u', 1_000),
        ('m', 1_000_000),
        ('S', 1_000_000_000),
        ('M', 60_000_000_000),
        ('H', 3_600_000_000_000),
    ] {
        let value = nanos / size;
        if value <= MOST {
            return format!("{value}{unit}");
        }
    }
    format!("{MOST}H")
}

/// What a response head leads to.
pub(crate) enum Head {
    /// Messages and trailers follow.
    Messages { metadata: Metadata, encoding: Encoding },
    /// The head was all there is.
    TrailersOnly(Status),
    /// Not a gRPC response; its body may explain why.
    NotGrpc(Status),
    /// Refused by us.
    Refused(Status),
}

/// Decides what a response head means. `end` tells whether it ended the stream.
pub(crate) fn decide_head(
    status: StatusCode,
    headers: &HeaderMap,
    end: bool,
    max_metadata: usize,
) -> Head {
    if let Some(status) = too_large(headers, max_metadata) {
        return Head::Refused(status);
    }
    let content_type = headers.get("content-type").map(HeaderValue::as_bytes);
    if !content_type.is_some_and(is_grpc) {
        let content_type = match content_type {
            Some(value) => format!("content-type {:?}", String::from_utf8_lossy(value)),
            None => "no content-type".to_owned(),
        };
        let mut decided = Status::new(
            code_of_http(status),
            format!("the answer is not gRPC: HTTP status {status}, {content_type}"),
        );
        decided.trailers = Metadata::read_from(headers);
        return Head::NotGrpc(decided);
    }
    if end {
        return Head::TrailersOnly(decide_trailers(Some(status), headers));
    }
    let encoding = match headers.get("grpc-encoding").map(HeaderValue::to_str) {
        None => Encoding::Known(Compression::Identity),
        Some(Ok(name)) => match Compression::from_name(name) {
            Some(compression) => Encoding::Known(compression),
            None => Encoding::Unknown(name.to_owned()),
        },
        Some(Err(_)) => Encoding::Unknown("(not text)".to_owned()),
    };
    Head::Messages { metadata: Metadata::read_from(headers), encoding }
}

/// Decides the status of trailers, which were checked against the limit on metadata before.
pub(crate) fn decide_trailers(http: Option<StatusCode>, trailers: &HeaderMap) -> Status {
    let message = trailers.get("grpc-message").map(|v| percent_decode(v.as_bytes()));
    let (code, message) = match trailers.get("grpc-status") {
        None => {
            let http = http.unwrap_or(StatusCode::OK);
            let text =
                format!("the server ended the call without a grpc-status (HTTP status {http})");
            (code_of_http(http), text)
        }
        Some(value) => {
            let digits = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
            let number = (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| digits.parse::<i32>().ok())
                .flatten();
            match number.map(|number| (number, Code::from_i32(number))) {
                Some((_, Some(code))) => (code, message.unwrap_or_default()),
                Some((number, None)) => (
                    Code::Unknown,
                    with_text(format!("the server sent the unknown grpc-status {number}"), message),
                ),
                None => (
                    Code::Unknown,
                    with_text(
                        format!(
                            "error parsing returned status: grpc-status is {:?}",
                            String::from_utf8_lossy(value.as_bytes())
                        ),
                        message,
                    ),
                ),
            }
        }
    };
    let details = trailers
        .get("grpc-status-details-bin")
        .and_then(|value| BASE64.decode(value.as_bytes().trim_ascii()).ok())
        .map(Bytes::from)
        .unwrap_or_default();
    Status { code, message, details, trailers: Metadata::read_from(trailers) }
}

fn with_text(what: String, message: Option<String>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{what} ({message})"),
        _ => what,
    }
}

/// A refusal of metadata over the limit.
pub(crate) fn too_large(headers: &HeaderMap, max_metadata: usize) -> Option<Status> {
    let size = list_size(headers);
    (size > max_metadata).then(|| {
        Status::new(
            Code::ResourceExhausted,
            format!(
                "received metadata of {size} bytes exceeds the limit of {max_metadata}; raise \
                 max_metadata if this is expected"
            ),
        )
    })
}

/// `application/grpc`, alone or followed by `+` or `;`.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.len() >= GRPC.len()
        && content_type[..GRPC.len()].eq_ignore_ascii_case(GRPC)
        && matches!(content_type.get(GRPC.len()), None | Some(b'+' | b';'))
}

/// doc/http-grpc-status-mapping.md
fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 431 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Undoes the percent-encoding of `grpc-message`; what is not valid is kept or replaced, never lost.
fn percent_decode(raw: &[u8]) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'%'
            && let (Some(high), Some(low)) = (hex(raw.get(at + 1)), hex(raw.get(at + 2)))
        {
            bytes.push(high << 4 | low);
            at += 3;
        } else {
            bytes.push(raw[at]);
            at += 1;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_has_at_most_eight_digits_in_the_finest_unit() {
        for (left, text) in [
            (Duration::from_nanos(1), "1n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_secs(2), "2000000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(timeout(left), text);
        }
    }

    #[test]
    fn a_method_has_a_service_and_a_name() {
        for wrong in ["", "/", "a/b", "/a", "/a/", "//b", "/a/b?c", "/a/b#c", "/a /b", "/a/\u{e9}"]
        {
            let error = method_uri(false, "h:1", wrong).expect_err(wrong);
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.message.contains("/package.Service/Method"), "{error}");
        }
        assert!(method_uri(true, "h:1", "/a.B/C").is_ok());
    }

    #[test]
    fn content_types_are_compared_as_the_specification_says() {
        for right in ["application/grpc", "application/grpc+proto", "Application/GRPC;x=y"] {
            assert!(is_grpc(right.as_bytes()), "{right}");
        }
        for wrong in ["application/grpc-web", "application/json", "", "application/grp"] {
            assert!(!is_grpc(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_message_with_broken_escapes_keeps_its_text() {
        assert_eq!(percent_decode(b"a%20b%"), "a b%");
        assert_eq!(percent_decode(b"%zz%c3%a9"), "%zz\u{e9}");
        assert_eq!(percent_decode(b"x%ff"), "x\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_trailers_make_it_panic(
            status in prop::collection::vec(0x20u8..0x7f, 0..5),
            message in prop::collection::vec(0x20u8..=0xff, 0..50),
            details in prop::collection::vec(0x20u8..0x7f, 0..50),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in [("grpc-status", status), ("grpc-message", message), ("grpc-status-details-bin", details)] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.insert(name, value);
                }
            }
            let decided = decide_trailers(None, &headers);
            prop_assert_eq!(decided.trailers.len() >= headers.len(), true);
        }
    }
}
