//! [`Cause`]: why a connection ended before MQTT saw it, or because of what lies below MQTT.
//!
//! Each is counted; a flood of the same is one line in the log every few seconds that says how many it
//! stands for, and what to do about it.

use std::net::SocketAddr;
use std::time::Duration;

use motegate_timers::Instant;

/// Between two lines of one cause.
const QUIET: Duration = Duration::from_secs(5);

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal $hint:literal,)+) => {
        /// Why it ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Cause { $($(#[$doc])* $variant,)+ }

        impl Cause {
            /// Every one, in the order of the counters.
            pub(crate) const ALL: &'static [Cause] = &[$(Cause::$variant),+];

            /// As it is counted.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Cause::$variant => $word),+ }
            }

            /// What to do about it; empty where there is nothing.
            pub(crate) const fn hint(self) -> &'static str {
                match self { $(Cause::$variant => $hint),+ }
            }
        }
    };
}

causes! {
    /// `max_connections`, the gateway's or the listener's; counted as refused, not as failed.
    MaxConnections = "max_connections" "raise `max_connections` of `limits` or of the listener, or find out who opens so many",
    /// `connect_timeout` passed.
    Timeout = "connect_timeout" "",
    /// The oldest of more than `max_half_open`.
    HalfOpen = "max_half_open" "raise `max_half_open` of `limits` or of the listener, or find out who opens connections and says nothing",
    /// A PROXY header from somebody who may not send one.
    ProxySource = "proxy_source" "add its address to `proxy_from` of the listener if it is your load balancer",
    /// No PROXY header, or none that can be read.
    ProxyHeader = "proxy_header" "have the load balancer send the header of the version that `proxy_protocol` says, or remove the key",
    /// A connection to a listener with TLS that does not begin with a handshake.
    NoTls = "no_tls" "have the client use TLS (mqtts://, wss://, coaps+tcp://), or connect to a listener without",
    /// A handshake on a listener without TLS.
    Tls = "tls_on_plain" "have the client connect to a listener with TLS (mqtts, wss, coaps+tcp), or without TLS",
    /// HTTP on a listener without WebSocket.
    Http = "http_on_plain" "have the client connect to a listener of ws, wss or coap+ws, or use no HTTP",
    /// A client certificate that has expired, or is not valid yet.
    CertExpired = "cert_expired" "renew the client's certificate, and check the clocks of both sides",
    /// A client certificate that its authority has revoked.
    CertRevoked = "cert_revoked" "give the client another certificate, if it is to come back",
    /// A client certificate of an authority that is not in `client_ca`.
    CertUnknownCa = "cert_unknown_ca" "give the client a certificate of an authority in `client_ca`, or add its authority there",
    /// A client certificate whose authority has no list of revoked ones.
    CertUnknownStatus = "cert_unknown_status" "add the list of the client's own authority to the file of `crl`",
    /// No client certificate where one is required.
    CertMissing = "cert_missing" "give the client a certificate and key (--cert, --key), or set `client_cert: optional`",
    /// A client certificate of version 1, which has no extensions: TLS libraries of today take none.
    CertVersion = "cert_version" "the client's certificate has version 1: sign its request once more, for version 3: `echo basicConstraints=CA:FALSE | openssl x509 -req -in CLIENT.csr -CA CA.pem -CAkey CA.key -days 365 -extfile /dev/stdin -out CLIENT.pem`",
    /// Another fault of a client certificate.
    CertBad = "cert_bad" "check the client's certificate: `openssl verify -purpose sslclient -CAfile CLIENT_CA CERT`",
    /// The client ended the handshake: most often it does not trust the server's certificate.
    TlsAlert = "tls_alert" "give the client the authority of the server's certificate (--cafile), and use a host name that the certificate has",
    /// No version or cipher suite in common.
    TlsVersion = "tls_version" "have the client speak TLS 1.2 or 1.3 with ECDHE and AES-GCM or ChaCha20",
    /// Any other end of a handshake, or a record that cannot be decrypted.
    TlsError = "tls_error" "",
    /// An HTTP request that is no WebSocket for what the listener speaks.
    WsRequest = "ws_request" "have the client ask for the path of the listener and its subprotocol, mqtt or coap",
    /// A WebSocket frame that closes the connection.
    WsFrame = "ws_frame" "",
}

/// How often each acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts([u64; Cause::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Counts([0; Cause::ALL.len()])
    }
}

impl Counts {
    /// Those that acted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.iter().copied().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Of one.
    pub(crate) const fn of(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    pub(crate) fn count(&mut self, cause: Cause) {
        if let Some(count) = self.0.get_mut(cause as usize) {
            *count += 1;
        }
    }
}

/// The log of causes.
#[derive(Debug)]
pub(crate) struct Told([(Option<Instant>, u64); Cause::ALL.len()]);

impl Default for Told {
    fn default() -> Self {
        Told([(None, 0); Cause::ALL.len()])
    }
}

impl Told {
    /// Says that a connection ended, unless the same was said a moment ago.
    pub(crate) fn tell(
        &mut self,
        now: Instant,
        cause: Cause,
        detail: &str,
        listener: &str,
        peer: Option<SocketAddr>,
    ) {
        let Some(repeated) = self.lets(now, cause) else { return };
        tracing::warn!(
            listener,
            peer = peer.map(tracing::field::display),
            reason = "transport",
            cause = cause.word(),
            detail = Some(detail).filter(|detail| !detail.is_empty()),
            hint = Some(cause.hint()).filter(|hint| !hint.is_empty()),
            repeated = (repeated > 0).then_some(repeated),
            "connection refused"
        );
    }

    /// How many were not told since the last line, if it is time for another.
    fn lets(&mut self, now: Instant, cause: Cause) -> Option<u64> {
        let (last, untold) = self.0.get_mut(cause as usize)?;
        if last.is_some_and(|last| now < last + QUIET) {
            *untold += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line() {
        let mut told = Told::default();
        let at = |secs| Instant::from_secs(secs);
        assert_eq!(told.lets(at(1), Cause::NoTls), Some(0));
        assert_eq!(told.lets(at(2), Cause::NoTls), None);
        assert_eq!(told.lets(at(2), Cause::CertExpired), Some(0), "another cause");
        assert_eq!(told.lets(at(5), Cause::NoTls), None);
        assert_eq!(told.lets(at(6), Cause::NoTls), Some(2));
    }

    #[test]
    fn each_has_its_own_count() {
        let mut counts = Counts::default();
        for cause in Cause::ALL {
            counts.count(*cause);
        }
        counts.count(Cause::WsFrame);
        let all: Vec<_> = counts.iter().collect();
        assert_eq!(all.len(), Cause::ALL.len());
        assert!(all.iter().all(|(cause, n)| *n == 1 + u64::from(*cause == Cause::WsFrame)));
    }
}
