"""Scenarios on paho-mqtt 2.x; `paho_suite.py NAME` runs one and prints `ok`, or fails with what it saw."""
import os
import queue
import socket
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(os.environ["MOTEGATE_MQTT"])
WAIT = 20
V31, V311, V5 = mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5


def properties(kind, **values):
    made = Properties(kind)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Client:
    """A client whose events are taken one by one from a queue."""

    def __init__(self, name, version, clean=True, connect=None, will=None):
        arguments = {} if version == V5 else {"clean_session": clean}
        self.events = queue.Queue()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **arguments)
        self.paho.on_connect = lambda c, u, flags, code, p: self.events.put(("connack", flags, code, p))
        self.paho.on_disconnect = lambda c, u, flags, code, p: self.events.put(("disconnect", flags, code, p))
        self.paho.on_message = lambda c, u, message: self.events.put(("message", message))
        self.paho.on_subscribe = lambda c, u, mid, codes, p: self.events.put(("suback", codes, p))
        self.paho.on_unsubscribe = lambda c, u, mid, codes, p: self.events.put(("unsuback", codes, p))
        self.paho.on_publish = lambda c, u, mid, code, p: self.events.put(("published", code, p))
        if will:
            self.paho.will_set(**will)
        more = {"clean_start": clean, "properties": connect} if version == V5 else {}
        self.paho.connect("127.0.0.1", PORT, 60, **more)
        self.paho.loop_start()
        _, self.flags, self.code, self.connack = self.wait("connack")
        assert not self.code.is_failure, self.code

    def wait(self, kind):
        event = self.events.get(timeout=WAIT)
        assert event[0] == kind, f"wanted {kind}, got {event}"
        return event

    def message(self):
        return self.wait("message")[1]

    def subscribe(self, topic, qos=0, options=None, properties=None):
        if options is None:
            self.paho.subscribe(topic, qos, properties=properties)
        else:
            self.paho.subscribe(topic, options=options, properties=properties)
        return self.wait("suback")[1]

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        self.paho.publish(topic, payload, qos, retain, properties)
        return self.wait("published")[1]

    def silent(self, other):
        """Nothing for us is on its way: `other` published a mark that comes next."""
        other.publish("mark", "mark")
        message = self.message()
        assert message.topic == "mark", f"unexpected {message.topic} {message.payload}"

    def close(self, **arguments):
        self.paho.disconnect(**arguments)
        self.wait("disconnect")
        self.paho.loop_stop()

    def vanish(self):
        """The network is gone: no DISCONNECT."""
        self.paho.loop_stop()
        self.paho.socket().shutdown(socket.SHUT_RDWR)


def texts(*messages):
    return [message.payload.decode() for message in messages]


def qos_in_every_version():
    for version in V31, V311, V5:
        sub = Client(f"sub{int(version)}", version)
        pub = Client(f"pub{int(version)}", version)
        sub.subscribe("a/#", 2)
        for qos in 0, 1, 2:
            pub.publish("a/b", str(qos), qos)
            message = sub.message()
            assert (message.topic, message.payload, message.qos) == ("a/b", str(qos).encode(), qos)
        sub.close()
        pub.close()


def many_at_qos_2():
    sub, pub = Client("sub", V5), Client("pub", V5)
    sub.subscribe("n", 2)
    for number in range(300):
        pub.paho.publish("n", str(number), 2)
    assert [int(sub.message().payload) for _ in range(300)] == list(range(300))


def session_present():
    for version in V31, V311:
        first = Client("keeper", version, clean=False)
        assert not first.flags.session_present
        first.subscribe("a", 1)
        first.close()
        again = Client("keeper", version, clean=False)
        assert again.flags.session_present == (version != V31), "3.1 has no such flag"
        again.close()
        Client("keeper", version, clean=True).close()
        last = Client("keeper", version, clean=False)
        assert not last.flags.session_present
        last.close()
        Client("keeper", version, clean=True).close()


def session_expiry():
    hour = properties(PacketTypes.CONNECT, SessionExpiryInterval=3600)
    pub = Client("pub", V5)
    first = Client("keeper", V5, clean=True, connect=hour)
    assert not first.flags.session_present
    first.subscribe("a", 1)
    first.close()
    pub.publish("a", "while away")
    second = Client("keeper", V5, clean=False, connect=hour)
    assert second.flags.session_present
    assert texts(second.message()) == ["while away"]
    # DISCONNECT may end it.
    second.close(properties=properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0))
    third = Client("keeper", V5, clean=False, connect=hour)
    assert not third.flags.session_present
    third.close()
    # Absent means 0.
    Client("keeper", V5, clean=True).close()
    assert not Client("keeper", V5, clean=False).flags.session_present


