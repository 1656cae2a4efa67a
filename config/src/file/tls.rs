//! The block `tls` of a listener.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use crate::tls::{CertWord, IdentityFrom};
use crate::value::Typed;

/// Certificates of a listener. Paths are relative to the folder of the file that says them; all files
/// are PEM, read anew at every reload, and hold for connections that begin then.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// The server's certificate and those between it and a root, in this order.
    #[schemars(extend("required" = true))]
    pub(crate) cert: Text,
    /// Its private key, without a password.
    #[schemars(extend("required" = true))]
    pub(crate) key: Text,
    /// Certificates for clients that ask for another name (SNI); whoever asks for none of them gets
    /// the one above.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) sni: Option<Vec<Sni>>,
    /// The authorities whose client certificates are believed. A client's own has X.509 version 3:
    /// `openssl x509 -req` without `-extfile` makes version 1, which is refused.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) client_ca: Text,
    /// Whether a client shows a certificate.
    #[schemars(extend("otherwise" = "`required` where there is `client_ca`, else `none`"))]
    pub(crate) client_cert: Option<Typed<CertWord>>,
    /// Revoked client certificates: lists of their authorities (CRL).
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) crl: Text,
    /// What of a client's certificate is its user name; it needs no password then.
    #[schemars(extend("otherwise" = "`none`"))]
    pub(crate) identity: Option<Typed<IdentityFrom>>,
}

/// A certificate for one name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sni {
    /// The host name that clients ask for; `*.example.org` is one level of any name.
    #[schemars(extend("required" = true))]
    pub(crate) name: Text,
    /// The certificate and those between it and a root.
    #[schemars(extend("required" = true))]
    pub(crate) cert: Text,
    /// Its private key.
    #[schemars(extend("required" = true))]
    pub(crate) key: Text,
}
