//! Compressed messages: good, mislabelled, broken, and far larger than they look.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::script::{Fault, Request, Step, data, flagged, head, head_with, message, ok};

pub(super) const FAULTS: &[Fault] = &[
    Fault::with(
        "Compressed",
        "gzip|deflate|zstd",
        "Three messages of 1,000 bytes, all compressed so.",
        |request| {
            let encoding = Encoding::of(request)?;
            let messages = TEXTS.map(|text| flagged(1, &encoding.compress(&text.repeat(200))));
            Some(response(encoding.name(), messages.concat()))
        },
    ),
    Fault::with(
        "CompressedSome",
        "gzip|deflate|zstd",
        "Three messages of 1,000 bytes; the second has flag 0 and is not compressed.",
        |request| {
            let encoding = Encoding::of(request)?;
            let [one, two, three] = TEXTS.map(|text| text.repeat(200));
            let bytes = [
                flagged(1, &encoding.compress(&one)),
                flagged(0, &two),
                flagged(1, &encoding.compress(&three)),
            ];
            Some(response(encoding.name(), bytes.concat()))
        },
    ),
    Fault::with(
        "CompressedEmpty",
        "gzip|deflate|zstd",
        "A message of no bytes, compressed so, which takes some.",
        |request| {
            let encoding = Encoding::of(request)?;
            Some(response(encoding.name(), flagged(1, &encoding.compress(b""))))
        },
    ),
    Fault::plain(
        "CompressedWithoutEncoding",
        "The flag says compressed; the head has no grpc-encoding.",
        |_| {
            let bytes = flagged(1, &Encoding::Gzip.compress(TEXTS[0]));
            Some(vec![Step::AwaitRequest, head(), data(bytes), ok()])
        },
    ),
    Fault::plain(
        "CompressedIdentity",
        "The flag says compressed; grpc-encoding is identity.",
        |_| Some(response("identity", flagged(1, TEXTS[0]))),
    ),
    Fault::plain("PlainIdentity", "Not compressed; grpc-encoding is identity.", |_| {
        Some(response("identity", message(TEXTS[0])))
    }),
    Fault::plain(
        "CompressedUnknown",
        "A message in an encoding that clients do not offer: snappy.",
        |_| {
            // Snappy's block format: the length, then one literal of five bytes.
            Some(response("snappy", flagged(1, b"\x05\x10hello")))
        },
    ),
    Fault::with(
        "CompressedCorrupt",
        "gzip|deflate|zstd",
        "A message whose compressed bytes are inverted from the middle on.",
        |request| {
            let encoding = Encoding::of(request)?;
            let mut bytes = encoding.compress(&varied());
            let middle = bytes.len() / 2;
            bytes[middle..].iter_mut().for_each(|byte| *byte = !*byte);
            Some(response(encoding.name(), flagged(1, &bytes)))
        },
    ),
    Fault::with(
        "CompressedTruncated",
        "gzip|deflate|zstd",
        "A message of which half of the compressed bytes are missing.",
        |request| {
            let encoding = Encoding::of(request)?;
            let bytes = encoding.compress(&varied());
            Some(response(encoding.name(), flagged(1, &bytes[..bytes.len() / 2])))
        },
    ),
    Fault::with(
        "CompressedNothing",
        "gzip|deflate|zstd",
        "The flag says compressed, the encoding is declared, but the message has no bytes at all.",
        |request| Some(response(Encoding::of(request)?.name(), flagged(1, b""))),
    ),
    Fault::with(
        "Bomb",
        "gzip|deflate|zstd",
        "128 MiB of zeros as one compressed message of a few KB (zstd) or 128 KB.",
        |request| {
            let encoding = Encoding::of(request)?;
            Some(response(encoding.name(), flagged(1, encoding.bomb())))
        },
    ),
    Fault::plain(
        "BombOfMembers",
        "One gzip message of 100 members that inflate to 1 MiB each.",
        |_| {
            let member = Encoding::Gzip.compress(&vec![0; 1 << 20]);
            Some(response("gzip", flagged(1, &member.repeat(100))))
        },
    ),
    Fault::plain(
        "ZstdWindow",
        "A zstd frame of five bytes whose header asks for a window of 2 GiB.",
        |_| {
            // Magic; no checksum, dictionary or size; window 2^31; one last raw block of five bytes.
            let mut frame = b"\x28\xb5\x2f\xfd\x00\xa8".to_vec();
            frame.extend([(5 << 3) | 1, 0, 0]);
            frame.extend(b"hello");
            Some(response("zstd", flagged(1, &frame)))
        },
    ),
    Fault::plain(
        "ZstdContentSize",
        "A zstd frame of five bytes whose header promises 2^60 bytes.",
        |_| {
            // Magic; single segment with an 8-byte size; one last raw block of five bytes.
            let mut frame = b"\x28\xb5\x2f\xfd\xe0".to_vec();
            frame.extend((1u64 << 60).to_le_bytes());
            frame.extend([(5 << 3) | 1, 0, 0]);
            frame.extend(b"hello");
            Some(response("zstd", flagged(1, &frame)))
        },
    ),
];

const TEXTS: [&[u8]; 3] = [b"one, ", b"two, ", b"three"];

/// The size of a bomb when it has gone off.
const BOMB: usize = 128 << 20;

fn response(encoding: &str, bytes: Vec<u8>) -> Vec<Step> {
    vec![Step::AwaitRequest, head_with(&[("grpc-encoding", encoding)]), data(bytes), ok()]
}

/// Bytes that compress, but not to next to nothing.
fn varied() -> Vec<u8> {
    (0..2_000)
        .map(|i: u32| format!("{} ", i.wrapping_mul(2_654_435_761)))
        .collect::<String>()
        .into()
}

#[derive(Clone, Copy)]
enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    fn of(request: &Request<'_>) -> Option<Encoding> {
        [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd]
            .into_iter()
            .find(|encoding| encoding.name() == request.argument)
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }

    fn compress(self, bytes: &[u8]) -> Vec<u8> {
        self.write(|out| out.write_all(bytes))
    }

    /// Compresses what is written, which is never held whole.
    fn write(self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
        let compressed = match self {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                fill(&mut encoder).and_then(|()| encoder.finish())
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                fill(&mut encoder).and_then(|()| encoder.finish())
            }
            Encoding::Zstd => zstd::stream::write::Encoder::new(Vec::new(), 3)
                .and_then(|mut encoder| fill(&mut encoder).and_then(|()| encoder.finish())),
        };
        compressed.expect("compressing into memory does not fail")
    }

    fn bomb(self) -> &'static [u8] {
        static BOMBS: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
        BOMBS[self as usize].get_or_init(|| {
            let zeros = vec![0; 1 << 20];
            self.write(|out| (0..BOMB >> 20).try_for_each(|_| out.write_all(&zeros)))
        })
    }
}
