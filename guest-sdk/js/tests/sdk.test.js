import assert from "node:assert/strict";
import { test } from "node:test";

import { handler, Reject, upcaster } from "../index.js";
import { Harness } from "../testing.js";
import plugin from "./warehouse.js";

const warehouse = (options) => new Harness(plugin, options);
const event = (type, item, by) => ({ stream: "stock-1", type, data: { item, by } });
const failureOf = (call) => {
  try {
    call();
  } catch (failure) {
    return failure;
  }
  assert.fail("it did not fail");
};

test("where batches end does not show", () => {
  const items = ["a", "ab", "a-copy", "b", "b-copy", "__proto__", "10", "9", "日本 \u0000\"\\"];
  const types = ["dropped", "copied", "summed", "changed", "changed", "changed"];
  const events = Array.from({ length: 2000 }, (_, n) => {
    const random = (n * 2654435761) >>> 8;
    return event(types[random % 6], items[(random >>> 8) % items.length], 1);
  });
  const folded = [];
  for (const batch of [1, 2, 64, 2000]) {
    const stock = warehouse({ batch });
    stock.feed(events);
    folded.push([...stock.documents].sort());
  }
  for (const other of folded) assert.deepEqual(other, folded[0]);
});

test("a scan crosses pages and sees what its batch has changed", () => {
  const stock = warehouse();
  stock.feed([...Array(200).keys()].map((n) => event("changed", `bolt-${n}`, 1)).concat(event("summed", "bolt-")));
  assert.equal(stock.get("sums", "bolt-"), 200);
});

test("what get returns is a copy", () => {
  const stock = warehouse();
  stock.feed([event("changed", "nuts", 3), event("aliased", "nuts"), event("changed", "nuts", 1)]);
  assert.deepEqual(stock.get("items", "nuts"), { stock: 4 });
});

test("a failure names its event, and its batch leaves nothing", () => {
  const stock = warehouse({ config: { depot: "Hull" } });
  const failure = failureOf(() => stock.feed([event("changed", "nuts", 1), event("refused", "nuts")]));
  assert.deepEqual(failure, {
    disposition: "retry",
    code: "stock.refused",
    message: "not now",
    retryAfterMs: 5,
    eventIndex: 1,
    attributes: [["depot", "Hull"]],
  });
  assert.deepEqual(stock.all("items"), {});
});

test("whatever else is thrown rejects the event", () => {
  const stock = warehouse();
  const of = (bad) => failureOf(() => stock.feed([event("changed", "nuts", 1), { ...event("changed"), ...bad }]));
  for (const bad of [{ data: null }, { dataBase64: "/w==" }, { data: { by: 1 } }]) {
    const { disposition, code, message, eventIndex } = of(bad);
    assert.deepEqual([disposition, code, eventIndex], ["reject", "plugin.exception", 1]);
    assert.match(message, /^TypeError: /);
  }
  assert.match(of({ data: {} }).message, /a key of items is not a string: undefined/);
  assert.match(of({ type: "undeclared" }).message, /elsewhere is not in the descriptor/);
});

test("log and console end in the plugin's log, with the settings' defaults", () => {
  const stock = warehouse();
  // Node has a console of its own, which the SDK leaves alone.
  stock.feed([{ ...event("logged", "nuts"), details: { traceparent: "00-1" } }]);
  assert.deepEqual(stock.log[0], { level: "warn", message: "low", fields: [["item", "nuts"], ["depot", "Leith"]] });
});

test("a handler's appends name their cause, and a batch that fails appends nothing", () => {
  const echo = handler({
    name: "echo",
    version: "0.1.0",
    handle(event, _, emit) {
      if (event.type === "bad") throw new Reject("echo.bad", "no");
      emit("echoes", [{ type: "first", data: 1 }, { type: "second", data: event.data }]);
      emit("others", [{ type: "third", data: null, key: event.key }]);
    },
  });
  const host = new Harness(echo);
  host.feed([{ stream: "s", type: "a", data: "x", key: "k" }, { stream: "s", type: "b", data: "y" }]);
  const told = host.appended.map(({ cause, stream, type }) => `${cause} ${stream} ${type}`);
  const once = (n) => [`${n} echoes first`, `${n} echoes second`, `${n} others third`];
  assert.deepEqual(told, [...once(0), ...once(1)]);
  assert.equal(failureOf(() => host.feed([{ stream: "s", type: "a" }, { stream: "s", type: "bad" }])).code, "echo.bad");
  assert.equal(host.appended.length, told.length);
});

test("an upcaster lifts what it declares, and what it throws fails one event", () => {
  const lifts = upcaster({
    name: "lifts",
    version: "0.1.0",
    lifts: [
      { type: "a", version: 1, toVersion: 2, lift: (data) => ({ ...data, x: data.y.z }) },
      { type: "a", version: 2, toType: "b", toVersion: 1, lift: (data, event) => event.stream },
      { type: "c", version: 1, toVersion: 2, lift() {} },
    ],
  });
  const host = new Harness(lifts);
  assert.deepEqual(host.descriptor.lifts[1], { type: "a", version: 2, toType: "b", toVersion: 1 });
  const [one, two, other, bad, nothing] = host.feed([
    { stream: "s", type: "a", data: { y: { z: 3 } } },
    { stream: "s", type: "a", schemaVersion: 2, data: {} },
    { stream: "s", type: "a", schemaVersion: 3, data: {} },
    { stream: "s", type: "a", data: {} },
    { stream: "s", type: "c", data: {} },
  ]);
  assert.deepEqual(one, { type: "a", schemaVersion: 2, data: { y: { z: 3 }, x: 3 } });
  assert.deepEqual([two, other], [{ type: "b", schemaVersion: 1, data: "s" }, null]);
  assert.equal(bad.failed.code, "plugin.exception");
  assert.match(nothing.failed.message, /must return its data/);
});
