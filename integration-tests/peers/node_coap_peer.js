// node-coap as a peer of the CoAP matrix: commands on standard input, events on standard output, a JSON object a line.
//
// The language is that of src/coap_matrix/peer.rs. One agent, so one socket, for all requests.
"use strict";
const path = require("path");
const readline = require("readline");
const coap = require(path.join(process.env.MOTEGATE_NODE_MODULES, "coap"));

const PATIENCE = 50000;
const agent = new coap.Agent();
const observers = new Map();

function tell(client, event, more) {
  console.log(JSON.stringify({ client, event, ...more }));
}

function begin(command, observe) {
  const { hostname, port, pathname } = new URL(command.uri.replace(/^coap/, "http"));
  const { confirmable } = command;
  const token = Number.isInteger(command.token) ? Buffer.alloc(command.token, 0xa1) : undefined;
  const method = command.method ?? "GET";
  const request = coap.request({ hostname, port, pathname, method, confirmable, observe, token, agent });
  const exponent = Math.log2(command.block) - 4;
  const timer = setTimeout(() => tell(command.client, "failed", { text: "no answer" }), PATIENCE);
  request.on("response", () => clearTimeout(timer));
  request.on("error", (error) => {
    clearTimeout(timer);
    tell(command.client, "failed", { text: String(error.stack) });
  });
  if (Number.isInteger(command.format)) {
    request.setOption("Content-Format", Buffer.of(command.format >> 8, command.format & 255).subarray(command.format < 256));
  }
  // It would say Block1 of a request that fits one block, too, and send nothing of an empty one.
  if ((command.payload ?? "").length > command.block) request.setOption("Block1", Buffer.of(exponent));
  else if (method === "GET" || method === "FETCH") request.setOption("Block2", Buffer.of(exponent));
  return request;
}

const deeds = {
  request(command) {
    const request = begin(command, false);
    request.on("response", (response) => {
      tell(command.client, "response", { code: response.code, payload: response.payload.toString("latin1") });
    });
    request.end(Buffer.from(command.payload ?? "", "latin1"));
  },

  observe(command) {
    const request = begin(command, true);
    request.on("response", (response) => {
      observers.set(command.client, response);
      let event = "observing";
      response.on("data", (value) => {
        tell(command.client, event, { code: response.code, payload: value.toString(), registered: true });
        event = "value";
      });
    });
    request.end();
  },

  cancel(command) {
    observers.get(command.client).close();
    tell(command.client, "cancelled");
  },
};

tell("", "ready");
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  try {
    deeds[command.do](command);
  } catch (error) {
    tell(command.client, "failed", { text: String(error.stack) });
  }
}).on("close", () => process.exit(0));
