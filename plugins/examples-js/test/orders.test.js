// Orders in Node, without a host and without a partner; as those of the example in Rust.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SagaHarness } from "../../../guest-sdk/js/testing.js";
import orders from "../src/order-fulfillment.js";

const base = "http://shop.example/v1/";
const order = { orderId: "o-1", items: [{ sku: "nuts", quantity: 2 }], amount: 250 };

/** A partner that answers each path with a status, 201 unless another is said. */
const harness = (statuses = {}) =>
  new SagaHarness(orders, {
    config: { partner: base },
    answer: ({ url }) => {
      const what = url.slice(base.length);
      return { status: statuses[what] ?? 201, body: JSON.stringify({ reference: `${what}-1` }) };
    },
  });
const asked = (host) => host.sent.map(({ url }) => url.slice(base.length));

test("an order is reserved, paid and shipped", () => {
  const host = harness();
  assert.deepEqual(host.start(order), { state: "completed" });
  assert.deepEqual(asked(host), ["reserve", "authorize", "ship"]);
  assert.deepEqual([host.output("ship"), JSON.parse(host.sent[0].body)], [{ reference: "ship-1" }, order]);
});

test("a declined card releases what was reserved", () => {
  const host = harness({ authorize: 402 });
  const { state, failure } = host.start(order);
  assert.deepEqual([state, failure.code], ["compensated", "payment.declined"]);
  assert.deepEqual(asked(host), ["reserve", "authorize", "release"]);
});

test("what the shop cannot do now it may do later", () => {
  const host = harness({ ship: 503 });
  assert.deepEqual([host.start(order).state, host.goOn().state], ["retrying", "retrying"]);
});

test("an order that is none is not asked for", () => {
  const host = harness();
  assert.deepEqual([host.start({ amount: 1 }).failure.code, asked(host)], ["order.malformed", []]);
});
