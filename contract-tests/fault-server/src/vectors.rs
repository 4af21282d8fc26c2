//! The shared test vectors: one case for each thing that a client must do with a fault. The format
//! is described in `contract-tests/vectors/README.md`; this is how Rust reads it.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error};

const FAULTS: &str = include_str!("../../vectors/faults.json");

/// All cases of `faults.json`, in order.
///
/// # Errors
/// The place and the kind of what is not as the format says.
pub fn load() -> Result<Vec<Case>, serde_json::Error> {
    serde_json::from_str(FAULTS)
}

/// One case: a call and how it must end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence that says what is expected; unique.
    pub name: String,
    /// The name of the target in the server's ready line.
    pub listener: String,
    /// The method.
    pub path: String,
    /// `unary`, `client_stream`, `server_stream` or `bidi`.
    pub kind: String,
    /// The request messages.
    pub requests: Vec<Binary>,
    /// How often the list of requests is sent.
    #[serde(default = "one")]
    pub request_repeat: usize,
    /// Whether the client half-closes after its requests.
    #[serde(default = "yes")]
    pub half_close: bool,
    /// How many such calls are made at once.
    #[serde(default = "one")]
    pub calls: usize,
    /// What the call and its channel are told.
    pub options: Options,
    /// How the call ends.
    pub expect: Expect,
    /// Whether a good call on the same channel must work afterwards.
    pub recovers: bool,
}

/// What a call and its channel are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The deadline of the call.
    pub timeout_ms: u64,
    /// The compression of the requests.
    pub compression: Option<String>,
    /// The receive limit of the call.
    pub max_receive_message: Option<usize>,
    /// Whether to wait for a connection.
    #[serde(default)]
    pub wait_for_ready: bool,
    /// Custom metadata.
    #[serde(default)]
    pub metadata: Vec<(String, Binary)>,
    /// Options of the channel, by name.
    #[serde(default)]
    pub channel: BTreeMap<String, String>,
}

/// How a call ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The name of the status code. Either this or `code_any_of` is there.
    pub code: Option<String>,
    /// The names of the codes of which any will do.
    #[serde(default)]
    pub code_any_of: Vec<String>,
    /// What the text of the status contains, each of them.
    #[serde(default)]
    pub message_contains: Vec<String>,
    /// The longest text of the status, in bytes of UTF-8.
    pub message_max_bytes: Option<usize>,
    /// How many messages the application gets.
    pub messages: Option<usize>,
    /// The CRC-32 (that of zlib) over all their bytes.
    pub messages_crc32: Option<u32>,
    /// Metadata of the head: for every key here, all its values in order.
    #[serde(default)]
    pub headers: Vec<(String, Binary)>,
    /// Metadata of the trailers, likewise.
    #[serde(default)]
    pub trailers: Vec<(String, Binary)>,
    /// The decoded status details.
    pub details_base64: Option<Binary>,
    /// How many times the server sees the call.
    pub attempts: Option<u64>,
    /// The clause that asks for it.
    pub note: String,
}

impl Expect {
    /// The codes of which any will do.
    pub fn codes(&self) -> Vec<&str> {
        self.code.iter().chain(&self.code_any_of).map(String::as_str).collect()
    }
}

/// Bytes that stand as base64 in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Binary, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Binary).map_err(D::Error::custom)
    }
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}
