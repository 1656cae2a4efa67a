//! The certificates of a listener: files to what rustls serves with.
//!
//! Files are PEM. What is wrong with one is a mistake of the configuration, with the place that names
//! the file; a certificate whose time is over is a warning, as clients may not look. Nothing of a file
//! is kept beyond what rustls needs. mqtt.md §2.20.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motegate_mapping::Place;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, DnsName, PrivateKeyDer, UnixTime,
};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::diagnostic::{Code, Diagnostic};
use crate::file;
use crate::reader::Reader;
use crate::text_file::{self, Kinds, Unread};
use crate::value::{Typed, Value, words};

/// Longest file of certificates; a bundle of all public authorities has 250 KiB.
pub(crate) const MAX_FILE: usize = 4 * 1024 * 1024;

words! {
    /// Whether clients show a certificate.
    pub(crate) CertWord, "none, optional or required" {
        None = "none",
        Optional = "optional",
        Required = "required",
    }
}

words! {
    /// What of a client's certificate is its identity.
    pub IdentityFrom, "none, cn, subject or san_uri" {
        /// Nothing: it has to show a password.
        None = "none",
        /// The last common name of the subject.
        Cn = "cn",
        /// The whole subject, as RFC 4514 writes it.
        Subject = "subject",
        /// The first URI among the alternative names.
        SanUri = "san_uri",
    }
}

/// What rustls serves a listener with.
#[derive(Clone)]
pub struct Tls {
    /// TLS 1.2 and 1.3, with certificates by name, resumption by tickets, and client certificates
    /// as configured.
    pub server: Arc<ServerConfig>,
    /// What of a client's certificate is its identity.
    pub identity: IdentityFrom,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The same reading of the same files.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.server, &other.server) && self.identity == other.identity
    }
}

impl Eq for Tls {}

/// Certificates by the name that a client asks for.
#[derive(Debug)]
struct ByName {
    /// Lower case; `*.example.org` as `.example.org`.
    names: Vec<(String, Arc<CertifiedKey>)>,
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(named.unwrap_or(&self.default).clone())
    }
}

impl ByName {
    /// rustls hands names over in lower case.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let exact = self.names.iter().find(|(known, _)| known == name);
        let found = exact.or_else(|| {
            let (_, rest) = name.split_at_checked(name.find('.')?)?;
            self.names.iter().find(|(known, _)| known == rest)
        });
        found.map(|(_, key)| key)
    }
}

/// Reads the block; `None` if something in it cannot be used, which was reported.
/// `alpn` is what clients that name protocols (RFC 7301) have to name.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    block: &file::Tls,
    at: &Place,
    alpn: Option<&str>,
) -> Option<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair = |reader: &mut Reader<'_>, cert, key, at: &Place| {
        certified(reader, &provider, [cert, key], at).map(Arc::new)
    };
    let default = pair(reader, block.cert.as_ref(), block.key.as_ref(), at);
    let mut names = Vec::new();
    let sni = block.sni.as_deref().unwrap_or_default();
    for (i, entry) in sni.iter().enumerate() {
        let at = at.at("sni").at(i);
        let name = server_name(reader, entry.name.as_ref(), &at);
        let key = pair(reader, entry.cert.as_ref(), entry.key.as_ref(), &at);
        names.push(name.zip(key));
    }
    let verifier = client_verifier(reader, &provider, block, at)?;
    let identity = reader.get(block.identity.as_ref(), at, "identity");
    let identity = identity.unwrap_or(IdentityFrom::None);
    if identity != IdentityFrom::None && verifier.is_none() {
        let text = "no client shows a certificate that could be its identity";
        let fix = "add `client_ca: ca.pem`, or remove `identity`";
        reader.report(&at.at("identity"), Code::Tls, text, fix);
        return None;
    }
    let names: Vec<_> = names.into_iter().collect::<Option<_>>()?;
    let resolver = Arc::new(ByName { names, default: default? });
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3");
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_cert_resolver(resolver);
    server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    // Without a source of random numbers sessions are not resumed.
    if let Ok(ticketer) = rustls::crypto::ring::Ticketer::new() {
        server.ticketer = ticketer;
    }
    Some(Tls { server: Arc::new(server), identity })
}

