import assert from "node:assert/strict";
import { test } from "node:test";

import { Harness } from "../testing.js";
import { decode, encode } from "../utf8.js";

const warehouse = (options) => Harness.of(new URL("warehouse.js", import.meta.url), options);
const event = (type, item, by) => ({ stream: "stock-1", type, data: { item, by } });
const failureOf = (call) => {
  try {
    call();
  } catch (failure) {
    return failure;
  }
  assert.fail("it did not fail");
};

test("UTF-8 goes both ways, and what is not UTF-8 is refused", () => {
  for (const text of ["", "ascii", "é", "日本", "😀 \u0000 %41 é", "\u007f\u0080\u07ff\u0800\uffff"]) {
    assert.deepEqual(encode(text), new Uint8Array(Buffer.from(text)), text);
    assert.equal(decode(encode(text)), text);
  }
  assert.equal(decode(encode("lone \ud800")), "lone \ufffd");
  for (const bytes of [[0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
    assert.throws(() => decode(new Uint8Array(bytes)), URIError);
  }
});

test("where batches end does not show", async () => {
  const items = ["a", "ab", "a-copy", "b", "b-copy"];
  const types = ["dropped", "copied", "summed", "changed", "changed", "changed"];
  const events = Array.from({ length: 2000 }, (_, n) => {
    const random = (n * 2654435761) >>> 8;
    return event(types[random % 6], items[(random >>> 8) % 5], 1);
  });
  const folded = [];
  for (const batch of [1, 2, 64, 2000]) {
    const stock = await warehouse({ batch });
    stock.apply(events);
    folded.push([stock.all("items"), stock.all("sums")]);
  }
  for (const other of folded) assert.deepEqual(other, folded[0]);
});

test("a scan crosses pages and sees what its batch has changed", async () => {
  const stock = await warehouse();
  stock.apply([...Array(200).keys()].map((n) => event("changed", `bolt-${n}`, 1)).concat(event("summed", "bolt-")));
  assert.equal(stock.get("sums", "bolt-"), 200);
});

test("what get returns is a copy", async () => {
  const stock = await warehouse();
  stock.apply([event("changed", "nuts", 3), event("aliased", "nuts"), event("changed", "nuts", 1)]);
  assert.deepEqual(stock.get("items", "nuts"), { stock: 4 });
});

test("a failure names its event, and its batch leaves nothing", async () => {
  const stock = await warehouse({ config: { depot: "Hull" } });
  const failure = failureOf(() => stock.apply([event("changed", "nuts", 1), event("refused", "nuts")]));
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

test("malformed data, and whatever else is thrown, rejects the event", async () => {
  const stock = await warehouse();
  const of = (bad) => failureOf(() => stock.apply([event("changed", "nuts", 1), { ...event("changed"), ...bad }]));
  for (const bytes of [[], [0x7b], [0x22, 0xff, 0x22]]) {
    const { disposition, code, eventIndex } = of({ bytes: new Uint8Array(bytes) });
    assert.deepEqual([disposition, code, eventIndex], ["reject", "event.malformed", 1]);
  }
  const { disposition, code, message, eventIndex } = of({ data: { by: 1 } });
  assert.deepEqual([disposition, code, eventIndex], ["reject", "plugin.exception", 1]);
  assert.match(message, /^TypeError: a key of items is not a string: undefined/);
  assert.match(of({ type: "undeclared" }).message, /elsewhere is not in the descriptor/);
});

test("log and console end in the plugin's log", async () => {
  const stock = await warehouse({ config: { depot: "Hull" } });
  // Node has a console of its own, which the SDK leaves alone.
  stock.apply([{ ...event("logged", "nuts"), details: { traceparent: "00-1" } }]);
  assert.deepEqual(stock.log[0], { level: "warn", message: "low", fields: [["item", "nuts"], ["depot", "Hull"]] });
});
