// What the checks of this folder share. Each check prints `ok NAME`; the first that fails ends the run.

import assert from "node:assert/strict";
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

export const [url, transport = "WebSockets"] = process.argv.slice(2);

/// Every wait ends after this.
const PATIENCE_MS = 30_000;

export async function check(name, run) {
  try {
    await within(run(), name);
  } catch (error) {
    console.error(`FAILED ${name}:`, error);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

let streams = 0;
/// A stream that no other check uses.
export const freshStream = () => `s-${transport}-${process.pid}-${streams++}`;

/// Publishes `{ n }` for each number from `from` on.
export async function publish(stream, count, from = 0, type = "counted") {
  for (let n = from; n < from + count; n += 100) {
    const events = Array.from({ length: Math.min(100, from + count - n) }, (_, i) => ({ type, data: { n: n + i } }));
    const answer = await fetch(`${url}/api/event-streams/${stream}/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
    });
    assert.equal(answer.status, 201, await answer.text());
  }
}

/// A connected client, with everything that it was called with.
export async function connect({ query = "", ...options } = {}) {
  const connection = new HubConnectionBuilder()
    .withUrl(`${url}/hubs/events${query}`, { transport: HttpTransportType[transport], ...options })
    .configureLogging(LogLevel.None)
    .build();
  const calls = [];
  const waiting = new Set();
  const called = (call) => {
    calls.push(call);
    for (const look of [...waiting]) look();
  };
  connection.on("SubscriptionConfirmed", (stream) => called({ confirmed: stream }));
  connection.on("EventReceived", (stream, event) => called({ stream, event }));
  connection.on("Error", (error) => called({ error }));
  connection.on("EventUnread", (unread, reminder) => called({ unread, reminder }));
  connection.onclose((closed) => called({ closed: closed?.message ?? "" }));
  /// Waits until what was called so far satisfies `is`.
  const until = (is, what) =>
    within(
      new Promise((resolve) => {
        const look = () => {
          if (!is(calls)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
      `${what}; so far ${calls.length} calls, the last ${JSON.stringify(calls.slice(-3))}`,
    );
  const offsets = (stream) => calls.filter((call) => call.stream === stream).map((call) => call.event.offset);
  await connection.start();
  return { connection, calls, until, offsets };
}

export const numbers = (from, until) => Array.from({ length: until - from }, (_, i) => from + i);

export async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return error.message;
  }
  throw new Error("it was taken");
}
