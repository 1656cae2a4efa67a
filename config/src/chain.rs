//! The certificates between a server's own and its root, looked for in a file of authorities.
//!
//! Servers on OpenSSL and Erlang complete the chain that they show from the authorities they know;
//! here `cert` is shown as it stands in its file. This finds what would be missing. Names are
//! compared, not signatures (RFC 5280 §6.1.3 (a)(4)); what cannot be read holds nothing.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;

use crate::text_file::{self, Kinds};
use crate::tls::MAX_FILE;

/// Subjects of the authorities that clients need between the certificate in `cert` and its root, the
/// nearest first. Nothing where `cert` has more than one: it is then shown as it is there, too.
pub(crate) fn missing(cert: &str, authorities: &str) -> Vec<String> {
    let (own, known) = (read(cert), read(authorities));
    let (own, known) = (parse(&own), parse(&known));
    let [leaf] = own.as_slice() else { return Vec::new() };
    let (mut at, mut subjects) = (leaf, Vec::new());
    // Each is needed once at most, also where two name each other.
    while subjects.len() < known.len() {
        let issuer = known.iter().find(|other| other.subject().as_raw() == at.issuer().as_raw());
        let Some(issuer) = issuer.filter(|issuer| !is_root(at) && !is_root(issuer)) else { break };
        subjects.push(issuer.subject().to_string());
        at = issuer;
    }
    subjects
}

fn is_root(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

fn read(path: &str) -> Vec<CertificateDer<'static>> {
    let text = text_file::read(Path::new(path), Kinds::Files, MAX_FILE).unwrap_or_default();
    CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).collect()
}

fn parse<'a>(all: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    let parsed = all.iter().filter_map(|der| x509_parser::parse_x509_certificate(der).ok());
    parsed.map(|(_, certificate)| certificate).collect()
}
