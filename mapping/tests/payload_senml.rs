//! SenML packs against the examples and rules of RFC 8428, and their records as messages.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use data_encoding::HEXLOWER;
use motegate_mapping::payload::{Codec, Codecs, Conversion, Limits, Uplink};
use motegate_mapping::{Format, OnBadPayload, Payload};

fn rule(device: &[Format], broker: Format, split: bool) -> Payload {
    Payload { device: device.to_vec(), broker, split, on_bad: OnBadPayload::Reject }
}

fn split(broker: Format) -> Conversion {
    let rule = rule(&[Format::SenmlJson, Format::SenmlCbor], broker, true);
    Conversion::new(&rule, &Codecs::default()).unwrap()
}

/// Names and payloads, or what is said of the pack.
fn records(json: &str) -> Result<Vec<(String, String)>, String> {
    let uplink = split(Format::Json).uplink(Some(110), &Bytes::copy_from_slice(json.as_bytes()));
    match uplink.map_err(|e| e.to_string())? {
        Uplink::One(_) => panic!("not split"),
        Uplink::Records(records) => Ok(records
            .into_iter()
            .map(|record| (record.name, String::from_utf8(record.payload.to_vec()).unwrap()))
            .collect()),
    }
}

fn assert_records(json: &str, expected: &[(&str, &str)]) {
    let found = records(json).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|(n, p)| (&**n, &**p)).collect();
    assert_eq!(found, expected, "{json}");
}

