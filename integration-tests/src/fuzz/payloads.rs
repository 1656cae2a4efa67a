//! The payload codecs of the mapping: what is read can be written and read again, whatever is
//! written is in its format and within its bound, and a pack's records come back.

use bytes::Bytes;
use motegate_mapping::payload::{
    CborKeys, Codec, Codecs, Conversion, FieldSpec, Frame, Limits, PayloadError, Uplink,
};
use motegate_mapping::{Format, OnBadPayload, Payload};

use super::mutate;
use crate::sim::rng::Rng;

/// Small, so that the bounds are met.
const LIMITS: Limits = Limits { depth: 8, values: 200, output: 2_000 };

/// Every kind of codec.
struct Bench {
    codecs: Vec<Codec>,
    split: Vec<Conversion>,
}

impl Bench {
    fn new() -> Result<Self, String> {
        let spec = |name, kind| FieldSpec { name, kind, ..FieldSpec::default() };
        let flags = [("door".to_owned(), 0), ("tamper".to_owned(), 6)];
        let frame = Frame::new([
            FieldSpec { scale: Some("0.01"), offset: Some("-40"), ..spec("temp", "i16be") },
            FieldSpec { bits: &flags, ..spec("flags", "u8") },
            spec("f", "f32le"),
            spec("name", "text[3]"),
            spec("rest", "rest"),
        ]);
        let keys = CborKeys::new(&[(0, "temp".into()), (-1, "hum".into())]);
        let rule = |broker| Payload {
            device: vec![Format::SenmlJson, Format::SenmlCbor],
            broker,
            split: true,
            on_bad: OnBadPayload::Reject,
        };
        let split = [Format::Json, Format::Cbor, Format::SenmlJson].map(|broker| {
            let made = Conversion::new(&rule(broker), &Codecs::default());
            made.map(|one| one.with_limits(LIMITS)).map_err(|e| e.to_string())
        });
        Ok(Bench {
            codecs: vec![
                Codec::Json,
                Codec::Cbor,
                Codec::SenmlJson,
                Codec::SenmlCbor,
                Codec::Text,
                Codec::Raw,
                Codec::Frame(frame.map_err(|e| format!("{e:?}"))?),
                Codec::CborKeys(keys.map_err(|e| format!("{e:?}"))?),
            ],
            split: split.into_iter().collect::<Result<_, _>>()?,
        })
    }
}

/// The codecs and the splitting of packs, one round.
///
/// # Errors
/// What is wrong with which input.
pub fn payloads(rng: &mut Rng, _round: u64, inputs: u64) -> Result<(), String> {
    let bench = Bench::new()?;
    for _ in 0..inputs {
        let input = mutate::input(rng, valid);
        let codec = rng.pick(&bench.codecs);
        one(&bench, codec, &input).map_err(|e| format!("{codec:?}, {input:02x?}: {e}"))?;
        let split = rng.pick(&bench.split);
        let input = Bytes::from(input);
        let accept = if rng.chance(500) { 110 } else { 112 };
        records(split, accept, &input).map_err(|e| format!("split {input:?}: {e}"))?;
    }
    Ok(())
}

