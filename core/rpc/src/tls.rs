//! TLS for `https` targets: always HTTP/2 by ALPN, always with the certificate checked.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

use crate::{Error, ErrorCode, TlsOptions, target::Endpoint};

/// What a connection needs to start TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

fn invalid(what: String) -> Error {
    Error::new(ErrorCode::InvalidTls, what)
}

impl Tls {
    pub(crate) fn new(options: &TlsOptions, endpoint: &Endpoint) -> Result<Tls, Error> {
        // The provider is passed explicitly: the process-wide default belongs to the host.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| invalid(format!("TLS cannot be set up: {e}")))?
            .with_root_certificates(roots(options.roots_pem.as_deref())?);
        let mut config = match (&options.cert_chain_pem, &options.private_key_pem) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let chain = certificates("the client certificate chain", chain)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|e| invalid(format!("the private key cannot be read as PEM: {e}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| invalid(format!("the client certificate cannot be used: {e}")))?
            }
            (Some(_), None) => {
                return Err(invalid(
                    "a client certificate chain was given without its private key".into(),
                ));
            }
            (None, Some(_)) => {
                return Err(invalid(
                    "a private key was given without its certificate chain".into(),
                ));
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = match (&options.server_name, endpoint) {
            (Some(name), _) => name.clone(),
            (None, Endpoint::Tcp { host, .. }) => host.clone(),
            (None, Endpoint::Unix(_)) => "localhost".into(),
        };
        let server_name = ServerName::try_from(name.clone()).map_err(|_| {
            invalid(format!("{name:?} is not a name that a certificate can be for"))
        })?;
        Ok(Tls { config: Arc::new(config), server_name })
    }
}

fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match pem {
        Some(pem) => {
            for certificate in certificates("the root certificates", pem)? {
                store
                    .add(certificate)
                    .map_err(|e| invalid(format!("a root certificate cannot be used: {e}")))?;
            }
        }
        None => {
            let loaded = rustls_native_certs::load_native_certs();
            // A system store often has a few certificates that rustls does not take; it is usable
            // as long as some remain.
            let (added, _) = store.add_parsable_certificates(loaded.certs);
            if added == 0 {
                return Err(invalid(
                    "the operating system has no root certificates (Debian: package \
                     ca-certificates); install them or pass roots"
                        .into(),
                ));
            }
        }
    }
    Ok(store)
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| invalid(format!("{what} cannot be read as PEM: {e}")))?;
    if certificates.is_empty() {
        return Err(invalid(format!("{what}: the PEM text holds no certificate")));
    }
    Ok(certificates)
}
