//! What a channel and a call can be told.

use std::{str::FromStr, time::Duration};

use crate::{Compression, Error, ErrorCode, Metadata};

/// The four kinds of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CallKind {
    /// One request, one response.
    Unary = 0,
    /// Many requests, one response.
    ClientStream = 1,
    /// One request, many responses.
    ServerStream = 2,
    /// Many requests, many responses.
    Bidi = 3,
}

impl CallKind {
    /// The kind of a number.
    pub fn from_i32(number: i32) -> Option<CallKind> {
        [CallKind::Unary, CallKind::ClientStream, CallKind::ServerStream, CallKind::Bidi]
            .into_iter()
            .find(|kind| *kind as i32 == number)
    }

    /// Whether the client sends exactly one message.
    pub fn one_request(self) -> bool {
        matches!(self, CallKind::Unary | CallKind::ServerStream)
    }

    /// Whether the server answers with exactly one message.
    pub fn one_response(self) -> bool {
        matches!(self, CallKind::Unary | CallKind::ClientStream)
    }
}

/// Certificates and keys for `https` targets; ignored for the others.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificates to trust, as PEM. `None`: those of the operating system.
    pub roots_pem: Option<Vec<u8>>,
    /// The client's certificate chain, as PEM, for mutual TLS.
    pub cert_chain_pem: Option<Vec<u8>>,
    /// The client's private key, as PEM.
    pub private_key_pem: Option<Vec<u8>>,
    /// The name that the server's certificate must be for. `None`: the host of the target.
    pub server_name: Option<String>,
}

/// What a channel can be told; the defaults suit a long-lived service.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// For `https` targets.
    pub tls: TlsOptions,
    /// The `:authority` of every call. `None`: that of the target.
    pub authority: Option<String>,
    /// Stands before Millstream's own user agent.
    pub user_agent: Option<String>,
    /// Largest message that is received, inflated, in bytes.
    pub max_receive_message: usize,
    /// Largest message that is sent, before compression, in bytes.
    pub max_send_message: usize,
    /// Largest list of headers or trailers that is received, in bytes as HTTP/2 counts them.
    pub max_metadata: usize,
    /// Send a PING after this long without a byte received. `None`: never. At least 10 s.
    pub keepalive_time: Option<Duration>,
    /// The connection is given up when nothing is received this long after a PING.
    pub keepalive_timeout: Duration,
    /// Whether to send PINGs while no call is open.
    pub keepalive_without_calls: bool,
    /// Bounds one connection attempt: DNS, TCP, TLS and the HTTP/2 settings.
    pub connect_timeout: Duration,
    /// Wait between the start of a connection attempt that failed and the next; grows by 1.6 for
    /// each further one, ± 20 %. A server that has sent its SETTINGS sets it back.
    pub backoff_initial: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// Connections that the channel opens at most when the peer's MAX_CONCURRENT_STREAMS is reached.
    pub max_connections: usize,
    /// HTTP/2 flow-control window of each stream, in bytes.
    pub stream_window: u32,
    /// Received bytes that wait for the consumer, for each call: nothing more is read once this many
    /// wait. The message that reaches it may be larger, and behind it the server may have sent as
    /// much as `stream_window`.
    pub receive_buffer: usize,
    /// Bytes that wait to be sent, for each call: nothing more is accepted once this many wait. The
    /// message that reaches it may be larger, and as much again may be on its way to the transport.
    pub send_buffer: usize,
    /// Close a connection after this long, at most twice that, without a call. `None`: keep it.
    pub idle_timeout: Option<Duration>,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        ChannelOptions {
            tls: TlsOptions::default(),
            authority: None,
            user_agent: None,
            max_receive_message: 4 << 20,
            max_send_message: usize::MAX,
            max_metadata: 8 << 10,
            keepalive_time: None,
            keepalive_timeout: Duration::from_secs(20),
            keepalive_without_calls: false,
            connect_timeout: Duration::from_secs(20),
            backoff_initial: Duration::from_secs(1),
            backoff_max: Duration::from_secs(120),
            max_connections: 100,
            stream_window: 256 << 10,
            receive_buffer: 256 << 10,
            send_buffer: 256 << 10,
            idle_timeout: Some(Duration::from_secs(300)),
        }
    }
}

/// The options that [`ChannelOptions::set`] knows, with the form of their values.
pub const CHANNEL_OPTION_NAMES: [(&str, &str); 16] = [
    ("authority", "text"),
    ("user_agent", "text"),
    ("server_name", "text"),
    ("max_receive_message", "size"),
    ("max_send_message", "size"),
    ("max_metadata", "size"),
    ("keepalive_time", "duration or none"),
    ("keepalive_timeout", "duration"),
    ("keepalive_without_calls", "true or false"),
    ("connect_timeout", "duration"),
    ("backoff_initial", "duration"),
    ("backoff_max", "duration"),
    ("max_connections", "count"),
    ("stream_window", "size"),
    ("buffers", "size: receive_buffer and send_buffer"),
    ("idle_timeout", "duration or none"),
];