/// A certificate with its key.
fn certified(
    reader: &mut Reader<'_>,
    provider: &CryptoProvider,
    [cert, key]: [Option<&Typed<String>>; 2],
    at: &Place,
) -> Option<CertifiedKey> {
    let chain = required(reader, cert, at, "cert").and_then(|(path, text)| {
        let at = at.at("cert");
        let chain = certificates(reader, &path, &text, &at)?;
        in_time(reader, chain.first()?, &path, &at).then_some(chain)
    });
    let signing = required(reader, key, at, "key").and_then(|(path, text)| {
        let place = at.at("key");
        let key = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(key) => key,
            Err(_) => {
                let (cause, fix) = no_key(&text);
                let text = format!("{} {cause}", path.display());
                reader.report(&place, Code::Tls, text, fix);
                return None;
            }
        };
        match provider.key_provider.load_private_key(key) {
            Ok(key) => Some(key),
            Err(error) => {
                let text = format!("the key in {} cannot be used: {error}", path.display());
                let fix = "use RSA of 2048 bits and more, ECDSA (P-256, P-384) or Ed25519";
                reader.report(&place, Code::Tls, text, fix);
                None
            }
        }
    });
    let certified = CertifiedKey::new(chain?, signing?);
    // rustls would look at certificates of version 3 only; openssl makes others, and clients take them.
    let (_, leaf) = x509_parser::parse_x509_certificate(certified.cert.first()?).ok()?;
    let public = certified.key.public_key();
    if public.is_none_or(|public| public.as_ref() == leaf.public_key().raw) {
        return Some(certified);
    }
    let fix = "name the key that the certificate was requested with: `openssl x509 -noout -pubkey \
               -in CERT` and `openssl pkey -pubout -in KEY` print the same then";
    let d = Diagnostic::new(Code::Tls, "the key is not that of the certificate", fix);
    let also = reader.document.value(&at.at("cert"));
    let d = d.at(reader.document.value(&at.at("key"))).also(also, "the certificate");
    reader.found.push(d);
    None
}

/// The text of a file that must be named.
fn required(
    reader: &mut Reader<'_>,
    field: Option<&Typed<String>>,
    at: &Place,
    key: &str,
) -> Option<(PathBuf, String)> {
    let Some(typed) = field.filter(|typed| !typed.text.is_empty()) else {
        let what = if key == "cert" { "server.pem" } else { "server.key" };
        reader.missing(at, key, format!("add `{key}: {what}`, a file in PEM"));
        return None;
    };
    text(reader, &typed.text, &at.at(key))
}

fn text(reader: &mut Reader<'_>, path: &str, at: &Place) -> Option<(PathBuf, String)> {
    let path = PathBuf::from(path);
    // Also where it cannot be read: it may come.
    reader.files.push(path.clone());
    match text_file::read(&path, Kinds::Files, MAX_FILE) {
        Ok(text) => Some((path, text)),
        Err(error) => {
            let fix = match &error {
                Unread::NotUtf8 => {
                    "it may be DER: `openssl x509 -inform der -in FILE -out FILE.pem` makes PEM of a \
                     certificate, `openssl pkey` of a key"
                }
                Unread::Io(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                    "let the gateway's user read it"
                }
                _ => "the path is relative to the folder of the file that says it",
            };
            let text = format!("{} cannot be read: {error}", path.display());
            reader.report(at, Code::Tls, text, fix);
            None
        }
    }
}

/// All certificates of a file, at least one.
fn certificates(
    reader: &mut Reader<'_>,
    path: &Path,
    text: &str,
    at: &Place,
) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let (cause, fix) = match all {
        Ok(all) if !all.is_empty() => return Some(all),
        Ok(_) if text.contains("PRIVATE KEY-----") => {
            ("holds a key and no certificate".to_owned(), "name the certificate; the key is `key`")
        }
        Ok(_) if text.contains("-----BEGIN CERTIFICATE REQUEST-----") => (
            "holds the request for a certificate".to_owned(),
            "name the certificate that the authority made of it",
        ),
        Ok(_) => (
            "holds no certificate".to_owned(),
            "a certificate in PEM begins with -----BEGIN CERTIFICATE-----",
        ),
        Err(pem::Error::MissingSectionEnd { .. }) => {
            ("is cut off: a BEGIN has no END".to_owned(), "write it anew, whole")
        }
        Err(_) => {
            ("is damaged".to_owned(), "write it anew: everything between BEGIN and END is base64")
        }
    };
    reader.report(at, Code::Tls, format!("{} {cause}", path.display()), fix);
    None
}

/// Why a file gives no key, and the way out.
fn no_key(text: &str) -> (&'static str, &'static str) {
    if text.contains("ENCRYPTED") {
        let fix = "take the password off: `openssl pkey -in KEY -out PLAIN`, readable for the \
                   gateway's user only";
        ("is protected by a password", fix)
    } else if text.contains("-----BEGIN CERTIFICATE") {
        ("holds a certificate and no key", "name the private key; the certificate is `cert`")
    } else {
        ("holds no private key", "a key in PEM begins with -----BEGIN PRIVATE KEY-----")
    }
}

