//! The options that every command shares: where to connect, and how.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use millstream::{CallOptions, Channel, ChannelOptions, Compression, Error, Metadata, TlsOptions};

use crate::Failure;

#[derive(Args)]
pub struct Connection {
    /// http://host:port, https://host:port or unix:/path
    pub target: String,

    /// Certificates to trust instead of the system's (PEM)
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca: Option<PathBuf>,

    /// Certificate chain of the client (PEM), for mutual TLS
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Connection")]
    cert: Option<PathBuf>,

    /// Private key of the client (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Connection")]
    key: Option<PathBuf>,

    /// Any option of the channel by its name, such as keepalive_time=30s; may be repeated
    #[arg(short = 'o', long = "option", value_name = "NAME=VALUE", help_heading = "Connection")]
    options: Vec<String>,

    /// Bounds each call, such as 500ms, 30s or 5m
    #[arg(long, value_parser = duration, help_heading = "Call")]
    timeout: Option<Duration>,

    /// Request metadata; may be repeated. Values of keys that end in -bin are base64
    #[arg(short = 'H', long = "header", value_name = "KEY:VALUE", help_heading = "Call")]
    headers: Vec<String>,

    /// Compress requests: gzip, deflate or zstd
    #[arg(long, value_parser = compression, default_value = "identity", help_heading = "Call")]
    compression: Compression,

    /// Wait for the server to come up instead of failing at once
    #[arg(long, help_heading = "Call")]
    wait_for_ready: bool,
}

impl Connection {
    pub fn channel(&self) -> Result<Channel, Failure> {
        let read = |file: &Option<PathBuf>| -> Result<Option<Vec<u8>>, Failure> {
            let Some(file) = file else { return Ok(None) };
            let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
            Ok(Some(bytes))
        };
        let mut options = ChannelOptions {
            tls: TlsOptions {
                roots_pem: read(&self.ca)?,
                cert_chain_pem: read(&self.cert)?,
                private_key_pem: read(&self.key)?,
                ..TlsOptions::default()
            },
            ..ChannelOptions::default()
        };
        for option in &self.options {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| format!("option {option:?} is not of the form NAME=VALUE"))?;
            options.set(name, value)?;
        }
        Ok(Channel::new(&self.target, options)?)
    }

    pub fn call_options(&self) -> Result<CallOptions, Failure> {
        let mut metadata = Metadata::new();
        for header in &self.headers {
            let (key, value) = header
                .split_once(':')
                .ok_or_else(|| format!("header {header:?} is not of the form KEY:VALUE"))?;
            let value = value.trim();
            if key.ends_with("-bin") {
                let bytes = STANDARD
                    .decode(value)
                    .map_err(|e| format!("header {key:?}: the value is not base64: {e}"))?;
                metadata.append(key, &bytes)?;
            } else {
                metadata.append(key, value.as_bytes())?;
            }
        }
        Ok(CallOptions {
            timeout: self.timeout,
            metadata,
            compression: self.compression,
            wait_for_ready: self.wait_for_ready,
            ..CallOptions::default()
        })
    }
}

/// The status of a call that failed, as the last line of the program.
pub fn explain(error: Error) -> Failure {
    match error.status {
        Some(status) => status.to_string().into(),
        None => error.message.into(),
    }
}

fn compression(name: &str) -> Result<Compression, String> {
    Compression::from_name(name)
        .ok_or_else(|| "known are identity, gzip, deflate and zstd".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let millis: u64 = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write digits and a unit: ms, s, m or h".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write digits and a unit: ms, s, m or h")?;
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(|| "this is longer than can be counted".into())
}
