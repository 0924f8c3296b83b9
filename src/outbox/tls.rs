//! TLS to PostgreSQL, with libpq's words: disable, prefer, require, verify-ca, verify-full.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio_postgres_rustls::MakeRustlsConnect;

/// `sslmode`, as libpq means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            // libpq's `allow` tries without TLS first; nobody is worse off when TLS is tried first.
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TlsError {
    #[error("cannot read the certificate authorities in {path}: {source}; the file must be readable PEM")]
    File { path: String, source: rustls_pki_types::pem::Error },
    #[error("{path} holds no usable certificate; it must be PEM with at least one BEGIN CERTIFICATE block")]
    Empty { path: String },
    #[error("nothing on this machine vouches for a certificate: install ca-certificates, or name the server's authority in [database] ca")]
    NoRoots,
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] Error),
    #[error("TLS cannot be set up: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A connector for `mode`. `ca` replaces the system's authorities, as libpq's `sslrootcert` does.
pub(super) fn connector(mode: Mode, ca: Option<&Path>) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let how = match mode {
        Mode::Disable | Mode::Prefer | Mode::Require => Trust::Anyone,
        Mode::VerifyCa => Trust::Chain(verifier(&provider, ca)?),
        Mode::VerifyFull => Trust::Full(verifier(&provider, ca)?),
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { how, provider }))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(provider: &Arc<CryptoProvider>, ca: Option<&Path>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        let name = || path.display().to_string();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|source| TlsError::File { path: name(), source })? {
            let certificate = certificate.map_err(|source| TlsError::File { path: name(), source })?;
            roots.add(certificate)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Empty { path: name() });
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
    }
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?)
}

/// How far a certificate is looked at.
#[derive(Debug)]
enum Trust {
    /// Encryption without knowing with whom: what `prefer` and `require` mean to every PostgreSQL client.
    Anyone,
    /// The chain, not the name.
    Chain(Arc<WebPkiServerVerifier>),
    /// Chain and name.
    Full(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    how: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.how {
            Trust::Anyone => Ok(ServerCertVerified::assertion()),
            Trust::Full(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            // The name is judged after the chain: whoever fails by the name alone has a good chain.
            Trust::Chain(inner) => match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                    Ok(ServerCertVerified::assertion())
                }
                verdict => verdict,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