def publish_properties_arrive():
    sub, pub = Client("sub", V5), Client("pub", V5)
    sub.subscribe("p", 1)
    users = [("b", "1"), ("a", "2"), ("b", "3")]
    pub.publish("p", "{}", properties=properties(
        PacketTypes.PUBLISH, PayloadFormatIndicator=1, MessageExpiryInterval=100, ContentType="application/json",
        ResponseTopic="answers/1", CorrelationData=b"\x00\x01", UserProperty=users))
    got = sub.message().properties
    assert got.PayloadFormatIndicator == 1
    assert got.MessageExpiryInterval in (99, 100)
    assert got.ContentType == "application/json"
    assert got.ResponseTopic == "answers/1"
    assert got.CorrelationData == b"\x00\x01"
    assert got.UserProperty == users, got.UserProperty
    # The same through the retained store.
    pub.publish("kept", "{}", retain=True, properties=properties(
        PacketTypes.PUBLISH, ContentType="text/x", UserProperty=users))
    sub.subscribe("kept", 1)
    message = sub.message()
    assert message.retain and message.properties.ContentType == "text/x"
    assert message.properties.UserProperty == users


def no_local():
    client, other = Client("one", V5), Client("two", V5)
    client.subscribe("mark", 1)
    client.subscribe("a", options=SubscribeOptions(qos=1, noLocal=True))
    client.publish("a", "mine")
    client.silent(other)
    other.publish("a", "yours")
    assert texts(client.message()) == ["yours"]


def retain_handling():
    client, other = Client("one", V5), Client("two", V5)
    client.subscribe("mark", 1)
    other.publish("kept", "x", retain=True)

    def subscribe(handling):
        client.subscribe("kept", options=SubscribeOptions(qos=1, retainHandling=handling))

    subscribe(2)
    client.silent(other)
    subscribe(1)  # exists already
    client.silent(other)
    subscribe(0)
    assert client.message().retain
    client.paho.unsubscribe("kept")
    client.wait("unsuback")
    subscribe(1)  # new
    assert client.message().retain


def retain_as_published():
    keep, plain, pub = Client("keep", V5), Client("plain", V5), Client("pub", V5)
    keep.subscribe("a", options=SubscribeOptions(qos=1, retainAsPublished=True))
    plain.subscribe("a", 1)
    pub.publish("a", "x", retain=True)
    assert keep.message().retain and not plain.message().retain


def subscription_identifiers():
    sub, pub = Client("sub", V5), Client("pub", V5)
    for number, topic in (7, "a/+"), (300, "a/b"):
        sub.subscribe(topic, 1, properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=number))
    pub.publish("a/b", "x")
    assert sorted(sub.message().properties.SubscriptionIdentifier) == [7, 300]
    pub.publish("a/c", "x")
    assert sub.message().properties.SubscriptionIdentifier == [7]


def will_with_delay():
    watcher = Client("watcher", V5)
    watcher.subscribe("will/#", 1)

    def mote(delay, clean=True):
        will = {"topic": "will/mote", "payload": "gone", "qos": 1, "properties": properties(
            PacketTypes.WILLMESSAGE, WillDelayInterval=delay, ContentType="text/x", UserProperty=("a", "b"))}
        hour = properties(PacketTypes.CONNECT, SessionExpiryInterval=3600)
        return Client("mote", V5, clean, hour, will)

    mote(2).vanish()
    lost = time.monotonic()
    message = watcher.message()
    waited = time.monotonic() - lost
    assert 1.9 <= waited <= 6, f"{waited} s"
    assert message.payload == b"gone" and message.properties.ContentType == "text/x"
    assert message.properties.UserProperty == [("a", "b")]
    # Back in time: no will.
    mote(1).vanish()
    mote(1, clean=False).close()
    try:
        event = watcher.events.get(timeout=2.5)
    except queue.Empty:
        return
    raise AssertionError(f"a will in spite of the return: {event}")


