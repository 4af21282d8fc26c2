//! From DATA frames to messages (gRPC over HTTP/2, "Length-Prefixed-Message").
//!
//! DATA frame boundaries mean nothing: a prefix may be split over frames, and many messages may
//! share one. What comes out is the form of [`Batch`](crate::Batch): identity-coded frames in one
//! contiguous buffer.

use crate::{
    Code, Compression, PREFIX, Status,
    compression::{ACCEPTED, InflateError},
};

/// A buffer that grew past this for one large message is not kept for the next.
const KEEP: usize = 1 << 20;
/// One DATA frame may hold a hundred messages that inflate to megabytes each. No more are inflated
/// beyond this before the consumer has had a chance to take them.
const ENOUGH: usize = 64 << 10;

/// How the response is encoded, from its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Known(Compression),
    /// A name that we do not support; an error only when a message uses it.
    Unknown(String),
}

/// Finds messages in a stream of bytes.
#[derive(Debug)]
pub(crate) struct Deframer {
    /// Of one inflated message.
    limit: usize,
    encoding: Encoding,
    /// The start of a message whose rest has not come yet.
    partial: Vec<u8>,
}

impl Deframer {
    pub(crate) fn new(limit: usize, encoding: Encoding) -> Deframer {
        Deframer { limit, encoding, partial: Vec::new() }
    }

    /// Whether the bytes so far end inside a message.
    pub(crate) fn inside_message(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Appends the messages that `chunk` completes to `frames`, counts them and returns how many
    /// bytes of `chunk` it took: all, unless messages have inflated to [`ENOUGH`]. The rest is to be
    /// pushed again. On an error the messages before it have been appended and counted.
    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        frames: &mut Vec<u8>,
        messages: &mut usize,
    ) -> Result<usize, Status> {
        let enough = frames.len() + ENOUGH;
        let inflates = self.encoding != Encoding::Known(Compression::Identity);
        let mut rest = chunk;
        while !rest.is_empty() {
            if inflates && frames.len() >= enough {
                break;
            }
            if self.partial.is_empty() {
                rest = self.whole(rest, enough, frames, messages)?;
                if inflates && frames.len() >= enough {
                    break;
                }
                self.partial.extend_from_slice(rest);
                if let Some(prefix) = self.partial.first_chunk::<PREFIX>() {
                    self.check(prefix)?;
                }
                return Ok(chunk.len());
            }
            rest = self.continued(rest, frames, messages)?;
        }
        Ok(chunk.len() - rest.len())
    }

