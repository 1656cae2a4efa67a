//! The header of the PROXY protocol, versions 1 and 2: who a load balancer's client is.
//!
//! haproxy's `proxy-protocol.txt` (2.1 and 2.2 there), and mqtt.md §2.19: a pure function of the bytes
//! that came. Whoever sends it was believed before; no byte behind the header is looked at. TLVs are
//! skipped but for the one that tells of a client's certificate; that they fill the header is checked.
//! A port may be 0, as the text there has it; where it says no address of a connection, the sender's
//! own is the client's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::canonical;

/// Longest line of version 1, its end included.
const MAX_V1: usize = 107;
/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 ahead of the addresses.
const FIXED: usize = 16;

/// Which versions a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) v1: bool,
    pub(crate) v2: bool,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes that it takes.
    pub(crate) len: usize,
    pub(crate) source: Source,
    /// The common name of the client's certificate, which the sender has verified.
    pub(crate) common_name: Option<String>,
}

/// Where the connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From there.
    Address(SocketAddr),
    /// The sender does not say, or it is its own (a health check): from the sender.
    Unknown,
}

/// Why it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the connection does not begin with a PROXY header")]
    None,
    #[error("a PROXY header of version {0}, which `proxy_protocol` does not allow")]
    Version(u8),
    #[error("a malformed PROXY header")]
    Damaged,
}

