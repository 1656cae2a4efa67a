"""mosquitto_pub, mosquitto_sub and mosquitto_rr as a peer of the matrix: commands on standard input, events on standard output.

The language is that of src/matrix/peer.rs. What one client does there is here done by several connections: one
mosquitto_sub a subscription (its id and its will are the client's), one mosquitto_pub a message or many lines, one
mosquitto_rr a request.
"""
import itertools
import json
import os
import subprocess
import sys
import threading
import time

VERSIONS = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5": "mqttv5"}
OUTPUT = threading.Lock()
NUMBERS = itertools.count()
RENAMED = {"user-properties": "user_property", "subscription-identifier": "subscription_identifier"}


class Pairs(list):
    """An object whose names may repeat."""


def tell(client, event, **more):
    with OUTPUT:
        print(json.dumps({"client": client, "event": event, **more}), flush=True)


def properties_of(found):
    values = {}
    for name, value in found or ():
        name = RENAMED.get(name, name.replace("-", "_"))
        values[name] = [value] if name == "subscription_identifier" else value
    return values


def options(command, values):
    """-D for each property."""
    words = []
    for name, value in (values or {}).items():
        if name == "user_property":
            for key, text in value:
                words += ["-D", command, "user-property", key, text]
            continue
        for one in value if isinstance(value, list) else [value]:
            words += ["-D", command, name.replace("_", "-"), str(one)]
    return words


def interrupt(process):
    """Ends mosquitto_sub in order.

    Its handler takes a lock of the library, and waits for ever if the signal comes while that is held: so only while
    it sleeps.
    """
    def sleeps():
        with open(f"/proc/{process.pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "R"

    while process.poll() is None and not sleeps():
        time.sleep(0.001)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Client:
    def __init__(self, name, command):
        self.name = name
        self.connect = command
        self.v5 = command["version"] == "5"
        self.subscribers = []
        # What a connection would tell: mosquitto_sub makes one when it is told what to subscribe to.
        tell(name, "connected", code=0, session_present=False, properties={})

    def words(self, program, identifier):
        transport = self.connect["transport"]
        words = [program, "-V", VERSIONS[self.connect["version"]], "-k", str(self.connect.get("keep_alive", 60))]
        words += ["-i", identifier]
        if transport["kind"] == "unix":
            words += ["--unix", transport["path"]]
        else:
            words += ["-h", transport["host"], "-p", str(transport["port"])]
        if transport["kind"] == "tls":
            words += ["--cafile", transport["ca"]]
        if "user" in self.connect:
            words += ["-u", self.connect["user"], "-P", self.connect["password"]]
        return words

    def subscribe(self, command):
        words = self.words("mosquitto_sub", self.connect["id"] + ("" if not self.subscribers else f"-{next(NUMBERS)}"))
        words += ["-d", "-F", "%j", "-t", command["filter"], "-q", str(command["qos"])]
        if not self.connect["clean"]:
            words += ["-c"]
        will = self.connect.get("will")
        if will and not self.subscribers:
            words += ["--will-topic", will["topic"], "--will-payload", will["payload"], "--will-qos", str(will["qos"])]
            if will["retain"]:
                words.append("--will-retain")
            words += options("will", will.get("properties"))
        if self.v5:
            values = dict(self.connect.get("properties") or {})
            if "session_expiry_interval" in values:
                words += ["-x", str(values.pop("session_expiry_interval"))]
            words += options("connect", values)
            words += options("subscribe", command.get("properties"))
            if command.get("retain_as_published"):
                words.append("--retain-as-published")
        process = subprocess.Popen(["stdbuf", "-oL", "-eL"] + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.subscribers.append(process)
        threading.Thread(target=self.read, args=(process,), daemon=True).start()

    def read(self, process):
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Subscribed (mid:"):
                tell(self.name, "subscribed", codes=[int(code) for code in line.split(": ", 2)[-1].split(",")])
            elif line.startswith("{"):
                message = dict(json.loads(line, object_pairs_hook=Pairs))
                tell(self.name, "message", topic=message["topic"], payload=message["payload"], qos=message["qos"],
                     retain=bool(message["retain"]), dup=False, properties=properties_of(message.get("properties")))
        if process.wait() > 0:
            tell(self.name, "failed", text="".join(said[-20:]))

    def publish(self, command):
        words = self.words("mosquitto_pub", f"{self.connect['id']}-pub-{next(NUMBERS)}")
        words += ["-t", command["topic"], "-q", str(command["qos"])]
        words += ["-m", command["payload"]] if command["payload"] else ["-n"]
        if command["retain"]:
            words.append("-r")
        if self.v5:
            words += options("publish", command.get("properties"))
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode == 0:
            tell(self.name, "published", code=0)
        else:
            tell(self.name, "failed", text=done.stderr)

    def lines(self, command):
        words = self.words("mosquitto_pub", f"{self.connect['id']}-pub-{next(NUMBERS)}")
        words += ["-t", command["topic"], "-q", str(command["qos"]), "-l"]
        threading.Thread(target=self.pour, args=(words, command["lines"]), daemon=True).start()

    def pour(self, words, lines):
        done = subprocess.run(words, capture_output=True, text=True, input="".join(line + "\n" for line in lines))
        if done.returncode != 0:
            tell(self.name, "failed", text=done.stderr)
            return
        for _ in lines:
            tell(self.name, "published", code=0)

    def request(self, command):
        words = self.words("mosquitto_rr", f"{self.connect['id']}-rr-{next(NUMBERS)}")
        words += ["-t", command["topic"], "-e", command["answer"], "-m", command["payload"], "-q", str(command["qos"])]
        words += ["-F", "%p"] + options("publish", command.get("properties"))
        threading.Thread(target=self.ask, args=(words,), daemon=True).start()

    def ask(self, words):
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode == 0:
            tell(self.name, "answered", payload=done.stdout.rstrip("\n"))
        else:
            tell(self.name, "failed", text=done.stderr)

    def disconnect(self, _command):
        """In 3.x an interrupt is a goodbye; in 5.0 it asks for the will as code 4 does, and nothing asks for code 0."""
        for process in self.subscribers:
            interrupt(process)
        tell(self.name, "closed", code=0)

    def kill(self, _command):
        for process in self.subscribers:
            process.kill()
            process.wait()
        tell(self.name, "closed", code=0)


def main():
    clients = {}
    tell("", "ready")
    for line in sys.stdin:
        command = json.loads(line)
        name, do = command["client"], command["do"]
        try:
            if do == "connect":
                clients[name] = Client(name, command)
            else:
                getattr(clients[name], do)(command)
        except Exception as error:  # told to the test, which knows what it wanted
            tell(name, "failed", text=f"{do}: {error!r}")
    for client in clients.values():
        client.kill(None)
    os._exit(0)


main()
