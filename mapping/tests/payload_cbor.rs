//! CBOR payloads against the tables of RFC 8949, appendices A and F.
#![allow(clippy::unwrap_used)]

use data_encoding::HEXLOWER;
use motegate_mapping::payload::{Codec, Limits, Problem};

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn to_json(hex: &str) -> String {
    let payload = bytes(hex);
    let value =
        Codec::Cbor.read(&payload, &Limits::default()).unwrap_or_else(|e| panic!("{hex}: {e}"));
    String::from_utf8(Codec::Json.write(value, &Limits::default()).unwrap()).unwrap()
}

fn to_cbor(json: &str) -> String {
    let value = Codec::Json.read(json.as_bytes(), &Limits::default()).unwrap();
    HEXLOWER.encode(&Codec::Cbor.write(value, &Limits::default()).unwrap())
}

/// Appendix A, the examples that JSON has too and that are in preferred serialization.
const BOTH_WAYS: [(&str, &str); 55] = [
    ("0", "00"),
    ("1", "01"),
    ("10", "0a"),
    ("23", "17"),
    ("24", "1818"),
    ("25", "1819"),
    ("100", "1864"),
    ("1000", "1903e8"),
    ("1000000", "1a000f4240"),
    ("1000000000000", "1b000000e8d4a51000"),
    ("18446744073709551615", "1bffffffffffffffff"),
    ("18446744073709551616", "c249010000000000000000"),
    ("-18446744073709551616", "3bffffffffffffffff"),
    ("-18446744073709551617", "c349010000000000000000"),
    ("-1", "20"),
    ("-10", "29"),
    ("-100", "3863"),
    ("-1000", "3903e7"),
    ("0.0", "f90000"),
    ("-0.0", "f98000"),
    ("1.0", "f93c00"),
    ("1.1", "fb3ff199999999999a"),
    ("1.5", "f93e00"),
    ("65504.0", "f97bff"),
    ("100000.0", "fa47c35000"),
    ("3.4028234663852886e38", "fa7f7fffff"),
    ("1.0e300", "fb7e37e43c8800759c"),
    ("5.960464477539063e-8", "f90001"),
    ("0.00006103515625", "f90400"),
    ("-4.0", "f9c400"),
    ("-4.1", "fbc010666666666666"),
    ("false", "f4"),
    ("true", "f5"),
    ("null", "f6"),
    ("\"\"", "60"),
    ("\"a\"", "6161"),
    ("\"IETF\"", "6449455446"),
    ("\"\\\"\\\\\"", "62225c"),
    ("\"ü\"", "62c3bc"),
    ("\"水\"", "63e6b0b4"),
    ("\"𐅑\"", "64f0908591"),
    ("[]", "80"),
    ("[1,2,3]", "83010203"),
    ("[1,[2,3],[4,5]]", "8301820203820405"),
    (
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    ),
    ("{}", "a0"),
    ("{\"a\":1,\"b\":[2,3]}", "a26161016162820203"),
    ("[\"a\",{\"b\":\"c\"}]", "826161a161626163"),
    (
        "{\"a\":\"A\",\"b\":\"B\",\"c\":\"C\",\"d\":\"D\",\"e\":\"E\"}",
        "a56161614161626142616361436164614461656145",
    ),
    // Next to the widths' limits.
    ("0.5", "f93800"),
    ("65505.0", "fa477fe100"),
    ("65536.0", "fa47800000"),
    ("16777217.0", "fb4170000010000000"),
    ("1.0e22", "fb4480f0cf064dd592"),
    ("0.1", "fb3fb999999999999a"),
];

#[test]
fn the_examples_of_rfc_8949_appendix_a_go_both_ways() {
    for (json, hex) in BOTH_WAYS {
        assert_eq!(to_json(hex), json, "{hex}");
        assert_eq!(to_cbor(json), hex, "{json}");
    }
}

#[test]
fn other_encodings_of_the_same_values_are_read() {
    for (hex, json) in [
        ("1800", "0"),
        ("1b0000000000000001", "1"),
        ("fa3fc00000", "1.5"),
        ("fb3ff8000000000000", "1.5"),
        ("c2420100", "256"),
        ("c240", "0"),
        ("c2510000000000000000000000000000000001", "1"),
        ("c4820103", "30"),
        ("c48221196ab3", "273.15"),
        ("c4822100", "0"),
        ("d9d9f783010203", "[1,2,3]"),
        ("7f657374726561646d696e67ff", "\"streaming\""),
        ("9fff", "[]"),
        ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
        ("83018202039f0405ff", "[1,[2,3],[4,5]]"),
        ("83019f0203ff820405", "[1,[2,3],[4,5]]"),
        ("bf61610161629f0203ffff", "{\"a\":1,\"b\":[2,3]}"),
        ("bf6346756ef563416d7421ff", "{\"Fun\":true,\"Amt\":-2}"),
        ("fa3dcccccd", "0.10000000149011612"),
    ] {
        assert_eq!(to_json(hex), json, "{hex}");
    }
    assert_eq!(to_cbor("{\"Fun\":true,\"Amt\":-2}"), "a263416d74216346756ef5", "§4.2.1: sorted");
    assert_eq!(to_cbor("{\"b\":1,\"aa\":2,\"\":3}"), "a3600361620162616102", "by encoded bytes");
}