#[test]
fn a_pack_fans_out() {
    assert_records(
        r#"[{"bn":"k-","n":"t","v":20.5},{"n":"h","v":41}]"#,
        &[("k-t", r#"{"v":20.5}"#), ("k-h", r#"{"v":41}"#)],
    );
}

/// RFC 8428 §5.1.1 to §5.1.7.
#[test]
fn the_examples_of_rfc_8428() {
    assert_records(
        r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]"#,
        &[("urn:dev:ow:10e2073a01080063", r#"{"v":23.1,"u":"Cel"}"#)],
    );
    assert_records(
        r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]"#,
        &[
            ("urn:dev:ow:10e2073a01080063:voltage", r#"{"v":120.1,"u":"V"}"#),
            ("urn:dev:ow:10e2073a01080063:current", r#"{"v":1.2,"u":"A"}"#),
        ],
    );
    assert_records(
        r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","v":1.7}]"#,
        &[
            (
                "urn:dev:ow:10e2073a0108006:voltage",
                r#"{"v":120.1,"u":"V","t":1276020076.001,"bver":5}"#,
            ),
            (
                "urn:dev:ow:10e2073a0108006:current",
                r#"{"v":1.2,"u":"A","t":1276020071.001,"bver":5}"#,
            ),
            (
                "urn:dev:ow:10e2073a0108006:current",
                r#"{"v":1.7,"u":"A","t":1276020076.001,"bver":5}"#,
            ),
        ],
    );
    assert_records(
        r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},{"n":"label","vs":"Machine Room"},{"n":"open","vb":false},{"n":"nfc-reader","vd":"aGkgCg"}]"#,
        &[
            ("urn:dev:ow:10e2073a01080063:temp", r#"{"v":23.1,"u":"Cel"}"#),
            ("urn:dev:ow:10e2073a01080063:label", r#"{"vs":"Machine Room"}"#),
            ("urn:dev:ow:10e2073a01080063:open", r#"{"vb":false}"#),
            ("urn:dev:ow:10e2073a01080063:nfc-reader", r#"{"vd":"aGkgCg"}"#),
        ],
    );
    assert_records(
        r#"[{"bn":"urn:dev:ow:10e2073a01080063:"},{"n":"temp","v":23.1},{"n":"heat","u":"/","v":1}]"#,
        &[
            ("urn:dev:ow:10e2073a01080063:temp", r#"{"v":23.1}"#),
            ("urn:dev:ow:10e2073a01080063:heat", r#"{"v":1,"u":"/"}"#),
        ],
    );
}

#[test]
fn base_fields_are_applied() {
    for (pack, payload) in [
        // §4.5.4: exact sums, a missing part is 0; a base value is for numbers.
        (r#"[{"n":"a","bv":0.1,"v":0.2}]"#, r#"{"v":0.3}"#),
        (r#"[{"n":"a","bv":7}]"#, r#"{"v":7}"#),
        (r#"[{"n":"a","bv":7,"vs":"x"}]"#, r#"{"vs":"x"}"#),
        (r#"[{"n":"a","bs":1.5,"s":1}]"#, r#"{"s":2.5}"#),
        (r#"[{"n":"a","s":1}]"#, r#"{"s":1}"#),
        // §4.5.3: relative times stay relative, now is left out.
        (r#"[{"n":"a","v":1,"bt":-10,"t":4}]"#, r#"{"v":1,"t":-6}"#),
        (r#"[{"n":"a","v":1,"t":0}]"#, r#"{"v":1}"#),
        (r#"[{"n":"a","v":1,"bt":1e9,"t":-0.25}]"#, r#"{"v":1,"t":999999999.75}"#),
        (r#"[{"n":"a","v":1,"ut":30,"bver":10}]"#, r#"{"v":1,"ut":30}"#),
        // §4.4: unknown fields are ignored, which here is passed on.
        (r#"[{"n":"a","v":1,"x":[{}],"bx":1}]"#, r#"{"v":1,"x":[{}]}"#),
    ] {
        assert_eq!(records(pack).unwrap(), [("a".to_owned(), payload.to_owned())], "{pack}");
    }
}

#[test]
fn what_is_no_pack_is_refused_with_record_and_field() {
    for (pack, said) in [
        ("[]", "a pack is a list of at least one record"),
        (r#"[{"bn":"a"}]"#, "a pack is a list of at least one record"),
        (r#"{"n":"a","v":1}"#, "a pack is a list of at least one record"),
        ("[1]", "[0]: a pack is a list of at least one record"),
        (r#"[{"v":1}]"#, "[0]: the record has no name"),
        (r#"[{"n":"a"}]"#, "[0]: the record has no value"),
        (
            r#"[{"n":"a","v":1},{"n":"b","vs":"x","vb":true}]"#,
            "[1].vb: the record has more than one value",
        ),
        (r#"[{"n":"a","v":1,"vs":"x"}]"#, "[0]: the record has more than one value"),
        (r#"[{"n":"a","v":"1"}]"#, "[0].v: it should be a number and is text"),
        (r#"[{"n":1,"v":1}]"#, "[0].n: it should be text and is a number"),
        (r#"[{"n":"a","vb":1}]"#, "[0].vb: it should be a boolean and is a number"),
        (
            r#"[{"n":"a","vd":"aGkgCg=="}]"#,
            "[0].vd: the data value is not base64url without padding",
        ),
        (r#"[{"n":"a","vd":"aGkgCh"}]"#, "[0].vd: the data value is not base64url without padding"),
        (
            r#"[{"n":"a","v":1,"must_":1}]"#,
            "[0].must_: the field \"must_\" must be understood and is not known",
        ),
        (r#"[{"n":"a","v":1,"bver":11}]"#, "[0].bver: the version is 11, not 10"),
        (r#"[{"n":"a","v":1,"bver":1.5}]"#, "[0].bver: the version is 1.5, not 10"),
        (r#"[{"n":"a","v":1},{"n":"b","v":1,"bver":9}]"#, "[1].bver: the version is 9, not 10"),
        (r#"[{"n":"a","v":1e300,"bv":1}]"#, "[0].v: the number has more digits than can be kept"),
        (r#"[{"n":"a","v":1,"v":2}]"#, "byte 22: the key \"v\" stands twice"),
    ] {
        assert_eq!(
            records(pack).unwrap_err(),
            format!("this is no senml+json payload: {said}"),
            "{pack}"
        );
    }
    for name in ["a+", "#", "a b", "é", "$SYS", "-a", "/a", "_", "a\\u0000"] {
        let said = records(&format!("[{{\"n\":\"{name}\",\"v\":1}}]")).unwrap_err();
        assert!(said.contains("holds other than A-Z a-z 0-9"), "{said}");
    }
    assert_records(r#"[{"bn":"a","n":"-:./_9","v":1}]"#, &[("a-:./_9", r#"{"v":1}"#)]);
}

/// RFC 8428 §6, figure 1: the pack of §5.1.2 in CBOR.
const RFC_CBOR: &str = "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a\
    22fb41d303a15b00106223614120050067766f6c7461676501615602fb405e066666666666\
    a3006763757272656e74062402fb3ff3333333333333\
    a3006763757272656e74062302fb3ff4cccccccccccd\
    a3006763757272656e74062202fb3ff6666666666666\
    a3006763757272656e74062102f93e00\
    a3006763757272656e74062002fb3ff999999999999a\
    a3006763757272656e74060002fb3ffb333333333333";
const RFC_JSON: &str = r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1276020076.001,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","t":-3,"v":1.4},{"n":"current","t":-2,"v":1.5},{"n":"current","t":-1,"v":1.6},{"n":"current","t":0,"v":1.7}]"#;

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.replace(char::is_whitespace, "").as_bytes()).unwrap()
}

#[test]
fn cbor_and_json_packs_become_each_other() {
    let limits = Limits::default();
    let wire = bytes(RFC_CBOR);
    let from_cbor = Codec::SenmlCbor.read(&wire, &limits).unwrap();
    let from_json = Codec::SenmlJson.read(RFC_JSON.as_bytes(), &limits).unwrap();
    assert_eq!(from_cbor, from_json);
    let json = Codec::SenmlJson.write(from_cbor, &limits).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), RFC_JSON);
    let again = Codec::SenmlCbor.write(from_json, &limits).unwrap();
    assert_eq!(again.len(), wire.len(), "the RFC's keys are in another order");
    assert_eq!(Codec::SenmlCbor.read(&again, &limits), Codec::SenmlCbor.read(&wire, &limits));
}

#[test]
fn data_is_bytes_in_cbor_and_base64url_in_json() {
    let limits = Limits::default();
    let wire = bytes("81a2006161084401fbff00"); // [{n: "a", vd: h'01fbff00'}]
    let value = Codec::SenmlCbor.read(&wire, &limits).unwrap();
    let json = Codec::SenmlJson.write(value.clone(), &limits).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), r#"[{"n":"a","vd":"Afv_AA"}]"#);
    assert_eq!(Codec::SenmlCbor.write(value, &limits).unwrap(), wire);
    for (hex, said) in [
        ("81a2006161086178", "[0].vd: it should be bytes and is text"),
        ("81a30061610201616e6162", "[0]: the key \"n\" stands twice"),
        ("81a1006161", "[0]: the record has no value"),
    ] {
        assert_eq!(
            Codec::SenmlCbor.read(&bytes(hex), &limits).unwrap_err().to_string(),
            said,
            "{hex}"
        );
    }
    let unknown = bytes("81a30061610201186301"); // label 99 has no name in JSON
    let value = Codec::SenmlCbor.read(&unknown, &limits).unwrap();
    assert_eq!(Codec::SenmlCbor.write(value, &limits).unwrap(), bytes("81a200616102 01"));
}

#[test]
fn records_may_stand_as_packs_or_cbor_in_the_broker() {
    let pack = Bytes::from_static(br#"[{"bn":"a/","n":"b","v":1,"u":"m"}]"#);
    for (broker, expected) in [
        (Format::SenmlJson, br#"[{"n":"a/b","v":1,"u":"m"}]"#.to_vec()),
        (Format::SenmlCbor, bytes("81a30063612f6201616d0201")),
        (Format::Cbor, bytes("a26175616d617601")),
    ] {
        let Ok(Uplink::Records(records)) = split(broker).uplink(Some(110), &pack) else { panic!() };
        assert_eq!((records.len(), &*records[0].name), (1, "a/b"));
        assert_eq!(HEXLOWER.encode(&records[0].payload), HEXLOWER.encode(&expected));
    }
}

#[test]
fn a_record_comes_back_as_a_pack_of_one() {
    let both = split(Format::Json);
    for payload in
        [r#"{"v":20.5}"#, r#"{"vs":"x","u":"m","t":-5}"#, r#"{"vd":"AA"}"#, r#"{"s":1,"x":null}"#]
    {
        for accept in [110, 112] {
            let message = Bytes::copy_from_slice(payload.as_bytes());
            let pack = both.downlink(Some(accept), "k-t", &message).unwrap();
            assert_eq!(pack.content_format, accept);
            let Ok(Uplink::Records(records)) = both.uplink(Some(accept), &pack.payload) else {
                panic!("{pack:?}")
            };
            assert_eq!((records.len(), &*records[0].name), (1, "k-t"));
            let limits = Limits::default();
            assert_eq!(
                Codec::Json.read(&records[0].payload, &limits),
                Codec::Json.read(payload.as_bytes(), &limits)
            );
        }
    }
}

#[test]
fn what_is_no_record_becomes_its_value_by_its_kind() {
    let packed = |conversion: &Conversion, payload: &[u8]| {
        let pack = conversion.downlink(None, "site/hall/co2", &Bytes::copy_from_slice(payload));
        match pack {
            Ok(pack) => String::from_utf8(pack.payload.to_vec()).unwrap(),
            Err(error) => error.to_string(),
        }
    };
    let json = rule(&[Format::SenmlJson], Format::Json, false);
    let json = Conversion::wildcard(Some(&json), &Codecs::default()).unwrap();
    for (payload, record) in [
        ("612", r#""v":612"#),
        ("\"on\"", r#""vs":"on""#),
        ("true", r#""vb":true"#),
        (r#"{"v":612,"u":"ppm"}"#, r#""v":612,"u":"ppm""#),
        ("null", r#""vd":"bnVsbA""#),
        ("[1]", r#""vd":"WzFd""#),
        (r#"{"a":1}"#, r#""vd":"eyJhIjoxfQ""#),
        (r#"{"n":"x","v":1}"#, r#""vd":"eyJuIjoieCIsInYiOjF9""#),
        (r#"{"v":"x"}"#, r#""vd":"eyJ2IjoieCJ9""#),
    ] {
        let expected = format!(r#"[{{"n":"site/hall/co2",{record}}}]"#);
        assert_eq!(packed(&json, payload.as_bytes()), expected);
    }
    assert!(packed(&json, b"on").starts_with("this is no json payload: byte 0"));
    let plain = Conversion::wildcard(None, &Codecs::default()).unwrap();
    assert_eq!(packed(&plain, b"on"), r#"[{"n":"site/hall/co2","vs":"on"}]"#);
    assert_eq!(packed(&plain, b"\xff"), r#"[{"n":"site/hall/co2","vd":"_w"}]"#);
    let cbor = plain.downlink(Some(112), "a", &Bytes::from_static(b"\xff")).unwrap();
    assert_eq!(HEXLOWER.encode(&cbor.payload), "81a20061610841ff");
    let error = plain.downlink(None, "$SYS/x y", &Bytes::new()).unwrap_err().to_string();
    assert!(
        error.starts_with("senml+json cannot hold this payload: n: the name \"$SYS/x y\""),
        "{error}"
    );
}
