//! Sleep and awakening of one client (MQTT-SN 1.2 §6.14): asleep, emptying its buffer, asleep again.

use core::time::Duration;

use motegate_message::Seq;

use super::clients::State;
use super::contract::Event;
use super::downlink::ROOM;
use super::line::{Line, overdue_after, patience};
use super::{TimerKey, TimerKind};
use crate::Packet;

impl Line<'_> {
    /// DISCONNECT with a duration (§6.14), from the active, asleep or awake state.
    pub(super) fn fall_asleep(&mut self, secs: u16) {
        self.client.sleep = secs;
        self.client.state = State::Asleep;
        self.client.drained = false;
        self.client.drain_again = false;
        self.client.credited = false;
        self.client.stop_retry();
        self.client.spent = 0;
        self.touch();
        self.credit();
        self.record_connection();
        self.reply(Seq::NONE, Packet::Disconnect { duration: None });
    }

    pub(super) fn on_ping_id(&mut self) {
        self.client.fresh = false;
        self.touch();
        match self.client.state {
            State::Connecting => {}
            State::Active => self.send(&Packet::PingResp),
            // The client repeats its PINGREQ (§6.13): the buffer is on its way already.
            State::Awake => {}
            State::Asleep => self.wake(),
        }
    }

    fn wake(&mut self) {
        self.client.state = State::Awake;
        self.client.drained = false;
        self.client.spent = 0;
        self.touch();
        #[cfg(feature = "planted-faults")]
        if self.config.faults.early_pingresp {
            self.send(&Packet::PingResp);
        }
        if self.client.draining {
            // The buffer of the last awakening is not empty yet, the client slept in between.
            self.client.drain_again = true;
            self.credit();
        } else {
            self.drain();
        }
        self.resume_downlink();
    }

    fn drain(&mut self) {
        self.client.draining = true;
        let (session, room) = (self.wire.session, ROOM);
        self.events.push_back(Event::Drain { session, window: 1, room });
    }

    /// Answer to `Event::Drain`.
    pub(super) fn drained(&mut self) {
        self.client.draining = false;
        if self.client.state == State::Awake {
            if core::mem::take(&mut self.client.drain_again) {
                self.drain();
            } else {
                self.client.drained = true;
            }
        }
        self.pump();
    }

    /// An awake client answers nothing any more: it has gone back to sleep before its buffer was
    /// out. It is supervised by its sleep duration all the same, counted from when it was heard
    /// last (§6.14), and what is unanswered is the first thing at its next awakening.
    pub(super) fn sleeps_unheard(&mut self) {
        let heard = self.client.alive.deadline().map(|lost_at| {
            lost_at - Duration::from_millis(patience(self.config, self.client.sleep))
        });
        self.client.state = State::Asleep;
        self.client.drained = false;
        self.client.drain_again = false;
        self.client.credited = false;
        self.client.spent = 0;
        self.client.stop_retry();
        if let Some(heard) = heard {
            let overdue = overdue_after(self.config, self.client.sleep);
            let deadline = heard + Duration::from_millis(overdue);
            self.timers.set(
                &mut self.client.alive,
                TimerKey::new(self.at, TimerKind::Alive),
                deadline,
            );
        }
        self.credit();
    }

    /// Everything is out and acknowledged: PINGRESP is the last (§6.14), the sleep starts anew.
    pub(super) fn fall_asleep_again(&mut self) {
        self.client.state = State::Asleep;
        self.client.drained = false;
        self.client.spent = 0;
        self.client.stop_retry();
        self.touch();
        if core::mem::take(&mut self.client.credited) {
            // The top-up may reach the broker after the end of its drain.
            self.credit();
        }
        #[cfg(feature = "planted-faults")]
        if self.config.faults.early_pingresp {
            return;
        }
        self.follow(Seq::NONE, Packet::PingResp);
    }
}
