//! The client against a scripted gateway: every request, its answer, its repetition, its refusal.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use motegate_mqtt_sn::client::{
    Client, ClientConfig, ClientError, ClientEvent, ClientState, Done, WillFields,
};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef, WillTopic};
use motegate_timers::Instant;

const OK: ReturnCode = ReturnCode::Accepted;
const BUSY: ReturnCode = ReturnCode::Congestion;
const UNKNOWN: ReturnCode = ReturnCode::InvalidTopicId;
const GOODBYE: Packet<'static> = Packet::Disconnect { duration: None };

/// A client, and the gateway's side of the air.
struct Air {
    client: Client<64, 32>,
    now: Instant,
}

impl Air {
    fn with(config: ClientConfig<32>) -> Self {
        Air { client: Client::new("m", config).unwrap(), now: Instant::from_secs(1000) }
    }

    fn new() -> Self {
        Self::with(ClientConfig::default())
    }

    fn connected() -> Self {
        let mut air = Self::new();
        air.client.connect(air.now, true).unwrap();
        air.expect(&[connect(false, true)]);
        air.says(Packet::ConnAck { code: OK }, Some(Done::Connect));
        air
    }

    fn asleep() -> Self {
        let mut air = Self::connected();
        air.client.sleep(air.now, 600).unwrap();
        air.expect(&[Packet::Disconnect { duration: Some(600) }]);
        air.says(GOODBYE, Some(Done::Sleep));
        air
    }

    /// Exactly these packets are on the air.
    #[track_caller]
    fn expect(&mut self, packets: &[Packet<'_>]) {
        let mut sent = Vec::new();
        while let Some(datagram) = self.client.poll_transmit() {
            sent.push(format!("{:?}", Packet::decode(&datagram).unwrap()));
        }
        let expected: Vec<_> = packets.iter().map(|packet| format!("{packet:?}")).collect();
        assert_eq!(sent, expected);
    }

    /// The gateway says this, and that is the end of a request, or of none.
    #[track_caller]
    fn says(&mut self, packet: Packet<'_>, done: Option<Done>) {
        self.tells(packet, done.map(ClientEvent::Done));
    }

    #[track_caller]
    fn tells(&mut self, packet: Packet<'_>, event: Option<ClientEvent<'_>>) {
        let bytes: heapless::Vec<u8, 64> = packet.to_vec().unwrap();
        assert_eq!(self.client.handle_datagram(self.now, &bytes), event);
    }

    #[track_caller]
    fn refuses(&mut self, packet: Packet<'_>, request: Done, code: ReturnCode) {
        self.tells(packet, Some(ClientEvent::Refused { request, code }));
    }

    fn wait(&mut self, secs: u64) -> Option<ClientEvent<'static>> {
        self.now += Duration::from_secs(secs);
        self.client.handle_timeout(self.now)
    }

    /// Nothing is answered: the packet is repeated, `again` says how, then the client gives up.
    #[track_caller]
    fn silence(&mut self, again: Packet<'_>) {
        for _ in 0..4 {
            assert_eq!(self.wait(9), None);
            self.expect(&[]);
            assert_eq!(self.wait(1), None);
            self.expect(&[again]);
        }
        assert_eq!(self.wait(10), Some(ClientEvent::Lost));
        self.expect(&[]);
    }
}

fn connect(will: bool, clean: bool) -> Packet<'static> {
    Packet::Connect { will, clean, protocol_id: 1, duration: 60, client_id: "m" }
}

fn publish(topic: TopicId, qos: QosBits, msg_id: u16) -> Packet<'static> {
    Packet::Publish { dup: false, qos, retain: false, topic, msg_id, data: b"x" }
}

fn with_will() -> ClientConfig<32> {
    let topic = "w".try_into().unwrap();
    let message = heapless::Vec::from_slice(b"gone").unwrap();
    let will = WillFields { qos: QosBits::One, retain: true, topic, message };
    ClientConfig { will: Some(will), ..ClientConfig::default() }
}

