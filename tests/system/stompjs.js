// @stomp/stompjs as a peer: node stompjs.js TRANSPORT URL NAME
// TRANSPORT is "ws" or a transport of sockjs-client. Ends with status 0 if all went as it should.

"use strict";

const assert = require("node:assert/strict");
const { Client } = require("@stomp/stompjs");
const SockJS = require("sockjs-client");
const WebSocket = require("ws");

const [transport, url, name] = process.argv.slice(2);

function opened() {
  if (transport === "ws") return new WebSocket(`${url.replace("http", "ws")}/websocket`, ["v12.stomp", "v11.stomp"]);
  return new SockJS(url, null, { transports: [transport] });
}

function connect() {
  return new Promise((resolve, reject) => {
    const client = new Client({
      webSocketFactory: opened,
      reconnectDelay: 0,
      heartbeatIncoming: 1000,
      heartbeatOutgoing: 1000,
      onConnect: (frame) => {
        assert.equal(frame.headers.version, "1.2");
        resolve(client);
      },
      onStompError: (frame) => reject(new Error(`${frame.headers.message}: ${frame.body}`)),
      onWebSocketError: (error) => reject(error),
    });
    client.activate();
  });
}

function receipt(client, act) {
  return new Promise((resolve) => {
    const id = `receipt-${Math.random()}`;
    client.watchForReceipt(id, resolve);
    act({ receipt: id });
  });
}

async function main() {
  const [sender, receiver] = [await connect(), await connect()];
  const waiting = [];
  const wanted = [];
  const next = () => (waiting.length ? waiting.shift() : new Promise((resolve) => wanted.push(resolve)));
  await receipt(receiver, (headers) =>
    receiver.subscribe(`${name}/#`, (message) => (wanted.length ? wanted.shift()(message) : waiting.push(message)), {
      ack: "client-individual",
      ...headers,
    }),
  );
  const text = "Grüße \u2028 \u{1F600} \\ : \n";
  await receipt(sender, (headers) =>
    sender.publish({ destination: `${name}/a`, body: text, headers: { "x-header": "c:\\\nd", ...headers } }),
  );
  const first = await next();
  assert.equal(first.body, text);
  assert.equal(first.headers["x-header"], "c:\\\nd");
  assert.equal(first.headers.destination, `${name}/a`);
  first.nack();
  const again = await next();
  assert.equal(again.headers.redelivered, "true");
  again.ack();
  const transaction = sender.begin();
  for (let number = 0; number < 100; number++)
    sender.publish({ destination: `${name}/${number}`, body: `${number}`, headers: { transaction: transaction.id } });
  transaction.commit();
  for (let number = 0; number < 100; number++) {
    const message = await next();
    assert.equal(message.body, `${number}`);
    message.ack();
  }
  if (transport === "ws") {
    const bytes = Uint8Array.from([0, 255, 254, 10]);
    sender.publish({ destination: `${name}/binary`, binaryBody: bytes });
    const message = await next();
    assert.deepEqual(Array.from(message.binaryBody), Array.from(bytes));
    message.ack();
  }
  for (const client of [sender, receiver]) await client.deactivate();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
