//! The example services and the harness's own: generated messages, tonic servers and clients, and
//! their descriptor set.
//!
//! One module per package, named as in the `.proto` files:
//!
//! ```
//! use millstream_proto::weather::v1::Observation;
//! use prost::Message;
//!
//! let observation = Observation {
//!     origin: "EWR".into(),
//!     wind_gust_mph: None, // not measured: absent on the wire, not zero
//!     ..Default::default()
//! };
//! assert_eq!(observation.encode_to_vec(), b"\x0a\x03EWR");
//! ```
#![forbid(unsafe_code)]
// Documentation of the generated code comes from the `.proto` files.
#![allow(missing_docs)]

/// The encoded `google.protobuf.FileDescriptorSet` of every file here and of what they import, for
/// server reflection and for clients that work from descriptors.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.binpb"));

macro_rules! packages {
    ($($package:ident: $name:tt,)*) => {$(
        pub mod $package {
            #[allow(clippy::all, clippy::pedantic)]
            pub mod v1 {
                tonic::include_proto!($name);
            }
        }
    )*};
}

packages! {
    chat: "chat.v1",
    contract: "contract.v1",
    logs: "logs.v1",
    market: "market.v1",
    sync: "sync.v1",
    telemetry: "telemetry.v1",
    weather: "weather.v1",
}
