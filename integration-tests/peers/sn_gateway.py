"""A small MQTT-SN gateway, without a broker, for one client: `sn_gateway.py` prints `serving PORT`.

mqtt-sn-12 has no gateway, but its packets decode what a client sends and encode most of what a gateway answers. So each
packet of the client is read by a program of somebody else, and told on standard output in that program's terms. It has no
GWINFO and no UNSUBACK to send and cannot read UNSUBSCRIBE: nothing here uses those.

Who subscribes is sent one message a QoS up to the granted one; behind a wildcard the topic `told/later` is registered
first. A sleeper gets `kept` when it asks. Client ids that begin with `refuse-` are refused: `refuse-connect`,
`refuse-register` (and so on: the packet's name).
"""
import socket

from mqttsn12 import packets as p
from mqttsn12.MqttSnConstants import MqttSnConstants as C

QOS = {C.FLAG_QOS_0: 0, C.FLAG_QOS_1: 1, C.FLAG_QOS_2: 2, C.FLAG_QOS_N1: -1}


class Gateway:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        print("serving", self.socket.getsockname()[1], flush=True)
        self.client, self.id, self.topics, self.subscribed = None, "", {}, None
        self.asleep, self.next_id, self.clean = False, 1, 0

    def say(self, text):
        print(text, flush=True)

    def send(self, packet, **fields):
        for name, value in fields.items():
            getattr(packet, f"set_{name}")(value)
        self.socket.sendto(packet.encode(), self.client)

    def refuses(self, name):
        return C.REJECTED_NOT_SUPPORTED if self.id == f"refuse-{name}" else C.ACCEPTED

    def publish(self, topic_type, topic, qos, data):
        self.next_id += 1
        packet = p.PublishPacket()
        packet.set_flags(qos << 5 | topic_type)
        self.send(packet, topic_id=topic, message_id=self.next_id if qos else 0, data=data)

    # --- by the client's packet --------------------------------------------------------------------------------------

    def on_connect(self, data):
        packet = p.ConnectPacket()
        packet.decode(data)
        self.id = packet.get_client_id()
        will, clean = int(packet.get_will()), int(packet.get_clean_session())
        self.say(f"CONNECT {self.id} protocol={packet.protocol_id} clean={clean} will={will} "
                 f"keep={packet.get_duration()}")
        if will:
            self.send(p.WillTopicReqPacket())
        else:
            self.send(p.ConnackPacket(), return_code=self.refuses("connect"))

    def on_will_topic(self, data):
        packet = p.WillTopicPacket()
        packet.decode(data)
        self.say(f"WILLTOPIC {packet.get_topic_name()} qos={QOS[packet.get_flags() & C.FLAG_QOS_MASK]} "
                 f"retain={int(packet.get_retain())}")
        self.send(p.WillMessageReqPacket())

    def on_will_message(self, data):
        packet = p.WillMessagePacket()
        packet.decode(data)
        self.say(f"WILLMSG {packet.get_message()}")
        self.send(p.ConnackPacket(), return_code=C.ACCEPTED)

    def on_register(self, data):
        packet = p.RegisterPacket()
        packet.decode(data)
        name = packet.get_topic_name()
        name = name.decode() if isinstance(name, bytes) else name
        self.topics.setdefault(name, len(self.topics) + 7)
        self.say(f"REGISTER {name} id={packet.get_topic_id()}")
        self.send(p.RegackPacket(), topic_id=self.topics[name], message_id=packet.get_message_id(),
                  return_code=self.refuses("register"))

    def on_publish(self, data):
        packet = p.PublishPacket()
        packet.decode(data)
        qos, kind = QOS[packet.get_flags() & C.FLAG_QOS_MASK], packet.get_flags() & 3
        self.say(f"PUBLISH type={kind} topic={packet.get_topic_id()} qos={qos} retain={int(packet.get_retain())} "
                 f"dup={int(packet.get_dup())} {packet.get_data().decode()}")
        refused = self.refuses("publish")
        if qos == 1 or refused:
            self.send(p.PubAckPacket(), topic_id=packet.get_topic_id(), message_id=packet.get_message_id(),
                      return_code=refused)
        elif qos == 2:
            self.send(p.PubRecPacket(), message_id=packet.get_message_id())

    def on_pubrel(self, data):
        packet = p.PubRelPacket()
        packet.decode(data)
        self.say("PUBREL")
        self.send(p.PubCompPacket(), message_id=packet.get_message_id())

    def on_subscribe(self, data):
        packet = p.SubPacket()
        packet.decode(data)
        flags = packet.get_flags()
        qos, kind = QOS[flags & C.FLAG_QOS_MASK], flags & 3
        name = packet.get_topic_name()
        shown = f"#{packet.get_topic_id()}" if name is None else name
        self.say(f"SUBSCRIBE type={kind} {shown} qos={qos}")
        wild = name is not None and ("#" in name or "+" in name)
        topic = 0 if wild else packet.get_topic_id() if name is None else 5
        self.send(p.SubAckPacket(), flags=flags & C.FLAG_QOS_MASK, topic_id=topic, message_id=packet.get_message_id(),
                  return_code=self.refuses("subscribe"))
        if self.refuses("subscribe"):
            return
        self.subscribed = (kind, 9 if wild else topic, qos)
        if wild:
            self.send(p.RegisterPacket(), topic_id=9, message_id=600, topic_name="told/later")
        else:
            self.publish_all()

    def on_regack(self, data):
        packet = p.RegackPacket()
        packet.decode(data)
        self.say(f"REGACK id={packet.get_topic_id()} code={packet.get_return_code()}")
        self.publish_all()

    def publish_all(self):
        kind, topic, granted = self.subscribed
        for qos in range(granted + 1):
            self.publish(kind, topic, qos, b"hello at %d" % qos)

    def on_puback(self, data):
        packet = p.PubAckPacket()
        packet.decode(data)
        self.say(f"PUBACK topic={packet.get_topic_id()} code={packet.get_return_code()}")

    def on_pubrec(self, data):
        packet = p.PubRecPacket()
        packet.decode(data)
        self.say("PUBREC")
        self.send(p.PubRelPacket(), message_id=packet.get_message_id())

    def on_pubcomp(self, data):
        p.PubCompPacket().decode(data)
        self.say("PUBCOMP")

    def on_pingreq(self, data):
        packet = p.PingReqPacket()
        packet.decode(data)
        self.say(f"PINGREQ {packet.get_client_id()}")
        if self.asleep and self.subscribed:
            kind, topic, _ = self.subscribed
            self.publish(kind, topic, 1, b"kept")
        self.send(p.PingResPacket())

    def on_disconnect(self, data):
        packet = p.DisconnectReqPacket()
        packet.decode(data)
        self.asleep = len(data) == 4
        self.say(f"DISCONNECT {packet.get_duration()}")
        self.send(p.DisconnectResPacket())

    def serve(self):
        handlers = {
            C.TYPE_CONNECT: self.on_connect, C.TYPE_WILLTOPIC: self.on_will_topic, C.TYPE_WILLMSG: self.on_will_message,
            C.TYPE_REGISTER: self.on_register, C.TYPE_REGACK: self.on_regack, C.TYPE_PUBLISH: self.on_publish,
            C.TYPE_PUBACK: self.on_puback, C.TYPE_PUBREC: self.on_pubrec, C.TYPE_PUBREL: self.on_pubrel,
            C.TYPE_PUBCOMP: self.on_pubcomp, C.TYPE_SUBSCRIBE: self.on_subscribe, C.TYPE_PINGREQ: self.on_pingreq,
            C.TYPE_DISCONNECT: self.on_disconnect,
        }
        while True:
            data, self.client = self.socket.recvfrom(2048)
            kind = data[3] if data[0] == 1 else data[1]
            try:
                handlers[kind](data)
            except Exception as error:  # told to the test, which does not expect any
                self.say(f"error: {type(error).__name__} {error} in {data.hex()}")


Gateway().serve()
