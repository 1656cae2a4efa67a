"""libcoap's coap-client as a peer of the CoAP matrix: commands on standard input, events on standard output.

The language is that of src/coap_matrix/peer.rs. One process a request, from one of a few ports in turn.
"""
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

PATIENCE = 50
AUTHORITY = os.environ.get("SSL_CERT_FILE")
CODE = re.compile(r"^v:1 t:\w+ c:([2-5]\.\d\d) ")
FOLDER = tempfile.TemporaryDirectory()
NUMBERS = itertools.count()
OBSERVERS = {}


def free_ports(count):
    """Below those that the system gives to others meanwhile."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                continue
    return ports


PORTS = itertools.cycle(free_ports(16))


def tell(client, event, **more):
    print(json.dumps({"client": client, "event": event, **more}), flush=True)


def is_stream(command):
    return "+" in command["uri"].split(":")[0]


def words(command):
    if command["uri"].startswith("coaps"):
        library = "gnutls" if command["block"] <= 256 else "openssl"
        words = [f"coap-client-{library}", "-R", AUTHORITY, "-B", str(PATIENCE)]
    else:
        words = ["coap-client-notls", "-B", str(PATIENCE)]
    if not is_stream(command):
        words += ["-a", "127.0.0.1"]
    if command["block"] <= 1024:
        words += ["-b", str(command["block"])]
    if command.get("format") is not None:
        words += ["-t", str(command["format"])]
    if command.get("token") is not None:
        words += ["-T", "tokentok"[:command["token"]]]
    return words if command["confirmable"] else words + ["-N"]


def port(command):
    """One of ours; that of a connection would be taken for a while after its end."""
    return [] if is_stream(command) else ["-p", str(next(PORTS))]


def request(command):
    number = next(NUMBERS)
    method = command.get("method", "GET")
    body, answer = (os.path.join(FOLDER.name, f"{name}{number}") for name in ("body", "answer"))
    line = words(command) + port(command) + ["-v", "6", "-m", method.lower(), "-o", answer]
    if command.get("payload"):
        with open(body, "wb") as file:
            file.write(command["payload"].encode("latin-1"))
        line += ["-f", body]
    done = subprocess.run(line + [command["uri"]], capture_output=True, text=True)
    codes = [found[1] for found in map(CODE.match, done.stdout.splitlines()) if found]
    payload = ""
    if os.path.exists(answer):
        with open(answer, "rb") as file:
            payload = file.read().decode("latin-1")
        os.remove(answer)
    if os.path.exists(body):
        os.remove(body)
    if codes:
        tell(command["client"], "response", code=codes[-1], payload=payload)
    else:
        tell(command["client"], "failed", text=(done.stdout + done.stderr)[-2000:])


def observe(command):
    """Values are lines: those of the matrix hold no line end. What is not 2.05 is said on standard error."""
    process = subprocess.Popen(["stdbuf", "-oL"] + words(command) + ["-s", "600", "-w", command["uri"]],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    OBSERVERS[command["client"]] = process
    threading.Thread(target=values, args=(command["client"], process), daemon=True).start()


def values(client, process):
    event = "observing"
    for line in process.stdout:
        if client not in OBSERVERS:
            continue  # what its cancellation was answered
        # Whether the answer had an Observe option is seen by the values that follow.
        tell(client, event, code="2.05", payload=line.rstrip("\n"), registered=True)
        event = "value"
    errors = process.stderr.read()
    if client in OBSERVERS and (errors or event == "observing"):
        tell(client, "failed", text=errors)


def cancel(command):
    process = OBSERVERS.pop(command["client"])
    process.send_signal(signal.SIGINT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
    tell(command["client"], "cancelled")


tell("", "ready")
for text in sys.stdin:
    asked = json.loads(text)
    try:
        globals()[asked["do"]](asked)
    except Exception as error:
        tell(asked["client"], "failed", text=f"{type(error).__name__}: {error}")
for left in OBSERVERS.values():
    left.kill()