impl ChannelOptions {
    /// Sets one option by name, so that no language needs a table of its own.
    ///
    /// Durations are digits and a unit (`1500ms`, `30s`, `5m`, `1h`), sizes digits and an optional
    /// unit (`65536`, `64KiB`, `4MiB`).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an unknown name, which lists the known ones, or a value of another form.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "authority" => self.authority = Some(value.to_owned()),
            "user_agent" => self.user_agent = Some(value.to_owned()),
            "server_name" => self.tls.server_name = Some(value.to_owned()),
            "max_receive_message" => self.max_receive_message = size(name, value)?,
            "max_send_message" => self.max_send_message = size(name, value)?,
            "max_metadata" => self.max_metadata = size(name, value)?,
            "keepalive_time" => self.keepalive_time = optional_duration(name, value)?,
            "keepalive_timeout" => self.keepalive_timeout = duration(name, value)?,
            "keepalive_without_calls" => {
                self.keepalive_without_calls = parse(name, value, "true or false")?
            }
            "connect_timeout" => self.connect_timeout = duration(name, value)?,
            "backoff_initial" => self.backoff_initial = duration(name, value)?,
            "backoff_max" => self.backoff_max = duration(name, value)?,
            "max_connections" => self.max_connections = parse(name, value, "a count")?,
            "stream_window" => {
                self.stream_window = u32::try_from(size(name, value)?).unwrap_or(u32::MAX);
            }
            "buffers" => {
                self.receive_buffer = size(name, value)?;
                self.send_buffer = self.receive_buffer;
            }
            "idle_timeout" => self.idle_timeout = optional_duration(name, value)?,
            _ => {
                let known: Vec<_> = CHANNEL_OPTION_NAMES.iter().map(|(name, _)| *name).collect();
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    format!("unknown channel option {name:?}; known are {}", known.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// Refuses values that no channel can work with.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let refuse = |what: &str| Err(Error::new(ErrorCode::InvalidArgument, what));
        if self.keepalive_time.is_some_and(|time| time < Duration::from_secs(10)) {
            return refuse(
                "channel option keepalive_time is under 10s, which servers punish; use at least 10s",
            );
        }
        if self.max_connections == 0 {
            return refuse("channel option max_connections is 0; use at least 1");
        }
        if !(1..=0x7fff_ffff).contains(&self.stream_window) {
            return refuse("channel option stream_window must be from 1 to 2147483647 bytes");
        }
        if self.receive_buffer == 0 || self.send_buffer == 0 {
            return refuse("channel option buffers is 0; use at least 1 byte");
        }
        if self.connect_timeout.is_zero() {
            return refuse(
                "channel option connect_timeout is 0s; no connection could ever be made",
            );
        }
        if self.backoff_initial.is_zero() || self.backoff_max.is_zero() {
            return refuse(
                "channel options backoff_initial and backoff_max must not be 0s, or a server that \
                 is down would be asked without a pause",
            );
        }
        Ok(())
    }
}

/// What one call can be told.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Bounds the whole call, from now to its status. `None`: no bound.
    pub timeout: Option<Duration>,
    /// Sent with the request.
    pub metadata: Metadata,
    /// How outgoing messages are compressed.
    pub compression: Compression,
    /// Wait for a connection, and for a place on it, instead of failing while there is none.
    pub wait_for_ready: bool,
    /// The `:authority` of this call. `None`: the channel's.
    pub authority: Option<String>,
    /// Overrides the channel's limit when smaller.
    pub max_receive_message: Option<usize>,
    /// Overrides the channel's limit when smaller.
    pub max_send_message: Option<usize>,
    /// Let received messages gather this long before the consumer is woken: fewer wakes for some
    /// latency. Zero: wake at once.
    pub max_batch_delay: Duration,
}

fn wrong(name: &str, value: &str, form: &str) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!("channel option {name} is {value:?}; it must be {form}"),
    )
}

fn parse<T: FromStr>(name: &str, value: &str, form: &str) -> Result<T, Error> {
    value.parse().map_err(|_| wrong(name, value, form))
}

fn size(name: &str, value: &str) -> Result<usize, Error> {
    let form = "a size such as 65536, 64KiB or 4MiB";
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: usize = match &value[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong(name, value, form)),
    };
    let number: usize = parse(name, digits, form).map_err(|_| wrong(name, value, form))?;
    number.checked_mul(unit).ok_or_else(|| wrong(name, value, form))
}

fn optional_duration(name: &str, value: &str) -> Result<Option<Duration>, Error> {
    if value == "none" { Ok(None) } else { duration(name, value).map(Some) }
}

fn duration(name: &str, value: &str) -> Result<Duration, Error> {
    let form = "a duration such as 1500ms, 30s, 5m or 1h";
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let millis: u64 = match &value[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong(name, value, form)),
    };
    let number: u64 = digits.parse().map_err(|_| wrong(name, value, form))?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| wrong(name, value, form))
}
