//! What a client's TLS trusts and shows, and how its failures are told.
//!
//! `--cafile`, or what the system trusts, judges the server's certificate by WebPKI; a certificate
//! that is itself in `--cafile` is trusted as well, as OpenSSL does it: the self-signed one of a small
//! server. `--insecure` leaves out the host name, and nothing else, as it does in mosquitto.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    RootCertStore, SignatureScheme,
};
use x509_parser::time::ASN1Time;

use super::{Error, Scheme, Target, Transport};

/// Where systems keep the authorities that they trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The files of a client's TLS, as on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Certificates that are trusted; the system's if there is none.
    pub(crate) ca: Option<PathBuf>,
    /// Our own chain, and its key.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Any host name will do.
    pub(crate) insecure: bool,
}

impl Credentials {
    /// Whether anything was asked for.
    pub(crate) fn is_set(&self) -> bool {
        *self != Credentials::default()
    }
}

/// A connection that has not begun its handshake.
pub(super) fn connection(
    target: &Target,
    config: Arc<ClientConfig>,
) -> Result<ClientConnection, Error> {
    let host = target.host.clone();
    let name = ServerName::try_from(host)
        .map_err(|_| Error::usage(format!("`{}` can be in no certificate", target.host)))?;
    ClientConnection::new(config, name).map_err(|error| Error::Failed(error.to_string()))
}

/// What the target's files say, read once for any number of connections.
pub(crate) fn config(target: &Target) -> Result<ClientConfig, Error> {
    let mut config = from_files(&target.tls)?;
    config.alpn_protocols = alpn(target);
    Ok(config)
}

/// What is spoken above TLS (RFC 8323 §8.2); of a WebSocket its subprotocol says so.
fn alpn(target: &Target) -> Vec<Vec<u8>> {
    let coap = (target.scheme, target.transport) == (Scheme::Coap, Transport::Tls);
    if coap { vec![b"coap".to_vec()] } else { Vec::new() }
}

fn from_files(files: &Credentials) -> Result<ClientConfig, Error> {
    let failed = |error: rustls::Error| Error::Failed(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let trusted = trusted(files.ca.as_deref())?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if added == 0 {
        let path = files.ca.clone().unwrap_or_default();
        return Err(Error::usage(format!("{}: no certificate in it", path.display())));
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::Failed(error.to_string()))?;
    let pinned = if files.ca.is_some() { trusted } else { Vec::new() };
    let verifier = Verifier { inner, pinned, insecure: files.insecure };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let (Some(cert), Some(key)) = (&files.cert, &files.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(cert)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| {
        Error::usage(format!("{} with {}: {error}", cert.display(), key.display()))
    })
}

fn trusted(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Error> {
    if let Some(file) = file {
        return certificates(file);
    }
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let places = named.into_iter().chain(SYSTEM.iter().map(PathBuf::from));
    let Some(found) = places.into_iter().find(|path| path.is_file()) else {
        return Err(Error::usage("this system trusts no authority: name its file, --cafile FILE"));
    };
    certificates(&found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => {
            Err(Error::usage(format!("{}: no certificate in it", path.display())))
        }
        Ok(all) => Ok(all),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn unreadable(path: &Path, error: rustls::pki_types::pem::Error) -> Error {
    match error {
        rustls::pki_types::pem::Error::Io(source) => Error::file(path.display(), source),
        error => Error::usage(format!("{}: {error}", path.display())),
    }
}

/// WebPKI, but for what the header says.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    insecure: bool,
}

impl Verifier {
    /// A certificate that is in the file needs no authority; its times and names hold.
    fn pinned(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<(), rustls::Error>> {
        self.pinned.iter().find(|known| *known == leaf)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let at = ASN1Time::from_timestamp(i64::try_from(now.as_secs()).ok()?).ok()?;
        let validity = parsed.validity();
        Some(if at > validity.not_after {
            Err(CertificateError::Expired.into())
        } else if at < validity.not_before {
            Err(CertificateError::NotValidYet.into())
        } else {
            ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name))
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result = match self.inner.verify_server_cert(leaf, between, name, ocsp, now) {
            // WebPKI takes no authority's certificate for a server's.
            Err(error @ rustls::Error::InvalidCertificate(CertificateError::Other(_))) => {
                self.pinned(leaf, name, now).unwrap_or(Err(error))
            }
            other => other.map(|_| ()),
        };
        match result {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.insecure => {}
            other => other?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What ended a handshake, or a connection above one.
pub(crate) fn fault(error: &io::Error, target: &Target) -> Error {
    if let Some(said) = said(error) {
        return explain(said, target);
    }
    if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) {
        return Error::Ended {
            text: format!("{target} closed the connection during the handshake"),
            hint: match target.scheme {
                Scheme::Coap => "is TLS spoken on this port? 5684 and 443 are the usual ones",
                _ => "is TLS spoken on this port? 8883 and 8084 are the usual ones",
            },
        };
    }
    Error::Ended { text: format!("the connection to {target} was lost: {error}"), hint: "" }
}

/// The fault of TLS that is in an error of a stream.
pub(crate) fn said(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(crate) fn explain(error: &rustls::Error, target: &Target) -> Error {
    let refused = |text: String, hint: &'static str| Error::Refused { text, hint: hint.into() };
    let host = &target.host;
    match error {
        rustls::Error::InvalidCertificate(why) => {
            let (text, hint) = distrust(why, host);
            refused(format!("the server's certificate is not trusted: {text}"), hint)
        }
        rustls::Error::AlertReceived(alert) => {
            use AlertDescription as A;
            let hint = match alert {
                A::CertificateRequired => "give a certificate: --cert FILE --key FILE",
                A::UnknownCA | A::BadCertificate | A::CertificateUnknown => {
                    "is our certificate (--cert) from an authority that the server trusts?"
                }
                A::CertificateExpired => "our certificate (--cert) has expired",
                A::CertificateRevoked => "our certificate (--cert) is on the server's list (CRL)",
                A::UnrecognisedName => "the server has no certificate for this host name",
                _ => "",
            };
            refused(format!("the server refused TLS: {alert:?}"), hint)
        }
        rustls::Error::InvalidMessage(_) => Error::Protocol(format!(
            "{target} does not speak TLS: its answer is something else ({error})"
        )),
        error => Error::Protocol(format!("TLS with {target} failed: {error}")),
    }
}

fn distrust(why: &CertificateError, host: &str) -> (String, &'static str) {
    use CertificateError as C;
    match why {
        C::UnknownIssuer => (
            "no authority that we trust has issued it".to_owned(),
            "name the authority's certificate, or the server's own: --cafile FILE",
        ),
        C::Expired | C::ExpiredContext { .. } => (
            "it has expired".to_owned(),
            "renew it at the server; or is the clock of this machine wrong?",
        ),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            ("it is not valid yet".to_owned(), "is the clock of this machine wrong?")
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => (
            format!("it is not for the host `{host}`"),
            "use the name that is in it; --insecure leaves the name out of the check",
        ),
        C::Revoked => ("it is revoked".to_owned(), ""),
        C::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "it signs itself, as that of an authority does, and is not among those that we trust"
                .to_owned(),
            "name it: --cafile FILE",
        ),
        other => (other.to_string(), "name the server's own certificate: --cafile FILE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coap_is_offered_by_alpn() {
        for (url, offered) in [
            ("coaps+tcp://h", vec![b"coap".to_vec()]),
            ("coaps+ws://h", vec![]),
            ("mqtts://h", vec![]),
            ("wss://h", vec![]),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!(alpn(&target), offered, "{url}");
        }
    }
}
