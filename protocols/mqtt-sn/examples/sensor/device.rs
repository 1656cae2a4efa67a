//! The firmware of a sensor that sleeps: connect, report, sleep, fetch what came, sleep, report…
//!
//! No heap, no panic, and no more of the board than [`Board`]. Everything that lives longer than a
//! call is in [`Device`]: 64-byte packets, no will, four topics.

use core::fmt::Write;
use core::time::Duration;

use motegate_mqtt_sn::client::{Client, ClientConfig, ClientError, ClientEvent, Done, Topics};
use motegate_mqtt_sn::{QosBits, ReturnCode, TopicId, TopicRef};
use motegate_timers::Instant;

/// What the board does.
pub(crate) struct Board<'b> {
    /// Time since power-up.
    pub(crate) now: &'b dyn Fn() -> Instant,
    /// Radio: sends a datagram.
    pub(crate) send: &'b dyn Fn(&[u8]),
    /// Radio: listens for one until then; its length.
    pub(crate) receive: &'b dyn Fn(Instant, &mut [u8]) -> Option<usize>,
    /// Everything off until then.
    pub(crate) sleep: &'b dyn Fn(Instant),
    /// Tenths of a degree.
    pub(crate) measure: &'b dyn Fn() -> i16,
    /// Debug output.
    pub(crate) show: &'b dyn Fn(&str, &[u8]),
}

/// Registered names; of the last one values are received.
const NAMES: [&str; 4] =
    ["env/sensor-1/temperature", "env/sensor-1/count", "env/sensor-1/boot", "env/sensor-1/period"];
const TEMPERATURE: usize = 0;
const COUNT: usize = 1;
const BOOT: usize = 2;
const PERIOD: usize = 3;
/// A pre-defined id: device and gateway are told of it beforehand, nothing is registered.
const HEARTBEAT: TopicId = TopicId::Predefined(1);
/// Until the gateway says otherwise.
const PERIOD_SECS: u16 = 2;

/// Why a round failed.
enum Trouble {
    /// The gateway is silent, or has forgotten us.
    Lost,
    Refused(ReturnCode),
    /// A mistake of this program's.
    Misuse,
}

impl From<ClientError> for Trouble {
    fn from(_: ClientError) -> Self {
        Trouble::Misuse
    }
}

pub(crate) struct Device {
    client: Client<64, 0>,
    topics: Topics<'static, 4>,
    period_secs: u16,
    count: u32,
    /// Whether the gateway has our session, with ids and subscription.
    known: bool,
}

/// Runs for so many rounds (`None`: for ever); whether one succeeded.
pub(crate) fn run(board: &Board<'_>, id: &str, rounds: Option<u32>) -> bool {
    let config = ClientConfig { retry_timeout: Duration::from_secs(2), ..ClientConfig::default() };
    let Ok(client) = Client::new(id, config) else { return false };
    let topics = Topics::new(NAMES);
    let mut device = Device { client, topics, period_secs: PERIOD_SECS, count: 0, known: false };
    let (mut round, mut good) = (0, false);
    while rounds.is_none_or(|rounds| round < rounds) {
        round += 1;
        match device.round(board) {
            Ok(()) => good = true,
            Err(trouble) => device.recover(board, &trouble),
        }
    }
    good
}

