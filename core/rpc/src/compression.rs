//! Compression of single messages (gRPC doc/compression.md): a fresh context for each.

use std::io::{self, Read, Write};

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Compression {
    /// Not at all.
    #[default]
    Identity = 0,
    /// RFC 1952.
    Gzip = 1,
    /// RFC 1950, the zlib form, as gRPC's `deflate` is.
    Deflate = 2,
    /// RFC 8878.
    Zstd = 3,
}

/// What `grpc-accept-encoding` offers.
pub(crate) const ACCEPTED: &str = "identity,deflate,gzip,zstd";

/// Why a message could not be inflated.
#[derive(Debug)]
pub(crate) enum InflateError {
    /// More than the limit came out.
    TooLarge,
    /// The bytes are not what the encoding says.
    Corrupt(io::Error),
}

impl Compression {
    const ALL: [Compression; 4] =
        [Compression::Identity, Compression::Gzip, Compression::Deflate, Compression::Zstd];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Identity => "identity",
            Compression::Gzip => "gzip",
            Compression::Deflate => "deflate",
            Compression::Zstd => "zstd",
        }
    }

    /// The encoding of a name on the wire.
    pub fn from_name(name: &str) -> Option<Compression> {
        Compression::ALL.into_iter().find(|c| c.name() == name)
    }

    /// The encoding of a number at a language border.
    pub fn from_i32(number: i32) -> Option<Compression> {
        Compression::ALL.into_iter().find(|c| *c as i32 == number)
    }

    /// Appends the compressed form of a message.
    pub(crate) fn deflate(self, message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Compression::Identity => out.extend_from_slice(message),
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(message)?;
                encoder.finish()?;
            }
            Compression::Deflate => {
                let mut encoder =
                    flate2::write::ZlibEncoder::new(out, flate2::Compression::default());
                encoder.write_all(message)?;
                encoder.finish()?;
            }
            Compression::Zstd => zstd::stream::copy_encode(message, out, 0)?,
        }
        Ok(())
    }

    /// Appends the inflated form of a message, at most `limit` bytes of it.
    pub(crate) fn inflate(
        self,
        message: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        match self {
            Compression::Identity => {
                if message.len() > limit {
                    return Err(InflateError::TooLarge);
                }
                out.extend_from_slice(message);
                Ok(())
            }
            Compression::Gzip => {
                read_bounded(flate2::read::MultiGzDecoder::new(message), limit, out)
            }
            Compression::Deflate => {
                read_bounded(flate2::read::ZlibDecoder::new(message), limit, out)
            }
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::Decoder::with_buffer(message).map_err(InflateError::Corrupt)?;
                // The frame may ask for a window of gigabytes; what is useful below the limit is enough.
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(InflateError::Corrupt)?;
                read_bounded(decoder, limit, out)
            }
        }
    }
}

/// 8 MiB: what RFC 8878 says every decoder should support.
const WINDOW_LOG_MAX: u32 = 23;

fn read_bounded(reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let start = out.len();
    // One byte more than the limit shows that there is more.
    let mut bounded = reader.take((limit as u64).saturating_add(1));
    bounded.read_to_end(out).map_err(InflateError::Corrupt)?;
    if out.len() - start > limit {
        out.truncate(start);
        return Err(InflateError::TooLarge);
    }
    Ok(())
}
