// Sends records with @fluent-org/logger in all its modes, with and without
// acknowledgements.
//
//   NODE_PATH=… node send.js HOST PORT
//
// With KEY (and USER_NAME, PASSWORD) in the environment it does the handshake.
//
// Prints what was sent as JSON: a list of [tag, seconds, nanoseconds, record].
// A record's bytes are given as {"$hex": …}.
"use strict";
const { FluentClient, EventTime } = require("@fluent-org/logger");

const [host, port] = [process.argv[2], Number(process.argv[3])];
const NOW = 1700000000;
const sent = [];
const { KEY, USER_NAME, PASSWORD } = process.env;
const security = KEY ? { clientHostname: "sender", sharedKey: KEY, username: USER_NAME, password: PASSWORD } : undefined;

const records = () => [
  { message: "hello", n: 1, neg: -7, f: 1.5, ok: true, none: null },
  { message: "Grüße, 世界", list: [1, "two"], map: { a: { b: "c" } } },
  { bin: Buffer.from("ff0080", "hex") },
  { message: "x".repeat(70000) },
];

function note(tag, sec, nsec, record) {
  const hexed = {};
  for (const [k, v] of Object.entries(record)) hexed[k] = Buffer.isBuffer(v) ? { $hex: v.toString("hex") } : v;
  sent.push([tag, sec, nsec, hexed]);
}

async function run(eventMode, ack) {
  const prefix = `js.${eventMode.toLowerCase()}${ack ? ".ack" : ""}`;
  const client = new FluentClient(prefix, {
    eventMode,
    security,
    ack: ack ? { ackTimeout: 10000 } : undefined,
    socket: { host, port, timeout: 10000 },
    disconnect: { waitForPending: true, waitForPendingDelay: 10000, socketDisconnectDelay: 100 },
  });
  const pending = [];
  records().forEach((record, i) => {
    pending.push(client.emit("a", record, new EventTime(NOW + i, 123456789)));
    note(`${prefix}.a`, NOW + i, 123456789, record);
  });
  await Promise.all(pending);
  for (let i = 0; i < 100; i++) {
    const record = { i };
    pending.push(client.emit("many", record, new EventTime(NOW + i, 1)));
    note(`${prefix}.many`, NOW + i, 1, record);
  }
  await Promise.all(pending);
  await client.disconnect();
}

(async () => {
  for (const mode of ["Message", "Forward", "PackedForward", "CompressedPackedForward"])
    for (const ack of [false, true]) await run(mode, ack);
  process.stdout.write(JSON.stringify(sent));
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
