//! Valid packets of every protocol as seeds to mutate: from the simulation's own encoders and, where
//! those are too plain, from hand-written bytes.

use crate::sim::coap_wire as coap;
use crate::sim::mqtt_wire as mqtt;
use crate::sim::rng::Rng;
use crate::sim::sn_wire as sn;

/// Topics and filters, valid and not.
pub const NAMES: [&str; 18] = [
    "a",
    "a/b",
    "/",
    "a//b",
    "t/+",
    "#",
    "a/#",
    "+/+",
    "$SYS/x",
    "$share/g/a",
    "é/ü",
    "a b",
    "r/c1",
    "t/b/c",
    "a#",
    "",
    "$share//a",
    "zz",
];

/// Good as a name and as a filter.
pub const GOOD: [&str; 8] = ["a", "a/b", "/", "a//b", "é/ü", "r/c1", "t/b/c", "zz"];

fn some_payload(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.chance(20) { rng.index(3000) } else { rng.index(24) };
    (0..len).map(|_| rng.byte()).collect()
}

/// One MQTT packet of a client, whole.
#[must_use]
pub fn mqtt(rng: &mut Rng, version: u8) -> Vec<u8> {
    let v5 = version == 5;
    // A bad name, a reused CONNECT or a packet of the server's ends the connection: rarely.
    let name = if rng.chance(60) { *rng.pick(&NAMES) } else { *rng.pick(&GOOD) };
    let pid = u16::try_from(if rng.chance(20) { 0 } else { rng.range(1, 6) }).unwrap_or(1);
    let qos = u8::try_from(rng.below(3)).unwrap_or(0);
    if v5 && rng.chance(60) {
        let code = if rng.chance(500) { 0x18 } else { 0x19 };
        return vec![0xf0, 0x07, code, 0x05, 0x15, 0, 2, b'P', b'L'];
    }
    let kind = if rng.chance(900) { rng.range(1, 10) } else { rng.below(14) };
    match kind {
        0 => mqtt_connect(rng, version),
        1..=4 => {
            let flags = (qos > 0 && rng.chance(200), rng.chance(200));
            let payload = some_payload(rng);
            let mut bytes = mqtt::publish(v5, name, &payload, qos, flags, pid);
            if v5 && rng.chance(300) && name.len() < 20 && payload.len() < 40 {
                bytes = with_properties(rng, name, &payload, qos, pid);
            }
            bytes
        }
        5 => mqtt::ack(4 + u8::try_from(rng.below(4)).unwrap_or(0), pid),
        6 | 7 => {
            let count = 1 + rng.index(3);
            let wild = ["#", "+/b", "a/#", name, name];
            let filters: Vec<(String, u8)> =
                (0..count).map(|_| ((*rng.pick(&wild)).to_string(), qos)).collect();
            mqtt::subscribe(v5, pid, &filters)
        }
        8 => mqtt::unsubscribe(v5, pid, name),
        9 | 10 => mqtt::ping(),
        11 => mqtt::disconnect(),
        12 if v5 => vec![0xe0, 0x07, 0x00, 0x05, 0x11, 0, 0, 0, 9],
        12 if rng.chance(500) => vec![0xf0, 0x07, 0x18, 0x05, 0x15, 0, 2, b'P', b'L'],
        _ => mqtt_from_server(rng, v5),
    }
}

/// CONNECT of 3.1, 3.1.1 or 5.0.
#[must_use]
pub fn mqtt_connect(rng: &mut Rng, version: u8) -> Vec<u8> {
    if version == 3 {
        let mut bytes = vec![0x10, 0x10, 0, 6];
        bytes.extend_from_slice(b"MQIsdp\x03\x02\x00\x0a\x00\x02");
        bytes.push(b'a' + u8::try_from(rng.below(3)).unwrap_or(0));
        bytes.push(b'x');
        return bytes;
    }
    if version == 5 && rng.chance(150) {
        // With a method of authentication.
        return b"\x10\x19\x00\x04MQTT\x05\x02\x00\x3c\x09\x15\x00\x02PL\x16\x00\x01x\x00\x03one"
            .to_vec();
    }
    let many = format!("d{}", rng.below(100_000));
    let id = ["", "one", "two", "three", many.as_str()][rng.index(5)];
    let payload = some_payload(rng);
    let will = rng.chance(300).then_some(("w/t", payload.as_slice(), 1));
    mqtt::connect(&mqtt::Connect {
        v5: version == 5,
        id,
        clean: id.is_empty() || rng.chance(500),
        keep_alive: 60,
        expiry: if rng.chance(500) { 100 } else { 0 },
        receive_maximum: u16::try_from(rng.below(4)).unwrap_or(0),
        alias_maximum: u16::try_from(rng.below(4)).unwrap_or(0),
        will,
        will_delay: if rng.chance(500) { 3 } else { 0 },
    })
}