/// MQTT-SN 1.2 §6.2, §6.13: repeated every T_RETRY, N_RETRY times.
#[test]
fn connect_is_repeated_refused_and_answered() {
    let mut air = Air::new();
    air.client.connect(air.now, false).unwrap();
    air.expect(&[connect(false, false)]);
    assert_eq!(air.client.state(), ClientState::Connecting);
    air.silence(connect(false, false));
    assert_eq!((air.client.state(), air.client.poll_timeout()), (ClientState::Disconnected, None));

    air.client.connect(air.now, false).unwrap();
    air.expect(&[connect(false, false)]);
    air.refuses(Packet::ConnAck { code: BUSY }, Done::Connect, BUSY);
    assert_eq!((air.client.state(), air.client.is_busy()), (ClientState::Disconnected, false));
    air.says(Packet::ConnAck { code: OK }, None);
    assert_eq!(air.client.state(), ClientState::Disconnected, "nobody asked");
}

/// §6.2: CONNECT, WILLTOPICREQ, WILLTOPIC, WILLMSGREQ, WILLMSG, CONNACK.
#[test]
fn the_will_is_told_half_by_half_however_often_it_is_asked_for() {
    let mut air = Air::with(with_will());
    air.client.connect(air.now, true).unwrap();
    air.expect(&[connect(true, true)]);
    let topic = WillTopic { qos: QosBits::One, retain: true, topic: "w" };
    for _ in 0..2 {
        air.says(Packet::WillTopicReq, None);
        air.expect(&[Packet::WillTopic { will: Some(topic) }]);
    }
    assert_eq!(air.wait(10), None);
    air.expect(&[Packet::WillTopic { will: Some(topic) }]);
    for _ in 0..2 {
        air.says(Packet::WillMsgReq, None);
        air.expect(&[Packet::WillMsg { message: b"gone" }]);
    }
    air.says(Packet::ConnAck { code: OK }, Some(Done::Connect));
    air.says(Packet::WillTopicReq, None);
    air.expect(&[]);
}

/// §5.4.7, §5.4.9: topic and message each have one packet.
#[test]
fn a_will_that_fits_no_packet_is_an_error_before_it_is_promised() {
    let config = ClientConfig::<64> {
        will: Some(WillFields {
            qos: QosBits::Zero,
            retain: false,
            topic: "w".try_into().unwrap(),
            message: heapless::Vec::from_slice(&[0; 31]).unwrap(),
        }),
        ..ClientConfig::default()
    };
    let mut client = Client::<32, 64>::new("m", config).unwrap();
    assert_eq!(client.connect(Instant::ZERO, true), Err(ClientError::TooLong));
    assert_eq!(client.poll_transmit(), None);
}

/// §6.4.
#[test]
fn a_will_is_changed_and_deleted() {
    let mut air = Air::connected();
    let will = Some(WillTopic { qos: QosBits::Zero, retain: false, topic: "v" });
    air.client.update_will_topic(air.now, will).unwrap();
    air.expect(&[Packet::WillTopicUpd { will }]);
    air.says(Packet::WillTopicResp { code: OK }, Some(Done::WillTopic));
    air.client.update_will_topic(air.now, None).unwrap();
    air.expect(&[Packet::WillTopicUpd { will: None }]);
    air.refuses(Packet::WillTopicResp { code: BUSY }, Done::WillTopic, BUSY);
    air.client.update_will_message(air.now, b"late").unwrap();
    air.expect(&[Packet::WillMsgUpd { message: b"late" }]);
    air.says(Packet::WillMsgResp { code: OK }, Some(Done::WillMessage));
}

/// §6.5.
#[test]
fn register_is_answered_by_its_msg_id_alone() {
    let mut air = Air::connected();
    air.client.register(air.now, "a/b").unwrap();
    let register = Packet::Register { topic_id: 0, msg_id: 1, name: "a/b" };
    air.expect(&[register]);
    air.says(Packet::RegAck { topic_id: 9, msg_id: 2, code: OK }, None);
    assert_eq!(air.wait(10), None);
    air.expect(&[register]);
    let done = Done::Register { topic_id: 7 };
    air.says(Packet::RegAck { topic_id: 7, msg_id: 1, code: OK }, Some(done));
    air.client.register(air.now, "c").unwrap();
    air.expect(&[Packet::Register { topic_id: 0, msg_id: 2, name: "c" }]);
    let refused = Done::Register { topic_id: 0 };
    air.refuses(Packet::RegAck { topic_id: 0, msg_id: 2, code: BUSY }, refused, BUSY);
    assert_eq!(air.client.state(), ClientState::Active);
}

