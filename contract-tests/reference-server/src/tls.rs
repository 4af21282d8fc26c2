//! Certificates for one run: a CA, a server and a client certificate of it, and another CA.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::error::{Context, Error};

/// Names that the server's certificate is good for.
pub const SERVER_NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "reference-server.test"];

/// The certificates, in PEM.
#[derive(Debug)]
pub(crate) struct Certificates {
    ca: String,
    server: SignedKey,
    client: SignedKey,
    other_ca: String,
}

#[derive(Debug)]
struct SignedKey {
    certificate: String,
    key: String,
}

impl Certificates {
    pub(crate) fn generate() -> Result<Self, Error> {
        Self::try_generate().context(|| "cannot generate certificates".to_owned())
    }

    fn try_generate() -> Result<Self, rcgen::Error> {
        let ca = authority("Millstream test CA")?;
        Ok(Self {
            server: signed(
                &ca,
                "reference-server",
                &SERVER_NAMES,
                ExtendedKeyUsagePurpose::ServerAuth,
            )?,
            client: signed(
                &ca,
                "reference-client",
                &["reference-client.test"],
                ExtendedKeyUsagePurpose::ClientAuth,
            )?,
            other_ca: authority("Another CA, which signed nothing")?.pem(),
            ca: ca.pem(),
        })
    }

    /// ca.pem, server.pem, server.key, client.pem, client.key, other-ca.pem; keys for the owner
    /// alone.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(directory)
            .context(|| format!("cannot create {}", directory.display()))?;
        for (name, content) in [
            ("ca.pem", &self.ca),
            ("server.pem", &self.server.certificate),
            ("server.key", &self.server.key),
            ("client.pem", &self.client.certificate),
            ("client.key", &self.client.key),
            ("other-ca.pem", &self.other_ca),
        ] {
            let path = directory.join(name);
            let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
            // A file that is there keeps its mode, and that may be another one.
            let _ = std::fs::remove_file(&path);
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)
                .and_then(|mut file| file.write_all(content.as_bytes()))
                .context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    pub(crate) fn server_config(&self, client_certificate: bool) -> ServerTlsConfig {
        let identity = Identity::from_pem(&self.server.certificate, &self.server.key);
        let config = ServerTlsConfig::new().identity(identity);
        if client_certificate {
            config.client_ca_root(Certificate::from_pem(&self.ca))
        } else {
            config
        }
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = params(name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn signed(
    ca: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    alternative_names: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> Result<SignedKey, rcgen::Error> {
    let mut params = params(name, alternative_names)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok(SignedKey { certificate: params.signed_by(&key, ca)?.pem(), key: key.serialize_pem() })
}

fn params(name: &str, alternative_names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = alternative_names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    // No run outlives these, and no clock that is a little off falls outside.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    Ok(params)
}
