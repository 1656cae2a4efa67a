//! Signalling messages: what the two ends of a connection tell each other about it (RFC 8323 §5).
//!
//! Their options have a number space of their own for each code (§5.2). One that is critical and not
//! understood ends the connection, one that is elective is ignored; an option of illegal length counts
//! as not understood, but a CSM whose values cannot be used is invalid (§3.3, §5.6).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use coap_lite::Packet;

use crate::message::Token;
use crate::options::{OptionWriter, is_critical, read_uint};

/// 7.01, Capabilities and Settings.
pub(crate) const CSM: u8 = 0xe1;
/// 7.02.
pub(crate) const PING: u8 = 0xe2;
/// 7.03.
pub(crate) const PONG: u8 = 0xe3;
/// 7.04.
pub(crate) const RELEASE: u8 = 0xe4;
/// 7.05.
pub(crate) const ABORT: u8 = 0xe5;

/// Of CSM (§5.3.1).
const MAX_MESSAGE_SIZE: u16 = 2;
/// Of CSM (§5.3.2).
const BLOCK_WISE_TRANSFER: u16 = 4;
/// Of Ping and Pong (§5.4.1).
const CUSTODY: u16 = 2;
/// Of Release (§5.5).
const ALTERNATIVE_ADDRESS: u16 = 2;
/// Of Release (§5.5).
const HOLD_OFF: u16 = 4;
/// Of Abort (§5.6).
const BAD_CSM_OPTION: u16 = 2;

/// Max-Message-Size before a CSM says another (§5.3.1).
pub(crate) const BASE_MESSAGE_SIZE: u32 = 1_152;
/// Bytes of a peer's diagnostic payload that are kept for the log.
const MAX_DIAGNOSTIC: usize = 128;

/// What a peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Its capabilities; `None` of what it does not say anew (§5.3: they are cumulative).
    Csm {
        max_message_size: Option<u32>,
        block_wise: bool,
    },
    Ping {
        custody: bool,
    },
    Pong,
    /// With Hold-Off and the diagnostic payload.
    Release {
        hold_off: Option<Duration>,
        text: String,
    },
    /// With its diagnostic payload, as far as it is text.
    Abort(String),
    /// A code that is not assigned, with nothing that would have to be understood.
    Unknown,
}

/// A signalling message that ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Of a CSM, the option that cannot be processed.
    pub(crate) bad_csm_option: Option<u16>,
    pub(crate) text: String,
}

/// Whether an option of this code is understood, and repeatable where it may be.
fn rule(code: u8, number: u16) -> Option<(usize, usize, bool)> {
    Some(match (code, number) {
        (CSM, MAX_MESSAGE_SIZE) => (0, 4, false),
        (CSM, BLOCK_WISE_TRANSFER) | (PING | PONG, CUSTODY) => (0, 0, false),
        (RELEASE, ALTERNATIVE_ADDRESS) => (1, 255, true),
        (RELEASE, HOLD_OFF) => (0, 3, false),
        (ABORT, BAD_CSM_OPTION) => (0, 2, false),
        _ => return None,
    })
}

/// Reads a message of class 7.
pub(crate) fn read(code: u8, packet: &Packet) -> Result<Signal, Fault> {
    let (mut size, mut block_wise, mut custody, mut hold_off) = (None, false, false, None);
    for (number, values) in packet.options() {
        let number = *number;
        let rule = rule(code, number);
        for (index, value) in values.iter().enumerate() {
            let right = rule.is_some_and(|(min, max, _)| (min..=max).contains(&value.len()));
            let understood = right && rule.is_some_and(|(_, _, again)| again || index == 0);
            if !understood && is_critical(number) {
                // RFC 8323 §5.2
                let text = format!("critical option {number} is not understood");
                return Err(Fault { bad_csm_option: (code == CSM).then_some(number), text });
            }
            // RFC 8323 §5.6: "a parameter problem with the value of an elective option".
            let unusable = code == CSM && rule.is_some() && index == 0 && !right;
            let zero = code == CSM && number == MAX_MESSAGE_SIZE && right && is_zero(value);
            if unusable || zero {
                let text = format!("the value of option {number} cannot be used");
                return Err(Fault { bad_csm_option: Some(number), text });
            }
            match (code, number) {
                _ if !understood => {}
                (CSM, MAX_MESSAGE_SIZE) => size = read_uint(value),
                (CSM, BLOCK_WISE_TRANSFER) => block_wise = true,
                (PING, CUSTODY) => custody = true,
                (RELEASE, HOLD_OFF) => hold_off = read_uint(value),
                _ => {} // Alternative-Address is elective, and another address may be another server
            }
        }
    }
    Ok(match code {
        CSM => Signal::Csm { max_message_size: size, block_wise },
        PING => Signal::Ping { custody },
        PONG => Signal::Pong,
        RELEASE => Signal::Release {
            hold_off: hold_off.map(|secs| Duration::from_secs(secs.into())),
            text: diagnostic(&packet.payload),
        },
        ABORT => Signal::Abort(diagnostic(&packet.payload)),
        _ => Signal::Unknown,
    })
}

/// No message fits so little.
fn is_zero(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == 0)
}

