// MQTT.js as a peer of the matrix: commands on standard input, events on standard output, a JSON object a line.
//
// The language is that of src/matrix/peer.rs. MQTT.js holds user properties in an object, so that the order of different
// names is not to be seen here.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const mqtt = require(path.join(process.env.MOTEGATE_NODE_MODULES, "mqtt"));

const BOOLEANS = ["payload_format_indicator", "request_response_information", "request_problem_information"];
const BYTES = ["correlation_data", "authentication_data"];
const SCHEMES = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss", unix: "mqtt+unix" };
const clients = new Map();

function tell(client, event, more) {
  console.log(JSON.stringify({ client, event, ...more }));
}

/** Names as MQTT.js writes them. */
function toJs(values) {
  const made = {};
  for (const [name, value] of Object.entries(values || {})) {
    if (name === "user_property") {
      const users = (made.userProperties = {});
      for (const [key, text] of value) users[key] = key in users ? [].concat(users[key], text) : text;
    } else if (name === "subscription_identifier") {
      made.subscriptionIdentifier = value[0];
    } else {
      const camel = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
      made[camel] = BOOLEANS.includes(name) ? value === 1 : BYTES.includes(name) ? Buffer.from(value) : value;
    }
  }
  return made;
}

function fromJs(found) {
  const values = {};
  for (const [camel, value] of Object.entries(found || {})) {
    if (camel === "userProperties") {
      values.user_property = Object.entries(value).flatMap(([key, texts]) => [].concat(texts).map((text) => [key, text]));
      continue;
    }
    const name = camel.replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase());
    if (name === "subscription_identifier") values[name] = [].concat(value);
    else values[name] = BOOLEANS.includes(name) ? Number(value) : Buffer.isBuffer(value) ? value.toString() : value;
  }
  return values;
}

/** The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. */
class Scram {
  constructor(user, password) {
    this.password = password;
    this.nonce = crypto.randomBytes(18).toString("base64");
    this.bare = `n=${user.replace(/=/g, "=3D").replace(/,/g, "=2C")},r=${this.nonce}`;
  }

  first() {
    return "n,," + this.bare;
  }

  last(challenge) {
    const part = Object.fromEntries(challenge.split(",").map((pair) => [pair[0], pair.slice(2)]));
    if (!part.r.startsWith(this.nonce) || part.r === this.nonce) throw new Error("the nonce is not ours");
    const hmac = (key, text) => crypto.createHmac("sha256", key).update(text).digest();
    const salted = crypto.pbkdf2Sync(this.password, Buffer.from(part.s, "base64"), Number(part.i), 32, "sha256");
    const bare = `c=biws,r=${part.r}`;
    const all = `${this.bare},${challenge},${bare}`;
    const key = hmac(salted, "Client Key");
    const signature = hmac(crypto.createHash("sha256").update(key).digest(), all);
    const proof = Buffer.from(key.map((byte, at) => byte ^ signature[at]));
    this.verifier = "v=" + hmac(hmac(salted, "Server Key"), all).toString("base64");
    return `${bare},p=${proof.toString("base64")}`;
  }

  /** Whether the server has proved that it knows the password's verifier. */
  proved(data) {
    return data !== undefined && data.toString() === this.verifier;
  }
}

