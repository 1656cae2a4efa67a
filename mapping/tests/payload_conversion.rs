//! Conversions of rules: the examples of the mapping language, which format is chosen, frames,
//! integer keys, and what each refusal says.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use data_encoding::HEXLOWER;
use motegate_mapping::payload::{
    Codec, CodecError, Codecs, Conversion, ConversionError, FieldSpec, Frame, Limits, PayloadError,
    Uplink, content_type, is_utf8,
};
use motegate_mapping::{self as mapping, CodecForm, Format, FrameField, OnBadPayload, Payload};

fn field(name: &str, kind: &str, scale: Option<&str>) -> FrameField {
    FrameField {
        name: name.into(),
        kind: kind.into(),
        scale: scale.map(Into::into),
        ..FrameField::default()
    }
}

fn codecs() -> Codecs {
    let env4 = vec![
        field("temp", "i16be", Some("0.01")),
        field("hum", "u8", None),
        field("batt", "u8", Some("0.02")),
    ];
    let compact = vec![(0, "temp".into()), (1, "hum".into()), (2, "batt".into())];
    Codecs::new(&[
        mapping::Codec { name: "env4".into(), form: CodecForm::Frame(env4) },
        mapping::Codec { name: "compact".into(), form: CodecForm::CborKeys(compact) },
    ])
    .unwrap()
}

fn format(word: &str) -> Format {
    match word {
        "json" => Format::Json,
        "cbor" => Format::Cbor,
        "senml+json" => Format::SenmlJson,
        "senml+cbor" => Format::SenmlCbor,
        "text" => Format::Text,
        "raw" => Format::Raw,
        "env4" => Format::Frame("env4".into()),
        other => Format::CborKeys(other.into()),
    }
}

fn rule(device: &[&str], broker: &str) -> Payload {
    Payload {
        device: device.iter().map(|word| format(word)).collect(),
        broker: format(broker),
        split: false,
        on_bad: OnBadPayload::Reject,
    }
}

fn conversion(device: &[&str], broker: &str) -> Conversion {
    Conversion::new(&rule(device, broker), &codecs()).unwrap()
}

fn hex(text: &str) -> Bytes {
    HEXLOWER.decode(text.as_bytes()).unwrap().into()
}

fn up(
    conversion: &Conversion,
    number: Option<u16>,
    payload: Bytes,
) -> Result<String, PayloadError> {
    match conversion.uplink(number, &payload)? {
        Uplink::One(out) => Ok(String::from_utf8(out.to_vec()).unwrap()),
        Uplink::Records(records) => panic!("{records:?}"),
    }
}

fn down(conversion: &Conversion, json: &str) -> String {
    match conversion.downlink(None, "", &Bytes::copy_from_slice(json.as_bytes())) {
        Ok(out) => HEXLOWER.encode(&out.payload),
        Err(error) => error.to_string(),
    }
}