/// Warns of a certificate whose time is over, or has not come. False: it cannot be read at all.
fn in_time(reader: &mut Reader<'_>, leaf: &CertificateDer<'_>, path: &Path, at: &Place) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else {
        let text = format!("the certificate in {} cannot be read", path.display());
        let fix = "have it made anew: `openssl x509 -text -in FILE` shows what is in it";
        reader.report(at, Code::Tls, text, fix);
        return false;
    };
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    let (not_before, not_after) = (validity.not_before, validity.not_after);
    let text = if now > not_after.timestamp() {
        format!("the certificate in {} expired on {not_after}", path.display())
    } else if now < not_before.timestamp() {
        format!("the certificate in {} is valid from {not_before} only", path.display())
    } else {
        return true;
    };
    let fix = "have it renewed: clients that check it do not connect";
    let d = Diagnostic::new(Code::CertificateTime, text, fix);
    reader.found.push(d.at(reader.document.value(at)));
    true
}

/// A name of SNI, as it is looked up.
fn server_name(
    reader: &mut Reader<'_>,
    field: Option<&Typed<String>>,
    at: &Place,
) -> Option<String> {
    let Some(typed) = field else {
        reader.missing(at, "name", "add the name that clients ask for: `name: mqtt.example.org`");
        return None;
    };
    let text = typed.text.trim_end_matches('.').to_ascii_lowercase();
    let (host, wild) = match text.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (text.as_str(), false),
    };
    if DnsName::try_from(host).is_err() || host.parse::<std::net::IpAddr>().is_ok() {
        let text = format!("{:?} is no host name", typed.text);
        let fix =
            "write a name such as mqtt.example.org or *.example.org: clients ask for names only";
        reader.report(&at.at("name"), Code::Tls, text, fix);
        return None;
    }
    Some(if wild { format!(".{host}") } else { host.to_owned() })
}

type Verifier = Arc<dyn rustls::server::danger::ClientCertVerifier>;

/// What client certificates are checked with; the outer `None`: a mistake was reported.
fn client_verifier(
    reader: &mut Reader<'_>,
    provider: &Arc<CryptoProvider>,
    block: &file::Tls,
    at: &Place,
) -> Option<Option<Verifier>> {
    let given = |field: &Option<Typed<String>>| {
        field.as_ref().map(|typed| typed.text.clone()).filter(|text| !text.is_empty())
    };
    let (ca, crl) = (given(&block.client_ca), given(&block.crl));
    let word = reader.get(block.client_cert.as_ref(), at, "client_cert");
    let word = word.unwrap_or(if ca.is_some() { CertWord::Required } else { CertWord::None });
    let Some(ca) = ca.filter(|_| word != CertWord::None) else {
        if word != CertWord::None {
            let fix =
                "add `client_ca: ca.pem`, the authority that the clients' certificates come from";
            reader.missing(at, "client_ca", fix);
            return None;
        }
        return Some(None);
    };
    let place = at.at("client_ca");
    let (path, pem) = text(reader, &ca, &place)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(reader, &path, &pem, &place)? {
        if let Err(error) = roots.add(certificate) {
            let text = format!("a certificate in {} cannot be used: {error}", path.display());
            reader.report(&place, Code::Tls, text, "name authorities only, as PEM");
            return None;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = match word {
        CertWord::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let builder = match crl {
        Some(crl) => builder
            .with_crls(revocations(reader, &crl, &at.at("crl"))?)
            // Authorities seldom list each other; whoever has no list at all is refused.
            .only_check_end_entity_revocation(),
        None => builder,
    };
    match builder.build() {
        Ok(verifier) => Some(Some(verifier)),
        Err(error) => {
            let place = if block.crl.is_some() { at.at("crl") } else { place };
            let text = format!("client certificates cannot be checked with this: {error}");
            reader.report(&place, Code::Tls, text, "have the file made anew by its authority");
            None
        }
    }
}

fn revocations(
    reader: &mut Reader<'_>,
    path: &str,
    at: &Place,
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let (path, text) = text(reader, path, at)?;
    let all: Result<Vec<_>, pem::Error> =
        CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Some(all),
        _ => {
            let text = format!("{} holds no list of revoked certificates", path.display());
            let fix = "it begins with -----BEGIN X509 CRL-----; of DER, `openssl crl -inform der` \
                       makes PEM";
            reader.report(at, Code::Tls, text, fix);
            None
        }
    }
}
