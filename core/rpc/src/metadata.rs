//! Metadata: the headers and trailers of a call (gRPC over HTTP/2, "Custom-Metadata").

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Error, ErrorCode};

/// Unpadded when written, padded or not when read.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a header costs beside its name and value (RFC 9113, 6.5.2).
const PER_FIELD: usize = 32;

/// Ordered pairs of key and value; a key may be there several times. Values are bytes: text for
/// most keys, anything for keys that end in `-bin` (base64 is only on the wire).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// No entries.
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// Adds an entry behind the others. The key is lower-cased.
    ///
    /// # Errors
    /// `INVALID_METADATA` for a key outside `[0-9a-z_.-]`, an empty or a reserved one (`grpc-…` and
    /// what HTTP/2 and gRPC set themselves), and for a text value outside 0x20 to 0x7E.
    pub fn append(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        let invalid = |what: String| Err(Error::new(ErrorCode::InvalidMetadata, what));
        let key = key.to_ascii_lowercase();
        if key.is_empty() {
            return invalid("a metadata key is empty".into());
        }
        if let Some(c) = key.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='z' | '_' | '-' | '.'))
        {
            return invalid(format!(
                "metadata key {key:?} has the character {c:?}; legal are 0-9 a-z _ - and ."
            ));
        }
        if key.starts_with("grpc-") || RESERVED.contains(&key.as_str()) {
            return invalid(format!(
                "metadata key {key:?} is reserved by the protocol; choose a name of your own"
            ));
        }
        if !key.ends_with("-bin")
            && let Some((at, byte)) =
                value.iter().enumerate().find(|(_, b)| !(0x20..=0x7e).contains(*b))
        {
            return invalid(format!(
                "the value of metadata key {key:?} has the byte 0x{byte:02x} at {at}; text values \
                 are printable ASCII (end the key in -bin for binary values)"
            ));
        }
        self.entries.push((key, value.to_vec()));
        Ok(())
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.as_slice()))
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the entries to the headers of a request.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        for (key, value) in &self.entries {
            let name = HeaderName::from_bytes(key.as_bytes());
            let value = if key.ends_with("-bin") {
                HeaderValue::from_str(&BASE64.encode(value)).ok()
            } else {
                HeaderValue::from_bytes(value).ok()
            };
            let (Ok(name), Some(value)) = (name, value) else {
                return Err(Error::new(
                    ErrorCode::InvalidMetadata,
                    format!("metadata key {key:?} cannot be written as an HTTP/2 header"),
                ));
            };
            if headers.try_append(name, value).is_err() {
                return Err(Error::new(
                    ErrorCode::InvalidMetadata,
                    format!("{} metadata entries are more than HTTP headers hold", self.len()),
                ));
            }
        }
        Ok(())
    }

    /// What a peer sent. Never fails: a `-bin` value that is not base64 is kept as it came, so that
    /// nothing is lost.
    pub(crate) fn read_from(headers: &HeaderMap) -> Metadata {
        let mut entries = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let key = name.as_str();
            if key.ends_with("-bin") {
                for part in value.as_bytes().split(|b| *b == b',') {
                    let part = part.trim_ascii();
                    let value = BASE64.decode(part).unwrap_or_else(|_| part.to_vec());
                    entries.push((key.to_owned(), value));
                }
            } else {
                entries.push((key.to_owned(), value.as_bytes().to_vec()));
            }
        }
        Metadata { entries }
    }
}

/// Keys that the call layer or HTTP/2 sets itself.
const RESERVED: [&str; 10] = [
    "te",
    "content-type",
    "content-length",
    "user-agent",
    "host",
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// The size of a header list as HTTP/2 counts it: name, value and 32 for each field.
pub(crate) fn list_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(n, v)| n.as_str().len() + v.len() + PER_FIELD).sum()
}
