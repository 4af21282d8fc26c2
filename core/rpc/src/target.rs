//! Where a channel connects to.

use std::path::PathBuf;

use http::Uri;

use crate::{Error, ErrorCode};

/// A parsed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// `http` or `https`.
    pub(crate) tls: bool,
    /// The `:authority` of calls, unless overridden.
    pub(crate) authority: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A DNS name or an address (IPv6 without its brackets).
    Tcp { host: String, port: u16 },
    /// A unix domain socket.
    Unix(PathBuf),
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Target, Error> {
        let invalid = |why: &str| {
            Error::new(
                ErrorCode::InvalidTarget,
                format!(
                    "target {text:?} {why}; write http://host:port, https://host:port or unix:/path"
                ),
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:///absolute as well as unix:relative and unix:/absolute (gRPC doc/naming.md)
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || text == "unix://" {
                return Err(invalid("has no path"));
            }
            if path.as_bytes().contains(&0) {
                return Err(invalid("has a zero byte in its path"));
            }
            if text.starts_with("unix://") && !path.starts_with('/') {
                return Err(invalid("has a relative path behind unix://"));
            }
            return Ok(Target {
                endpoint: Endpoint::Unix(PathBuf::from(path)),
                tls: false,
                authority: "localhost".into(),
            });
        }
        if !text.contains("://") {
            return Err(invalid("has no scheme"));
        }
        let uri: Uri = text.parse().map_err(|e| invalid(&format!("is not a URI ({e})")))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(scheme) => return Err(invalid(&format!("has the unknown scheme {scheme:?}"))),
            None => return Err(invalid("has no scheme")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid("has a path, which gRPC does not use"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("has user information, which gRPC does not use"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("has no host"));
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return Err(invalid("has an empty port")),
            None if has_port_text(authority.as_str()) => {
                return Err(invalid("has a port that is not a number up to 65535"));
            }
            None if tls => 443,
            None => 80,
        };
        if port == 0 {
            return Err(invalid("has port 0"));
        }
        Ok(Target {
            endpoint: Endpoint::Tcp { host: host.to_owned(), port },
            tls,
            authority: authority.as_str().to_owned(),
        })
    }
}

/// Whether something stands behind the last colon outside of brackets.
fn has_port_text(authority: &str) -> bool {
    let behind = authority.rsplit(']').next().unwrap_or(authority);
    behind.contains(':')
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool, authority: &str) -> Target {
        Target {
            endpoint: Endpoint::Tcp { host: host.into(), port },
            tls,
            authority: authority.into(),
        }
    }

    #[test]
    fn host_port_and_scheme_are_read() {
        assert_eq!(Target::parse("http://a:1").unwrap(), tcp("a", 1, false, "a:1"));
        assert_eq!(Target::parse("https://a").unwrap(), tcp("a", 443, true, "a"));
        assert_eq!(
            Target::parse("http://[::1]:50051/").unwrap(),
            tcp("::1", 50051, false, "[::1]:50051")
        );
        assert_eq!(Target::parse("unix:/a/b").unwrap().endpoint, Endpoint::Unix("/a/b".into()));
        assert_eq!(Target::parse("unix:///a/b").unwrap().endpoint, Endpoint::Unix("/a/b".into()));
        assert_eq!(Target::parse("unix:a").unwrap().endpoint, Endpoint::Unix("a".into()));
    }

    #[test]
    fn every_wrong_target_is_refused_with_the_forms_that_are_right() {
        for wrong in [
            "",
            "localhost:1",
            "ftp://a:1",
            "http://",
            "http://:1",
            "http://a:0",
            "http://a:99999",
            "http://a:x",
            "http://a:1/path",
            "http://a:1?q",
            "http://u@a:1",
            "unix:",
            "unix://",
            "unix://rel",
            "http://a b:1",
            "unix:/a\0b",
        ] {
            let error = Target::parse(wrong).expect_err(wrong);
            assert_eq!(error.code, ErrorCode::InvalidTarget, "{wrong:?}");
            assert!(error.message.contains("https://host:port"), "{wrong:?}: {error}");
        }
    }
}
