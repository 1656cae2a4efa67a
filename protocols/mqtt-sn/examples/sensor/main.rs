//! A battery-powered sensor: `device.rs` is its firmware, this file stands in for its board.
//!
//! On a computer, against a gateway (`cargo run -p motegate-mqtt-sn --example sensor --
//! 127.0.0.1:1885 [ROUNDS]`), the radio is a UDP socket. For the target (`cargo build
//! -p motegate-mqtt-sn --no-default-features --example sensor --target thumbv7em-none-eabihf`)
//! there is neither `std` nor `alloc`: the program has no allocator, and the compiler would refuse
//! to build it if anything in it used one. Clock and radio are then what the board's HAL offers.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod device;

#[cfg(not(target_os = "none"))]
#[allow(clippy::disallowed_methods)] // a board has a clock
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::net::UdpSocket;
    use std::time::{Duration, Instant as Clock};

    use motegate_timers::Instant;

    let mut arguments = std::env::args().skip(1);
    let gateway = arguments.next().unwrap_or_else(|| "127.0.0.1:1885".to_owned());
    let rounds = arguments.next().map_or(Ok(3), |rounds| rounds.parse())?;

    let start = Clock::now();
    let now = || Instant::ZERO + start.elapsed();
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(gateway)?;
    let board = device::Board {
        now: &now,
        // What could not be sent is repeated, like what the air has lost.
        send: &|datagram| drop(socket.send(datagram)),
        receive: &|until, buffer| {
            let wait = until.saturating_since(now()).max(Duration::from_millis(1));
            socket.set_read_timeout(Some(wait)).ok()?;
            if let Ok(length) = socket.recv(buffer) {
                return Some(length);
            }
            // A refused port answers at once; a radio would have listened to the end.
            std::thread::sleep(until.saturating_since(now()));
            None
        },
        sleep: &|until| std::thread::sleep(until.saturating_since(now())),
        measure: &|| 215,
        show: &|what, data| println!("{what} {}", data.escape_ascii()),
    };
    if device::run(&board, "sensor-1", Some(rounds)) {
        Ok(())
    } else {
        Err("no round succeeded: is there a gateway?".into())
    }
}

#[cfg(target_os = "none")]
mod board {
    use core::sync::atomic::{AtomicU32, Ordering};

    use motegate_timers::Instant;

    use super::device;

    /// A board's start-up code calls `start` (with `cortex-m-rt`: `#[entry]`).
    #[used]
    static ENTRY: fn() -> ! = start;

    /// A board's timer interrupt counts.
    static MILLIS: AtomicU32 = AtomicU32::new(0);

    fn start() -> ! {
        let now = || Instant::from_millis(u64::from(MILLIS.load(Ordering::Relaxed)));
        let wait = |until| {
            while now() < until {
                core::hint::spin_loop(); // a board: `wfi`
            }
        };
        let board = device::Board {
            now: &now,
            send: &|_datagram| {},
            receive: &|until, _buffer| {
                wait(until);
                None
            },
            sleep: &wait,
            measure: &|| 215,
            show: &|_what, _data| {},
        };
        loop {
            device::run(&board, "sensor-1", None);
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {
            core::hint::spin_loop();
        }
    }
}
