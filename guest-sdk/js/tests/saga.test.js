import assert from "node:assert/strict";
import { test } from "node:test";

import { config, http, Reject, saga, wait } from "../index.js";
import { SagaHarness } from "../testing.js";

/** Books a room, waits for an approval, and pays: as the saga of the tests in Rust. */
const travel = saga({
  name: "travel",
  version: "1.0.0",
  config: [{ name: "hotel", default: "https://hotel.example" }],
  capabilities: ["append:trips", "http:POST {hotel}/*", "secret:hotel-key"],
  saga: { startsOn: [{ types: ["trip.wanted"] }] },
  steps: [
    {
      name: "book",
      retry: { attempts: 3 },
      execute(context) {
        context.data.put("attempts", context.attempt);
        const headers = { authorization: "Bearer {{secret:hotel-key}}" };
        return http.postJson(`${config.get("hotel")}/book`, context.input, { headers }).success().json();
      },
      compensate(context) {
        http.postJson(`${config.get("hotel")}/cancel`, context.output).success();
        context.emit("trips", [{ type: "trip.cancelled", data: context.correlationId, attributes: { tag: ["a", "b"] } }]);
      },
    },
    {
      name: "approve",
      execute({ wokenBy, nowUs }) {
        if (wokenBy === undefined) return wait({ eventType: "trip.answered", untilUs: nowUs + 1_000_000 });
        if (!wokenBy.data.yes) throw new Reject("trip.declined", "somebody said no");
      },
    },
    {
      name: "pay",
      pivot: true,
      execute(context) {
        const headers = { "idempotency-key": context.keyFor("room") };
        http.postJson(`${config.get("hotel")}/pay`, { room: context.outputOf("book"), name: "Zoë" }, { headers }).success();
      },
    },
  ],
});

const harness = (statuses = []) =>
  new SagaHarness(travel, { answer: () => ({ status: statuses.shift() ?? 200, body: "17" }) });
const trip = { to: "Vienna" };
const answered = (yes) => ({ type: "trip.answered", data: { yes } });

test("steps run in order, wait, and know what was before", () => {
  const host = harness();
  host.nowUs = 5;
  const waiting = { untilUs: 1_000_005, eventType: "trip.answered", matchKey: null };
  assert.deepEqual(host.start(trip), { state: "waiting", wait: waiting });
  assert.deepEqual([host.output("book"), host.data("attempts")], [17, 1]);
  assert.deepEqual(host.wake(answered(true)), { state: "completed" });
  const [book, pay] = host.sent;
  assert.deepEqual([book.url, book.body], ["https://hotel.example/book", JSON.stringify(trip)]);
  assert.equal(book.headers.authorization, "Bearer {{secret:hotel-key}}");
  assert.equal(pay.headers["idempotency-key"], "saga-1/pay/execute/room");
  assert.equal(pay.body, '{"room":17,"name":"Zoë"}');
});

test("what is rejected undoes what was done", () => {
  const host = harness();
  host.start(trip);
  const { state, failure } = host.wake(answered(false));
  assert.deepEqual([state, failure.code, host.sent[1].url], ["compensated", "trip.declined", "https://hotel.example/cancel"]);
  assert.equal(host.sent[1].body, "17");
  const [event] = host.emitted;
  assert.deepEqual([event.type, event.data, event.attributes], ["trip.cancelled", "correlation-1", [["tag", "a"], ["tag", "b"]]]);
});

test("a failed attempt leaves nothing and is repeated", () => {
  const host = harness([503]);
  const { state, failure } = host.start(trip);
  assert.deepEqual([state, failure.code, host.data("attempts")], ["retrying", "http.503", undefined]);
  assert.equal(host.goOn().state, "waiting");
  assert.equal(host.data("attempts"), 2);
});

test("an answer says what it means, and none is a failure as well", () => {
  const failure = (answer) => new SagaHarness(travel, { answer }).start(trip).failure;
  assert.deepEqual(failure(() => ({ status: 429, headers: { "Retry-After": "3" } })).retryAfterMs, 3000);
  assert.deepEqual(failure(() => ({ status: 404 })).disposition, "reject");
  const none = (code) => failure(() => { throw { code, message: "no" }; });
  assert.deepEqual([none("http.timeout").disposition, none("http.refused").disposition], ["retry", "reject"]);
});

test("a mistake halts the saga", () => {
  const broken = saga({ name: "b", version: "1", steps: [{ name: "a", execute: () => nothing.like.it }] });
  const { state, failure } = new SagaHarness(broken).start({});
  assert.deepEqual([state, failure.disposition, failure.code], ["paused", "halt", "plugin.exception"]);
});

test("the descriptor says which steps can be undone", () => {
  assert.deepEqual(harness().descriptor.steps, [
    { name: "book", retry: { attempts: 3 }, compensate: true },
    { name: "approve", compensate: false },
    { name: "pay", pivot: true, compensate: false },
  ]);
});
