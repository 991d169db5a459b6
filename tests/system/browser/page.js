// Clients in a page, by name: what the test has them do, and what has come for them. Whatever waits returns a promise.

"use strict";

const clients = {};

function say(name, text) {
  const row = document.getElementById("log").insertRow();
  for (const part of [name, text.length > 100 ? `${text.slice(0, 100)}... (${text.length})` : text])
    row.insertCell().textContent = part;
}

// What comes, and whoever waits for it.
class Mailbox {
  constructor() {
    this.waiting = [];
    this.wanted = [];
  }

  put(thing) {
    if (this.wanted.length) this.wanted.shift()(thing);
    else this.waiting.push(thing);
  }

  next() {
    return this.waiting.length ? this.waiting.shift() : new Promise((resolve) => this.wanted.push(resolve));
  }
}

function plain(message, index) {
  return { headers: message.headers, body: message.body, bytes: Array.from(message.binaryBody.slice(0, 16)), index };
}

// TRANSPORT is "ws" or one of sockjs-client; resolves to what the gateway has said in CONNECTED.
function open(name, transport, url, versions, headers, options) {
  const client = new StompJs.Client({
    reconnectDelay: 0,
    connectHeaders: headers,
    stompVersions: new StompJs.Versions(versions),
    ...options,
  });
  if (transport === "ws") client.brokerURL = url.replace("http", "ws");
  else client.webSocketFactory = () => new SockJS(url, null, { transports: [transport] });
  const state = (clients[name] = { client, messages: new Mailbox(), events: new Mailbox(), all: [] });
  return new Promise((resolve, reject) => {
    client.onConnect = (frame) => {
      say(name, `connected by ${transport}: ${JSON.stringify(frame.headers)}`);
      const connected = { ...frame.headers, "sub-protocol": client.webSocket.protocol };
      state.events.put(connected);
      resolve(connected);
    };
    client.onStompError = (frame) => {
      say(name, `error: ${frame.headers.message}`);
      state.events.put({ error: frame.headers.message });
      reject(new Error(frame.headers.message));
    };
    client.onWebSocketClose = (event) => {
      say(name, `closed: ${event.code} ${event.reason}`);
      state.events.put({ closed: event.code, reason: event.reason });
      reject(new Error(`closed: ${event.code} ${event.reason}`));
    };
    client.activate();
  });
}

function receipt(name, act) {
  return new Promise((resolve) => {
    const id = `receipt-${Math.random()}`;
    clients[name].client.watchForReceipt(id, () => resolve(true));
    act(clients[name].client, { receipt: id });
  });
}

function subscribe(name, destination, headers) {
  const { messages, all } = clients[name];
  const take = (message) => {
    say(name, `${message.headers.destination}: ${message.body}`);
    all.push(message);
    messages.put(plain(message, all.length - 1));
  };
  return receipt(name, (client, more) => client.subscribe(destination, take, { ...headers, ...more }));
}

function send(name, destination, body, headers) {
  return receipt(name, (client, more) => client.publish({ destination, body, headers: { ...headers, ...more } }));
}

function sendBytes(name, destination, bytes) {
  return receipt(name, (client, headers) =>
    client.publish({ destination, binaryBody: Uint8Array.from(bytes), headers }),
  );
}

// COUNT messages in a transaction.
function burst(name, destination, count) {
  return receipt(name, (client, headers) => {
    const transaction = client.begin();
    for (let number = 0; number < count; number++)
      client.publish({ destination, body: `${number}`, headers: { transaction: transaction.id } });
    client.commit(transaction.id);
    client.publish({ destination: "done", body: "", headers });
  });
}

function next(name) {
  return clients[name].messages.next();
}

function nextEvent(name) {
  return clients[name].events.next();
}

async function collect(name, count) {
  const bodies = [];
  while (bodies.length < count) {
    const message = await next(name);
    clients[name].all[message.index].ack();
    bodies.push(message.body);
  }
  return bodies;
}

function settle(name, index, how) {
  clients[name].all[index][how]();
}

// A DISCONNECT with its receipt; resolves when the connection is closed.
async function close(name) {
  await clients[name].client.deactivate();
  return true;
}

// Sends whatever comes from one destination on to another.
function echo(name, from, to) {
  return receipt(name, (client, headers) =>
    client.subscribe(from, (message) => client.publish({ destination: to, body: message.body }), headers),
  );
}

// MQTT.js in the same page: asks, and resolves to what is answered.
function askByMQTT(url, clientId, ask, answer, body, protocolVersion) {
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(url, { clientId, protocolVersion, reconnectPeriod: 0 });
    client.on("error", reject);
    client.on("message", (topic, payload, packet) => {
      say(clientId, `${topic}: ${payload}`);
      client.end(false, () => resolve({ topic, body: payload.toString(), qos: packet.qos }));
    });
    client.on("connect", () => client.subscribe(answer, { qos: 2 }, () => client.publish(ask, body, { qos: 1 })));
  });
}

async function fetched(url, options) {
  try {
    const response = await fetch(url, options);
    return { status: response.status, body: await response.text() };
  } catch (error) {
    return { error: error.message };
  }
}

// Show a page within this one.
function show(url) {
  return new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.onload = () => resolve(true);
    frame.src = url;
    document.body.append(frame);
  });
}
