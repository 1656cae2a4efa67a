//! The client as a device has it: its memory, and the example's firmware against the endpoint on a
//! virtual clock.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

#[path = "../examples/sensor/device.rs"]
mod device;
mod rig;

use std::cell::RefCell;

use motegate_message::Qos;
use motegate_mqtt_sn::client::{Client, Topics};
use motegate_timers::Instant;
use rig::*;

/// The example runs it for the target at compile time, here are a computer's sizes.
#[test]
fn a_client_with_four_topics_is_small() {
    let sizes = [
        size_of::<Client<64, 0>>(),
        size_of::<Client<64, 32>>(),
        size_of::<Topics<'static, 4>>(),
        size_of::<Client<128, 0>>() - size_of::<Client<64, 0>>(),
    ];
    println!("Client<64, 0>, Client<64, 32>, Topics<4>, 64 bytes more of packet: {sizes:?}");
    if cfg!(target_pointer_width = "64") {
        assert_eq!(sizes, [312, 376, 72, 128]);
    }
}

/// A board in the air of a rig: whatever waits, the rig's time passes.
struct Air {
    rig: RefCell<Rig>,
    shown: RefCell<Vec<String>>,
    /// Datagrams so far; every `lose`th is lost.
    carried: RefCell<usize>,
    lose: usize,
}

impl Air {
    fn new(lose: usize) -> Self {
        Air {
            rig: RefCell::new(Rig::new()),
            shown: RefCell::default(),
            carried: RefCell::new(0),
            lose,
        }
    }

    fn is_lost(&self) -> bool {
        let mut carried = self.carried.borrow_mut();
        *carried += 1;
        self.lose != 0 && carried.is_multiple_of(self.lose)
    }

    fn pass(&self, until: Instant) {
        let mut rig = self.rig.borrow_mut();
        let micros = until.saturating_since(rig.now).as_micros();
        rig.advance(u64::try_from(micros.div_ceil(1_000_000)).unwrap());
    }

    fn receive(&self, until: Instant, buffer: &mut [u8]) -> Option<usize> {
        while let Some((_, bytes)) = self.next() {
            if !self.is_lost() {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                return Some(bytes.len());
            }
        }
        self.pass(until);
        None
    }

    fn next(&self) -> Option<(std::net::SocketAddr, Vec<u8>)> {
        self.rig.borrow_mut().inbox.pop_front()
    }

    fn run(&self, rounds: u32, asleep: impl Fn(&mut Rig)) -> bool {
        let board = device::Board {
            now: &|| self.rig.borrow().now,
            send: &|datagram| {
                if !self.is_lost() {
                    self.rig.borrow_mut().send_bytes(1, datagram);
                }
            },
            receive: &|until, buffer| self.receive(until, buffer),
            sleep: &|until| {
                // The radio is off: nobody hears what the gateway says now.
                self.rig.borrow_mut().inbox.clear();
                asleep(&mut self.rig.borrow_mut());
                self.pass(until);
            },
            measure: &|| -5,
            show: &|what, data| {
                let shown = format!("{what} {}", data.escape_ascii());
                self.shown.borrow_mut().push(shown);
            },
        };
        device::run(&board, "sensor-1", Some(rounds))
    }

    fn published(&self) -> Vec<(String, String)> {
        self.rig.borrow().published.clone()
    }
}

fn pair(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

#[test]
fn the_sensor_reports_and_sleeps_round_after_round() {
    let air = Air::new(0);
    assert!(air.run(2, |_| {}));
    let expected = [
        pair("env/sensor-1/boot", ""),
        pair("#1", "alive"),
        pair("env/sensor-1/temperature", "-0.5"),
        pair("env/sensor-1/count", "1"),
        pair("#1", "alive"),
        pair("env/sensor-1/temperature", "-0.5"),
        pair("env/sensor-1/count", "2"),
    ];
    assert_eq!(air.published(), expected);
}

#[test]
fn what_came_while_it_slept_is_acted_on() {
    let air = Air::new(0);
    let told = RefCell::new(false);
    air.run(2, |rig| {
        if !told.replace(true) {
            rig.deliver("sensor-1", "env/sensor-1/period", Qos::AtLeastOnce, "30");
        }
    });
    let shown = air.shown.borrow();
    assert!(shown.contains(&"new period 30".to_owned()), "{shown:#?}");
    assert_eq!(air.rig.borrow().acked.len(), 1);
    // 2 s once, then 30 s three times.
    assert_eq!(air.rig.borrow().now.saturating_since(Instant::from_secs(1000)).as_secs(), 92);
}

#[test]
fn a_bad_link_costs_time_and_no_count() {
    for lose in [3, 5, 7] {
        let air = Air::new(lose);
        assert!(air.run(4, |_| {}), "{lose}");
        let counts: Vec<_> =
            air.published().into_iter().filter(|(topic, _)| topic.ends_with("/count")).collect();
        let expected: Vec<_> =
            (1..=4).map(|n| pair("env/sensor-1/count", &n.to_string())).collect();
        assert_eq!(counts, expected, "{lose}: exactly once each");
    }
}

#[test]
fn an_id_that_the_gateway_does_not_know_is_told() {
    let air = Air::new(0);
    air.rig.borrow_mut().predefined.clear();
    assert!(air.run(1, |_| {}));
    let shown = air.shown.borrow();
    assert!(shown.iter().any(|line| line.contains("the heartbeat")), "{shown:#?}");
    assert_eq!(air.published().len(), 3);
}

#[test]
fn without_a_gateway_it_tries_for_ever_and_says_so() {
    let air = Air::new(1);
    assert!(!air.run(3, |_| {}));
    let trouble = "trouble, from the beginning ".to_owned();
    assert_eq!(*air.shown.borrow(), [trouble.clone(), trouble.clone(), trouble]);
}
