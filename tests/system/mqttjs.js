// MQTT.js as a peer: node mqttjs.js SCENARIO URL NAME VERSION
// Ends with status 0 if the scenario went as it should, with the reason on standard error if not.

"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const mqtt = require("mqtt");

const [scenario, url, name, versionText] = process.argv.slice(2);
const version = Number(versionText);
const peers = [];

// One connected client. Its messages are read one after the other with next().
async function connect(id, options = {}) {
  const client = mqtt.connect(url, {
    clientId: `${name}${id}`,
    protocolVersion: version,
    protocolId: version === 3 ? "MQIsdp" : "MQTT",
    reconnectPeriod: 0,
    ...options,
  });
  const waiting = [];
  const wanted = [];
  client.on("message", (topic, payload, packet) => {
    const message = { topic, payload, text: payload.toString(), packet };
    if (wanted.length) wanted.shift()(message);
    else waiting.push(message);
  });
  client.next = () => (waiting.length ? waiting.shift() : new Promise((resolve) => wanted.push(resolve)));
  peers.push(client);
  [client.connack] = await once(client, "connect");
  return client;
}

const lasting = () => ({ clean: false, ...(version === 5 && { properties: { sessionExpiryInterval: 300 } }) });

const scenarios = {
  async everyQoS() {
    const [subscriber, sender] = [await connect("s"), await connect("p")];
    for (const qos of [0, 1, 2]) {
      const [granted] = await subscriber.subscribeAsync(`${name}/${qos}`, { qos });
      assert.equal(granted.qos, qos);
      // MQTT.js does not itself keep to the broker's window, so ten at a time.
      for (let first = 0; first < 100; first += 10) {
        const numbers = Array.from({ length: 10 }, (_, index) => `${first + index}`);
        await Promise.all(numbers.map((text) => sender.publishAsync(`${name}/${qos}`, text, { qos })));
        for (const text of numbers) {
          const message = await subscriber.next();
          assert.deepEqual([message.text, message.packet.qos], [text, qos]);
        }
      }
    }
  },

  async retained() {
    const sender = await connect("p");
    await sender.publishAsync(`${name}/a`, "kept", { qos: 1, retain: true });
    const late = await connect("s");
    await late.subscribeAsync(`${name}/+`, { qos: 1 });
    const message = await late.next();
    assert.deepEqual([message.text, message.packet.retain], ["kept", true]);
    await sender.publishAsync(`${name}/a`, "", { qos: 1, retain: true });
    assert.equal((await late.next()).text, "");
    const later = await connect("t");
    await later.subscribeAsync(`${name}/+`, { qos: 1 });
    await sender.publishAsync(`${name}/b`, "only this", { qos: 1 });
    assert.equal((await later.next()).text, "only this");
  },

  async will() {
    const watching = await connect("s");
    await watching.subscribeAsync(`${name}/gone`, { qos: 1 });
    const lost = await connect("w", { will: { topic: `${name}/gone`, payload: Buffer.from("vanished"), qos: 1 } });
    lost.stream.destroy();
    assert.equal((await watching.next()).text, "vanished");
  },

  async session() {
    const sender = await connect("p");
    const first = await connect("s", lasting());
    assert.equal(first.connack.sessionPresent, false);
    await first.subscribeAsync(`${name}/#`, { qos: 2 });
    await first.endAsync();
    for (const qos of [1, 2]) await sender.publishAsync(`${name}/a`, `at ${qos}`, { qos });
    const again = await connect("s", lasting());
    if (version > 3) assert.equal(again.connack.sessionPresent, true);
    assert.deepEqual(new Set([(await again.next()).text, (await again.next()).text]), new Set(["at 1", "at 2"]));
    await again.endAsync();
    await (await connect("s")).endAsync();
  },

  async takeover() {
    const first = await connect("s");
    const reason = version === 5 ? once(first, "disconnect") : null;
    const closed = once(first, "close");
    await connect("s");
    if (reason) assert.equal((await reason)[0].reasonCode, 0x8e);
    await closed;
  },

  async largePayload() {
    const [subscriber, sender] = [await connect("s"), await connect("p")];
    await subscriber.subscribeAsync(`${name}/a`, { qos: 1 });
    const payload = Buffer.alloc(900000, "0123456789abcdef\u0000");
    await sender.publishAsync(`${name}/a`, payload, { qos: 1 });
    assert.ok(payload.equals((await subscriber.next()).payload));
  },

  async properties() {
    const [subscriber, sender] = [await connect("s"), await connect("p")];
    await subscriber.subscribeAsync(`${name}/a`, { qos: 1, properties: { subscriptionIdentifier: 300 } });
    const properties = {
      payloadFormatIndicator: true,
      contentType: "text/plain",
      responseTopic: `${name}/answer`,
      correlationData: Buffer.from([0, 255]),
      userProperties: { one: "1", several: ["2", "3"] },
    };
    await sender.publishAsync(`${name}/a`, "text", { qos: 1, properties: { ...properties, messageExpiryInterval: 60 } });
    const got = { ...(await subscriber.next()).packet.properties };
    assert.ok([59, 60].includes(got.messageExpiryInterval));
    assert.equal(got.subscriptionIdentifier, 300);
    delete got.messageExpiryInterval;
    delete got.subscriptionIdentifier;
    assert.deepEqual({ ...got, userProperties: { ...got.userProperties } }, properties);
  },

  // Both ways: the sender's topics shrink to numbers, and so do those of a subscriber that takes aliases.
  async topicAlias() {
    const subscriber = await connect("s", { properties: { topicAliasMaximum: 2 } });
    const sender = await connect("p", { autoAssignTopicAlias: true });
    assert.ok(sender.connack.properties.topicAliasMaximum > 0);
    const sent = [];
    sender.on("packetsend", (packet) => packet.cmd === "publish" && sent.push(packet.topic));
    const received = [];
    subscriber.on("packetreceive", (packet) => {
      if (packet.cmd === "publish") received.push([packet.topic, packet.properties?.topicAlias]);
    });
    await subscriber.subscribeAsync(`${name}/#`, { qos: 1 });
    for (let round = 0; round < 5; round++) {
      for (const topic of ["a", "b", "c"]) {
        await sender.publishAsync(`${name}/${topic}`, `${topic}${round}`, { qos: 1 });
        const message = await subscriber.next();
        assert.deepEqual([message.topic, message.text], [`${name}/${topic}`, `${topic}${round}`]);
      }
    }
    assert.ok(sent.includes(""), "the sender used no alias");
    assert.ok(received.some(([topic, alias]) => topic === "" && alias), "the broker used no alias");
    assert.ok(received.every(([, alias]) => alias === undefined || (alias >= 1 && alias <= 2)), "an alias too high");
  },

  async sharedSubscription() {
    const members = [await connect("1"), await connect("2")];
    const sender = await connect("p");
    const got = [[], []];
    const all = new Promise((resolve) => {
      members.forEach((member, index) =>
        member.on("message", (topic, payload) => {
          got[index].push(Number(payload));
          if (got[0].length + got[1].length === 50) resolve();
        }),
      );
    });
    for (const member of members) await member.subscribeAsync(`$share/g/${name}/a`, { qos: 1 });
    for (let number = 0; number < 50; number++) await sender.publishAsync(`${name}/a`, `${number}`, { qos: 1 });
    await all;
    assert.ok(got[0].length && got[1].length);
    assert.equal(new Set(got.flat()).size, 50);
  },

  // MQTT.js acknowledges only when its callback is called, so holding that back fills the window.
  async flowControl() {
    const held = [];
    let come = () => {};
    const slow = await connect("s", {
      properties: { receiveMaximum: 3 },
      customHandleAcks: (topic, message, packet, done) => {
        held.push([message.toString(), done]);
        come();
      },
    });
    const sender = await connect("p");
    await slow.subscribeAsync(`${name}/a`, { qos: 1 });
    for (let number = 0; number < 9; number++) await sender.publishAsync(`${name}/a`, `${number}`, { qos: 1 });
    for (let number = 0; number < 9; number++) {
      while (held.length === 0) await new Promise((resolve) => (come = resolve));
      assert.ok(held.length <= 3, `${held.length} messages in flight`);
      const [text, acknowledge] = held.shift();
      assert.equal(text, `${number}`);
      acknowledge(0);
    }
  },
};

scenarios[scenario]().then(
  async () => {
    for (const peer of peers) await peer.endAsync(true);
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
