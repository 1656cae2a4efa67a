//! decode(encode(x)) = x for every codec, both sides of a conversion undo each other, and no input
//! makes anything panic.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use motegate_mapping::payload::{
    CborKeys, Codec, Codecs, Conversion, FieldSpec, Frame, Key, Limits, Number, Uplink, Value,
};
use motegate_mapping::{Format, OnBadPayload, Payload};
use proptest::prelude::*;

/// Numbers that JSON and CBOR both hold: integers of 128 bits and what a binary64 prints.
fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (any::<bool>(), any::<u128>()).prop_map(|(negative, n)| Number::integer(negative, n)),
        any::<u64>().prop_filter_map("finite", |bits| Number::from_f64(f64::from_bits(bits))),
        any::<f32>().prop_filter_map("finite", |value| Number::from_f64(value.into())),
        (-1_000_000i64..1_000_000, 0i32..6).prop_map(|(raw, places)| {
            Number::from(raw).checked_mul(&Number::power_of_ten(-places).unwrap()).unwrap()
        }),
    ]
}

fn value(bytes: bool) -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number().prop_map(Value::Number),
        "\\PC{0,6}|[\\x00-\\x20\"\\\\]{0,4}".prop_map(Value::text),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(move |data| match bytes {
            true => Value::Bytes(data.into()),
            false => Value::Null,
        }),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let key = prop_oneof![
            "[a-c0-2-]{0,2}".prop_map(|text| Key::Text(text.into())),
            any::<i64>().prop_map(move |n| match bytes {
                true => Key::Int(n.into()),
                false => Key::Text(n.to_string().into()),
            }),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
        ]
    })
}

fn comes_back(codec: &Codec, value: &Value<'_>) -> Result<Vec<u8>, TestCaseError> {
    let limits = Limits::default();
    let out = codec
        .write(value.clone(), &limits)
        .map_err(|e| TestCaseError::fail(format!("{value:?} is not written: {e}")))?;
    prop_assert_eq!(codec.read(&out, &limits), Ok(value.clone()));
    prop_assert_eq!(codec.check(&out, &limits), Ok(()));
    // And the bytes are settled.
    let again = codec.read(&out, &limits).unwrap();
    prop_assert_eq!(codec.write(again, &limits), Ok(out.clone()));
    Ok(out)
}

fn frame() -> Codec {
    let flags = [("a".to_owned(), 0), ("b".to_owned(), 12)];
    let spec = |name, kind| FieldSpec { name, kind, ..FieldSpec::default() };
    Codec::Frame(
        Frame::new([
            FieldSpec { scale: Some("0.01"), offset: Some("-40"), ..spec("t", "i16be") },
            FieldSpec { scale: Some("-0.3"), ..spec("u", "u24le") },
            FieldSpec {
                scale: Some("123456789.123456789"),
                offset: Some("0.5"),
                ..spec("i", "i64le")
            },
            spec("f", "f32le"),
            spec("g", "f64be"),
            spec("o", "bool"),
            FieldSpec { bits: &flags, ..spec("x", "u16be") },
            spec("n", "text[5]"),
            spec("b", "bytes[2]"),
            spec("r", "rest"),
        ])
        .unwrap(),
    )
}

fn keys() -> Codec {
    let entries = [(0, "temp".to_owned()), (1, "hum".into()), (-7, "a".into())];
    Codec::CborKeys(CborKeys::new(&entries).unwrap())
}