/// §6.6, and §6.7 for predefined ids and short names.
#[test]
fn every_qos_with_every_kind_of_topic() {
    for topic in [TopicId::Normal(3), TopicId::Predefined(4), TopicId::Short(*b"ab")] {
        let mut air = Air::connected();
        air.client.publish(air.now, topic, QosBits::Zero, false, b"x").unwrap();
        assert!(!air.client.is_busy());
        air.expect(&[publish(topic, QosBits::Zero, 0)]);

        air.client.publish(air.now, topic, QosBits::One, false, b"x").unwrap();
        air.expect(&[publish(topic, QosBits::One, 1)]);
        assert_eq!(air.wait(10), None);
        let (qos, retain, data) = (QosBits::One, false, b"x");
        air.expect(&[Packet::Publish { dup: true, qos, retain, topic, msg_id: 1, data }]);
        let puback = |msg_id, code| Packet::PubAck { topic_id: topic.raw(), msg_id, code };
        air.says(puback(1, OK), Some(Done::Publish));
        air.says(puback(1, OK), None);

        air.client.publish(air.now, topic, QosBits::Two, false, b"x").unwrap();
        air.expect(&[publish(topic, QosBits::Two, 2)]);
        for _ in 0..2 {
            air.says(Packet::PubRec { msg_id: 2 }, None);
            air.expect(&[Packet::PubRel { msg_id: 2 }]);
        }
        assert_eq!(air.wait(10), None);
        air.expect(&[Packet::PubRel { msg_id: 2 }]);
        air.says(Packet::PubComp { msg_id: 2 }, Some(Done::Publish));

        for (msg_id, qos) in [(3, QosBits::One), (4, QosBits::Two)] {
            air.client.publish(air.now, topic, qos, false, b"x").unwrap();
            air.expect(&[publish(topic, qos, msg_id)]);
            air.refuses(puback(msg_id, UNKNOWN), Done::Publish, UNKNOWN);
            assert!(!air.client.is_busy());
        }
    }
}

/// §6.8.
#[test]
fn qos_minus_one_is_for_strangers_sleepers_and_ids_that_need_no_agreement() {
    let strangers: [fn() -> Air; 3] = [Air::new, Air::connected, Air::asleep];
    for stranger in strangers {
        let mut air = stranger();
        for topic in [TopicId::Predefined(4), TopicId::Short(*b"ab")] {
            air.client.publish(air.now, topic, QosBits::MinusOne, false, b"x").unwrap();
            air.expect(&[publish(topic, QosBits::MinusOne, 0)]);
        }
        let agreed = TopicId::Normal(1);
        let sent = air.client.publish(air.now, agreed, QosBits::MinusOne, false, b"x");
        assert_eq!(sent, Err(ClientError::NotConnected));
        assert!(!air.client.is_busy());
    }
}

/// §6.6: a PUBACK refuses at every QoS.
#[test]
fn an_unknown_id_is_told_at_qos_0_too() {
    let mut air = Air::connected();
    let topic = TopicId::Predefined(4);
    air.client.publish(air.now, topic, QosBits::Zero, false, b"x").unwrap();
    air.client.sleep(air.now, 600).unwrap();
    air.expect(&[publish(topic, QosBits::Zero, 0), Packet::Disconnect { duration: Some(600) }]);
    air.refuses(Packet::PubAck { topic_id: 4, msg_id: 0, code: UNKNOWN }, Done::Publish, UNKNOWN);
    assert!(air.client.is_busy(), "the DISCONNECT is not what was refused");
    air.says(GOODBYE, Some(Done::Sleep));
}

