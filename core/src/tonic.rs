//! For programs that use tonic beside Millstream: its status and metadata types from ours.

use ::tonic::metadata::{AsciiMetadataKey, BinaryMetadataKey, MetadataMap, MetadataValue};

use crate::{Metadata, Status};

/// The tonic form of a status: code, message, details and trailers.
pub fn status(status: &Status) -> ::tonic::Status {
    ::tonic::Status::with_details_and_metadata(
        ::tonic::Code::from(status.code as i32),
        status.message.clone(),
        status.details.clone(),
        metadata(&status.trailers),
    )
}

/// The tonic form of metadata. The order within each key is kept. Entries that tonic cannot hold
/// are left out: values that HTTP allows and gRPC does not.
pub fn metadata(metadata: &Metadata) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (key, value) in metadata.iter() {
        if key.ends_with("-bin") {
            if let Ok(key) = BinaryMetadataKey::from_bytes(key.as_bytes()) {
                map.append_bin(key, MetadataValue::from_bytes(value));
            }
        } else if let (Ok(key), Ok(value)) =
            (AsciiMetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value))
        {
            map.append(key, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn code_text_details_and_every_trailer_are_kept() {
        let mut ours = Status::new(Code::NotFound, "no such row");
        ours.details = b"details".as_slice().into();
        for (key, value) in [("x-a", "1"), ("x-a", "2"), ("x-b-bin", "\0\x01")] {
            ours.trailers.append(key, value.as_bytes()).unwrap();
        }
        let theirs = status(&ours);
        assert_eq!(theirs.code(), ::tonic::Code::NotFound);
        assert_eq!((theirs.message(), theirs.details()), ("no such row", &b"details"[..]));
        let all: Vec<_> = theirs.metadata().get_all("x-a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        let binary = theirs.metadata().get_bin("x-b-bin").unwrap().to_bytes().unwrap();
        assert_eq!(&binary[..], b"\0\x01");
    }
}