/// One record with one value, with and without base fields.
fn record() -> impl Strategy<Value = Value<'static>> {
    let text = |label: &'static str, text: String| (label, Value::text(text));
    let measured = prop_oneof![
        number().prop_map(|n| ("v", Value::Number(n))),
        "\\PC{0,5}".prop_map(move |one| text("vs", one)),
        any::<bool>().prop_map(|one| ("vb", Value::Bool(one))),
        prop::sample::select(vec!["", "AA", "aGkgCg", "_-8"])
            .prop_map(|one| ("vd", Value::text(one))),
    ];
    let name = "[A-Za-z0-9][A-Za-z0-9:./_-]{0,5}";
    let (small, unit) = (-1000i64..1000, prop::option::of("[a-zA-Z%/]{1,3}"));
    (name, measured, prop::option::of(small), unit).prop_map(move |(n, measured, time, unit)| {
        let mut fields = vec![text("n", n), measured];
        fields.extend(time.map(|t| ("t", Value::Number(Number::from(t)))));
        fields.extend(unit.map(|u| text("u", u)));
        Value::map(fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn json(value in value(false)) {
        comes_back(&Codec::Json, &value)?;
    }

    #[test]
    fn cbor(value in value(true)) {
        let out = comes_back(&Codec::Cbor, &value)?;
        // Deterministic: the same for every order of keys.
        let Value::Map(mut map) = value else { return Ok(()) };
        map.reverse();
        prop_assert_eq!(Codec::Cbor.write(Value::Map(map), &Limits::default()), Ok(out));
    }

    /// What stands in the broker as JSON is what the device is given in CBOR, and back.
    #[test]
    fn json_and_cbor_undo_each_other(value in value(false)) {
        let limits = Limits::default();
        let text = Codec::Json.write(value.clone(), &limits).unwrap();
        let rule = Payload {
            device: vec![Format::Cbor],
            broker: Format::Json,
            split: false,
            on_bad: OnBadPayload::Reject,
        };
        let conversion = Conversion::new(&rule, &Codecs::default()).unwrap();
        let wire = conversion.downlink(None, "", &text.into()).unwrap().payload;
        let Ok(Uplink::One(again)) = conversion.uplink(None, &wire) else { panic!() };
        prop_assert_eq!(Codec::Json.read(&again, &limits), Ok(value));
        prop_assert_eq!(conversion.downlink(None, "", &again).unwrap().payload, wire);
    }

    #[test]
    fn text_and_raw(text in "\\PC{0,20}", data in prop::collection::vec(any::<u8>(), 0..20)) {
        comes_back(&Codec::Text, &Value::text(text))?;
        comes_back(&Codec::Raw, &Value::Bytes(data.into()))?;
    }

    /// Each frame has one object, and each object one frame.
    #[test]
    fn frames(mut wire in prop::collection::vec(any::<u8>(), 35..43), flags: u8, text in "[a-z]{0,5}") {
        let (codec, limits) = (frame(), Limits::default());
        // Where most bytes would stand for nothing: the exponents, the booleans, the text.
        wire[16] &= 0x7e;
        wire[17] &= 0xbf;
        wire[25] &= 1;
        wire[26] = (flags & 1) << 4;
        wire[27] = flags >> 7;
        wire[28..28 + text.len()].copy_from_slice(text.as_bytes());
        wire[28 + text.len()..].iter_mut().take(5 - text.len()).for_each(|byte| *byte = 0);
        match codec.read(&wire, &limits) {
            Ok(value) => {
                prop_assert_eq!(codec.write(value.clone(), &limits), Ok(wire.clone()));
                comes_back(&codec, &value)?;
                // Through JSON, which is what the broker has.
                let json = Codec::Json.write(value, &limits).unwrap();
                let value = Codec::Json.read(&json, &limits).unwrap();
                prop_assert_eq!(codec.write(value, &limits), Ok(wire));
            }
            Err(fault) => prop_assert!(false, "{fault}"),
        }
    }

    #[test]
    fn cbor_keys(map in prop::collection::btree_map("temp|hum|a|[x-z]{1,2}|-?[2-9]{1,3}|0[0-9]", value(true), 0..6)) {
        let map = map.into_iter().filter(|(key, _)| key != "-7");
        comes_back(&keys(), &Value::map(map))?;
    }

    #[test]
    fn senml(records in prop::collection::vec(record(), 1..5)) {
        let pack = Value::Array(records);
        comes_back(&Codec::SenmlJson, &pack)?;
        comes_back(&Codec::SenmlCbor, &pack)?;
    }

    /// A record split out and packed again is the record.
    #[test]
    fn records(record in record()) {
        let limits = Limits::default();
        let rule = Payload {
            device: vec![Format::SenmlCbor],
            broker: Format::Json,
            split: true,
            on_bad: OnBadPayload::Reject,
        };
        let conversion = Conversion::new(&rule, &Codecs::default()).unwrap();
        let pack = Codec::SenmlCbor.write(Value::Array(vec![record]), &limits).unwrap();
        let Ok(Uplink::Records(out)) = conversion.uplink(None, &pack.into()) else { panic!() };
        prop_assert_eq!(out.len(), 1);
        let again = conversion.downlink(None, &out[0].name, &out[0].payload).unwrap();
        prop_assert_eq!(conversion.uplink(None, &again.payload), Ok(Uplink::Records(out)));
    }

    #[test]
    fn no_input_makes_anything_panic(
        data in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[\\[\\]{}:,\"0-9a-z.\\\\ -]{0,60}".prop_map(String::into_bytes),
            "\\[\\{\"(n|bn)\":\"[a+]\",\"(v|vs|t|bt|bver|vd)\":[\"0-9a.e-]{0,9}\\}\\]".prop_map(String::into_bytes),
        ]
    ) {
        let limits = Limits::default();
        let all = [
            Codec::Json, Codec::Cbor, Codec::SenmlJson, Codec::SenmlCbor, Codec::Text, Codec::Raw,
            frame(), keys(),
        ];
        for codec in &all {
            let Ok(value) = codec.read(&data, &limits) else { continue };
            prop_assert_eq!(codec.check(&data, &limits), Ok(()));
            for other in &all {
                if let Ok(out) = other.write(value.clone(), &limits) {
                    let again = other.read(&out, &limits);
                    prop_assert!(again.is_ok(), "{:?} wrote {:02x?}", other, out);
                    prop_assert!(Bytes::from(out).len() <= limits.output);
                }
            }
        }
    }
}