def will_on_disconnect_4():
    watcher = Client("watcher", V5)
    watcher.subscribe("will", 1)
    from paho.mqtt.reasoncodes import ReasonCode
    client = Client("mote", V5, will={"topic": "will", "payload": "on request", "qos": 1})
    client.close(reasoncode=ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
    assert texts(watcher.message()) == ["on request"]


def takeover():
    first = Client("twin", V5)
    second = Client("twin", V5)
    first.wait("disconnect")  # paho 2.1 does not tell the code of a DISCONNECT without properties
    second.subscribe("a", 1)


def assigned_client_id():
    first, second = Client("", V5), Client("", V5)
    names = [client.connack.AssignedClientIdentifier for client in (first, second)]
    assert names[0] and names[0] != names[1], names
    Client("", V311)


def reason_codes():
    client = Client("one", V5)
    assert client.publish("nobody/listens", "x", 1).value == 0x10
    assert client.publish("nobody/listens", "x", 2).value in (0x00, 0x10)  # paho tells the last code
    codes = client.subscribe([("a", SubscribeOptions(qos=0)), ("b/#", SubscribeOptions(qos=2))])
    assert [code.value for code in codes] == [0, 2], codes
    client.paho.unsubscribe(["a", "never"])
    assert [code.value for code in client.wait("unsuback")[1]] == [0, 0x11]


def topic_alias_to_the_gateway():
    sub, pub = Client("sub", V5), Client("pub", V5)
    assert pub.connack.TopicAliasMaximum > 0
    sub.subscribe("long/topic/name", 1)
    alias = properties(PacketTypes.PUBLISH, TopicAlias=1)
    pub.publish("long/topic/name", "first", properties=alias)
    pub.publish("", "second", properties=alias)
    messages = sub.message(), sub.message()
    assert texts(*messages) == ["first", "second"]
    assert {message.topic for message in messages} == {"long/topic/name"}


def receive_maximum_of_the_client():
    """One delivery at a time, and all of them in the end."""
    sub = Client("sub", V5, connect=properties(PacketTypes.CONNECT, ReceiveMaximum=1))
    pub = Client("pub", V5)
    sub.subscribe("a", 2)
    for number in range(20):
        pub.publish("a", str(number), 1 + number % 2)
    assert texts(*(sub.message() for _ in range(20))) == [str(number) for number in range(20)]


def maximum_packet_size_of_the_client():
    sub = Client("sub", V5, connect=properties(PacketTypes.CONNECT, MaximumPacketSize=100))
    pub = Client("pub", V5)
    sub.subscribe("a", 1)
    pub.publish("a", "x" * 200)
    pub.publish("a", "small")
    assert texts(sub.message()) == ["small"]


def message_expiry():
    keep = properties(PacketTypes.CONNECT, SessionExpiryInterval=3600)
    Client("sleeper", V5, True, keep).close()
    pub = Client("pub", V5)
    sub = Client("sleeper", V5, False, keep)
    sub.subscribe("a", 1)
    sub.close()
    pub.publish("a", "short", properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=1))
    pub.publish("a", "long", properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=100))
    time.sleep(1.6)  # the expiry itself is what is waited for
    sub = Client("sleeper", V5, False, keep)
    message = sub.message()
    assert texts(message) == ["long"]
    assert 90 <= message.properties.MessageExpiryInterval <= 99, message.properties


def shared_subscription():
    first, second, pub = Client("one", V5), Client("two", V5), Client("pub", V5)
    for client in first, second:
        client.subscribe("$share/g/job", 1)
    for number in range(10):
        pub.publish("job", str(number))
    got = []
    for client in first, second:
        mine = []
        while True:
            try:
                mine.append(int(client.events.get(timeout=1)[1].payload))
            except queue.Empty:
                break
        assert mine, "a member got nothing"
        got += mine
    assert sorted(got) == list(range(10)), got


def three_versions_meet():
    clients = {version: Client(f"v{int(version)}", version) for version in (V31, V311, V5)}
    for client in clients.values():
        client.subscribe("meeting", 2)
    for version, client in clients.items():
        client.paho.publish("meeting", str(int(version)), 2)
        for other in clients.values():
            while True:
                event = other.events.get(timeout=WAIT)
                if event[0] == "message":
                    break
            assert event[1].payload == str(int(version)).encode()


SCENARIO = sys.argv[1]
globals()[SCENARIO]()
print("ok", flush=True)
os._exit(0)
