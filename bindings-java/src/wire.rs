//! How options, metadata and statuses cross the border: big-endian numbers, and byte strings behind
//! their length, where -1 stands for an absent one. The other half is `Wire.java`.

use std::time::Duration;

use millstream_boundary::{
    CallOptions, ChannelOptions, Compression, Error, ErrorCode, Metadata, PREFIX, Status,
    TlsOptions,
};

/// A status.
pub fn status(status: &Status) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend((status.code as i32).to_be_bytes());
    bytes(&mut out, status.message.as_bytes());
    bytes(&mut out, &status.details);
    metadata_into(&mut out, &status.trailers);
    out
}

/// Metadata.
pub fn metadata(metadata: &Metadata) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    metadata_into(&mut out, metadata);
    out
}

fn metadata_into(out: &mut Vec<u8>, metadata: &Metadata) {
    out.extend((metadata.len() as u32).to_be_bytes());
    for (key, value) in metadata.iter() {
        bytes(out, key.as_bytes());
        bytes(out, value);
    }
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend((value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// Target and options of a channel.
pub fn channel(spec: &[u8]) -> Result<(String, ChannelOptions), Error> {
    let mut from = Reader(spec);
    let target = from.text("the target")?;
    let mut options = ChannelOptions::default();
    for _ in 0..from.number()? {
        let name = from.text("the name of an option")?;
        let value = from.text(&name)?;
        options.set(&name, &value)?;
    }
    options.tls = TlsOptions {
        roots_pem: from.optional_bytes()?.map(<[u8]>::to_vec),
        cert_chain_pem: from.optional_bytes()?.map(<[u8]>::to_vec),
        private_key_pem: from.optional_bytes()?.map(<[u8]>::to_vec),
        ..options.tls
    };
    Ok((target, options))
}

/// Options of a call.
pub fn call_options(encoded: &[u8]) -> Result<CallOptions, Error> {
    let mut from = Reader(encoded);
    let mut options = CallOptions { timeout: from.duration()?, ..CallOptions::default() };
    options.compression = match from.number()? {
        0 => Compression::Identity,
        1 => Compression::Gzip,
        2 => Compression::Deflate,
        3 => Compression::Zstd,
        other => return Err(malformed(&format!("compression {other}"))),
    };
    options.wait_for_ready = from.flag()?;
    if let Some(authority) = from.optional_bytes()? {
        options.authority = Some(text(authority, "the authority")?);
    }
    options.max_receive_message = from.size()?;
    options.max_send_message = from.size()?;
    options.max_batch_delay = from.duration()?.unwrap_or_default();
    for _ in 0..from.number()? {
        let key = from.text("a metadata key")?;
        let value = from.optional_bytes()?.unwrap_or_default();
        options.metadata.append(&key, value)?;
    }
    Ok(options)
}

/// UTF-8 that Java encoded; lone surrogates never come, Java replaces them.
pub fn text(bytes: &[u8], what: &str) -> Result<String, Error> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| Error::new(ErrorCode::InvalidArgument, format!("{what} is not valid UTF-8")))
}

/// The payloads of gRPC frames that stand side by side. Stops at the first that is not whole.
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Checks all of the frames.
    pub fn new(frames: &'a [u8]) -> Result<Frames<'a>, Error> {
        if whole_frames(frames, frames.len()) == frames.len() {
            Ok(Frames { rest: frames })
        } else {
            Err(malformed("packed messages"))
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let frame = self.rest.get(..frame_size(self.rest)?)?;
        self.rest = &self.rest[frame.len()..];
        Some(&frame[PREFIX..])
    }
}

/// The size of the first frame, prefix included.
pub fn frame_size(frames: &[u8]) -> Option<usize> {
    let length: [u8; 4] = frames.get(1..PREFIX)?.try_into().ok()?;
    Some(PREFIX + u32::from_be_bytes(length) as usize)
}

/// How many bytes of whole frames stand at the start, within `room`.
pub fn whole_frames(frames: &[u8], room: usize) -> usize {
    let end = frames.len().min(room);
    let mut at = 0;
    while let Some(size) = frame_size(&frames[at..end]) {
        if size > end - at {
            break;
        }
        at += size;
    }
    at
}

/// How many bytes the first `count` frames are.
pub fn first_frames(frames: &[u8], count: usize) -> usize {
    let mut at = 0;
    for _ in 0..count {
        at += frame_size(&frames[at..]).unwrap_or(0);
    }
    at
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| malformed("what Java encoded"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| malformed("what Java encoded"))
    }

    fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.array::<1>()? != [0])
    }

    fn number(&mut self) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn optional_bytes(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match usize::try_from(self.number()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Error> {
        text(self.optional_bytes()?.unwrap_or_default(), what)
    }

    fn long(&mut self) -> Result<Option<u64>, Error> {
        Ok(u64::try_from(i64::from_be_bytes(self.array()?)).ok())
    }

    fn duration(&mut self) -> Result<Option<Duration>, Error> {
        Ok(self.long()?.map(Duration::from_nanos))
    }

    fn size(&mut self) -> Result<Option<usize>, Error> {
        Ok(self.long()?.map(|size| usize::try_from(size).unwrap_or(usize::MAX)))
    }
}

/// Classes and library that do not fit each other, or a call of a native by hand.
fn malformed(what: &str) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!("{what} cannot be read by the native library; use the jar it came with"),
    )
}

