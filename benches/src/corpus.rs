//! Ticks, encoded beforehand: what the server sends costs it next to nothing to make.

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::messages::Tick;

/// The prefix of a gRPC message: a flag and a length.
pub const PREFIX: usize = 5;
/// What the server hands to HTTP/2 at once: two full DATA frames.
const CHUNK: usize = 32 << 10;
/// Offsets in an encoded tick: a one-byte key before each of the two leading `fixed64`.
const DUE: usize = 1;
const SEQUENCE: usize = 10;

/// A run of framed ticks and where each of them starts.
#[derive(Clone, Debug)]
pub struct Corpus {
    chunk: Bytes,
    /// The start of each frame, and the end of the last one.
    bounds: Vec<usize>,
}

impl Corpus {
    /// Ticks padded up to `size` bytes each, about 32 KiB of them and at least one.
    pub fn new(size: usize) -> Corpus {
        let mut chunk = BytesMut::new();
        let mut bounds = vec![0];
        loop {
            let tick = tick(bounds.len() as u64 - 1, size);
            let length = tick.encoded_len();
            if bounds.len() > 1 && chunk.len() + PREFIX + length > CHUNK {
                break;
            }
            frame(&tick, &mut chunk);
            bounds.push(chunk.len());
        }
        Corpus { chunk: chunk.freeze(), bounds }
    }

    /// The number of ticks.
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Never: there is at least one tick.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All ticks with their prefixes.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The first `count` ticks with their prefixes.
    pub fn first(&self, count: usize) -> Bytes {
        self.chunk.slice(..self.bounds[count.min(self.len())])
    }

    /// One tick with its prefix.
    pub fn frame(&self, index: usize) -> Bytes {
        let index = index % self.len();
        self.chunk.slice(self.bounds[index]..self.bounds[index + 1])
    }

    /// Appends a tick with its prefix, stamped.
    pub fn stamp(&self, sequence: u64, due_nanos: u64, out: &mut BytesMut) {
        let index = (sequence % self.len() as u64) as usize;
        let at = out.len() + PREFIX;
        out.extend_from_slice(&self.chunk[self.bounds[index]..self.bounds[index + 1]]);
        out[at + DUE..at + DUE + 8].copy_from_slice(&due_nanos.to_le_bytes());
        out[at + SEQUENCE..at + SEQUENCE + 8].copy_from_slice(&sequence.to_le_bytes());
    }
}

/// The `sequence`-th tick. Values differ as real ones do; the size does not.
pub fn tick(sequence: u64, size: usize) -> Tick {
    const SYMBOLS: [&str; 5] = ["MSFT", "AMZN", "IBM1", "GOOG", "AAPL"];
    let price = 100.0 + (sequence % 977) as f64 / 64.0;
    let mut tick = Tick {
        // Not zero: a zero is not encoded, and the field has to be there to be stamped.
        due_nanos: 1,
        sequence: sequence + 1,
        symbol: SYMBOLS[(sequence % 5) as usize].to_owned(),
        venue: "XNAS".to_owned(),
        bid: price - 0.015625,
        ask: price + 0.015625,
        last: price,
        bid_size: 200 + (sequence % 800) as u32,
        ask_size: 200 + (sequence % 700) as u32,
        volume: 20_000 + (sequence % 9_000) as u32,
        traded_nanos: 1_700_000_000_000_000_000 + sequence * 1_000,
        padding: Vec::new(),
    };
    let missing = size.saturating_sub(tick.encoded_len());
    if missing > 0 {
        // The key and the length of the padding take room as well.
        tick.padding = vec![0xa5; missing.saturating_sub(2).max(1)];
        let over = tick.encoded_len().saturating_sub(size);
        let padding = tick.padding.len();
        tick.padding.truncate(padding.saturating_sub(over).max(1));
    }
    tick
}

/// The mean size of a tick that is not padded.
pub fn tick_bytes() -> usize {
    let corpus = Corpus::new(0);
    corpus.chunk.len() / corpus.len() - PREFIX
}

/// Appends a message with its prefix.
pub fn frame(message: &impl Message, out: &mut BytesMut) {
    let length =
        u32::try_from(message.encoded_len()).expect("a message of the measurements is small");
    out.reserve(PREFIX + length as usize);
    out.extend_from_slice(&[0]);
    out.extend_from_slice(&length.to_be_bytes());
    message.encode(out).expect("the buffer grows");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_small_messages_of_the_size_the_table_speaks_of() {
        for sequence in [0, 1, 400, 100_000] {
            assert!((64..=100).contains(&tick(sequence, 0).encoded_len()));
        }
    }

    #[test]
    fn a_padded_tick_has_the_size_that_was_asked_for() {
        for size in [100, 1000, 16 << 10] {
            assert_eq!(tick(7, size).encoded_len(), size);
        }
    }

    #[test]
    fn a_stamped_tick_decodes_to_its_stamp() {
        let corpus = Corpus::new(0);
        let mut out = BytesMut::new();
        corpus.stamp(123_456, 42, &mut out);
        corpus.stamp(0, 43, &mut out);
        let first = Tick::decode(&out[PREFIX..out.len() / 2]).unwrap();
        assert_eq!((first.sequence, first.due_nanos, first.venue.as_str()), (123_456, 42, "XNAS"));
    }
}