    /// Takes the complete messages at the start of `bytes`, or enough of them, and returns what is
    /// left. Runs of uncompressed messages are copied at once.
    fn whole<'a>(
        &self,
        bytes: &'a [u8],
        enough: usize,
        frames: &mut Vec<u8>,
        messages: &mut usize,
    ) -> Result<&'a [u8], Status> {
        let mut start = 0;
        let mut at = 0;
        let result = loop {
            let Some(prefix) = bytes[at..].first_chunk::<PREFIX>() else { break Ok(()) };
            let length = match self.check(prefix) {
                Ok(length) => length,
                Err(status) => break Err(status),
            };
            let end = at + PREFIX + length;
            if end > bytes.len() {
                break Ok(());
            }
            if prefix[0] == 1 {
                frames.extend_from_slice(&bytes[start..at]);
                self.inflate(&bytes[at + PREFIX..end], frames)?;
                start = end;
            }
            at = end;
            *messages += 1;
            if prefix[0] == 1 && frames.len() >= enough {
                break Ok(());
            }
        };
        frames.extend_from_slice(&bytes[start..at]);
        result.map(|()| &bytes[at..])
    }

    /// Adds to the message that is under way and returns what is left of `bytes`.
    fn continued<'a>(
        &mut self,
        bytes: &'a [u8],
        frames: &mut Vec<u8>,
        messages: &mut usize,
    ) -> Result<&'a [u8], Status> {
        let mut rest = bytes;
        if self.partial.len() < PREFIX {
            let take = (PREFIX - self.partial.len()).min(rest.len());
            self.partial.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
        }
        let Some(prefix) = self.partial.first_chunk::<PREFIX>().copied() else { return Ok(rest) };
        let end = PREFIX + self.check(&prefix)?;
        let take = (end - self.partial.len()).min(rest.len());
        self.partial.extend_from_slice(&rest[..take]);
        if self.partial.len() < end {
            return Ok(&[]);
        }
        if prefix[0] == 1 {
            self.inflate(&self.partial[PREFIX..], frames)?;
        } else if frames.is_empty() && self.partial.len() > KEEP {
            std::mem::swap(frames, &mut self.partial);
        } else {
            frames.extend_from_slice(&self.partial);
        }
        *messages += 1;
        if self.partial.capacity() > KEEP {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
        }
        Ok(&rest[take..])
    }

    /// The length that a prefix announces, if flag and length are acceptable. Nothing is reserved
    /// before this.
    fn check(&self, prefix: &[u8; PREFIX]) -> Result<usize, Status> {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        match prefix[0] {
            0 => {}
            1 => match &self.encoding {
                Encoding::Known(Compression::Identity) => {
                    return Err(Status::new(
                        Code::Internal,
                        "the server sent a compressed message without naming its grpc-encoding",
                    ));
                }
                Encoding::Known(_) => {}
                Encoding::Unknown(name) => {
                    return Err(Status::new(
                        Code::Internal,
                        format!(
                            "the server compressed a message with {name:?}; supported are {ACCEPTED}"
                        ),
                    ));
                }
            },
            flag => {
                return Err(Status::new(
                    Code::Internal,
                    format!("a message starts with the flag {flag}; legal are 0 and 1"),
                ));
            }
        }
        if length > self.limit {
            return Err(self.too_large(&format!("has {length} bytes")));
        }
        Ok(length)
    }

    fn inflate(&self, message: &[u8], frames: &mut Vec<u8>) -> Result<(), Status> {
        let Encoding::Known(compression) = self.encoding else {
            return Err(Status::new(Code::Internal, "a message has an unknown compression"));
        };
        let start = frames.len();
        frames.extend_from_slice(&[0; PREFIX]);
        match compression.inflate(message, self.limit.min(u32::MAX as usize), frames) {
            Ok(()) => {
                let length = (frames.len() - start - PREFIX) as u32;
                frames[start + 1..start + PREFIX].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            Err(error) => {
                frames.truncate(start);
                Err(match error {
                    InflateError::TooLarge => {
                        self.too_large(&format!("inflates to more ({})", compression.name()))
                    }
                    InflateError::Corrupt(error) => Status::new(
                        Code::Internal,
                        format!("a message cannot be inflated as {}: {error}", compression.name()),
                    ),
                })
            }
        }
    }

    fn too_large(&self, what: &str) -> Status {
        Status::new(
            Code::ResourceExhausted,
            format!(
                "a received message exceeds maximum size {}: it {what}; raise max_receive_message \
                 if this is expected",
                self.limit
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Batch;

    fn frame(flag: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![flag];
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    fn messages(frames: Vec<u8>, count: usize) -> Vec<Vec<u8>> {
        let batch = Batch { frames, messages: count, ..Batch::new() };
        batch.iter().map(<[u8]>::to_vec).collect()
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_messages(
            payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..20),
            cuts in prop::collection::vec(1usize..200, 1..50),
        ) {
            let mut stream = Vec::new();
            for (payload, compressed) in &payloads {
                if *compressed {
                    let mut small = Vec::new();
                    Compression::Gzip.deflate(payload, &mut small).unwrap();
                    stream.extend(frame(1, &small));
                } else {
                    stream.extend(frame(0, payload));
                }
            }
            let mut deframer = Deframer::new(1000, Encoding::Known(Compression::Gzip));
            let (mut frames, mut count, mut rest) = (Vec::new(), 0, &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                let mut head = head;
                while !head.is_empty() {
                    let taken = deframer.push(head, &mut frames, &mut count).unwrap();
                    prop_assert!(taken > 0);
                    head = &head[taken..];
                }
                rest = tail;
            }
            prop_assert!(!deframer.inside_message());
            let expected: Vec<_> = payloads.into_iter().map(|(payload, _)| payload).collect();
            prop_assert_eq!(messages(frames, count), expected);
        }

        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 1usize..100,
        ) {
            let mut deframer = Deframer::new(64, Encoding::Known(Compression::Zstd));
            let (mut frames, mut count) = (Vec::new(), 0);
            for chunk in bytes.chunks(cut) {
                if deframer.push(chunk, &mut frames, &mut count).is_err() { break; }
            }
            prop_assert!(deframer.partial.capacity() <= 4096);
            prop_assert_eq!(messages(frames, count).len(), count);
        }
    }

    #[test]
    fn messages_before_a_bad_one_are_kept() {
        let mut stream = frame(0, b"one");
        stream.extend(frame(0, b"two"));
        stream.extend(frame(2, b"three"));
        let mut deframer = Deframer::new(100, Encoding::Known(Compression::Identity));
        let (mut frames, mut count) = (Vec::new(), 0);
        let status = deframer.push(&stream, &mut frames, &mut count).unwrap_err();
        assert_eq!(status.code, Code::Internal);
        assert_eq!(messages(frames, count), [b"one", b"two"]);
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_memory_is_reserved() {
        let mut deframer = Deframer::new(100, Encoding::Known(Compression::Identity));
        let status =
            deframer.push(&[0, 0xff, 0xff, 0xff, 0xff], &mut Vec::new(), &mut 0).unwrap_err();
        assert_eq!(status.code, Code::ResourceExhausted);
        assert!(deframer.partial.capacity() < 100);
    }

    #[test]
    fn a_message_that_inflates_past_the_limit_is_refused() {
        for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
            let mut small = Vec::new();
            compression.deflate(&vec![0; 10 << 20], &mut small).unwrap();
            let mut deframer = Deframer::new(1 << 20, Encoding::Known(compression));
            let mut frames = Vec::new();
            let status = deframer.push(&frame(1, &small), &mut frames, &mut 0).unwrap_err();
            assert_eq!(status.code, Code::ResourceExhausted, "{}", compression.name());
            assert!(frames.is_empty());
        }
    }
}