/// §6.6: one PUBLISH at QoS 1 or 2 at a time.
#[test]
fn what_is_published_leaves_in_order() {
    let mut air = Air::connected();
    let topic = TopicId::Normal(1);
    let (zero, one) = (publish(topic, QosBits::Zero, 0), publish(topic, QosBits::One, 1));
    air.client.publish(air.now, topic, QosBits::One, false, b"x").unwrap();
    air.client.publish(air.now, topic, QosBits::Zero, false, b"x").unwrap();
    let full = air.client.publish(air.now, topic, QosBits::Zero, false, b"x");
    assert_eq!(full, Err(ClientError::Busy), "one at a time: fetch it first");
    air.expect(&[one, zero]);
    air.client.publish(air.now, topic, QosBits::Zero, false, b"x").unwrap();
    air.expect(&[zero]);
    air.says(Packet::PubAck { topic_id: 1, msg_id: 1, code: OK }, Some(Done::Publish));
    air.client.publish(air.now, topic, QosBits::Zero, false, b"x").unwrap();
    air.client.disconnect(air.now).unwrap();
    air.expect(&[zero, GOODBYE]);
    air.says(GOODBYE, Some(Done::Disconnect));
}

/// §6.9.
#[test]
fn subscribe_and_unsubscribe_by_name_id_and_short_name() {
    let mut air = Air::connected();
    let topics = [TopicRef::Name("a/+"), TopicRef::Predefined(4), TopicRef::Short(*b"ab")];
    for (topic, msg_id) in topics.into_iter().zip([1, 3, 5]) {
        air.client.subscribe(air.now, topic, QosBits::Two).unwrap();
        air.expect(&[Packet::Subscribe { dup: false, qos: QosBits::Two, msg_id, topic }]);
        assert_eq!(air.wait(10), None);
        air.expect(&[Packet::Subscribe { dup: true, qos: QosBits::Two, msg_id, topic }]);
        let done = Done::Subscribe { qos: QosBits::One, topic_id: 0 };
        let suback = Packet::SubAck { qos: QosBits::One, topic_id: 0, msg_id, code: OK };
        air.says(suback, Some(done));
        air.client.unsubscribe(air.now, topic).unwrap();
        air.expect(&[Packet::Unsubscribe { msg_id: msg_id + 1, topic }]);
        air.says(Packet::UnsubAck { msg_id: msg_id + 1 }, Some(Done::Unsubscribe));
    }
    air.client.subscribe(air.now, TopicRef::Predefined(9), QosBits::Zero).unwrap();
    let suback = Packet::SubAck { qos: QosBits::Zero, topic_id: 9, msg_id: 7, code: UNKNOWN };
    air.refuses(suback, Done::Subscribe { qos: QosBits::Zero, topic_id: 9 }, UNKNOWN);
    let minus = air.client.subscribe(air.now, TopicRef::Name("a"), QosBits::MinusOne);
    assert_eq!(minus, Err(ClientError::Qos));
}

/// §6.10, and §6.6 from the other side.
#[test]
fn messages_are_acknowledged_and_qos_2_comes_once() {
    let mut air = Air::connected();
    let topic = TopicId::Short(*b"ab");
    let message = Some(ClientEvent::Message { topic, retain: false, data: b"x" });
    air.tells(publish(topic, QosBits::Zero, 0), message);
    air.expect(&[]);
    air.tells(publish(topic, QosBits::One, 8), message);
    air.expect(&[Packet::PubAck { topic_id: topic.raw(), msg_id: 8, code: OK }]);
    air.tells(publish(topic, QosBits::Two, 9), message);
    air.tells(publish(topic, QosBits::Two, 9), None);
    air.expect(&[Packet::PubRec { msg_id: 9 }, Packet::PubRec { msg_id: 9 }]);
    for _ in 0..2 {
        air.tells(Packet::PubRel { msg_id: 9 }, None);
        air.expect(&[Packet::PubComp { msg_id: 9 }]);
    }
    // A copy that was late, then copies of it and of one before the next.
    air.tells(publish(topic, QosBits::Two, 9), None);
    air.expect(&[]);
    air.tells(publish(topic, QosBits::Two, 10), message);
    air.tells(Packet::PubRel { msg_id: 10 }, None);
    air.tells(publish(topic, QosBits::Two, 9), None);
    air.expect(&[Packet::PubRec { msg_id: 10 }, Packet::PubComp { msg_id: 10 }]);
    // The gateway would not repeat it so much later unless it were a new one.
    air.wait(10);
    air.tells(publish(topic, QosBits::Two, 9), message);
    air.tells(Packet::PubRel { msg_id: 9 }, None);
    // A gateway that was started anew counts on from elsewhere; the copies are of its earlier life.
    for msg_id in [64_215, 64_216] {
        air.tells(publish(topic, QosBits::Two, msg_id), message);
        air.tells(Packet::PubRel { msg_id }, None);
        air.tells(publish(topic, QosBits::Two, 9), None);
        air.tells(publish(topic, QosBits::Two, 8), None);
    }
}