/// A 5.0 PUBLISH with one of everything.
fn with_properties(rng: &mut Rng, name: &str, payload: &[u8], qos: u8, pid: u16) -> Vec<u8> {
    let mut props = Vec::new();
    if rng.chance(500) {
        props.extend_from_slice(&[0x01, 1]);
    }
    if rng.chance(500) {
        props.extend_from_slice(&[0x02, 0, 0, 0, 60]);
    }
    if rng.chance(500) {
        props.extend_from_slice(&[0x23, 0, u8::try_from(rng.below(4)).unwrap_or(0)]);
    }
    if rng.chance(300) {
        props.extend_from_slice(b"\x08\x00\x02re\x09\x00\x01c\x03\x00\x01t");
    }
    if rng.chance(300) {
        props.extend_from_slice(b"\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x00");
    }
    let mut body = vec![0, u8::try_from(name.len()).unwrap_or(0)];
    body.extend_from_slice(name.as_bytes());
    if qos > 0 {
        body.extend_from_slice(&pid.to_be_bytes());
    }
    body.push(u8::try_from(props.len()).unwrap_or(0));
    body.extend_from_slice(&props);
    body.extend_from_slice(payload);
    let mut bytes = vec![0x30 | qos << 1, u8::try_from(body.len()).unwrap_or(0)];
    if body.len() > 127 {
        bytes.truncate(1);
        bytes.extend_from_slice(&[u8::try_from(body.len() & 127).unwrap_or(0) | 128, 1]);
    }
    bytes.extend_from_slice(&body);
    bytes
}

/// Packets of a server, for the codec (and for an endpoint to refuse).
fn mqtt_from_server(rng: &mut Rng, v5: bool) -> Vec<u8> {
    match (rng.below(4), v5) {
        (0, false) => vec![0x20, 2, 1, 0],
        (0, true) => b"\x20\x0d\x00\x00\x0a\x21\x00\x05\x22\x00\x02\x27\x00\x10\x00\x00".to_vec(),
        (1, false) => vec![0x90, 4, 0, 1, 0, 0x80],
        (1, true) => vec![0x90, 5, 0, 1, 0, 2, 0x97],
        (2, true) => vec![0xb0, 4, 0, 1, 0, 0x11],
        (2, false) => vec![0xb0, 2, 0, 1],
        _ => vec![0xd0, 0],
    }
}

