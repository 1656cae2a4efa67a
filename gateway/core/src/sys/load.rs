//! Moving averages of a rate, as mosquitto computes those below `$SYS/broker/load/`.
//!
//! Each is per minute and forgets with its own time constant: after `t` seconds at a steady rate
//! the difference to it is `e^(-t/constant)` of what it was.

/// The time constants in seconds, with their names.
pub(super) const WINDOWS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// A change of an average that is worth telling.
const STEP: f64 = 0.01;

/// The averages of one counter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// The counter when it was last looked at.
    counted: u64,
    averages: [f64; 3],
}

impl Load {
    /// Takes in what the counter says `elapsed` seconds after it was last looked at. Returns each
    /// average, and whether it has moved enough to be told.
    pub(super) fn update(&mut self, counter: u64, elapsed: f64) -> [(f64, bool); 3] {
        // Counters stay far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let more = counter.saturating_sub(self.counted) as f64;
        self.counted = counter;
        let mut told = [(0.0, false); 3];
        for ((average, (_, constant)), told) in self.averages.iter_mut().zip(WINDOWS).zip(&mut told)
        {
            let before = *average;
            if elapsed > 0.0 {
                let rate = more * 60.0 / elapsed;
                *average = rate + (-elapsed / constant).exp() * (before - rate);
            }
            *told = (*average, (*average - before).abs() >= STEP);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 600 events in 10 s are 3,600 a minute, of which one minute's average has taken in
    /// 1 - e^(-1/6); values of mosquitto's formula.
    #[test]
    fn averages_rise_and_fall_as_mosquittos_do() {
        let mut load = Load::default();
        let near = |(value, _): (f64, bool), expected: f64| (value - expected).abs() < 0.005;
        let first = load.update(600, 10.0);
        assert!(near(first[0], 552.663), "{first:?}");
        assert!(near(first[1], 118.021), "{first:?}");
        assert!(near(first[2], 39.779), "{first:?}");
        let second = load.update(600, 10.0);
        assert!(near(second[0], 552.663 * (-10.0_f64 / 60.0).exp()), "{second:?}");
        assert!(second.iter().all(|(_, told)| *told));
    }

    #[test]
    fn what_does_not_move_is_not_told() {
        let mut load = Load::default();
        assert!(load.update(0, 10.0).iter().all(|(value, told)| *value == 0.0 && !told));
        assert!(load.update(5, 0.0).iter().all(|(_, told)| !told), "no time has passed");
        load.update(1_000, 10.0);
        for _ in 0..2_000 {
            load.update(1_000, 10.0);
        }
        assert!(load.update(1_000, 10.0).iter().all(|(value, told)| *value < 0.01 && !told));
    }
}