/// A payload in any of the formats, small.
fn valid(rng: &mut Rng) -> Vec<u8> {
    const PAYLOADS: [&[u8]; 12] = [
        br#"{"temp":21.5,"flags":{"door":true,"tamper":false},"f":0.1,"name":"ab","rest":"00ff"}"#,
        br#"[1.0e22,-0.0,123456789012345678901234567890,0.1234567890123456789,null,"\ud83d\ude00"]"#,
        br#"[{"bn":"k-","bt":1e9,"bu":"Cel","n":"t","v":20.5,"t":-5},{"n":"h","vs":"x"},{"n":"d","vd":"aGkgCg"}]"#,
        b"[{\"bn\":\"a\"},{\"n\":\"b/c\",\"bv\":0.1,\"v\":0.2,\"s\":1,\"x\":[]}]",
        b"\x82\xa3\x21\x62k-\x00at\x02\xf9\x4d\x20\xa2\x00ah\x08\x43\x01\x02\x03",
        b"\xa3\x00\x13\x20\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a\x07\x83\x01\xf6\xf5",
        b"\xbf\x61a\x9f\x01\x1a\x00\x0f\x42\x40\xff\x61b\x7f\x61x\x61y\xff\xff",
        b"\x85\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00\xc4\x82\x21\x19\x6a\xb3\x43\x01\x02\x03\xf9\x7e\x00\xd9\xd9\xf7\x00",
        b"\x08\x66\x41\xcd\xcc\xcc\x3dab\x00\x01\x02",
        "grün 21.5".as_bytes(),
        b"[[[[[[[[1]]]]]]]]",
        b"{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"temp\":10}",
    ];
    let mut payload = rng.pick(&PAYLOADS).to_vec();
    if rng.chance(30) {
        payload = payload.repeat(1 + rng.index(100));
    }
    payload
}

fn one(bench: &Bench, codec: &Codec, input: &[u8]) -> Result<(), String> {
    let checked = codec.check(input, &LIMITS);
    let value = match codec.read(input, &LIMITS) {
        Ok(value) => value,
        Err(fault) if fault.to_string().is_empty() => return Err("refused without a word".into()),
        Err(_) => return Ok(()),
    };
    if let Err(fault) = checked {
        return Err(format!("is read, but not in order: {fault}"));
    }
    for other in &bench.codecs {
        let Ok(out) = other.write(value.clone(), &LIMITS) else { continue };
        if out.len() > LIMITS.output {
            return Err(format!("{other:?} writes {} bytes", out.len()));
        }
        let again = other.read(&out, &LIMITS);
        let again =
            again.map_err(|e| format!("{other:?} wrote {out:02x?}, which is not in it: {e}"))?;
        // A frame's integers have no sign of zero; everything else is as it was.
        if again != value && !matches!(other, Codec::Frame(_)) {
            return Err(format!("{value:?} comes back from {other:?} as {again:?}"));
        }
        if other.write(again, &LIMITS).as_ref() != Ok(&out) {
            return Err(format!("{other:?} writes {out:02x?} in two ways"));
        }
    }
    Ok(())
}

fn records(split: &Conversion, accept: u16, input: &Bytes) -> Result<(), String> {
    for number in [110, 112] {
        let records = match split.uplink(Some(number), input) {
            Ok(Uplink::Records(records)) if !records.is_empty() => records,
            Ok(other) => return Err(format!("became {other:?}")),
            Err(PayloadError::UnsupportedContentFormat { .. }) => {
                return Err("its own format is not taken".into());
            }
            Err(_) => continue,
        };
        for record in records {
            if record.name.contains(['+', '#', '\0', '$']) {
                return Err(format!("a record is named {:?}", record.name));
            }
            let Ok(pack) = split.downlink(Some(accept), &record.name, &record.payload) else {
                continue; // too large with its name, or a number that CBOR would round
            };
            let again = split.uplink(Some(accept), &pack.payload);
            if again != Ok(Uplink::Records(vec![record.clone()])) {
                let same = equal(&again, &record.name, &record.payload);
                if !same {
                    return Err(format!("{record:?} comes back as {again:?}"));
                }
            }
        }
    }
    Ok(())
}

/// Whether a record came back with another order of its fields.
fn equal(again: &Result<Uplink, PayloadError>, name: &str, payload: &Bytes) -> bool {
    let Ok(Uplink::Records(records)) = again else { return false };
    let [record] = records.as_slice() else { return false };
    let same = [Codec::Json, Codec::Cbor].iter().any(|codec| {
        let read = (codec.read(&record.payload, &LIMITS), codec.read(payload, &LIMITS));
        matches!(read, (Ok(a), Ok(b)) if a == b)
    });
    record.name == name && same
}
