//! What a session may have been sent before the process died: it was connected, so that the front of
//! its queue, as much as its window allowed, was perhaps on its way. Such a delivery neither expires nor
//! moves at QoS 2 (MQTT-4.3.3-7), and is not called a repetition.

use motegate_message::DeliveryId;

/// What a connection that was open when the process died may have been sent: so many from the front
/// of the queue, none of them behind the last that there was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) count: u16,
    pub(crate) upto: DeliveryId,
}

impl Default for Window {
    fn default() -> Self {
        Window { count: 0, upto: DeliveryId(0) }
    }
}

/// The windows of the last death and of those before, where they were larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Perhaps {
    pub(crate) last: Window,
    pub(crate) earlier: Window,
    /// So many of them were read since.
    read: u16,
}

impl Perhaps {
    /// As the journal has it.
    pub(crate) fn new(last: Window, earlier: Window) -> Self {
        Perhaps { last, earlier, read: 0 }
    }

    /// The process has died again while this session was connected.
    pub(crate) fn died(self, window: u16) -> Self {
        let larger = [self.last, self.earlier].into_iter().filter(|w| w.count > window);
        let earlier =
            larger.reduce(|a, b| Window { count: a.count.max(b.count), upto: a.upto.max(b.upto) });
        let last = Window { count: window, upto: DeliveryId(u64::MAX) };
        Perhaps::new(last, earlier.unwrap_or_default())
    }

    /// The queue ends here.
    pub(crate) fn end_at(&mut self, last: DeliveryId) {
        self.last.upto = self.last.upto.min(last);
        self.earlier.upto = self.earlier.upto.min(last);
    }

    /// The next delivery from the front; whether it is within one of them.
    pub(crate) fn covers(&mut self, delivery: DeliveryId) -> bool {
        let covers = |w: Window| w.count > self.read && delivery <= w.upto;
        let within = covers(self.last) || covers(self.earlier);
        self.read = self.read.saturating_add(1);
        within
    }

    /// What was read of them is not in the queue any more.
    pub(crate) fn read_is_gone(&mut self) {
        for window in [&mut self.last, &mut self.earlier] {
            window.count = window.count.saturating_sub(self.read);
        }
        self.read = 0;
    }

    /// What another crash must know: nothing once all of them were read, because then it is known
    /// which they are. Until then as many as there were, should some of those be done meanwhile:
    /// rather too many than one that was sent.
    pub(crate) fn left(self) -> Self {
        let all = self.read >= self.last.count.max(self.earlier.count);
        if all { Perhaps::default() } else { self }
    }
}
