// The plugins in Node against tests/plugin-suite; that the components do the same is shown by the tests of the host.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Harness } from "../../../guest-sdk/js/testing.js";
import statistics from "../src/user-statistics.js";
import upcaster from "../src/user-v1-to-v3.js";
import welcome from "../src/welcome.js";

const suite = (name) => readFileSync(new URL(`../../../tests/plugin-suite/${name}`, import.meta.url), "utf8");
const lines = (name) => suite(name).trim().split("\n").map((line) => JSON.parse(line));
const expected = JSON.parse(suite("expected.json"));
const rejected = lines("rejected.jsonl");

const batches = [1, 2, 256];
const events = (prefix) => lines("events.jsonl").filter(({ type }) => type.startsWith(prefix));

/** The lines of rejected.jsonl, from 1, which the plugin rejects with the code of the examples. */
const rejects = (feed) =>
  rejected.flatMap((event, n) => {
    try {
      feed(event);
    } catch ({ code, eventIndex }) {
      assert.deepEqual([code, eventIndex], ["user.malformed", 0], `line ${n + 1}`);
      return [n + 1];
    }
    return [];
  });

for (const batch of batches) {
  test(`user-statistics in batches of ${batch}`, () => {
    const host = new Harness(statistics, { batch });
    host.feed(events("user."));
    const { statistics: all, users } = expected["user-statistics"];
    assert.deepEqual([host.all("statistics"), host.all("users")], [all, users]);
  });

  test(`welcome in batches of ${batch}`, () => {
    const host = new Harness(welcome, { batch });
    host.feed(events("user.added"));
    const appended = host.appended.map(({ cause, stream, ...event }) => event);
    assert.deepEqual([appended, host.all("greeted")], [expected.welcome.appended, expected.welcome.greeted]);
  });
}

test("user-v1-to-v3 lifts step by step", () => {
  const lifted = lines("events.jsonl").flatMap((event, n) => {
    const { data, schemaVersion } = lift(event);
    return schemaVersion === (event.schemaVersion ?? 1) ? [] : [{ line: n + 1, schemaVersion, data }];
  });
  assert.deepEqual(lifted, expected["user-v1-to-v3"].lifted);
});

test("what is malformed is rejected", () => {
  const one = (plugin) => rejects((event) => new Harness(plugin).feed([event]));
  assert.deepEqual(one(statistics), expected["user-statistics"].rejects);
  const added = ({ type }) => type === "user.added";
  assert.deepEqual(rejects((event) => added(event) && new Harness(welcome).feed([event])), expected.welcome.rejects);
  const failed = rejected.flatMap((event, n) => (lift(event).failed?.code === "user.malformed" ? [n + 1] : []));
  assert.deepEqual(failed, expected["user-v1-to-v3"].rejects);
});

function lift(event) {
  const [next] = new Harness(upcaster).feed([event]);
  if (next === null) return { ...event, schemaVersion: event.schemaVersion ?? 1 };
  return next.failed ? next : lift({ ...event, ...next });
}