/// §6.10, §6.11.
#[test]
fn the_gateway_registers_and_pings() {
    let mut air = Air::connected();
    let register = |topic_id| Packet::Register { topic_id, msg_id: 5, name: "n" };
    air.tells(register(6), Some(ClientEvent::Registered { topic_id: 6, name: "n" }));
    air.expect(&[Packet::RegAck { topic_id: 6, msg_id: 5, code: OK }]);
    for reserved in [0, 0xffff] {
        air.tells(register(reserved), None);
        air.expect(&[Packet::RegAck { topic_id: reserved, msg_id: 5, code: UNKNOWN }]);
    }
    air.tells(Packet::PingReq { client_id: None }, None);
    air.expect(&[Packet::PingResp]);
}

/// §6.14: a disconnected client is sent nothing.
#[test]
fn a_disconnected_client_takes_nothing() {
    let mut air = Air::new();
    let topic = TopicId::Normal(1);
    for packet in [
        publish(topic, QosBits::One, 1),
        publish(topic, QosBits::Two, 2),
        Packet::PubRel { msg_id: 2 },
        Packet::PubRec { msg_id: 2 },
        Packet::Register { topic_id: 1, msg_id: 3, name: "a" },
        Packet::PingReq { client_id: None },
        Packet::WillTopicReq,
        GOODBYE,
    ] {
        air.tells(packet, None);
        air.expect(&[]);
    }
}

/// §6.1.
#[test]
fn a_search_finds_a_gateway_or_nobody() {
    let mut air = Air::new();
    air.client.search(air.now, 2).unwrap();
    air.expect(&[Packet::SearchGw { radius: 2 }]);
    let other = Some(ClientEvent::GatewayFound { gateway_id: 4, address: &[10, 0, 0, 1] });
    air.tells(Packet::GwInfo { gateway_id: 4, address: &[10, 0, 0, 1] }, other);
    assert!(!air.client.is_busy());
    let itself = Some(ClientEvent::GatewayFound { gateway_id: 3, address: &[] });
    air.tells(Packet::Advertise { gateway_id: 3, duration: 900 }, itself);
    air.client.search(air.now, 0).unwrap();
    air.expect(&[Packet::SearchGw { radius: 0 }]);
    air.tells(GOODBYE, None);
    air.silence(Packet::SearchGw { radius: 0 });

    let mut air = Air::connected();
    air.client.search(air.now, 1).unwrap();
    air.expect(&[Packet::SearchGw { radius: 1 }]);
    air.silence(Packet::SearchGw { radius: 1 });
    assert_eq!(air.client.state(), ClientState::Active, "the connection is another matter");
}

/// §6.12, §6.13.
#[test]
fn a_late_answer_to_a_repeated_goodbye_wakes_nobody() {
    let mut air = Air::asleep();
    air.tells(GOODBYE, None);
    assert_eq!(air.client.state(), ClientState::Asleep);
    air.client.wake(air.now).unwrap();
    air.expect(&[Packet::PingReq { client_id: Some("m") }]);
    // Now it says that the gateway has forgotten us.
    air.tells(GOODBYE, Some(ClientEvent::Lost));
    assert_eq!(air.client.state(), ClientState::Disconnected);
}

/// §6.14: PINGRESP comes behind what was buffered.
#[test]
fn as_long_as_messages_come_a_waking_client_is_patient() {
    let mut air = Air::asleep();
    air.client.wake(air.now).unwrap();
    let ping = Packet::PingReq { client_id: Some("m") };
    air.expect(&[ping]);
    let topic = TopicId::Normal(1);
    let message = Some(ClientEvent::Message { topic, retain: false, data: b"x" });
    for msg_id in 1..20 {
        assert_eq!(air.wait(9), None);
        air.tells(publish(topic, QosBits::One, msg_id), message);
        air.expect(&[Packet::PubAck { topic_id: 1, msg_id, code: OK }]);
    }
    assert_eq!(air.wait(10), None);
    air.expect(&[ping]);
    air.says(Packet::PingResp, Some(Done::Ping));
    assert_eq!((air.client.state(), air.client.poll_timeout()), (ClientState::Asleep, None));
    air.client.wake(air.now).unwrap();
    air.expect(&[ping]);
    air.silence(ping);
}

