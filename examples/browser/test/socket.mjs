// The plain WebSocket: node test/socket.mjs URL

import assert from "node:assert/strict";
import WebSocket from "ws";
import { check, freshStream, numbers, publish, url, within } from "./help.mjs";

async function open(query = "", options = {}) {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/ws${query}`, options);
  const messages = [];
  const waiting = new Set();
  socket.onmessage = ({ data }) => {
    messages.push(JSON.parse(data));
    for (const look of [...waiting]) look();
  };
  await within(new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; }), "open");
  const until = (is, what) =>
    within(
      new Promise((resolve) => {
        const look = () => {
          const found = is(messages);
          if (!found) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
      `${what}; so far ${JSON.stringify(messages.slice(-3))}`,
    );
  const say = (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message));
  let mark = 0;
  /// Waits for the answer to a message.
  const ask = async (message) => {
    const ref = ++mark;
    say({ ...message, ref });
    return until((all) => all.find((one) => one.ref === ref), `the answer to ${JSON.stringify(message)}`);
  };
  const events = (id) => messages.filter((one) => one.op === "event" && one.id === id);
  const offsets = (id) => events(id).map(({ event }) => event.offset);
  return { socket, messages, until, say, ask, events, offsets };
}

await check("credit is how much is sent, and acknowledging gives it back", async () => {
  const stream = freshStream();
  await publish(stream, 100);
  const { socket, until, say, ask, offsets } = await open();
  const subscribed = await ask({ op: "subscribe", id: "a", stream, from: 0, credit: 10 });
  assert.deepEqual(subscribed, { op: "subscribed", id: "a", ref: 1, nextOffset: 0 });
  await until(() => offsets("a").length === 10, "10 events");
  await ask({ op: "ping" });
  assert.deepEqual(offsets("a"), numbers(0, 10), "no more than was asked for");
  say({ op: "ack", id: "a", offset: 4 });
  await until(() => offsets("a").length === 15, "5 more");
  say({ op: "credit", id: "a", events: 3 });
  await until(() => offsets("a").length === 18, "3 more");
  for (let offset = 17; offset < 99; ) {
    say({ op: "ack", id: "a", offset });
    await until(() => offsets("a").at(-1) > offset, "more");
    offset = offsets("a").at(-1);
  }
  assert.deepEqual(offsets("a"), numbers(0, 100));
  socket.close();
});

await check("what a consumer was sent and has read is noted", async () => {
  const stream = freshStream();
  await publish(stream, 3);
  const { socket, until, ask, offsets } = await open();
  const consumer = `bob-${stream}`;
  await ask({ op: "subscribe", id: "a", stream, from: 0, consumer });
  await until(() => offsets("a").length === 3, "3 events");
  assert.equal((await ask({ op: "read", consumer, stream, offsets: [0, 2] })).op, "noted");
  const { receipts } = await (await fetch(`${url}/api/consumers/${consumer}/receipts`)).json();
  assert.deepEqual(receipts.map(({ offset, readAt }) => [offset, readAt !== undefined]), [[0, true], [1, false], [2, true]]);
  const early = await ask({ op: "read", consumer, stream, offsets: [3] });
  assert.deepEqual([early.op, early.code, early.details[0].at], ["error", "invalid_argument", "read"]);
  assert.equal((await ask({ op: "subscribe", id: "b", stream, consumer: "" })).code, "invalid_argument");
  socket.close();
});

await check("the log is followed with a filter, by position", async () => {
  const [orders, others] = [freshStream(), freshStream()];
  const { socket, until, ask, events, say } = await open();
  const { nextPosition } = await ask({ op: "subscribe", id: "b", streams: [`${orders}*`], types: ["wanted"] });
  assert.equal(typeof nextPosition, "number");
  await publish(orders, 5, 0, "unwanted");
  await publish(others, 5, 0, "wanted");
  await publish(orders, 5, 5, "wanted");
  await until(() => events("b").length === 5, "5 events");
  assert.deepEqual(events("b").map(({ event }) => [event.stream, event.offset]), numbers(5, 10).map((n) => [orders, n]));
  const { op } = await ask({ op: "ack", id: "b", position: events("b").at(-1).event.position + 1_000_000 });
  assert.equal(op, "error");
  say({ op: "ack", id: "b", position: events("b").at(-1).event.position });
  assert.equal((await ask({ op: "unsubscribe", id: "b" })).op, "unsubscribed");
  socket.close();
});

await check("what is wrong is told, and the connection lives on", async () => {
  const { socket, until, ask, say, messages } = await open();
  const code = async (message) => {
    const { op, code, message: text, details } = await ask(message);
    assert.equal(op, "error");
    assert.ok(text.length > 0 && Array.isArray(details));
    return code;
  };
  for (const text of ["", "{", "7", "[]", "nonsense"]) {
    const before = messages.length;
    say(text);
    await until(() => messages.length > before, "an answer");
    assert.deepEqual([messages.at(-1).op, messages.at(-1).code], ["error", "malformed_body"], text);
  }
  assert.equal(await code({}), "invalid_argument");
  assert.equal(await code({ op: "fly", id: "a" }), "invalid_argument");
  assert.equal(await code({ op: "subscribe", id: "a", stream: "s", colour: "red" }), "invalid_argument");
  assert.equal(await code({ op: "subscribe", id: "a", stream: "" }), "invalid_name");
  assert.equal(await code({ op: "subscribe", id: "a", stream: "s", streams: ["t"] }), "invalid_argument");
  assert.equal(await code({ op: "subscribe", id: "a", stream: "s", credit: 10_001 }), "invalid_argument");
  assert.equal(await code({ op: "subscribe", id: "a", stream: "private" }), "forbidden");
  assert.equal(await code({ op: "ack", id: "a", offset: 1 }), "invalid_argument");
  assert.equal(await code({ op: "join", id: "g", group: "nobody" }), "group_not_found");
  await ask({ op: "subscribe", id: "a", stream: "s" });
  assert.equal(await code({ op: "subscribe", id: "a", stream: "s" }), "invalid_argument");
  assert.equal(await code({ op: "ack", id: "a", position: 1 }), "invalid_argument");
  assert.equal(await code({ op: "nack", id: "a", tokens: [1], refusal: { skip: true } }), "invalid_argument");
  assert.equal((await ask({ op: "ping" })).op, "pong");
  socket.close();
});

await check("a member of a group gets, refuses and acknowledges, and is lost with its connection", async () => {
  const stream = freshStream();
  const group = stream.toLowerCase();
  const made = await fetch(`${url}/api/groups/${group}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ config: { streams: [stream], retry: { baseMs: 0 } } }),
  });
  assert.equal(made.status, 201, await made.text());
  await publish(stream, 6);
  const first = await open();
  assert.equal((await first.ask({ op: "join", id: "g", group, member: "w1", credit: 2 })).op, "joined");
  await first.until(() => first.events("g").length >= 2, "2 deliveries");
  await first.ask({ op: "ping" });
  assert.equal(first.events("g").length, 2, "no more than was asked for");
  const [one, two] = first.events("g");
  assert.deepEqual([one.event.offset, one.refused, one.lost], [0, 0, 0]);
  const extended = await first.ask({ op: "extend", id: "g", tokens: [two.token], ms: 60_000 });
  assert.deepEqual([extended.op, extended.outcomes.length], ["settled", 1]);
  const acked = await first.ask({ op: "ack", id: "g", tokens: [one.token] });
  assert.deepEqual(acked.outcomes, ["durable"]);
  const nacked = await first.ask({ op: "nack", id: "g", tokens: [two.token], refusal: { retry: "not today" } });
  assert.equal(nacked.op, "settled");
  await first.until(() => first.events("g").some(({ event, refused }) => event.offset === 1 && refused === 1), "again");
  first.socket.terminate();
  const second = await open();
  await second.ask({ op: "join", id: "g", group, member: "w2" });
  const settle = async () => {
    const seen = new Set();
    while (seen.size < 5) {
      const open = second.events("g").filter(({ token }) => !seen.has(token));
      if (open.length === 0) await second.until(() => second.events("g").some(({ token }) => !seen.has(token)), "more");
      for (const { token } of open) {
        seen.add(token);
        await second.ask({ op: "ack", id: "g", tokens: [token] });
      }
    }
  };
  await settle();
  assert.deepEqual(second.offsets("g"), [1, 2, 3, 4, 5]);
  assert.ok(second.events("g").some(({ lost }) => lost > 0), "what the first one had counts as lost");
  assert.equal((await second.ask({ op: "unsubscribe", id: "g" })).op, "unsubscribed");
  second.socket.close();
});

await check("200 subscriptions over one connection", async () => {
  const streams = Array.from({ length: 200 }, freshStream);
  const { socket, until, ask, offsets, messages } = await open();
  await Promise.all(streams.map((stream) => ask({ op: "subscribe", id: stream, stream, from: 0 })));
  await Promise.all(streams.map((stream) => publish(stream, 5)));
  await until(() => messages.filter(({ op }) => op === "event").length >= 1000, "1000 events");
  for (const stream of streams) assert.deepEqual(offsets(stream), numbers(0, 5));
  socket.close();
});
