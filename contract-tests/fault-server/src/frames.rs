//! HTTP/2 frames as bytes (RFC 9113, section 4): a writer that writes whatever it is told, legal or
//! not, and a bounded reader.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What every client sends first (RFC 9113, 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload that either side may send unless SETTINGS_MAX_FRAME_SIZE says more.
pub const MAX_FRAME: usize = 16_384;

/// The flow-control window that a stream and a connection start with.
pub const DEFAULT_WINDOW: i64 = 65_535;

/// Bytes of a frame before its payload.
const FRAME_HEAD: usize = 9;

/// Frame types.
#[allow(missing_docs)]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
#[allow(missing_docs)]
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Settings.
#[allow(missing_docs)]
pub mod setting {
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
}

/// Error codes of RST_STREAM and GOAWAY.
#[allow(missing_docs)]
pub mod error {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type, see [`kind`].
    pub kind: u8,
    /// Its flags, see [`flag`].
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it carries, padding included.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of a type that has no constructor of its own.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
        Frame { kind, flags, stream, payload: payload.into() }
    }

    /// SETTINGS with these values.
    pub fn settings(values: &[(u16, u32)]) -> Frame {
        let mut payload = Vec::with_capacity(values.len() * 6);
        for (id, value) in values {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        Frame::new(kind::SETTINGS, 0, 0, payload)
    }

    /// RST_STREAM.
    pub fn reset(stream: u32, code: u32) -> Frame {
        Frame::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// GOAWAY.
    pub fn go_away(last_stream: u32, code: u32, debug: &[u8]) -> Frame {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(debug);
        Frame::new(kind::GOAWAY, 0, 0, payload)
    }

    /// WINDOW_UPDATE.
    pub fn window_update(stream: u32, increment: u32) -> Frame {
        Frame::new(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Appends the frame as it stands on the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        write_frame(self.kind, self.flags, self.stream, &self.payload, out);
    }

    /// The payload without padding and without the priority fields of HEADERS; `None` when the
    /// padding is longer than the frame.
    pub fn content(&self) -> Option<&[u8]> {
        let mut content = self.payload.as_slice();
        if self.has(flag::PADDED) && matches!(self.kind, kind::DATA | kind::HEADERS) {
            let (padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.has(flag::PRIORITY) && self.kind == kind::HEADERS {
            content = content.get(5..)?;
        }
        Some(content)
    }
}

/// Appends a frame without the detour of a [`Frame`].
pub fn write_frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.push(kind);
    out.push(flags);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Pads a payload as DATA and HEADERS are padded: the length first, the zeros last.
pub fn pad(payload: &[u8], padding: u8) -> Vec<u8> {
    let mut padded = vec![padding];
    padded.extend_from_slice(payload);
    padded.resize(padded.len() + usize::from(padding), 0);
    padded
}

/// Reads one frame; `None` when the peer closed between two frames.
///
/// # Errors
/// `InvalidData` for a payload over [`MAX_FRAME`], which is not read; those of the reader.
pub async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; FRAME_HEAD];
    match reader.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes; at most {MAX_FRAME} are allowed"),
        ));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
}

/// A header field: name and value.
pub type Field = (Vec<u8>, Vec<u8>);

/// Encodes a header list as literals without indexing and without Huffman codes (RFC 7541, 6.2.2):
/// no state, and any byte can be in a name or a value.
pub fn encode_fields<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            encode_length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// An HPACK integer with a 7-bit prefix (RFC 7541, 5.1).
fn encode_length(mut length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        out.push(length as u8);
        return;
    }
    out.push(127);
    length -= 127;
    while length >= 128 {
        out.push((length % 128) as u8 | 128);
        length /= 128;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_header_list_is_read_back_by_an_independent_decoder() {
        for size in [0, 1, 126, 127, 128, 254, 255, 16_511, 70_000] {
            let value = vec![b'v'; size];
            let block = encode_fields([(&b"x-name"[..], &value[..]), (b":status", b"200")]);
            let fields = loona_hpack::Decoder::new().decode(&block).expect("a legal block");
            assert_eq!(
                fields,
                [(b"x-name".to_vec(), value), (b":status".to_vec(), b"200".to_vec())]
            );
        }
    }

    #[test]
    fn padding_longer_than_its_frame_has_no_content() {
        let frame = |payload: &[u8]| Frame::new(kind::DATA, flag::PADDED, 1, payload);
        assert_eq!(frame(&pad(b"abc", 200)).content(), Some(&b"abc"[..]));
        assert_eq!(frame(&[3, 0, 0]).content(), None);
        assert_eq!(frame(&[]).content(), None);
    }
}
