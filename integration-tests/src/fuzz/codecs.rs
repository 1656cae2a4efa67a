//! Fuzz targets without state: the codecs, topic names and filters. Whatever decodes must encode
//! again, and decode to the same.

use motegate_message::{SubscriptionFilter, TopicFilter, TopicName};
use motegate_mqtt::codec::{self, Utf8};
use motegate_mqtt::{Sender, Version};

use super::{corpus, mutate};
use crate::sim::rng::Rng;

/// Version, and its number in CONNECT.
pub const VERSIONS: [(Version, u8); 3] = [(Version::V31, 3), (Version::V311, 4), (Version::V5, 5)];

/// The MQTT codec in one version, both directions.
///
/// # Errors
/// What is wrong with which input.
pub fn mqtt(rng: &mut Rng, which: usize) -> Result<(), String> {
    let (version, number) = VERSIONS[which % 3];
    let bytes = mutate::input(rng, |rng| corpus::mqtt(rng, number));
    let Ok(Some(header)) = codec::header(&bytes) else { return Ok(()) };
    let end = header.packet_len().min(bytes.len());
    let Some(body) = bytes.get(header.len..end) else { return Ok(()) };
    for sender in [Sender::Client, Sender::Server] {
        let lenient = codec::decode_with(header.first, body, version, sender, Utf8::Lenient);
        // What is taken strictly is taken leniently, and is the same.
        let strict = codec::decode(header.first, body, version, sender);
        if strict.is_ok() && strict != lenient {
            return Err(format!("{strict:?} is leniently {lenient:?}"));
        }
        let Ok(packet) = lenient else { continue };
        let version = match &packet {
            motegate_mqtt::Packet::Connect(connect) => connect.version,
            _ => version,
        };
        let mut again = Vec::new();
        if let Err(e) = codec::encode(&packet, version, &mut again) {
            return Err(format!("{packet:?} decodes and does not encode: {e}"));
        }
        let header = match codec::header(&again) {
            Ok(Some(header)) if header.packet_len() == again.len() => header,
            other => return Err(format!("{packet:?} encodes with the header {other:?}")),
        };
        let body = &again[header.len..];
        let second = codec::decode_with(header.first, body, version, sender, Utf8::Lenient);
        if second.as_ref() != Ok(&packet) {
            return Err(format!("{packet:?} comes back as {second:?}"));
        }
    }
    Ok(())
}

/// The MQTT-SN codec.
///
/// # Errors
/// What is wrong with which input.
pub fn sn(rng: &mut Rng) -> Result<(), String> {
    let bytes = mutate::input(rng, corpus::sn);
    if let Some(wrapper) = motegate_mqtt_sn::Encapsulation::decode(&bytes)
        && wrapper.inner.len() > bytes.len()
    {
        return Err("a wrapper larger than its datagram".into());
    }
    let Ok(packet) = motegate_mqtt_sn::Packet::decode(&bytes) else { return Ok(()) };
    let mut again = vec![0; packet.encoded_len()];
    match packet.encode(&mut again) {
        Ok(n) if n == again.len() => {}
        other => return Err(format!("{packet:?} of {} bytes encodes to {other:?}", again.len())),
    }
    let second = motegate_mqtt_sn::Packet::decode(&again);
    if second.as_ref() == Ok(&packet) {
        Ok(())
    } else {
        Err(format!("{packet:?} comes back as {second:?}"))
    }
}

fn naive(filter: &[&str], topic: &[&str]) -> bool {
    let mut at = 0;
    for level in filter {
        if *level == "#" {
            return true;
        }
        match topic.get(at) {
            Some(t) if *level == "+" || level == t => at += 1,
            _ => return false,
        }
    }
    at == topic.len()
}

/// Topic names, filters and their matching, against a naive matcher.
///
/// # Errors
/// What is wrong with which input.
pub fn topics(rng: &mut Rng) -> Result<(), String> {
    let bytes = mutate::input(rng, |rng| rng.pick(&corpus::NAMES).as_bytes().to_vec());
    let text = String::from_utf8_lossy(&bytes);
    let other = *rng.pick(&corpus::NAMES);
    let _ = SubscriptionFilter::new(&text);
    for (filter, name) in [(text.as_ref(), other), (other, text.as_ref())] {
        let (Ok(f), Ok(n)) = (TopicFilter::new(filter), TopicName::new(name)) else { continue };
        let (fs, ts): (Vec<_>, Vec<_>) = (filter.split('/').collect(), name.split('/').collect());
        let dollar = name.starts_with('$') && filter.starts_with(['+', '#']);
        let expected = !dollar && naive(&fs, &ts);
        if f.matches(&n) != expected {
            return Err(format!("{filter:?} matches {name:?}: {}", !expected));
        }
    }
    Ok(())
}

/// Topic properties of CoAP: what is read is written and read as the same.
///
/// # Errors
/// What is not.
pub fn properties(rng: &mut Rng) -> Result<(), String> {
    use motegate_coap::pubsub::{Keys, Properties};
    let bytes = mutate::input(rng, corpus::properties);
    let _ = Keys::from_cbor(&bytes);
    let Ok(read) = Properties::from_cbor(&bytes) else { return Ok(()) };
    match Properties::from_cbor(&read.to_cbor()) {
        Ok(again) if again == read => Ok(()),
        other => Err(format!("{bytes:02x?}: {read:?} became {other:?}")),
    }
}
