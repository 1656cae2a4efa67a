//! What a measurement costs: processor time of this process, and of the one that is measured.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// Ticks a second in `/proc/PID/stat`, the same on every Linux (USER_HZ).
const TICKS: u64 = 100;

/// Processor time used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// This process, so far.
    pub(super) fn own() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Cpu::default() };
        let time = |value: nix::sys::time::TimeVal| {
            let micros = value.tv_sec() * 1_000_000 + value.tv_usec();
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        };
        Cpu { user: time(usage.user_time()), system: time(usage.system_time()) }
    }

    pub(super) fn since(self, earlier: Cpu) -> Self {
        Cpu {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    pub(super) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// A process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// All its threads, in steps of 10 ms.
    pub(crate) cpu: Cpu,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
}

impl Process {
    /// `None` when there is no such process.
    pub(crate) fn look(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Process { cpu: cpu(&stat)?, resident: resident(&status).unwrap_or(0) })
    }
}

/// Fields 14 and 15 (proc(5)); the name in field 2 may hold anything, also `)`.
fn cpu(stat: &str) -> Option<Cpu> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / TICKS);
    Some(Cpu { user: time(ticks()?), system: time(ticks()?) })
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20";
        let expected =
            Cpu { user: Duration::from_millis(1500), system: Duration::from_millis(250) };
        assert_eq!(cpu(stat), Some(expected));
        assert_eq!(cpu("17 (a"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12_288));
        let own = Process::look(std::process::id()).unwrap();
        assert!(own.resident > 100_000);
        assert_eq!(Process::look(u32::MAX), None);
    }

    #[test]
    fn own_time_grows() {
        let before = Cpu::own();
        while Cpu::own().since(before).total() < Duration::from_millis(2) {}
    }
}