#[test]
fn what_has_no_counterpart_is_refused_with_its_place() {
    let refused = |hex: &str| {
        let payload = bytes(hex);
        let read = Codec::Cbor.read(&payload, &Limits::default());
        match read.map(|value| Codec::Json.write(value, &Limits::default())) {
            Ok(Ok(out)) => panic!("{hex} became {}", String::from_utf8_lossy(&out)),
            Ok(Err(error)) => error.to_string(),
            Err(fault) => fault.to_string(),
        }
    };
    for (hex, said) in [
        ("f97c00", "byte 0: the number is not finite"),
        ("82fbfff0000000000000f97e00", "byte 1: the number is not finite"),
        ("f7", "byte 0: the CBOR simple value 23 has no counterpart outside of CBOR"),
        ("f0", "byte 0: the CBOR simple value 16 has no counterpart outside of CBOR"),
        ("f8ff", "byte 0: the CBOR simple value 255 has no counterpart outside of CBOR"),
        ("c11a514b67b0", "byte 0: the CBOR tag 1 has no counterpart outside of CBOR"),
        ("a161618144010203ff", "a[0]: bytes have no counterpart in JSON"),
        ("a201020304", "1: integer keys have no counterpart in JSON"),
        ("a1f500", "byte 1: a key is neither text nor an integer"),
        ("a2616101616102", "byte 7: the key \"a\" stands twice"),
        (
            "c25101000000000000000000000000000000ff",
            "byte 1: the number has more digits than can be kept",
        ),
    ] {
        assert_eq!(refused(hex), said, "{hex}");
    }
}

/// Appendix F.1 and then some: not well-formed.
#[test]
fn what_is_not_well_formed_is_refused() {
    for hex in [
        "",
        "18",
        "19",
        "1a",
        "1b",
        "1901",
        "1a0102",
        "1b01020304050607",
        "38",
        "58",
        "78",
        "98",
        "9a01ff00",
        "b8",
        "d8",
        "f8",
        "f900",
        "fa0000",
        "fb000000",
        "41",
        "61",
        "5affffffff00",
        "5bffffffffffffffff010203",
        "7affffffff00",
        "7b7fffffffffffffff010203",
        "81",
        "818181818181",
        "8200",
        "a1",
        "a20102",
        "a100",
        "a2000000",
        "5f4100",
        "7f6100",
        "9f",
        "9f0102",
        "bf",
        "bf01020102",
        "819f",
        "9f8000",
        "9f9f9f9f9fffffffff",
        "9f819f819f9fffffff",
        "1c",
        "1d",
        "1e",
        "3c",
        "5c",
        "7c",
        "9c",
        "bc",
        "dc",
        "fc",
        "fd",
        "fe",
        "f800",
        "f801",
        "f818",
        "f81f",
        "5f00ff",
        "5f21ff",
        "5f6100ff",
        "5f80ff",
        "5fc000ff",
        "5f5f4100ffff",
        "7f4100ff",
        "7f7f6100ffff",
        "ff",
        "81ff",
        "8200ff",
        "a1ff",
        "a1ff00",
        "a100ff",
        "a20000ff",
        "9f81ff",
        "9f829f819f9fffffffff",
        "bf00ff",
        "bf000000ff",
        "1f",
        "3f",
        "df",
        "0000",
        "6180",
        "62c328",
        "7f61c361bcff",
    ] {
        let payload = bytes(hex);
        assert!(Codec::Cbor.check(&payload, &Limits::default()).is_err(), "{hex} is checked");
        assert!(Codec::Cbor.read(&payload, &Limits::default()).is_err(), "{hex} is read");
    }
}

#[test]
fn a_payload_that_goes_through_may_be_any_cbor() {
    for hex in [
        "f7",
        "f8ff",
        "f97e00",
        "c074323031332d30332d32315432303a30343a30305a",
        "a1f500",
        "a2616101616102",
        "5f42010243030405ff",
        "d818456449455446",
    ] {
        assert_eq!(Codec::Cbor.check(&bytes(hex), &Limits::default()), Ok(()), "{hex}");
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let limits = Limits::default();
    for deep in [b"\x81".repeat(100_000), b"\x9f".repeat(100_000), b"\xc6".repeat(100_000)] {
        assert_eq!(*Codec::Cbor.check(&deep, &limits).unwrap_err().problem, Problem::TooDeep(32));
    }
    let mut most = b"\x81".repeat(32);
    most.push(0);
    assert!(Codec::Cbor.read(&most, &limits).is_ok());
    most.insert(0, 0x81);
    assert_eq!(*Codec::Cbor.read(&most, &limits).unwrap_err().problem, Problem::TooDeep(32));
    let mut many = vec![0x9f];
    many.extend_from_slice(&[0; 20_000]);
    many.push(0xff);
    assert_eq!(*Codec::Cbor.read(&many, &limits).unwrap_err().problem, Problem::TooMany(16_384));
    assert_eq!(Codec::Cbor.check(&many, &limits), Ok(()), "nothing is held of it");
}

#[test]
fn numbers_are_exact_or_refused() {
    let refused = |json: &str| {
        let value = Codec::Json.read(json.as_bytes(), &Limits::default()).unwrap();
        Codec::Cbor.write(value, &Limits::default()).unwrap_err().to_string()
    };
    assert_eq!(
        refused("{\"a\":[0.1234567890123456789]}"),
        "a[0]: 0.1234567890123456789 cannot be written as a binary64 float without rounding it"
    );
    assert!(refused("1e400").contains("without rounding"));
    assert_eq!(to_json(&to_cbor("9007199254740993")), "9007199254740993", "2^53 + 1");
    assert_eq!(to_json(&to_cbor("3.3")), "3.3");
    assert_eq!(
        to_cbor("9007199254740993.0"),
        "1b0020000000000001",
        "no float has it, an integer does"
    );
    assert_eq!(
        to_json("fb3f0ff80000000000").parse::<f64>(),
        Ok(f64::from_bits(0x3f0f_f800_0000_0000))
    );
}
