//! Response metadata that is large, repeated, binary or odd.

use crate::{
    frames::{Field, MAX_FRAME},
    script::{Fault, Headers, Step, data, fields, head, message, ok, trailers},
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::with(
        "HeadMetadata",
        "<bytes>",
        "A good response whose head has about this much custom metadata, in fields of 1000 bytes.",
        |request| {
            let filling = filling(request.number()?)?;
            Some(vec![
                Step::AwaitRequest,
                block(HEAD, filling, false),
                data(message(b"only")),
                ok(),
            ])
        },
    ),
    Fault::with(
        "TrailerMetadata",
        "<bytes>",
        "A good response whose trailers have about this much custom metadata.",
        |request| {
            let filling = filling(request.number()?)?;
            Some(vec![
                Step::AwaitRequest,
                head(),
                data(message(b"only")),
                block(&[("grpc-status", "0")], filling, true),
            ])
        },
    ),
    Fault::with(
        "Continuations",
        "<bytes>",
        "A good response whose head is cut into CONTINUATION frames of this many bytes.",
        |request| {
            let fragment = request.number().filter(|n| (1..=MAX_FRAME as u32).contains(n))?;
            let head = Headers {
                fields: fields(&[HEAD, &[("x-note", "in pieces")]].concat()),
                fragment: Some(fragment as usize),
                ..Headers::default()
            };
            Some(vec![Step::AwaitRequest, Step::Headers(head), data(message(b"only")), ok()])
        },
    ),
    Fault::plain(
        "RepeatedMetadata",
        "x-twice, x-joined and x-twice-bin come several times in head and trailers, also joined by \
         commas; x-text-bin is no base64.",
        |_| {
            let repeated = fields(&[
                ("x-twice", "b"),
                ("x-twice-bin", "AAE"),
                ("x-twice", "a"),
                ("x-joined", "p,q"),
                ("x-twice", "b"),
                ("x-twice-bin", "/v8=,AA"),
                ("x-text-bin", "*** text ***"),
            ]);
            Some(vec![
                Step::AwaitRequest,
                block(HEAD, repeated.clone(), false),
                data(message(b"only")),
                block(&[("grpc-status", "0")], repeated, true),
            ])
        },
    ),
    Fault::plain(
        "OddMetadata",
        "Values and names that are legal in HTTP/2 but not in gRPC, in head and trailers.",
        |_| {
            let odd: Vec<Field> = [
                (&b"x-latin"[..], &b"caf\xe9"[..]),
                (b"x-utf8", "\u{2603}".as_bytes()),
                (b"x-tab", b"a\tb"),
                (b"x-empty", b""),
                (b"x-tilde~name", b"legal in HTTP"),
                (b"x-bang!", b"legal in HTTP"),
                (b"grpc-of-tomorrow", b"unknown but reserved"),
                (b"x-plain", b"plain"),
            ]
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .into();
            Some(vec![
                Step::AwaitRequest,
                block(HEAD, odd.clone(), false),
                data(message(b"only")),
                block(&[("grpc-status", "0")], odd, true),
            ])
        },
    ),
    Fault::plain(
        "ManyFields",
        "NOT_FOUND whose head has 100 small fields of different names.",
        |_| {
            let many = (0..100).map(|i| (format!("x-{i}").into_bytes(), b"v".to_vec())).collect();
            Some(vec![Step::AwaitRequest, block(HEAD, many, false), trailers(5, "many fields")])
        },
    ),
];

const HEAD: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

/// Fields that together are about this many bytes; no more than 16 MiB.
fn filling(bytes: u32) -> Option<Vec<Field>> {
    let count = bytes.div_ceil(1000);
    (count <= 16_777).then(|| {
        (0..count).map(|i| (format!("x-filling-{i}").into_bytes(), vec![b'v'; 950])).collect()
    })
}

fn block(first: &[(&str, &str)], more: Vec<Field>, end_stream: bool) -> Step {
    let mut all = fields(first);
    all.extend(more);
    Step::Headers(Headers { fields: all, end_stream, ..Headers::default() })
}
