//! Received messages, many at a time.

/// Bytes of a message's prefix: one flag and a big-endian length.
pub const PREFIX: usize = 5;

/// Messages of one call, in order, in one contiguous buffer.
///
/// Each message stands there as a gRPC frame whose compression is undone: a zero byte, the length
/// as a big-endian `u32`, the payload. A border can so hand the whole buffer over in one copy and
/// let the host walk it. A batch is a cursor as well: [`Batch::next`] hands out one message after
/// the other. Reusing a batch reuses its memory.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) frames: Vec<u8>,
    pub(crate) messages: usize,
    pub(crate) read: usize,
    pub(crate) taken: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// The number of messages, taken ones included.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether there is no message at all.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The number of messages that [`Batch::next`] has not handed out yet.
    pub fn remaining(&self) -> usize {
        self.messages - self.taken
    }

    /// Every message as a frame, one after the other.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// The next message that was not taken yet. The slice lives until the batch is changed.
    #[allow(clippy::should_implement_trait)] // a lending iterator: the item borrows the batch
    #[inline]
    pub fn next(&mut self) -> Option<&[u8]> {
        if self.taken == self.messages {
            return None;
        }
        let (payload, end) = frame_at(&self.frames, self.read)?;
        self.read = end;
        self.taken += 1;
        Some(&self.frames[payload..end])
    }

    /// All messages from the first, whatever was taken.
    pub fn iter(&self) -> Iter<'_> {
        Iter { frames: &self.frames, left: self.messages }
    }

    /// Forgets the messages and keeps the memory.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.messages = 0;
        self.rewind();
    }

    pub(crate) fn rewind(&mut self) {
        self.read = 0;
        self.taken = 0;
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The messages of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    frames: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (payload, end) = frame_at(self.frames, 0)?;
        let message = &self.frames[payload..end];
        self.frames = &self.frames[end..];
        self.left -= 1;
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Start and end of the payload of the frame that starts at `at`.
#[inline]
fn frame_at(frames: &[u8], at: usize) -> Option<(usize, usize)> {
    let prefix = frames.get(at..at + PREFIX)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let payload = at + PREFIX;
    let end = payload + length;
    (end <= frames.len()).then_some((payload, end))
}
