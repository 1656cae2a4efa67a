//! [`Pacer`]: wakes the event loop on the microsecond; `epoll_wait` alone counts milliseconds.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// See the module.
#[derive(Debug)]
pub(super) struct Pacer {
    timer: TimerFd,
}

impl Pacer {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let fd = timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(Pacer { timer })
    }

    /// Wakes once, that much later. Setting it again forgets the wake-up before.
    pub(super) fn wake_in(&self, pause: Duration) -> io::Result<()> {
        let pause = TimeSpec::from_duration(pause.max(Duration::from_micros(1)));
        self.timer.set(Expiration::OneShot(pause), TimerSetTimeFlags::empty())?;
        Ok(())
    }
}
