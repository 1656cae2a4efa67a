//! What a look-up costs, by the number of rules and the length of the path:
//! `cargo run --release -p motegate-mapping --example lookups`. A plain PUT needs one allocation, its
//! topic: the example fails if it takes another.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a measurement reads the real clock

use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use motegate_mapping::{
    Caller, CoapMethod, CoapRule, Rules, Scope, SnRules, SnTopic, Table, TopicId,
};
use motegate_message::TopicName;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLER: Caller<'static> = Caller {
    listener: "edge",
    client: "env-3",
    identity: None,
    tenant: "a",
    gateway: "gw",
    source_ip: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    mount: "plant/a/",
};

/// Topic ids of one table: as many as rules, but no more than there are ids.
fn ids(rules: usize) -> u16 {
    u16::try_from(rules).unwrap_or(60_000).min(60_000)
}

/// Literals, choices, captures, expressions and tails side by side, `depth` segments long.
fn rules(count: usize, depth: usize) -> Rules {
    let deep = "/x".repeat(depth - 3);
    let coap = |i: usize| {
        let (path, topic) = match i % 4 {
            0 => (format!("/plant/{i}{deep}/{{x}}"), format!("line/{i}/{{x}}")),
            1 => (format!("/{{r}}/p{i}{deep}/{{k:temp|hum}}"), format!("s{i}/{{r}}/{{k}}")),
            2 => (format!("/e/d{i}{deep}/{{rest...}}"), format!("e{i}/{{rest}}")),
            _ => (format!("/n/n{i}{deep}/{{n:~[0-9a-f]{{4}}}}"), format!("n{i}/{{n}}")),
        };
        CoapRule { name: format!("r{i}"), path, topic, ..CoapRule::default() }
    };
    let id = |i: u16| {
        let topic = format!("dev/{{client}}/{i}");
        TopicId { first: i, last: i, topic, ..TopicId::default() }
    };
    let topic_ids = vec![(Scope::All, (1..=ids(count)).map(id).collect())];
    let sn = SnRules { topic_ids, ..SnRules::default() };
    Rules { coap: (0..count).map(coap).collect(), sn, ..Rules::default() }
}

/// A path of each of a thousand rules.
fn paths(count: usize, depth: usize) -> Vec<Vec<String>> {
    let deep = "/x".repeat(depth - 3);
    let path = |i: usize| {
        let rule = i * 7_919 % count;
        let path = match rule % 4 {
            0 => format!("plant/{rule}{deep}/value"),
            1 => format!("hall/p{rule}{deep}/temp"),
            2 => format!("e/d{rule}{deep}/value"),
            _ => format!("n/n{rule}{deep}/0a1f"),
        };
        path.split('/').map(str::to_owned).collect()
    };
    (0..1_000).map(path).collect()
}

/// Runs `one` over and over and prints a line; gives the allocations of each.
fn measure(what: &str, rules: usize, depth: usize, mut one: impl FnMut(usize)) -> f64 {
    (0..1_000).for_each(&mut one); // warm
    let region = Region::new(ALLOCATOR);
    let (start, mut done) = (Clock::now(), 0_u32);
    while start.elapsed() < Duration::from_millis(200) {
        (0..1_000).for_each(&mut one);
        done += 1_000;
    }
    let nanos = start.elapsed().as_secs_f64() * 1e9 / f64::from(done);
    let stats = region.change();
    let count = u32::try_from(stats.allocations + stats.reallocations).unwrap();
    let each = f64::from(count) / f64::from(done);
    println!("{what:<16} {rules:>7} {depth:>6} {nanos:>7.0} {:>11.2} {each:>12.2}", 1e3 / nanos);
    each
}

fn table(count: usize, depth: usize) {
    let table = Table::new(rules(count, depth)).unwrap();
    let paths = paths(count, depth);
    let put = |i: usize| table.coap(&CALLER, None, CoapMethod::Put, &paths[i], &[]).unwrap();
    let each = measure("PUT", count, depth, |i| {
        black_box(put(i));
    });
    assert!(each < 1.01, "a plain PUT needs its topic only");
    let topics: Vec<TopicName> = (0..1_000).map(|i| put(i).topic.as_name().unwrap()).collect();
    measure("topic to path", count, depth, |i| {
        black_box(table.coap_path(&CALLER, &topics[i]));
    });
    if depth > 4 {
        return; // ids have no path
    }
    let id = |i: usize| u16::try_from(i * 31 % usize::from(ids(count))).unwrap() + 1;
    let each = measure("topic id", count, 3, |i| {
        black_box(table.sn(&CALLER, SnTopic::Predefined(id(i))).unwrap());
    });
    assert!(each < 1.01, "an id needs its topic only");
    let name = |i| TopicName::new(&format!("plant/a/dev/env-3/{}", id(i))).unwrap();
    let names: Vec<TopicName> = (0..1_000).map(name).collect();
    measure("topic to id", count, 3, |i| {
        black_box(table.sn_names(&CALLER, &names[i]).unwrap());
    });
}

fn main() {
    let heads = ["look-up", "rules", "depth", "ns", "million/s", "allocations"];
    let [a, b, c, d, e, f] = heads;
    println!("{a:<16} {b:>7} {c:>6} {d:>7} {e:>11} {f:>12}");
    for depth in [4, 16, 64] {
        for count in [10, 1_000, 100_000] {
            table(count, depth);
        }
    }
    let table = Table::passthrough("mqtt");
    let path: Vec<String> = ["mqtt", "site", "hall", "temp"].map(str::to_owned).to_vec();
    measure("PUT, passthrough", 1, 4, |_| {
        black_box(table.coap(&CALLER, None, CoapMethod::Put, &path, &[]).unwrap());
    });
}