/// What of a diagnostic payload (RFC 7252 §5.5.2) can stand in a log.
fn diagnostic(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload.get(..MAX_DIAGNOSTIC).unwrap_or(payload));
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Appends options and payload of our CSM.
pub(crate) fn write_csm(out: &mut Vec<u8>, max_message_size: u32) {
    let mut options = OptionWriter::new(out);
    options.uint(MAX_MESSAGE_SIZE, max_message_size);
    options.bytes(BLOCK_WISE_TRANSFER, &[]);
}

/// Appends the option of a Pong.
pub(crate) fn write_pong(out: &mut Vec<u8>, custody: bool) {
    if custody {
        OptionWriter::new(out).bytes(CUSTODY, &[]);
    }
}

/// Appends options and payload of an Abort.
pub(crate) fn write_abort(out: &mut Vec<u8>, bad_csm_option: Option<u16>, text: &str) {
    let mut options = OptionWriter::new(out);
    if let Some(number) = bad_csm_option {
        options.uint(BAD_CSM_OPTION, u32::from(number));
    }
    options.payload(text.as_bytes());
}

/// Appends the payload of a Release.
pub(crate) fn write_release(out: &mut Vec<u8>, text: &str) {
    OptionWriter::new(out).payload(text.as_bytes());
}

/// Of a Ping of ours: one is outstanding at a time, so that it needs no name.
pub(crate) fn ping_token() -> Token {
    Token::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(code: u8, options: &[(u16, &[u8])], payload: &[u8]) -> Result<Signal, Option<u16>> {
        let mut bytes = alloc::vec![0x40, code, 0, 0];
        let mut writer = OptionWriter::new(&mut bytes);
        for (number, value) in options {
            writer.bytes(*number, value);
        }
        writer.payload(payload);
        read(code, &Packet::from_bytes(&bytes).unwrap()).map_err(|fault| fault.bad_csm_option)
    }

    fn csm(size: Option<u32>, block_wise: bool) -> Result<Signal, Option<u16>> {
        Ok(Signal::Csm { max_message_size: size, block_wise })
    }

    /// RFC 8323 §5.2, §5.3, §5.6.
    #[test]
    fn options_of_a_csm() {
        assert_eq!(judge(CSM, &[], b""), csm(None, false));
        assert_eq!(judge(CSM, &[(2, b"\x04\x80")], b""), csm(Some(1_152), false));
        assert_eq!(
            judge(CSM, &[(2, b"\xff\xff\xff\xff"), (4, b"")], b""),
            csm(Some(u32::MAX), true)
        );
        assert_eq!(judge(CSM, &[(2, b"\x10\0"), (2, b"\x20\0")], b""), csm(Some(4_096), false));
        assert_eq!(judge(CSM, &[(6, b"?"), (2_050, b"")], b"why"), csm(None, false), "elective");
        assert_eq!(judge(CSM, &[(1, b"")], b""), Err(Some(1)), "critical");
        assert_eq!(judge(CSM, &[(2, b"\x10\0"), (65_001, b"")], b""), Err(Some(65_001)));
        assert_eq!(judge(CSM, &[(2, b"12345")], b""), Err(Some(2)), "too long");
        assert_eq!(judge(CSM, &[(2, b"")], b""), Err(Some(2)), "nothing fits 0 bytes");
        assert_eq!(judge(CSM, &[(4, b"1")], b""), Err(Some(4)), "not empty");
    }

    /// RFC 8323 §5.2: numbers belong to a code.
    #[test]
    fn options_of_the_other_codes() {
        assert_eq!(judge(PING, &[], b""), Ok(Signal::Ping { custody: false }));
        assert_eq!(judge(PING, &[(2, b"")], b""), Ok(Signal::Ping { custody: true }));
        assert_eq!(judge(PING, &[(2, b"x")], b""), Ok(Signal::Ping { custody: false }));
        assert_eq!(judge(PING, &[(4, b"x")], b""), Ok(Signal::Ping { custody: false }));
        assert_eq!(judge(PONG, &[(2, b"")], b""), Ok(Signal::Pong));
        let release: [(u16, &[u8]); 3] = [(2, b"a.example:5683"), (2, b"[::1]"), (4, b"\x0a")];
        let hold_off = Some(Duration::from_secs(10));
        let released = Signal::Release { hold_off, text: "bye".into() };
        assert_eq!(judge(RELEASE, &release, b"bye"), Ok(released));
        assert_eq!(judge(ABORT, &[(2, b"\x01")], b"no\n"), Ok(Signal::Abort("no".into())));
        for code in [PING, PONG, RELEASE, ABORT, 0xe0, 0xe6, 0xff] {
            assert_eq!(judge(code, &[(1, b"")], b""), Err(None), "{code:02x}: critical");
        }
        assert_eq!(judge(0xe6, &[(2, b"")], b""), Ok(Signal::Unknown));
    }

    #[test]
    fn a_diagnostic_is_short_text() {
        assert_eq!(diagnostic(b"a\xff\tb"), "a\u{fffd}b");
        assert_eq!(diagnostic(&[b'x'; 500]).len(), MAX_DIAGNOSTIC);
    }
}