/// §6.14: the transitions from asleep.
#[test]
fn a_sleeper_sleeps_on_wakes_for_good_or_leaves() {
    let mut air = Air::asleep();
    let asleep = air.client.publish(air.now, TopicId::Normal(1), QosBits::Zero, false, b"x");
    assert_eq!(asleep, Err(ClientError::NotConnected));
    air.client.sleep(air.now, 60).unwrap();
    air.expect(&[Packet::Disconnect { duration: Some(60) }]);
    air.says(GOODBYE, Some(Done::Sleep));
    air.client.connect(air.now, false).unwrap();
    air.expect(&[connect(false, false)]);
    air.says(Packet::ConnAck { code: OK }, Some(Done::Connect));
    assert_eq!(air.client.state(), ClientState::Active);
    assert_eq!(air.client.poll_timeout(), Some(air.now + Duration::from_secs(54)));

    let mut air = Air::asleep();
    air.client.disconnect(air.now).unwrap();
    air.expect(&[GOODBYE]);
    air.says(GOODBYE, Some(Done::Disconnect));
    assert_eq!(air.client.sleep(air.now, 60), Err(ClientError::NotConnected));
}

/// §5.4.12: 0x0000 is not a message id of an acknowledged PUBLISH.
#[test]
fn message_ids_go_on_where_they_are_told_and_are_never_zero() {
    let mut air = Air::connected();
    for (next, ids) in [(0xffff, [0xffff, 1]), (0, [1, 2])] {
        air.client.set_next_msg_id(next);
        for msg_id in ids {
            air.client.register(air.now, "a").unwrap();
            air.expect(&[Packet::Register { topic_id: 0, msg_id, name: "a" }]);
            // A request that cannot be made takes no id.
            assert_eq!(air.client.register(air.now, "b"), Err(ClientError::Busy));
            let done = Done::Register { topic_id: 1 };
            air.says(Packet::RegAck { topic_id: 1, msg_id, code: OK }, Some(done));
            assert_eq!(air.client.register(air.now, &"x".repeat(59)), Err(ClientError::TooLong));
        }
    }
}

/// §6.14: disconnected, as after a power failure.
#[test]
fn reset_leaves_nothing_to_send() {
    let mut air = Air::connected();
    let topic = TopicId::Normal(1);
    air.tells(Packet::PingReq { client_id: None }, None);
    air.client.publish(air.now, topic, QosBits::Zero, false, b"x").unwrap();
    air.client.publish(air.now, topic, QosBits::One, false, b"x").unwrap();
    air.client.reset();
    air.expect(&[]);
    assert_eq!((air.client.state(), air.client.is_busy()), (ClientState::Disconnected, false));
    assert_eq!(air.client.poll_timeout(), None);
}

/// 300 bytes need three octets of length: the flags are two octets further on.
#[test]
fn a_long_publish_is_repeated_with_dup() {
    let mut client = Client::<400, 0>::new("m", ClientConfig::default()).unwrap();
    let mut now = Instant::ZERO;
    client.connect(now, true).unwrap();
    let connack = [3, 5, 0];
    assert_eq!(client.handle_datagram(now, &connack), Some(ClientEvent::Done(Done::Connect)));
    while client.poll_transmit().is_some() {}
    client.publish(now, TopicId::Normal(1), QosBits::One, true, &[7; 300]).unwrap();
    let first = client.poll_transmit().unwrap();
    now += Duration::from_secs(10);
    assert_eq!(client.handle_timeout(now), None);
    let again = client.poll_transmit().unwrap();
    let dup = |bytes: &[u8]| match Packet::decode(bytes).unwrap() {
        Packet::Publish { dup, qos: QosBits::One, retain: true, msg_id: 1, data, .. } => {
            (dup, data.len())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((dup(&first), dup(&again)), ((false, 300), (true, 300)));
}
