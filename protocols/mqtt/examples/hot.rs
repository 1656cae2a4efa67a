use std::sync::Arc;
use motegate_message::*;
use motegate_mqtt::{Config, Endpoint, endpoint::*};
use motegate_timers::Instant;
#[allow(clippy::all)]
fn main() {
    for qos in 0u8..=2 {
    let mut e = Endpoint::new(Config::default(), 1);
    let turn = Turn::new(Instant::from_secs(1), Wall::from_millis(1));
    let (a, b) = (ConnectionId::new(0, 0), ConnectionId::new(1, 0));
    let connect = |id: u8| [&[0x10, 13, 0, 4][..], b"MQTT", &[4, 2, 0, 60, 0, 1, id]].concat();
    for (i, c) in [a, b].into_iter().enumerate() {
        e.handle_opened(&turn, c, ListenerId(0), None);
        e.handle_bytes(&turn, c, &connect(b'a' + i as u8));
        e.poll_event();
        e.accept(&turn, c, Accept { session: SessionId::new(i as u32, 0), present: false, after: Seq::NONE });
    }
    let mut chunk = Vec::new();
    for i in 1..=64u16 {
        let mut body = vec![0, 8]; body.extend_from_slice(b"bench/to");
        if qos > 0 { body.extend_from_slice(&i.to_be_bytes()); }
        body.extend_from_slice(&[b'x'; 64]);
        chunk.push(0x30 | qos << 1); chunk.push(body.len() as u8); chunk.extend(body);
    }
    let rels: Vec<u8> = (1..=64u16).flat_map(|i| { let [h, l] = i.to_be_bytes(); [0x62, 2, h, l] }).collect();
    let mut did = 0u64;
    #[allow(clippy::disallowed_methods)]
    let t = std::time::Instant::now();
    let n = 20_000u64;
    let mut acks = Vec::new();
    for _ in 0..n {
        e.handle_bytes(&turn, a, &chunk);
        if qos == 2 { e.handle_bytes(&turn, a, &rels); }
        while let Some(ev) = e.poll_event() {
            if let Event::Publish { conn, ticket, message, .. } = ev {
                e.published(&turn, conn, ticket, Ok(Published { matched: true, after: Seq::NONE }));
                let q = message.qos; did += 1;
                e.deliver(&turn, b, Delivery { id: DeliveryId(did), message: Arc::new(message), qos: q, retain: false, again: false, identifiers: None }, None);
            }
        }
        while e.poll_transmit().is_some() {}
        acks.clear();
        {
            let mut o = e.outbox(b);
            while o.len() > 1 {
                let len = 2 + o[1] as usize;
                if qos > 0 && o[0] >> 4 == 3 { acks.extend_from_slice(&[if qos == 1 { 0x40 } else { 0x50 }, 2, o[12], o[13]]);
                    if qos == 2 { acks.extend_from_slice(&[0x70, 2, o[12], o[13]]); } }
                o = &o[len..];
            }
        }
        for c in [a, b] { let l = e.outbox(c).len(); e.handle_written(&turn, c, l); }
        e.handle_bytes(&turn, b, &acks);
        while e.poll_event().is_some() {}
        while e.poll_transmit().is_some() {}
        for c in [a, b] { let l = e.outbox(c).len(); e.handle_written(&turn, c, l); }
    }
    println!("qos {qos}: {:.0} ns/msg ({did})", t.elapsed().as_nanos() as f64 / (n * 64) as f64);
    }
}