/// Reads a header; `None` until it is whole.
///
/// # Errors
/// Whatever follows, it is none.
pub(crate) fn parse(bytes: &[u8], versions: Versions) -> Result<Option<Header>, Malformed> {
    let begins = |with: &[u8]| {
        let n = bytes.len().min(with.len());
        bytes.get(..n) == with.get(..n)
    };
    if begins(SIGNATURE) {
        return match versions.v2 {
            true => v2(bytes),
            // Not before it is certain: a CR is the beginning of much.
            false if bytes.len() >= SIGNATURE.len() => Err(Malformed::Version(2)),
            false => Ok(None),
        };
    }
    if begins(b"PROXY ") {
        return match versions.v1 {
            true => v1(bytes),
            false if bytes.len() >= 6 => Err(Malformed::Version(1)),
            false => Ok(None),
        };
    }
    Err(Malformed::None)
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT\r\n`.
fn v1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let head = bytes.get(..bytes.len().min(MAX_V1)).unwrap_or_default();
    let end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let (line, behind) = head.split_at(end.unwrap_or(head.len()));
    match behind {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] if bytes.len() < MAX_V1 => return Ok(None),
        // Too long, or another end of a line, behind which the right one would never come.
        _ => return Err(Malformed::Damaged),
    }
    let len = line.len() + 2;
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Damaged)?;
    let source = line_source(line).ok_or(Malformed::Damaged)?;
    Ok(Some(Header { len, source, common_name: None }))
}

fn line_source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Source::Unknown);
    }
    let [source, destination] = [words.next()?, words.next()?];
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    let (source, _) = (ip(source)?, ip(destination)?);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Source::Address(canonical((source, source_port).into())))
}

/// 0 to 65535 in decimal digits, without a sign or leading zeros (2.1 there).
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Signature, version and command, family and transport, length; addresses; TLVs.
fn v2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        // What is there may be wrong already.
        let wrong = bytes.get(12).is_some_and(|b| command(*b).is_none());
        return if wrong { Err(Malformed::Damaged) } else { Ok(None) };
    };
    let &[.., version_command, family, high, low] = fixed else { return Err(Malformed::Damaged) };
    let command = command(version_command).ok_or(Malformed::Damaged)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Four bits each: unspecified, IPv4, IPv6, Unix; unspecified, stream, datagram.
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(Malformed::Damaged);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let len = FIXED + length;
    if command == Command::Local {
        // A connection of the sender itself, such as a health check: whatever the block says, it is
        // taken with its real address (2.2 there).
        return Ok(Some(Header { len, source: Source::Unknown, common_name: None }));
    }
    let (source, tlvs) = match family {
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _, tlvs @ ..] = body else {
                return Err(Malformed::Damaged);
            };
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            let address = canonical((ip, u16::from_be_bytes([*high, *low])).into());
            (Source::Address(address), tlvs)
        }
        0x21 => {
            let (addresses, tlvs) = body.split_at_checked(36).ok_or(Malformed::Damaged)?;
            let (ip, ports) = (addresses.first_chunk::<16>(), addresses.get(32..34));
            let (Some(ip), Some([high, low])) = (ip, ports) else {
                return Err(Malformed::Damaged);
            };
            let port = u16::from_be_bytes([*high, *low]);
            let address = canonical((Ipv6Addr::from(*ip), port).into());
            (Source::Address(address), tlvs)
        }
        // Valid, but no connection over TCP: as if it said no address (2.2 there).
        0x12 | 0x22 | 0x31 | 0x32 => {
            let size = [12, 36, 216][usize::from(family >> 4) - 1];
            (Source::Unknown, body.get(size..).ok_or(Malformed::Damaged)?)
        }
        // Family or transport is unspecified: the receiver takes no notice of what follows.
        _ => return Ok(Some(Header { len, source: Source::Unknown, common_name: None })),
    };
    if !are_whole(tlvs) {
        return Err(Malformed::Damaged);
    }
    Ok(Some(Header { len, source, common_name: common_name(tlvs) }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

/// The byte with the version, which is 2, and the command.
const fn command(byte: u8) -> Option<Command> {
    match byte {
        0x20 => Some(Command::Local),
        0x21 => Some(Command::Proxy),
        _ => None,
    }
}

/// PP2_TYPE_SSL with a verified certificate, and PP2_SUBTYPE_SSL_CN in it (2.2.5 there).
fn common_name(tlvs: &[u8]) -> Option<String> {
    const SSL: u8 = 0x20;
    const SSL_CN: u8 = 0x22;
    const CLIENT_SSL: u8 = 0x01;
    const CLIENT_CERT_CONN: u8 = 0x02;
    const CLIENT_CERT_SESS: u8 = 0x04;
    let ssl = find(tlvs, SSL)?;
    let (&[client, v0, v1, v2, v3], inner) = ssl.split_first_chunk::<5>()?;
    let shown = client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0 && client & CLIENT_SSL != 0;
    // Zero: a certificate was shown, and it was verified.
    if !shown || [v0, v1, v2, v3] != [0; 4] {
        return None;
    }
    let name = std::str::from_utf8(find(inner, SSL_CN)?).ok()?;
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

/// Type, value and what follows of the first TLV; none where it is cut off.
fn next(tlvs: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], rest) = tlvs.split_first_chunk::<3>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((kind, value, rest))
}

/// Whether nothing but TLVs is there, the last of them whole.
fn are_whole(mut tlvs: &[u8]) -> bool {
    while let Some((_, _, rest)) = next(tlvs) {
        tlvs = rest;
    }
    tlvs.is_empty()
}

/// The value of the first TLV of a type; what is cut off has none.
fn find(mut tlvs: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        let (this, value, rest) = next(tlvs)?;
        if this == kind {
            return Some(value);
        }
        tlvs = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: Versions = Versions { v1: true, v2: true };

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend([command, family]);
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    const BODY4: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0xc0, 0, 0x07, 0x5b];

    fn source(bytes: &[u8]) -> Result<Option<Source>, Malformed> {
        parse(bytes, ANY).map(|header| header.map(|header| header.source))
    }

    fn address(text: &str) -> Result<Option<Source>, Malformed> {
        Ok(Some(Source::Address(text.parse().unwrap())))
    }

    #[test]
    fn lines_of_version_1() {
        let bad = Err(Malformed::Damaged);
        let table: &[(&str, Result<Option<Source>, Malformed>)] = &[
            ("PROXY TCP4 192.0.2.1 10.0.0.1 49152 1883\r\nrest", address("192.0.2.1:49152")),
            ("PROXY TCP6 2001:db8::1 ::1 65535 1\r\n", address("[2001:db8::1]:65535")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1\r\n", address("192.0.2.1:1")),
            ("PROXY UNKNOWN\r\n", Ok(Some(Source::Unknown))),
            ("PROXY UNKNOWN ffff::1 whatever 0 x\r\n", Ok(Some(Source::Unknown))),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 49152 1883", Ok(None)),
            ("PROXY", Ok(None)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 0 1883\r\n", address("192.0.2.1:0")),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 00 1883\r\n", bad),
            ("PROXY TCP4 192.0.2.1 10.0.0.1  1883\r\n", bad),
            // Another end of the line: at once, not when time is over.
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 1883\n", bad),
            ("PROXY UNKNOWN\n", bad),
            ("PROXY UNKNOWN\rx", bad),
            ("PROXY UNKNOWN\r", Ok(None)),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", bad),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 01 1883\r\n", bad),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 +1 1883\r\n", bad),
            ("PROXY TCP4 192.0.2.1  10.0.0.1 1 1883\r\n", bad),
            ("PROXY TCP4 2001:db8::1 ::1 1 1883\r\n", bad),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 1883 x\r\n", bad),
            ("PROXY TCP5 192.0.2.1 10.0.0.1 1 1883\r\n", bad),
            ("PROXY tcp4 192.0.2.1 10.0.0.1 1 1883\r\n", bad),
            ("\x10\x0c\x00\x04MQTT", Err(Malformed::None)),
        ];
        for (text, expected) in table {
            assert_eq!(source(text.as_bytes()), *expected, "{text:?}");
        }
        // 107 bytes are the longest line, its end included.
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 16));
        assert_eq!((long.len(), source(long.as_bytes())), (107, Ok(Some(Source::Unknown))));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 15));
        assert_eq!(source(longer.as_bytes()), bad);
        assert_eq!(source(&longer.as_bytes()[..MAX_V1]), bad, "it cannot end in time");
        assert_eq!(source(&longer.as_bytes()[..MAX_V1 - 1]), Ok(None));
    }

    #[test]
    fn headers_of_version_2() {
        assert_eq!(source(&v2_header(0x21, 0x11, BODY4)), address("192.0.2.1:49152"));
        let mut body6 = vec![0; 36];
        (body6[0], body6[15], body6[33]) = (0xfd, 1, 9);
        assert_eq!(source(&v2_header(0x21, 0x21, &body6)), address("[fd00::1]:9"));
        // LOCAL has its real address, whatever the rest says.
        assert_eq!(source(&v2_header(0x20, 0x00, &[])), Ok(Some(Source::Unknown)));
        assert_eq!(source(&v2_header(0x20, 0x11, BODY4)), Ok(Some(Source::Unknown)));
        assert_eq!(source(&v2_header(0x20, 0x11, b"xyz")), Ok(Some(Source::Unknown)));
        let zero = [192, 0, 2, 1, 10, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(source(&v2_header(0x21, 0x11, &zero)), address("192.0.2.1:0"));
        // Families that are no connection of the network are as if they said nothing.
        assert_eq!(source(&v2_header(0x21, 0x00, b"xyz")), Ok(Some(Source::Unknown)));
        assert_eq!(source(&v2_header(0x21, 0x31, &[0; 216])), Ok(Some(Source::Unknown)));
        assert_eq!(source(&v2_header(0x21, 0x12, BODY4)), Ok(Some(Source::Unknown)));
        assert_eq!(source(&v2_header(0x21, 0x22, &[0; 36])), Ok(Some(Source::Unknown)));
        // Transport or family unspecified, the other not.
        assert_eq!(source(&v2_header(0x21, 0x10, BODY4)), Ok(Some(Source::Unknown)));
        assert_eq!(source(&v2_header(0x21, 0x02, BODY4)), Ok(Some(Source::Unknown)));
        // Too short for its family; unknown family, transport, command, version.
        for (command, family, body) in [
            (0x21, 0x11, &BODY4[..11]),
            (0x21, 0x21, BODY4),
            (0x21, 0x12, &BODY4[..11]),
            (0x21, 0x31, BODY4),
            (0x21, 0x41, BODY4),
            (0x21, 0x13, BODY4),
            (0x22, 0x11, BODY4),
            (0x11, 0x11, BODY4),
        ] {
            let bytes = v2_header(command, family, body);
            assert_eq!(source(&bytes), Err(Malformed::Damaged), "{command:x} {family:x}");
        }
        // TLVs are skipped, and belong to the header.
        let mut body = BODY4.to_vec();
        body.extend([0x04, 0, 2, 1, 2, 0xee, 0, 0]);
        let bytes = v2_header(0x21, 0x11, &body);
        assert_eq!(parse(&bytes, ANY).unwrap().unwrap().len, bytes.len());
        // One that is longer than the header, or not even has a length; of any family with addresses.
        for cut in [&[0x04, 0, 3, 1, 2][..], &[0xee, 0xff, 0xff], &[0xee, 0], &[0xee]] {
            for family in [0x11, 0x12] {
                let bytes = v2_header(0x21, family, &[BODY4, &[0x01, 0, 0], cut].concat());
                assert_eq!(source(&bytes), Err(Malformed::Damaged), "{family:x} {cut:x?}");
            }
        }
    }

    #[test]
    fn a_listener_takes_the_versions_that_it_was_told_to() {
        let (one, two) = (b"PROXY UNKNOWN\r\n".as_slice(), v2_header(0x21, 0x11, BODY4));
        let (v1, v2) = (Versions { v1: true, v2: false }, Versions { v1: false, v2: true });
        assert_eq!(parse(one, v2), Err(Malformed::Version(1)));
        assert_eq!(parse(&two, v1), Err(Malformed::Version(2)));
        assert!(parse(one, v1).unwrap().is_some() && parse(&two, v2).unwrap().is_some());
    }

    #[test]
    fn a_name_counts_only_of_a_certificate_that_was_verified() {
        let named = |client: u8, verify: u32, name: &[u8]| {
            let mut inner = vec![client];
            inner.extend(verify.to_be_bytes());
            inner.extend([0x21, 0, 7]);
            inner.extend(b"TLSv1.3");
            inner.extend([0x22, 0, u8::try_from(name.len()).unwrap()]);
            inner.extend(name);
            let mut body = BODY4.to_vec();
            body.extend([0x01, 0, 1, b'x', 0x20, 0, u8::try_from(inner.len()).unwrap()]);
            body.extend(inner);
            parse(&v2_header(0x21, 0x11, &body), ANY).unwrap().unwrap().common_name
        };
        assert_eq!(named(0x07, 0, b"device-1").as_deref(), Some("device-1"));
        assert_eq!(named(0x05, 0, b"device-1").as_deref(), Some("device-1"), "resumed");
        assert_eq!(named(0x07, 1, b"device-1"), None, "not verified");
        assert_eq!(named(0x01, 0, b"device-1"), None, "no certificate");
        assert_eq!(named(0x06, 0, b"device-1"), None, "no TLS");
        assert_eq!((named(0x07, 0, b""), named(0x07, 0, b"\xff")), (None, None));
    }

    fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
        let noise = proptest::collection::vec(any::<u8>(), 0..300);
        let line =
            "PROXY (TCP4|TCP6|UNKNOWN)[0-9a-f.: ]{0,100}(\r\n)?".prop_map(String::into_bytes);
        let binary = (any::<u8>(), any::<u8>(), noise.clone())
            .prop_map(|(command, family, body)| v2_header(command, family, &body));
        let near = (prop_oneof![Just(0x20), Just(0x21)], 0..0x40u8, noise.clone())
            .prop_map(|(command, family, body)| v2_header(command, family, &body));
        prop_oneof![noise, line, binary, near]
    }

    proptest! {
        /// Whatever is the answer to a beginning stays the answer, and nothing behind the header
        /// changes it: any split of the stream is the same.
        #[test]
        fn any_split_is_the_same(bytes in some_bytes(), behind in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut whole = bytes.clone();
            whole.extend(&behind);
            let last = parse(&whole, ANY);
            for n in 0..whole.len() {
                match parse(&whole[..n], ANY) {
                    Ok(None) => {}
                    early => prop_assert_eq!(&early, &last, "after {} bytes", n),
                }
            }
            if let Ok(Some(header)) = last {
                prop_assert!(header.len <= whole.len());
                prop_assert_eq!(parse(&whole[..header.len], ANY), Ok(Some(header)));
            }
        }
    }
}