#[test]
fn four_bytes_become_json() {
    let env = conversion(&["env4"], "json");
    let json = up(&env, None, hex("08662da5")).unwrap();
    assert_eq!(json, r#"{"temp":21.5,"hum":45,"batt":3.3}"#);
    assert_eq!(down(&env, &json), "08662da5");
    assert_eq!(down(&env, r#"{ "batt": 3.30, "temp": 215e-1, "hum": 45.0 }"#), "08662da5");
    assert_eq!(up(&env, Some(42), hex("fff80000")).unwrap(), r#"{"temp":-0.08,"hum":0,"batt":0}"#);
}

#[test]
fn a_json_command_becomes_three_bytes() {
    let compact = conversion(&["compact"], "json");
    let out = compact.downlink(None, "", &Bytes::from_static(br#"{"temp":19}"#)).unwrap();
    assert_eq!((out.content_format, &out.payload[..]), (60, &[0xa1, 0x00, 0x13][..]));
    assert_eq!(up(&compact, Some(60), hex("a10013")).unwrap(), r#"{"temp":19}"#);
}

#[test]
fn keys_without_a_name_are_kept_and_come_back() {
    let compact = conversion(&["compact"], "json");
    let json = up(&compact, None, hex("a40001070222036178f6")).unwrap();
    assert_eq!(json, r#"{"temp":1,"7":2,"-3":3,"x":null}"#);
    assert_eq!(down(&compact, &json), "a40001070222036178f6");
    for (payload, said) in [
        (
            "a16474656d7001",
            "this is no compact payload: temp: the key \"temp\" is written otherwise in this codec",
        ),
        (
            "a1613701",
            "this is no compact payload: 7: the key \"7\" is written otherwise in this codec",
        ),
        ("820102", "this is no compact payload: it should be an object and is a list"),
        (
            "a100a10102",
            "json cannot hold this payload: temp.1: integer keys have no counterpart in JSON",
        ),
    ] {
        assert_eq!(up(&compact, None, hex(payload)).unwrap_err().to_string(), said);
    }
    assert_eq!(
        down(&compact, r#"{"0":1}"#),
        "compact cannot hold this payload: 0: the key \"0\" is written otherwise in this codec"
    );
    let cbor = conversion(&["compact"], "cbor");
    let error = cbor.downlink(None, "", &hex("a10013")).unwrap_err().to_string();
    assert!(error.starts_with("compact cannot hold this payload: 0: the key \"0\""), "{error}");
    assert_eq!(
        down(&compact, r#"{"007":1,"-0":2,"18446744073709551616":3}"#),
        "a3622d3002633030370174313834343637343430373337303935353136313603"
    );
}

#[test]
fn content_format_and_accept_choose() {
    let state = conversion(&["cbor", "json", "text"], "json");
    assert_eq!(up(&state, None, hex("a1617601")).unwrap(), r#"{"v":1}"#, "the first");
    assert_eq!(up(&state, Some(50), Bytes::from_static(b" {\"v\": 1} ")).unwrap(), " {\"v\": 1} ");
    assert_eq!(
        up(&state, Some(0), Bytes::from_static(b"21.50")).unwrap(),
        "\"21.50\"",
        "text stays text"
    );
    let error = up(&state, Some(42), Bytes::new()).unwrap_err();
    assert_eq!(
        error,
        PayloadError::UnsupportedContentFormat { got: 42, supported: vec![60, 50, 0] }
    );
    assert_eq!(error.to_string(), "the Content-Format 42 is not taken here, only 60, 50, 0");

    let value = Bytes::from_static(b"\"on\"");
    for (accept, number, payload) in [
        (None, 60, &b"\x62on"[..]),
        (Some(60), 60, b"\x62on"),
        (Some(50), 50, b"\"on\""),
        (Some(0), 0, b"on"),
    ] {
        let out = state.downlink(accept, "", &value).unwrap();
        assert_eq!((out.content_format, &out.payload[..]), (number, payload));
    }
    let error = state.downlink(Some(112), "", &value).unwrap_err();
    assert_eq!(error, PayloadError::NotAcceptable { wanted: 112, offered: vec![60, 50, 0] });
    let error = state.downlink(Some(0), "", &Bytes::from_static(b"21.5")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "text cannot hold this payload: it should be text and is a number"
    );
}

#[test]
fn the_same_format_on_both_sides_is_not_copied() {
    for (word, payload) in [
        ("json", Bytes::from(b" [ 1.0 ,\t1e9999 ] ".to_vec())),
        ("cbor", hex("f97e00")),
        ("text", Bytes::from("é".as_bytes().to_vec())),
        ("raw", hex("ff00")),
        ("env4", hex("08662da5")),
        ("compact", hex("bf1800f5ff")),
        ("senml+json", Bytes::from(br#"[ {"n":"a","v":1.0} ]"#.to_vec())),
    ] {
        let same = conversion(&[word], word);
        let Ok(Uplink::One(out)) = same.uplink(None, &payload) else { panic!("{word}") };
        assert_eq!((out.as_ptr(), out.len()), (payload.as_ptr(), payload.len()), "{word}");
        let out = same.downlink(None, "", &payload).unwrap().payload;
        assert_eq!(out.as_ptr(), payload.as_ptr(), "{word}");
    }
    for (word, payload) in [
        ("json", &b"{\"a\":1"[..]),
        ("cbor", b"\x19\x00"),
        ("text", b"\xff"),
        ("env4", b"123"),
        ("compact", b"\x01"),
        ("senml+json", b"[{\"n\":\"a\"}]"),
    ] {
        let error =
            conversion(&[word], word).uplink(None, &Bytes::from_static(payload)).unwrap_err();
        assert!(
            matches!(error, PayloadError::Malformed { ref format, .. } if format == word),
            "{error}"
        );
        assert!(!error.fix().is_empty());
    }
}

#[test]
fn formats_that_never_meet_are_refused() {
    for (device, broker) in [
        ("raw", "json"),
        ("json", "raw"),
        ("text", "env4"),
        ("env4", "senml+json"),
        ("senml+cbor", "text"),
    ] {
        let error = Conversion::new(&rule(&[device], broker), &codecs()).unwrap_err();
        assert!(matches!(error, ConversionError::NeverConverts { index: 0, .. }), "{error}");
    }
    let split = Payload { split: true, ..rule(&["senml+json"], "text") };
    let error = Conversion::new(&split, &codecs()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no payload of senml+json can become text: a record is an object"
    );
    let error = Conversion::new(&rule(&["json"], "unheard"), &codecs()).unwrap_err();
    assert_eq!(error, ConversionError::UnknownCodec("unheard".into()));
    assert!(Conversion::new(&rule(&["raw"], "cbor"), &codecs()).is_ok());
}

/// A frame of one of everything, its bytes and its object.
fn everything() -> Codec {
    let flags = [("door".to_owned(), 0), ("tamper".to_owned(), 7)];
    let spec = |name, kind| FieldSpec { name, kind, ..FieldSpec::default() };
    let fields = [
        spec("u8", "u8"),
        spec("i8", "i8"),
        spec("u16", "u16le"),
        FieldSpec { scale: Some("-0.5"), offset: Some("100"), ..spec("i16", "i16be") },
        spec("u24", "u24be"),
        spec("i24", "i24le"),
        spec("u32", "u32be"),
        spec("i32", "i32le"),
        spec("u64", "u64be"),
        spec("i64", "i64le"),
        spec("f32", "f32be"),
        spec("f64", "f64le"),
        spec("on", "bool"),
        FieldSpec { bits: &flags, ..spec("flags", "u8") },
        spec("name", "text[6]"),
        spec("id", "bytes[2]"),
        spec("tail", "rest"),
    ];
    Codec::Frame(Frame::new(fields).unwrap())
}

#[test]
fn every_type_of_field_goes_both_ways() {
    let codec = everything();
    let limits = Limits::default();
    for (wire, json) in [
        (
            "fe.fe.0102.0003.ffffff.ffffff.fffffffe.feffffff.ffffffffffffffff.0000000000000080.3dcccccd.9a9999999999b93f.01.81.c3a900000000.00ff.",
            r#"{"u8":254,"i8":-2,"u16":513,"i16":98.5,"u24":16777215,"i24":-1,"u32":4294967294,"i32":-2,"u64":18446744073709551615,"i64":-9223372036854775808,"f32":0.1,"f64":0.1,"on":true,"flags":{"door":true,"tamper":true},"name":"é","id":"00ff","tail":""}"#,
        ),
        (
            "00.7f.0000.8000.800000.000080.00000000.00000080.0000000000000000.ffffffffffffff7f.80000000.000000000000f03f.00.00.616263646566.abcd.0102ff",
            r#"{"u8":0,"i8":127,"u16":0,"i16":16484,"u24":8388608,"i24":-8388608,"u32":0,"i32":-2147483648,"u64":0,"i64":9223372036854775807,"f32":-0.0,"f64":1.0,"on":false,"flags":{"door":false,"tamper":false},"name":"abcdef","id":"abcd","tail":"0102ff"}"#,
        ),
    ] {
        let wire = hex(&wire.replace('.', ""));
        let value = codec.read(&wire, &limits).unwrap();
        let text = Codec::Json.write(value.clone(), &limits).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), json);
        assert_eq!(codec.write(value, &limits).unwrap(), wire);
    }
}

#[test]
fn offset_and_bits_come_from_the_configuration() {
    let fields = vec![
        FrameField { offset: Some("-40".into()), ..field("temp", "u8", Some("0.5")) },
        FrameField {
            bits: vec![("door".into(), 0), ("tamper".into(), 1)],
            ..field("flags", "u8", None)
        },
    ];
    let codec = mapping::Codec { name: "env4".into(), form: CodecForm::Frame(fields) };
    let codecs = Codecs::new(&[codec]).unwrap();
    let env = Conversion::new(&rule(&["env4"], "json"), &codecs).unwrap();
    let json = up(&env, None, hex("7b02")).unwrap();
    assert_eq!(json, r#"{"temp":21.5,"flags":{"door":false,"tamper":true}}"#);
    assert_eq!(down(&env, &json), "7b02");
}

#[test]
fn frames_name_the_field_that_is_wrong() {
    let env = conversion(&["env4"], "json");
    for (json, said) in [
        (r#"{"temp":1,"hum":2}"#, "batt: the field is missing"),
        (r#"{"temp":1,"hum":2,"batt":0,"x":0}"#, "x: the codec has no field of this name"),
        (r#"{"temp":1,"hum":256,"batt":0}"#, "hum: 256 is outside of 0 to 255"),
        (r#"{"temp":-327.69,"hum":0,"batt":0}"#, "temp: -327.69 is outside of -327.68 to 327.67"),
        (r#"{"temp":1e999,"hum":0,"batt":0}"#, "temp: 1e999 is outside of -327.68 to 327.67"),
        (r#"{"temp":1.005,"hum":0,"batt":0}"#, "temp: 1.005 is no multiple of 0.01 from 0"),
        (r#"{"temp":1,"hum":0,"batt":3.31}"#, "batt: 3.31 is no multiple of 0.02 from 0"),
        (r#"{"temp":"1","hum":0,"batt":0}"#, "temp: it should be a number and is text"),
        (r#"{"temp":null,"hum":0,"batt":0}"#, "temp: it should be a number and is null"),
        ("[]", "it should be an object and is a list"),
    ] {
        assert_eq!(down(&env, json), format!("env4 cannot hold this payload: {said}"));
    }
    for (wire, said) in [
        ("", "temp: the field needs 2 bytes and 0 are left"),
        ("0866", "hum: the field needs 1 byte and 0 are left"),
        ("08662da5ff00", "batt: 2 bytes follow the last field"),
    ] {
        let error = up(&env, None, hex(wire)).unwrap_err().to_string();
        assert_eq!(error, format!("this is no env4 payload: {said}"));
    }
}

#[test]
fn fields_refuse_what_could_not_come_back() {
    let codec = everything();
    let limits = Limits::default();
    let whole = hex("fefe01020003fffffffffffffffffffefeffffffffffffffffffffff0000000000000080");
    let tail = hex("3dcccccd9a9999999999b93f0181c3a90000000000ff");
    let mut wire = [&whole[..], &tail[..]].concat();
    assert!(codec.read(&wire, &limits).is_ok());
    let at = whole.len();
    for (offset, byte, said) in [
        (at, 0x7f, "f32: the number is not finite"),
        (at + 11, 0x7f, "f64: "),
        (at + 12, 2, "on: the bits 0x2 stand for nothing in this field"),
        (at + 13, 0x42, "flags: the bits 0x42 stand for nothing in this field"),
        (at + 14, 0xff, "name: the text is not UTF-8"),
    ] {
        let old = wire[offset];
        wire[offset] = byte;
        if offset == at {
            wire[at + 1] = 0xff;
        }
        match codec.read(&wire, &limits) {
            Err(fault) => assert!(fault.to_string().starts_with(said), "{fault}"),
            Ok(_) => assert_eq!(byte, 0x7f, "{said}"), // a large, but finite binary64
        }
        wire[offset] = old;
        wire[at + 1] = 0xcc;
    }
    let name = Codec::Frame(
        Frame::new([FieldSpec { name: "n", kind: "text[2]", ..FieldSpec::default() }]).unwrap(),
    );
    let id = Codec::Frame(
        Frame::new([FieldSpec { name: "n", kind: "bytes[2]", ..FieldSpec::default() }]).unwrap(),
    );
    let single = Codec::Frame(
        Frame::new([FieldSpec { name: "n", kind: "f32le", ..FieldSpec::default() }]).unwrap(),
    );
    for (codec, json, said) in [
        (&name, r#"{"n":"a\u0000"}"#, "n: text that ends in NUL cannot be told from its padding"),
        (&name, r#"{"n":"éa"}"#, "n: 3 bytes do not go into a field of 2"),
        (&id, r#"{"n":"00"}"#, "n: 1 byte does not go into a field of 2"),
        (&id, r#"{"n":"0g00"}"#, "n: it should be bytes as hexadecimal digits"),
        (
            &single,
            r#"{"n":0.12345678901}"#,
            "n: 0.12345678901 cannot be written as a binary32 float without rounding it",
        ),
        (
            &single,
            r#"{"n":1e39}"#,
            "n: 1e39 cannot be written as a binary32 float without rounding it",
        ),
    ] {
        let value = Codec::Json.read(json.as_bytes(), &limits).unwrap();
        let error = codec.write(value, &limits).unwrap_err().to_string();
        assert_eq!(error, said);
    }
}

#[test]
fn mistakes_in_codecs_are_all_found() {
    let spec = |name, kind| FieldSpec { name, kind, ..FieldSpec::default() };
    let error = |spec: FieldSpec<'_>| Frame::new([spec]).unwrap_err().remove(0).1;
    assert_eq!(error(spec("", "u8")), CodecError::EmptyName);
    assert_eq!(error(spec("a", "i16")), CodecError::NoByteOrder { kind: "i16".into() });
    assert_eq!(error(spec("a", "f32")), CodecError::NoByteOrder { kind: "f32".into() });
    for kind in ["", "u", "u7", "u8be", "i128be", "U8", "é", "text", "text[", "bytes 4"] {
        assert_eq!(error(spec("a", kind)), CodecError::UnknownKind(kind.into()));
    }
    for kind in ["text[0]", "text[]", "bytes[65536]", "bytes[+1]"] {
        assert_eq!(error(spec("a", kind)), CodecError::BadLength, "{kind}");
    }
    for scale in ["0", "x", "1e31", "1234567890123456789", ""] {
        let found = error(FieldSpec { scale: Some(scale), ..spec("a", "u8") });
        assert_eq!(found, CodecError::BadNumber(scale.into()));
    }
    let scaled = FieldSpec { scale: Some("2"), ..spec("a", "f32be") };
    assert_eq!(error(scaled), CodecError::OnlyIntegers("scale"));
    let bits = [("x".to_owned(), 8)];
    assert_eq!(error(FieldSpec { bits: &bits, ..spec("a", "u8") }), CodecError::BadBit(8));
    assert_eq!(error(FieldSpec { bits: &bits, ..spec("a", "i16be") }), CodecError::BadBit(8));
    let twice = Frame::new([spec("a", "rest"), spec("a", "u8")]).unwrap_err();
    assert_eq!(twice, [(1, CodecError::DuplicateName("a".into())), (1, CodecError::RestNotLast)]);
    assert_eq!(Frame::new([]).unwrap_err(), [(0, CodecError::Empty)]);

    let keys = vec![(0, "a".to_owned()), (0, "a".into()), (1, "7".into())];
    let bad = mapping::Codec { name: "k".into(), form: CodecForm::CborKeys(keys) };
    let frame =
        mapping::Codec { name: "f".into(), form: CodecForm::Frame(vec![field("a", "u9", None)]) };
    let errors = Codecs::new(&[bad, frame]).unwrap_err();
    let said: Vec<String> = errors.iter().map(|(at, error)| format!("{at}: {error}")).collect();
    assert_eq!(
        said,
        [
            "codecs.k.cbor_keys[\"0\"]: the name \"a\" is already taken",
            "codecs.k.cbor_keys[\"0\"]: the key 0 is already taken",
            "codecs.k.cbor_keys[\"1\"]: the name \"7\" is that of the unnamed key 7",
            "codecs.f.frame[0]: \"u9\" is no type of a field",
        ]
        .map(|line| line.replace("[\"0\"]", ".0").replace("[\"1\"]", ".1"))
    );
}

#[test]
fn results_are_bounded() {
    let limits = Limits { output: 20, ..Limits::default() };
    let small = conversion(&["cbor"], "json").with_limits(limits);
    let error = up(&small, None, hex("7331323334353637383930313233343536373839")).unwrap_err();
    assert_eq!(error.to_string(), "as json the payload has more than 20 bytes");
    assert!(up(&small, None, hex("72313233343536373839303132333435363738")).is_ok());
}

#[test]
fn names_of_formats_for_mqtt() {
    for (word, kind, utf8) in [
        ("json", "application/json", true),
        ("cbor", "application/cbor", false),
        ("senml+json", "application/senml+json", true),
        ("senml+cbor", "application/senml+cbor", false),
        ("text", "text/plain;charset=utf-8", true),
        ("raw", "application/octet-stream", false),
        ("env4", "application/octet-stream", false),
        ("compact", "application/cbor", false),
    ] {
        assert_eq!((content_type(&format(word)), is_utf8(&format(word))), (kind, utf8), "{word}");
    }
    let state = conversion(&["cbor"], "json");
    assert_eq!((state.broker(), state.on_bad()), (&Format::Json, OnBadPayload::Reject));
}