#[cfg(test)]
mod tests {
    use millstream_boundary::Code;
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut frames = Vec::new();
        for message in messages {
            frames.push(0);
            bytes(&mut frames, message);
        }
        frames
    }

    #[test]
    fn options_are_read_as_java_writes_them() {
        let mut encoded = Vec::new();
        encoded.extend(1_500_000_000i64.to_be_bytes());
        encoded.extend(3i32.to_be_bytes());
        encoded.push(1);
        bytes(&mut encoded, b"a.test");
        encoded.extend((-1i64).to_be_bytes());
        encoded.extend(100i64.to_be_bytes());
        encoded.extend(50_000i64.to_be_bytes());
        encoded.extend(1i32.to_be_bytes());
        bytes(&mut encoded, b"x-key");
        bytes(&mut encoded, b"value");
        let options = call_options(&encoded).expect("complete options");
        assert_eq!(options.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(options.compression, Compression::Zstd);
        assert!(options.wait_for_ready);
        assert_eq!(options.authority.as_deref(), Some("a.test"));
        assert_eq!(options.max_receive_message, None);
        assert_eq!(options.max_send_message, Some(100));
        assert_eq!(options.max_batch_delay, Duration::from_micros(50));
        assert_eq!(options.metadata.get("x-key"), Some(&b"value"[..]));
    }

    #[test]
    fn a_status_is_code_message_details_and_trailers() {
        let mut given = Status::new(Code::NotFound, "no");
        given.details = vec![7].into();
        given.trailers.append("x", b"y").expect("legal metadata");
        assert_eq!(
            status(&given),
            b"\0\0\0\x05\0\0\0\x02no\0\0\0\x01\x07\0\0\0\x01\0\0\0\x01x\0\0\0\x01y"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = channel(&bytes);
            let _ = call_options(&bytes);
            let _ = Frames::new(&bytes).map(Iterator::count);
        }

        #[test]
        fn frames_are_walked_as_they_were_packed(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            room in 0usize..1000,
        ) {
            let frames = framed(&messages);
            let walked: Vec<Vec<u8>> = Frames::new(&frames).expect("whole frames").map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&walked, &messages);
            let fitting = whole_frames(&frames, room);
            prop_assert!(fitting <= room.min(frames.len()));
            let count = Frames::new(&frames[..fitting]).expect("whole frames").count();
            prop_assert_eq!(first_frames(&frames, count), fitting);
            // One more would not fit.
            prop_assert!(count == messages.len() || fitting + PREFIX + messages[count].len() > room);
        }

        #[test]
        fn a_cut_frame_is_refused(message in prop::collection::vec(any::<u8>(), 0..40), cut in 1usize..5) {
            let frames = framed(&[message]);
            prop_assert!(Frames::new(&frames[..frames.len() - cut]).is_err());
        }
    }
}
