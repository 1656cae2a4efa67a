//! Random operations against a naive model: what must arrive, in which order, once; what credit
//! and bounds allow; what is retained; and that a restart at any batch loses nothing.

#![allow(clippy::unwrap_used)] // in tests and their helpers

mod groups;
mod pair;
mod restart;
mod store;

use motegate_broker::*;
use motegate_message::*;
use proptest::prelude::*;

const TOPICS: [&str; 6] = ["a", "a/b", "a/", "b/b", "$x/b", "a/b/c"];
const FILTERS: [&str; 9] = ["a", "a/b", "#", "a/#", "+/b", "a/+", "$x/#", "+/+/c", "b/b"];
const CLIENTS: usize = 4;
const MAX_QUEUE: u32 = 4;

#[derive(Debug, Clone)]
enum Op {
    Open { client: usize, clean: bool, lasting: bool, window: u16, room: u32 },
    Close { client: usize, drop_will: bool },
    Subscribe { client: usize, filters: Vec<(usize, u8, u8)> },
    Unsubscribe { client: usize, filter: usize },
    Resubscribe { client: usize, from: Vec<usize>, to: Vec<(usize, u8, u8)> },
    Publish { client: usize, topic: usize, qos: u8, retain: bool, empty: bool },
    Ack { client: usize, nth: usize },
    Credit { client: usize, window: u16, room: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let client = || 0..CLIENTS;
    let credit = || (0..4_u16, prop_oneof![Just(0_u32), Just(3), Just(1_000)]);
    prop_oneof![
        3 => (client(), prop::bool::weighted(0.2), prop::bool::weighted(0.8), credit())
            .prop_map(|(client, clean, lasting, (window, room))| Op::Open {
                client, clean, lasting, window, room
            }),
        1 => (client(), any::<bool>())
            .prop_map(|(client, drop_will)| Op::Close { client, drop_will }),
        4 => (client(), prop::collection::vec((0..FILTERS.len(), 0..3_u8, any::<u8>()), 1..3))
            .prop_map(|(client, filters)| Op::Subscribe { client, filters }),
        1 => (client(), 0..FILTERS.len())
            .prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        1 => (client(), prop::collection::vec(0..FILTERS.len(), 0..3),
              prop::collection::vec((0..FILTERS.len(), 0..3_u8, any::<u8>()), 0..3))
            .prop_map(|(client, from, to)| Op::Resubscribe { client, from, to }),
        8 => (client(), 0..TOPICS.len(), 0..3_u8, prop::bool::weighted(0.3),
              prop::bool::weighted(0.1))
            .prop_map(|(client, topic, qos, retain, empty)| Op::Publish {
                client, topic, qos, retain, empty
            }),
        5 => (client(), 0..3_usize).prop_map(|(client, nth)| Op::Ack { client, nth }),
        2 => (client(), credit()).prop_map(|(client, (window, room))| Op::Credit {
            client, window, room
        }),
    ]
}

fn key(client: usize) -> SessionKey {
    SessionKey::new("r", &format!("{client}"))
}

fn qos(bits: u8) -> Qos {
    Qos::from_bits(bits).unwrap()
}

fn subscription((filter, granted, flags): (usize, u8, u8)) -> Subscribe {
    Subscribe {
        filter: SubscriptionFilter::new(FILTERS[filter]).unwrap(),
        qos: qos(granted),
        no_local: flags & 1 != 0,
        retain_as_published: flags & 2 != 0,
        retain_handling: match flags >> 2 & 3 {
            0 | 1 => RetainHandling::Always,
            2 => RetainHandling::IfNew,
            _ => RetainHandling::Never,
        },
        identifier: (flags & 16 != 0).then_some(u32::from(flags >> 5) + 1),
        spares_dollar: false,
        by_rule: false,
        hears_expiry: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_a_naive_model(
        ops in prop::collection::vec(op(), 1..80),
        max_queue in prop_oneof![Just(MAX_QUEUE), Just(1_000_u32)],
        spills in any::<bool>(),
    ) {
        let mut pair = pair::Pair::new(max_queue, spills);
        for op in &ops {
            pair.apply(op);
        }
        pair.finish();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_restart_at_any_batch_loses_nothing(
        ops in prop::collection::vec(op(), 1..40),
        spills in any::<bool>(),
    ) {
        for stop in 0..=ops.len() {
            restart::compare(&ops[..stop], spills);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_group_with_a_faithful_member_loses_nothing(
        steps in prop::collection::vec(groups::step(), 1..60),
        spills in any::<bool>(),
    ) {
        groups::loses_nothing(&steps, spills);
    }
}
