"""An MQTT-SN client on the library mqtt-sn-12, driven line by line from standard input.

    connect ID CLEAN(0|1) [WILL_TOPIC WILL_PAYLOAD]   subscribe TOPIC QOS     subscribe-id ID QOS   unsubscribe TOPIC
    publish TOPIC QOS RETAIN(0|1) TEXT                publish-id ID QOS RETAIN TEXT
    sleep SECONDS     wake     active     disconnect     ping     search     will-update TOPIC TEXT     next
    keep-alive SECONDS (before connect)

Each command answers with one line; messages are `message TOPIC qN rN TEXT`. `next` waits for one message; `wake` sends
PINGREQ with the client id and prints every message before `pingresp`.
"""
import os
import struct
import sys

from mqttsn12.MqttSnConstants import MqttSnConstants as C
from mqttsn12.client.MqttSnClient import MqttSnClient, MqttSnListener
from mqttsn12.packets import PublishPacket, PubRecPacket, PubCompPacket, PubRelPacket


class Client:
    def __init__(self):
        self.sn = MqttSnClient()
        self.sn.set_timeout(20)
        self.sn.set_keep_alive(60)
        self.id = ""
        self.held = set()  # QoS 2 message ids that wait for their PUBREL
        self.port = int(os.environ["MOTEGATE_MQTTSN"])

    def say(self, text):
        print(text, flush=True)

    # --- what arrives ---------------------------------------------------------------------------------------------

    def receive(self):
        """One packet: (type, bytes)."""
        data = self.sn.receive_packet(True)
        return (data[3] if data[0] == 1 else data[1]), data

    def handle(self, kind, data):
        """Does what a client must; True when a message was printed."""
        if kind == C.TYPE_REGISTER:
            self.sn.process_register(data)
        elif kind == C.TYPE_PUBLISH:
            return self.message(data)
        elif kind == C.TYPE_PUBREL:
            packet = PubRelPacket()
            packet.decode(data)
            self.held.discard(packet.get_message_id())
            answer = PubCompPacket()
            answer.set_message_id(packet.get_message_id())
            self.sn.send_packet(answer.encode())
        elif kind == C.TYPE_DISCONNECT:
            self.say("disconnected by the gateway")
        return False

    def message(self, data):
        packet = PublishPacket()
        packet.decode(data)
        flags = packet.get_flags()
        qos = {C.FLAG_QOS_0: 0, C.FLAG_QOS_1: 1, C.FLAG_QOS_2: 2}[flags & C.FLAG_QOS_MASK]
        number = packet.get_topic_id()
        topic = {
            C.TOPIC_TYPE_NORMAL: lambda: self.sn.topic_map.get(number),
            C.TOPIC_TYPE_PREDEFINED: lambda: f"#{number}",
            C.TOPIC_TYPE_SHORT: lambda: struct.pack(">H", number).decode(),
        }[flags & 3]()
        if topic is None:
            self.sn.send_puback(packet, C.REJECTED_INVALID)
            self.say(f"unknown topic id {number}")
            return False
        if qos == 1:
            self.sn.send_puback(packet, C.ACCEPTED)
        if qos == 2:
            answer = PubRecPacket()
            answer.set_message_id(packet.get_message_id())
            self.sn.send_packet(answer.encode())
            if packet.get_message_id() in self.held:
                return False
            self.held.add(packet.get_message_id())
            # The handshake first: the library does not expect a PUBREL while it waits for another answer.
            while packet.get_message_id() in self.held:
                self.handle(*self.receive())
        retain = 1 if flags & C.FLAG_RETAIN else 0
        self.say(f"message {topic} q{qos} r{retain} {packet.get_data().decode()}")
        return True

    # --- what is asked --------------------------------------------------------------------------------------------

    def connect(self, client_id, clean, will_topic=None, will_payload=None):
        self.id = client_id
        self.sn.open("127.0.0.1", self.port)
        self.reconnect(clean, will_topic, will_payload)

    def reconnect(self, clean, will_topic=None, will_payload=None):
        self.sn.set_client_id(self.id)
        self.sn.set_clean_session(clean == "1")
        if will_topic is not None:
            self.sn.set_will(will_topic, will_payload, 1, False)
        self.sn.send_connect()
        self.say("connected")

    def active(self):
        """CONNECT without clean session, from sleep."""
        self.reconnect("0")

    def subscribe(self, topic, qos):
        self.sn.send_subscribe(topic, int(qos) , MqttSnListener())
        self.say("subscribed")

    def subscribe_id(self, number, qos):
        self.sn.send_subscribe_predefined(int(number), int(qos), MqttSnListener())
        self.say("subscribed")

    def unsubscribe(self, topic):
        self.sn.send_unsubscribe(topic)
        self.say("unsubscribed")

    def publish(self, topic, qos, retain, *text):
        self.sn.send_publish(topic, " ".join(text).encode(), int(qos), retain == "1")
        self.say("published")

    def publish_id(self, number, qos, retain, *text):
        self.sn.send_publish_predefined(int(number), " ".join(text).encode(), int(qos), retain == "1")
        self.say("published")

    def sleep(self, seconds):
        self.sn.send_disconnect(int(seconds))
        self.say("asleep")

    def keep_alive(self, seconds):
        self.sn.set_keep_alive(int(seconds))
        self.say("kept alive")

    def disconnect(self):
        self.sn.send_disconnect()
        self.say("disconnected")

    def ping(self):
        self.sn.send_ping_req()
        self.say("pong")

    def search(self):
        self.sn.open("127.0.0.1", self.port)
        self.sn.send_search_gateway(1)
        self.say("found")

    def will_update(self, topic, text):
        self.sn.send_will_topic_update(topic)
        self.sn.send_will_message_update(text)
        self.say("will updated")

    def next(self):
        while not self.handle(*self.receive()):
            pass

    def wake(self):
        name = self.id.encode()
        self.sn.send_packet(bytes([2 + len(name), C.TYPE_PINGREQ]) + name)
        while True:
            kind, data = self.receive()
            if kind == C.TYPE_PINGRESP:
                break
            self.handle(kind, data)
        self.say("pingresp")


def main():
    client = Client()
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            getattr(client, command.replace("-", "_"))(*arguments)
        except Exception as error:  # told to the test, which knows whether it is one
            client.say(f"error {type(error).__name__}: {error}")


main()