/// One MQTT-SN datagram.
#[must_use]
pub fn sn(rng: &mut Rng) -> Vec<u8> {
    let name = *rng.pick(&NAMES);
    let mid = u16::try_from(rng.below(6)).unwrap_or(0);
    let tid = u16::try_from(rng.below(5)).unwrap_or(0);
    let flags = match rng.below(4) {
        0 => rng.byte(),
        _ => sn::qos_bits(u8::try_from(rng.below(3)).unwrap_or(0)),
    };
    let many = format!("d{}", rng.below(100_000));
    let id = ["s1", "s2", "a-long-client-identifier-x", "", many.as_str()][rng.index(5)];
    let packet = match rng.below(24) {
        0 | 1 => sn::connect(rng.byte() & 0x0c, u16::try_from(rng.below(100)).unwrap_or(0), id),
        2 => sn::packet(0x07, &[&[0x20], name.as_bytes()]),
        3 => sn::packet(0x07, &[]),
        4 => sn::packet(0x09, &[&some_payload(rng)]),
        5 | 6 => sn::register(mid, if rng.chance(300) { &many } else { name }),
        7 => sn::regack(tid, mid, u8::try_from(rng.below(5)).unwrap_or(0)),
        8..=11 => sn::publish(flags, tid.to_be_bytes(), mid, &some_payload(rng)),
        12 => sn::publish(flags & 0xfc | 2, *b"zz", mid, &some_payload(rng)),
        13 => sn::puback(tid, mid, u8::try_from(rng.below(4)).unwrap_or(0)),
        14 => sn::flow([sn::PUBREC, sn::PUBREL, sn::PUBCOMP][rng.index(3)], mid),
        15 | 16 => sn::subscribe(0x12, flags & 0xfc, mid, name),
        17 => sn::subscribe(0x14, flags & 0xfc, mid, name),
        18 => sn::ping(id),
        19 => sn::packet(0x17, &[]),
        20 => sn::disconnect(rng.chance(500).then_some(30)),
        21 => sn::packet(0x01, &[&[1]]),
        22 => sn::packet(if rng.chance(500) { 0x1a } else { 0x1c }, &[&[0x20], name.as_bytes()]),
        _ => sn::packet(rng.byte(), &[&some_payload(rng)]),
    };
    if rng.chance(80) {
        let mut wrapped = vec![5, 0xfe, 1, 7, rng.byte()];
        wrapped.extend_from_slice(&packet);
        return wrapped;
    }
    packet
}

/// Topic properties of draft-ietf-core-coap-pubsub, or the keys of some.
#[must_use]
pub fn properties(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(150) {
        let keys: Vec<u8> = (0..rng.index(6)).map(|_| rng.byte() & 15).collect();
        return [&[0x80 | u8::try_from(keys.len()).unwrap_or(0)][..], &keys].concat();
    }
    let mut entries: Vec<&[u8]> = Vec::new();
    let names: [&[u8]; 4] = [b"\x00\x61a", b"\x00\x63a/b", b"\x00\x62s1", b"\x00\x61#"];
    if rng.chance(900) {
        entries.push(names[rng.index(4)]);
    }
    if rng.chance(850) {
        entries.push(b"\x02\x6ccore.ps.data");
    }
    let others: [&[u8]; 8] = [
        b"\x01\x6a/ps/data/q",
        b"\x01\x67/mqtt/a",
        b"\x03\x00",
        b"\x04\x61t",
        b"\x05\xc1\x1a\x65\x53\xf1\x20",
        b"\x06\x02",
        b"\x07\x05",
        b"\x08\x41x",
    ];
    entries.extend(others.iter().filter(|_| rng.chance(200)));
    let count = u8::try_from(entries.len()).unwrap_or(0);
    [&[0xa0 | count][..], &entries.concat()].concat()
}

/// A request for the topic collection.
fn pubsub(rng: &mut Rng) -> Vec<u8> {
    let mut path: Vec<&[u8]> = vec![b"ps"];
    match rng.below(4) {
        0 => path.push(NAMES[rng.index(NAMES.len())].as_bytes()),
        // Ids are made of names: these are those of `a` and `s1`.
        1 => path.push([&b"eab3d740"[..], b"70bcb79a"][rng.index(2)]),
        2 => path.extend([&b"data"[..], b"a"]),
        _ => {}
    }
    let mut options: Vec<(u16, Vec<u8>)> = path.iter().map(|s| (11, s.to_vec())).collect();
    if rng.chance(200) {
        options.insert(0, (6, Vec::new()));
    }
    if rng.chance(800) {
        options.push((12, [&b"\x02\x5e"[..], b"\x3c"][rng.index(2)].to_vec()));
    }
    if rng.chance(100) {
        options.push((15, b"rt=core.ps.data".to_vec()));
    }
    let code = u8::try_from(1 + rng.index(7)).unwrap_or(1);
    let mid = u16::try_from(rng.below(1000)).unwrap_or(0);
    let kind = u8::from(rng.chance(300));
    let payload = if rng.chance(900) { properties(rng) } else { Vec::new() };
    coap::Message { kind, code, mid, token: vec![rng.byte() & 7], options, payload }.encode()
}

