//! Whom we trust: the system's certificate authorities, and those in a destination's `ca` file.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::HttpError;

/// The system's authorities (SSL_CERT_FILE and SSL_CERT_DIR are heeded), and all certificates of `ca`. May be empty: a
/// machine without authorities can still talk to http destinations.
pub(super) fn roots(ca: Option<&Path>) -> Result<Arc<RootCertStore>, HttpError> {
    let system = system();
    let Some(path) = ca else { return Ok(Arc::clone(system)) };
    let failed = |source| HttpError::CaFile { path: path.to_owned(), source };
    let mut roots = RootCertStore::clone(system);
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        roots.add(certificate.map_err(failed)?).map_err(|source| HttpError::CaUnusable { path: path.to_owned(), source })?;
    }
    if roots.len() == before {
        return Err(HttpError::CaEmpty { path: path.to_owned() });
    }
    Ok(Arc::new(roots))
}

/// ring is named here rather than installed for the process: nobody has to remember to do it first.
pub(super) fn config(roots: Arc<RootCertStore>) -> Result<ClientConfig, HttpError> {
    let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|source| HttpError::Tls { source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Read once and shared: 140 certificates are some milliseconds of work, and each destination has a client.
fn system() -> &'static Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        if unusable > 0 || !found.errors.is_empty() {
            tracing::debug!(unusable, errors = found.errors.len(), "some of the system's certificate authorities were passed over");
        }
        Arc::new(roots)
    })
}
