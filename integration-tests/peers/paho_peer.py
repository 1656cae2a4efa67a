"""paho-mqtt 1.x or 2.x as a peer of the matrix: commands on standard input, events on standard output, a JSON object a line.

The language is that of src/matrix/peer.rs. Whichever paho-mqtt this interpreter finds is used.
"""
import faulthandler
import gc
import json
import os
import re
import socket
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCodes
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
MODERN = hasattr(mqtt, "CallbackAPIVersion")
BYTES = {"CorrelationData", "AuthenticationData"}
OUTPUT = threading.Lock()


def tell(client, event, **more):
    with OUTPUT:
        print(json.dumps({"client": client, "event": event, **more}), flush=True)


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def to_paho(kind, values):
    if values is None:
        return None
    made = Properties(kind)
    for name, value in values.items():
        name = camel(name)
        if name == "UserProperty":
            for pair in value:
                made.UserProperty = tuple(pair)
        elif name == "SubscriptionIdentifier":
            for number in value:
                made.SubscriptionIdentifier = number
        else:
            setattr(made, name, value.encode() if name in BYTES else value)
    return made


def from_paho(found):
    values = {}
    for name, value in vars(found).items() if found else ():
        if name in ("packetType", "types", "names", "properties"):
            continue
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        values[name] = value.decode() if isinstance(value, bytes) else value
    return values


def number(code):
    return getattr(code, "value", code)


class Client:
    def __init__(self, name, command):
        self.name = name
        self.version = VERSIONS[command["version"]]
        self.said = False
        self.ended = False
        v5 = self.version == mqtt.MQTTv5
        transport = command["transport"]
        kind = transport["kind"]
        self.again = command.get("reconnect", False)
        arguments = {"client_id": command["id"], "protocol": self.version, "reconnect_on_failure": self.again}
        arguments["transport"] = {"ws": "websockets", "wss": "websockets", "unix": "unix"}.get(kind, "tcp")
        if not v5:
            arguments["clean_session"] = command["clean"]
        if MODERN:
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        self.paho = mqtt.Client(**arguments)
        if kind in ("tls", "wss"):
            self.paho.tls_set(transport["ca"], tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if kind in ("ws", "wss"):
            self.paho.ws_set_options(path="/mqtt")
        if "user" in command:
            self.paho.username_pw_set(command["user"], command.get("password"))
        if command.get("will"):
            will = dict(command["will"])
            properties = to_paho(PacketTypes.WILLMESSAGE, will.pop("properties", None))
            self.paho.will_set(**will, **({"properties": properties} if v5 else {}))
        self.paho.reconnect_delay_set(0.02, 0.02)
        self.paho.on_connect = self.on_connect
        self.paho.on_disconnect = self.on_disconnect
        self.paho.on_message = self.on_message
        self.paho.on_subscribe = self.on_subscribe
        self.paho.on_unsubscribe = lambda *_: tell(name, "unsubscribed")
        self.paho.on_publish = self.on_publish
        more = {}
        if v5:
            more = {"clean_start": command["clean"], "properties": to_paho(PacketTypes.CONNECT, command.get("properties"))}
        host = transport["path"] if kind == "unix" else transport.get("host", "localhost")
        self.paho.connect(host, transport.get("port", 1), command.get("keep_alive", 60), **more)
        self.paho.loop_start()

    def on_connect(self, _client, _user, flags, code, properties=None):
        present = flags.session_present if MODERN else bool(flags["session present"])
        if number(code) != 0:
            self.said = True
        tell(self.name, "connected", code=number(code), session_present=present, properties=from_paho(properties))

    def on_disconnect(self, _client, _user, *arguments):
        if self.again and not self.ended:
            tell(self.name, "lost")
        elif not self.said:
            self.said = True
            code = arguments[1] if MODERN else arguments[0]
            tell(self.name, "closed", code=number(code))

    def on_message(self, _client, _user, message):
        tell(self.name, "message", topic=message.topic, payload=message.payload.decode(), qos=message.qos,
             retain=bool(message.retain), dup=bool(message.dup), properties=from_paho(getattr(message, "properties", None)))

    def on_subscribe(self, _client, _user, _mid, codes, *_):
        tell(self.name, "subscribed", codes=[number(code) for code in codes])

    def on_publish(self, _client, _user, _mid, code=0, *_):
        tell(self.name, "published", code=number(code))

    def subscribe(self, command):
        if self.version != mqtt.MQTTv5:
            self.paho.subscribe(command["filter"], command["qos"])
            return
        options = SubscribeOptions(qos=command["qos"], noLocal=command.get("no_local", False),
                                   retainAsPublished=command.get("retain_as_published", False),
                                   retainHandling=command.get("retain_handling", 0))
        self.paho.subscribe(command["filter"], options=options,
                            properties=to_paho(PacketTypes.SUBSCRIBE, command.get("properties")))

    def unsubscribe(self, command):
        self.paho.unsubscribe(command["filter"])

    def publish(self, command):
        properties = to_paho(PacketTypes.PUBLISH, command.get("properties")) if self.version == mqtt.MQTTv5 else None
        self.paho.publish(command["topic"], command["payload"], command["qos"], command["retain"], properties)

    def disconnect(self, command):
        self.ended = True
        if self.version != mqtt.MQTTv5:
            self.paho.disconnect()
            return
        code = ReasonCodes(PacketTypes.DISCONNECT, identifier=command["code"]) if command.get("code") else None
        self.paho.disconnect(code, to_paho(PacketTypes.DISCONNECT, command.get("properties")))

    def kill(self, _command):
        self.said = self.ended = True
        wrapped = self.paho.socket()
        getattr(wrapped, "_socket", wrapped).shutdown(socket.SHUT_RDWR)
        tell(self.name, "closed", code=0)


def main():
    clients = {}
    tell("", "ready", version=mqtt.__name__)
    for line in sys.stdin:
        command = json.loads(line)
        name, do = command["client"], command["do"]
        # A command that hangs shows where.
        faulthandler.dump_traceback_later(10)
        try:
            if do == "connect":
                clients[name] = Client(name, command)
            else:
                getattr(clients[name], do)(command)
            if do in ("disconnect", "kill"):
                # Its sockets go with it: select knows no more than 1,024.
                del clients[name]
                gc.collect()
        except Exception as error:  # told to the test, which knows what it wanted
            tell(name, "failed", text=f"{do}: {error!r}")
        faulthandler.cancel_dump_traceback_later()
    os._exit(0)


main()
