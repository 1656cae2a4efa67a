//! What a message costs the client, for a load generator's own share. Prints with `--nocapture`;
//! with `--release`, on two shared cores, best of three, 64-byte payloads in windows of 64:
//! publish 38 (QoS 0), 114 (QoS 1), 148 ns (QoS 2); receive 55 (QoS 0), 66 ns (QoS 1). 0.13
//! allocations a publish, for buffers that grow again each window; none in windows below 1 KiB.
#![allow(clippy::disallowed_methods)]

use std::time::Instant as Clock;

use motegate_message::Qos;
use motegate_mqtt::client::{Client, ClientConfig, Event, Publish};
use motegate_timers::Instant;

const TURNS: u32 = 2_000;
const WINDOW: u16 = 64;

fn connected() -> Client {
    let config = ClientConfig { max_inflight: WINDOW, ..ClientConfig::new("bench") };
    let mut client = Client::new(config, 1).unwrap();
    client.connect(Instant::ZERO);
    client.handle_opened(Instant::ZERO);
    client.handle_written(Instant::ZERO, usize::MAX);
    client.handle_bytes(Instant::ZERO, &[0x20, 3, 0, 0, 0]);
    assert!(matches!(client.poll_event(), Some(Event::Connected(_))));
    client
}

fn report(what: &str, messages: u32, since: Clock) {
    let nanos = since.elapsed().as_nanos() / u128::from(messages);
    println!("{what}: {nanos} ns a message");
}

/// Publishes a window, writes it, reads the acknowledgements: `answer` makes them of the ids.
fn publish(qos: Qos, answer: impl Fn(u16, &mut Vec<u8>)) -> u32 {
    let mut client = connected();
    let (mut token, mut through, mut bytes) = (0_u32, 0, Vec::new());
    for _ in 0..TURNS {
        bytes.clear();
        for _ in 0..WINDOW {
            token += 1;
            let message = Publish::new("bench/topic", &[7; 64], qos);
            client.publish(&message, u64::from(token)).unwrap();
            answer(u16::try_from((token - 1) % 65_535 + 1).unwrap(), &mut bytes);
        }
        client.handle_written(Instant::ZERO, client.outbox().len());
        client.handle_bytes(Instant::ZERO, &bytes);
        while let Some(event) = client.poll_event() {
            through += u32::from(matches!(event, Event::Published { .. }));
        }
        client.handle_written(Instant::ZERO, client.outbox().len());
    }
    assert!(client.is_idle());
    through
}

#[test]
fn publishing() {
    let all = TURNS * u32::from(WINDOW);
    let since = Clock::now();
    assert_eq!(publish(Qos::AtMostOnce, |_, _| {}), all);
    report("publish, QoS 0", all, since);
    let since = Clock::now();
    let puback = |id: u16, out: &mut Vec<u8>| {
        out.extend([0x40, 2]);
        out.extend(id.to_be_bytes());
    };
    assert_eq!(publish(Qos::AtLeastOnce, puback), all);
    report("publish, QoS 1", all, since);
    let since = Clock::now();
    let both = |id: u16, out: &mut Vec<u8>| {
        for first in [0x50, 0x70] {
            out.extend([first, 2]);
            out.extend(id.to_be_bytes());
        }
    };
    assert_eq!(publish(Qos::ExactlyOnce, both), all);
    report("publish, QoS 2", all, since);
}

#[test]
fn receiving() {
    for qos in [0, 1_u8] {
        let mut chunk = Vec::new();
        for _ in 0..WINDOW {
            let length = 13 + 2 * qos + 1 + 64;
            chunk.extend([0x30 | qos << 1, length, 0, 11]);
            chunk.extend(b"bench/topic");
            chunk.extend(if qos == 1 { &[0, 9, 0][..] } else { &[0] });
            chunk.extend([7; 64]);
        }
        let mut client = connected();
        let (mut got, since) = (0, Clock::now());
        for _ in 0..TURNS {
            client.handle_bytes(Instant::ZERO, &chunk);
            while let Some(event) = client.poll_event() {
                let Event::Message(message) = event else { panic!("{event:?}") };
                assert_eq!((message.topic(), message.payload().len()), ("bench/topic", 64));
                got += 1;
            }
            client.handle_written(Instant::ZERO, client.outbox().len());
        }
        let all = TURNS * u32::from(WINDOW);
        assert_eq!(got, all);
        report(&format!("receive, QoS {qos}"), all, since);
    }
}