class Client {
  constructor(name, command) {
    this.name = name;
    this.v5 = command.version === "5";
    const { kind, host, port, path: file, ca } = command.transport;
    const options = {
      protocol: SCHEMES[kind], host, port, clientId: command.id, clean: command.clean, keepalive: command.keep_alive ?? 60,
      protocolVersion: { "3.1": 3, "3.1.1": 4, "5": 5 }[command.version],
      protocolId: command.version === "3.1" ? "MQIsdp" : "MQTT",
      reconnectPeriod: command.reconnect ? 20 : 0, resubscribe: command.resubscribe ?? false,
      username: command.user, password: command.password,
      autoAssignTopicAlias: command.aliases ?? false,
    };
    if (ca) options.ca = fs.readFileSync(ca);
    if (kind === "unix") options.path = file;
    if (kind === "ws" || kind === "wss") options.path = "/mqtt";
    if (command.will) {
      options.will = { ...command.will, properties: this.v5 ? toJs(command.will.properties) : undefined };
    }
    if (this.v5) options.properties = toJs(command.properties);
    if (command.scram) {
      this.scram = new Scram(...command.scram);
      options.properties.authenticationMethod = "SCRAM-SHA-256";
      options.properties.authenticationData = Buffer.from(this.scram.first());
    }
    this.mqtt = mqtt.connect(options);
    this.mqtt.handleAuth = (packet, done) => this.onAuth(packet, done);
    this.mqtt.on("connect", (packet) => {
      const more = this.scram ? { proved: this.scram.proved(packet.properties?.authenticationData) } : {};
      tell(name, "connected", { code: 0, session_present: packet.sessionPresent, properties: fromJs(packet.properties), ...more });
    });
    this.mqtt.on("error", (error) => {
      // A message that comes behind our goodbye cannot be acknowledged.
      if (this.ended) return;
      // A connection that breaks while something is written: it comes again.
      if (command.reconnect && error.syscall) return;
      if (typeof error.code === "number") tell(name, "connected", { code: error.code, session_present: false, properties: {} });
      else tell(name, "failed", { text: String(error.stack) });
    });
    this.mqtt.on("disconnect", (packet) => tell(name, "goodbye", { code: packet.reasonCode ?? 0 }));
    this.mqtt.on("close", () => {
      if (!this.ended) tell(name, command.reconnect ? "lost" : "closed", { code: 0 });
    });
    // The topic that an alias stands for is not in the packet.
    this.mqtt.on("message", (topic, payload, packet) => tell(name, "message", {
      topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain, dup: packet.dup, properties: fromJs(packet.properties),
    }));
  }

  onAuth(packet, done) {
    const data = packet.properties.authenticationData;
    if (packet.reasonCode === 0) {
      tell(this.name, "authenticated", { proved: this.scram.proved(data) });
      return done();
    }
    const properties = { authenticationMethod: "SCRAM-SHA-256", authenticationData: Buffer.from(this.scram.last(data.toString())) };
    return done(null, { cmd: "auth", reasonCode: 0x18, properties });
  }

  authenticate(command) {
    this.scram = new Scram(...command.scram);
    const properties = { authenticationMethod: "SCRAM-SHA-256", authenticationData: Buffer.from(this.scram.first()) };
    this.mqtt._sendPacket({ cmd: "auth", reasonCode: 0x19, properties });
  }

  subscribe(command) {
    const options = { qos: command.qos };
    if (this.v5) {
      options.nl = command.no_local ?? false;
      options.rap = command.retain_as_published ?? false;
      options.rh = command.retain_handling ?? 0;
      if (command.properties) options.properties = toJs(command.properties);
    }
    this.mqtt.subscribe(command.filter, options, (error, granted, packet) => {
      if (packet) tell(this.name, "subscribed", { codes: packet.granted });
      else tell(this.name, "failed", { text: String(error) });
    });
  }

  unsubscribe(command) {
    this.mqtt.unsubscribe(command.filter, () => tell(this.name, "unsubscribed", {}));
  }

  publish(command) {
    const options = { qos: command.qos, retain: command.retain };
    if (this.v5 && command.properties) options.properties = toJs(command.properties);
    this.mqtt.publish(command.topic, command.payload, options, (error, packet) => {
      if (error) tell(this.name, "published", { code: error.code ?? 0xff });
      else tell(this.name, "published", { code: packet?.reasonCode ?? 0 });
    });
  }

  disconnect(command) {
    const options = {};
    if (this.v5 && command.code) options.reasonCode = command.code;
    if (this.v5 && command.properties) options.properties = toJs(command.properties);
    this.ended = true;
    // Between two connections it has no other end to tell of.
    this.mqtt.end(false, options, () => tell(this.name, "closed", { code: 0 }));
  }

  kill() {
    this.mqtt.stream.destroy();
  }
}

tell("", "ready", {});
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  try {
    if (command.do === "connect") clients.set(command.client, new Client(command.client, command));
    else clients.get(command.client)[command.do](command);
  } catch (error) {
    tell(command.client, "failed", { text: String(error.stack) });
  }
}).on("close", () => process.exit(0));