/// What `motegate_mqtt_sn::client` says of its memory: checked where a device is built for.
#[cfg(target_pointer_width = "32")]
const _: () = {
    assert!(size_of::<Client<64, 0>>() <= 280 && size_of::<Client<64, 32>>() <= 344);
    assert!(size_of::<Topics<'static, 4>>() <= 40);
};

impl Device {
    fn round(&mut self, board: &Board<'_>) -> Result<(), Trouble> {
        self.connect(board)?;
        self.report(board)?;
        // Asleep for two periods: half-way we ask what came, at the end we are back.
        let secs = self.period_secs.saturating_mul(2);
        self.client.sleep((board.now)(), secs)?;
        self.finish(board)?;
        self.doze(board);
        self.client.wake((board.now)())?;
        self.finish(board)?;
        self.doze(board);
        Ok(())
    }

    /// The first CONNECT begins a session, later ones wake us for good.
    fn connect(&mut self, board: &Board<'_>) -> Result<(), Trouble> {
        self.client.connect((board.now)(), !self.known)?;
        self.finish(board)?;
        if !self.known {
            self.topics.forget();
            (board.show)("connected", b"");
        }
        while let Some(name) = self.topics.unknown() {
            self.client.register((board.now)(), name)?;
            match self.finish(board)? {
                Done::Register { topic_id } if self.topics.learn(name, topic_id) => {}
                _ => return Err(Trouble::Refused(ReturnCode::InvalidTopicId)),
            }
            (board.show)("registered", name.as_bytes());
        }
        if !self.known {
            let period = TopicRef::Name(NAMES[PERIOD]);
            self.client.subscribe((board.now)(), period, QosBits::One)?;
            self.finish(board)?;
            self.publish(board, BOOT, QosBits::One, &[])?;
            self.known = true;
        }
        Ok(())
    }

    fn report(&mut self, board: &Board<'_>) -> Result<(), Trouble> {
        self.count = self.count.wrapping_add(1);
        // QoS 0: nothing answers, unless the gateway does not know the id.
        self.client.publish((board.now)(), HEARTBEAT, QosBits::Zero, false, b"alive")?;
        let tenths = (board.measure)();
        let mut text = heapless::String::<16>::new();
        let sign = if tenths < 0 { "-" } else { "" };
        let (whole, tenth) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
        let _ = write!(text, "{sign}{whole}.{tenth}");
        self.publish(board, TEMPERATURE, QosBits::One, text.as_bytes())?;
        text.clear();
        let _ = write!(text, "{}", self.count);
        self.publish(board, COUNT, QosBits::Two, text.as_bytes())
    }

    fn publish(
        &mut self,
        board: &Board<'_>,
        topic: usize,
        qos: QosBits,
        data: &[u8],
    ) -> Result<(), Trouble> {
        let Some(id) = self.topics.id(topic) else { return Err(Trouble::Misuse) };
        self.client.publish((board.now)(), id, qos, false, data)?;
        self.finish(board)?;
        (board.show)(NAMES[topic], data);
        Ok(())
    }

    /// The outstanding request to its end; what comes meanwhile is acted on.
    fn finish(&mut self, board: &Board<'_>) -> Result<Done, Trouble> {
        let mut buffer = [0; 64];
        loop {
            while let Some(datagram) = self.client.poll_transmit() {
                (board.send)(&datagram);
            }
            let deadline = self.client.poll_timeout().ok_or(Trouble::Misuse)?;
            let datagram = (board.receive)(deadline, &mut buffer).and_then(|len| buffer.get(..len));
            let now = (board.now)();
            let event = match datagram {
                Some(datagram) => self.client.handle_datagram(now, datagram),
                None => self.client.handle_timeout(now),
            };
            match event {
                Some(ClientEvent::Done(done)) => {
                    // Acknowledgements of our own, before the radio goes off.
                    while let Some(datagram) = self.client.poll_transmit() {
                        (board.send)(&datagram);
                    }
                    return Ok(done);
                }
                Some(ClientEvent::Lost) => return Err(Trouble::Lost),
                Some(ClientEvent::Refused { request: Done::Publish, .. })
                    if self.client.is_busy() =>
                {
                    (board.show)("the gateway does not know the id of the heartbeat", b"");
                }
                Some(ClientEvent::Refused { code, .. }) => return Err(Trouble::Refused(code)),
                Some(ClientEvent::Registered { topic_id, name }) => {
                    self.topics.learn(name, topic_id);
                }
                Some(ClientEvent::Message { topic, data, .. }) => {
                    if self.topics.position(topic) == Some(PERIOD) {
                        (board.show)("new period", data);
                        let text = core::str::from_utf8(data).unwrap_or_default();
                        self.period_secs = text.parse().unwrap_or(self.period_secs).max(1);
                    }
                }
                Some(ClientEvent::GatewayFound { .. }) | None => {}
            }
        }
    }

    fn doze(&self, board: &Board<'_>) {
        (board.show)("asleep", b"");
        (board.sleep)((board.now)() + Duration::from_secs(u64::from(self.period_secs)));
    }

    /// From the beginning, a while later.
    fn recover(&mut self, board: &Board<'_>, trouble: &Trouble) {
        self.client.reset();
        self.known = false;
        let secs = match trouble {
            Trouble::Lost => 5,
            // MQTT-SN 1.2 §7.2: T_WAIT is more than five minutes.
            Trouble::Refused(ReturnCode::Congestion) => 301,
            Trouble::Refused(_) | Trouble::Misuse => 60,
        };
        (board.show)("trouble, from the beginning", b"");
        (board.sleep)((board.now)() + Duration::from_secs(secs));
    }
}