/// One CoAP datagram.
#[must_use]
pub fn coap(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(120) {
        return pubsub(rng);
    }
    let mut options: Vec<(u16, Vec<u8>)> = Vec::new();
    if rng.chance(80) {
        options.push((1, some_payload(rng).into_iter().take(8).collect()));
    }
    if rng.chance(50) {
        options.push((4, vec![rng.byte(); rng.index(9)]));
    }
    if rng.chance(40) {
        options.push((5, Vec::new()));
    }
    if rng.chance(250) {
        options.push((6, vec![u8::from(rng.chance(200)); rng.index(3)]));
    }
    if rng.chance(900) {
        let path: &[&str] = if rng.chance(100) { &[".well-known", "core"] } else { &["mqtt"] };
        options.extend(path.iter().map(|s| (11, s.as_bytes().to_vec())));
        for level in rng.pick(&NAMES).split('/') {
            options.push((11, level.as_bytes().to_vec()));
        }
    }
    if rng.chance(150) {
        options.push((12, vec![rng.byte(); rng.index(3)]));
    }
    if rng.chance(150) {
        let query = ["qos=1", "retain=0", "expiry=5", "x", "client=n1"][rng.index(5)];
        options.push((15, query.as_bytes().to_vec()));
    }
    if rng.chance(100) {
        options.push((17, vec![rng.byte(); rng.index(3)]));
    }
    if rng.chance(200) {
        // Blocks of 16 bytes, in order now and then.
        let number = if rng.chance(500) { 27 } else { 23 };
        options.push((number, vec![rng.byte() & 0x38]));
    }
    if rng.chance(60) {
        let number = 18 + u16::try_from(rng.below(3000)).unwrap_or(0);
        options.push((number, some_payload(rng).into_iter().take(20).collect()));
    }
    options.sort_by_key(|(number, _)| *number);
    let token = vec![rng.byte() & 7; rng.index(9)];
    let code = match rng.below(10) {
        0 => 0,
        1 => rng.byte(),
        n => u8::try_from(n % 5).unwrap_or(1),
    };
    let kind = u8::try_from([0, 0, 0, 1, 1, 2, 3][rng.index(7)]).unwrap_or(0);
    let mid = u16::try_from(rng.below(40)).unwrap_or(0);
    if code == 0 && rng.chance(900) {
        return coap::Message { kind, mid, ..coap::Message::default() }.encode();
    }
    let payload = match options.iter().any(|(number, _)| *number == 27) {
        true => vec![rng.byte(); 16],
        false if rng.chance(600) => some_payload(rng),
        false => Vec::new(),
    };
    coap::Message { kind, code, mid, token, options, payload }.encode()
}

/// Configuration files.
pub const YAML: [&str; 4] = [
    "version: 1\n",
    "version: 1\ngateway:\n  name: g1\n  sn_gateway_id: 3\nlisteners:\n  - {name: lan, protocol: mqtt, bind: \"0.0.0.0:1883\", anonymous: true}\n  - {name: field, protocol: mqttsn, bind: \"[::]:1884\", tenant: a, mount: \"plant/{tenant}/\"}\nlimits:\n  max_queued_messages: 5\n  max_packet_size: 2MiB\n",
    "version: 1\nmappings:\n  defaults: {qos: auto, retain: by_method, expiry: 1h}\n  coap:\n    - name: s\n      path: \"/s/{room}/{kind:temp|hum}\"\n      topic: \"site/{room}/{kind}\"\n      methods: {PUT: publish, GET: read, OBSERVE: subscribe, DELETE: clear}\n    - name: t\n      path: \"/r/{rest...}\"\n      topic: \"x/{rest}\"\n",
    "version: 1\nmqtt: {max_qos: 1, sys_interval: 0s}\nmqttsn:\n  retry_timeout: 5s\n  when_asleep: {max_messages: 10, overflow: drop_newest}\nmappings:\n  mqttsn:\n    topic_ids:\n      all: {1: \"dev/{client}/up\", 10-12: \"dev/{client}/ch/{id-10}\"}\n      \"client:legacy\": {10: \"old\"}\n    qos_minus_one: {ids: [1], client: \"anon-{source_ip}\", rate: 5/s}\n",
];
