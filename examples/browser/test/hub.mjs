// The hub as the stock SignalR client sees it: node test/hub.mjs URL TRANSPORT

import assert from "node:assert/strict";
import { check, connect, freshStream, numbers, publish, refused, transport, url } from "./help.mjs";

await check("history and live events come once and in order", async () => {
  const stream = freshStream();
  await publish(stream, 300);
  const { connection, until, offsets, calls } = await connect();
  const confirmed = await connection.invoke("SubscribeToStream", stream, 0);
  assert.deepEqual(confirmed, { streamName: stream, nextOffset: 0 });
  await publish(stream, 700, 300);
  await until(() => offsets(stream).length >= 1000, "1000 events");
  assert.deepEqual(offsets(stream), numbers(0, 1000));
  assert.deepEqual(calls[0], { confirmed: stream }, "the confirmation comes first");
  const { event } = calls.find((call) => call.event?.offset === 7);
  assert.deepEqual(
    { ...event, eventId: typeof event.eventId, time: typeof event.time, recordedAt: typeof event.recordedAt },
    {
      eventId: "string", eventType: "counted", streamName: stream, offset: 7, position: event.position,
      schemaVersion: 1, time: "string", recordedAt: "string", contentType: "application/json", data: { n: 7 },
      tags: [], headers: {},
    },
  );
  await connection.stop();
});

await check("without an offset only what comes is sent", async () => {
  const stream = freshStream();
  await publish(stream, 5);
  const { connection, until, offsets } = await connect();
  assert.equal((await connection.invoke("SubscribeToStream", stream, null)).nextOffset, 5);
  const other = freshStream();
  assert.equal((await connection.invoke("SubscribeToStream", other)).nextOffset, 0, "it need not exist");
  await publish(stream, 5, 5);
  await publish(other, 2);
  await until(() => offsets(stream).length >= 5 && offsets(other).length >= 2, "7 events");
  assert.deepEqual(offsets(stream), numbers(5, 10));
  assert.deepEqual(offsets(other), [0, 1]);
  await connection.stop();
});

await check("a stream that was unsubscribed is silent", async () => {
  const [gone, stays] = [freshStream(), freshStream()];
  const { connection, until, offsets } = await connect();
  await connection.invoke("SubscribeToStream", gone, 0);
  await connection.invoke("SubscribeToStream", stays, 0);
  await publish(gone, 3);
  await until(() => offsets(gone).length >= 3, "3 events");
  assert.equal(await connection.invoke("UnsubscribeFromStream", gone), true);
  assert.equal(await connection.invoke("UnsubscribeFromStream", gone), false);
  await publish(gone, 3, 3);
  await publish(stays, 3);
  await until(() => offsets(stays).length >= 3, "what came later");
  assert.deepEqual(offsets(gone), [0, 1, 2]);
  await connection.stop();
});

await check("subscribing anew begins anew", async () => {
  const stream = freshStream();
  await publish(stream, 2000);
  const { connection, until, calls } = await connect();
  await connection.invoke("SubscribeToStream", stream, 0);
  await connection.invoke("SubscribeToStream", stream, 1500);
  await until(() => calls.at(-1).event?.offset === 1999, "the last event");
  const again = calls.findLastIndex((call) => call.confirmed === stream);
  const offsets = (part) => part.filter((call) => call.event).map((call) => call.event.offset);
  assert.deepEqual(offsets(calls.slice(again)), numbers(1500, 2000), "nothing of the earlier one comes behind it");
  const before = offsets(calls.slice(0, again));
  assert.deepEqual(before, numbers(0, before.length));
  await connection.stop();
});

await check("what is wrong is told, and the connection lives on", async () => {
  const stream = freshStream();
  const { connection, until, calls, offsets } = await connect();
  const of = (...call) => refused(connection.invoke(...call));
  assert.match(await of("SubscribeToStream"), /invalid_argument: /);
  assert.match(await of("SubscribeToStream", stream, 0, 1), /invalid_argument: /);
  assert.match(await of("SubscribeToStream", 7), /invalid_argument: streamName is a text/);
  assert.match(await of("SubscribeToStream", stream, -1), /invalid_argument: startFromOffset/);
  assert.match(await of("SubscribeToStream", stream, 1.5), /invalid_argument: startFromOffset/);
  assert.match(await of("SubscribeToStream", stream, "0"), /invalid_argument: startFromOffset/);
  assert.match(await of("SubscribeToStream", ""), /invalid_name: /);
  assert.match(await of("UnsubscribeFromStream", "a\nb"), /invalid_name: /);
  assert.match(await of("PublishToStream", stream), /not_found: there is no method `PublishToStream`/);
  assert.match(await of("SubscribeToStream", "private"), /forbidden: /);
  await connection.send("SubscribeToStream", stream, -1);
  await connection.send("Fly");
  await until(() => calls.filter((call) => call.error).length >= 2, "two errors");
  assert.match(calls[0].error, /^invalid_argument: startFromOffset/);
  assert.match(calls[1].error, /^not_found: there is no method `Fly`/);
  const streamed = await refused(
    new Promise((complete, error) => connection.stream("SubscribeToStream", stream).subscribe({ complete, error, next() {} })),
  );
  assert.match(streamed, /invalid_argument: .*stream/);
  await connection.invoke("SubscribeToStream", stream, 0);
  await publish(stream, 1);
  await until(() => offsets(stream).length === 1, "an event after all that");
  await connection.stop();
});

await check("200 streams over one connection", async () => {
  const streams = Array.from({ length: 200 }, freshStream);
  const { connection, until, offsets, calls } = await connect();
  await Promise.all(streams.map((stream) => publish(stream, 3)));
  await Promise.all(streams.map((stream) => connection.invoke("SubscribeToStream", stream, 0)));
  await Promise.all(streams.map((stream) => publish(stream, 3, 3)));
  await until(() => calls.filter((call) => call.event).length >= 1200, "1200 events");
  for (const stream of streams) assert.deepEqual(offsets(stream), numbers(0, 6));
  for (let n = 200; n < 256; n++) await connection.invoke("SubscribeToStream", freshStream());
  assert.match(await refused(connection.invoke("SubscribeToStream", freshStream())), /limit_reached: /);
  await connection.stop();
});

await check("fields in PascalCase for those who want them", async () => {
  const stream = freshStream();
  const { connection, until, calls } = await connect({ query: "?case=pascal" });
  await connection.invoke("SubscribeToStream", stream, 0);
  await publish(stream, 1);
  await until(() => calls.some((call) => call.event), "an event");
  const { event } = calls.find((call) => call.event);
  assert.deepEqual([event.EventType, event.StreamName, event.Offset, event.Data], ["counted", stream, 0, { n: 0 }]);
  assert.match(await refused(connect({ query: "?case=kebab" })), /400/);
  await connection.stop();
});

await check("who says its name has receipts, and is reminded", async () => {
  const stream = freshStream();
  const config = { receipts: { unreadAfterSeconds: 1, maxReminders: 1 } };
  const put = await fetch(`${url}/api/event-streams/${stream}/config`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(config),
  });
  assert.equal(put.status, 200, await put.text());
  const consumer = `ann-${stream}`;
  const { connection, until, offsets, calls } = await connect({ query: `?consumer=${consumer}` });
  await connection.invoke("SubscribeToStream", stream, 0);
  await publish(stream, 3);
  await until(() => offsets(stream).length === 3, "3 events");
  assert.equal(await connection.invoke("MarkAsRead", stream, 1), true);
  assert.equal(await connection.invoke("MarkAsRead", stream, [0]), true);
  const receipts = async () => {
    const answer = await fetch(`${url}/api/consumers/${consumer}/receipts`);
    return (await answer.json()).receipts.map(({ offset, readAt }) => [offset, readAt !== undefined]);
  };
  assert.deepEqual((await receipts()).filter(([, read]) => read), [[0, true], [1, true]]);
  await until(() => calls.some((call) => call.unread), "a reminder");
  const { unread, reminder } = calls.find((call) => call.unread);
  assert.deepEqual([unread, reminder.offset, reminder.consumer, reminder.reminder], [stream, 2, consumer, 1]);
  assert.deepEqual(await receipts(), [[0, true], [1, true], [2, false]]);
  assert.match(await refused(connection.invoke("MarkAsRead", stream, 3)), /invalid_argument: /);
  assert.match(await refused(connection.invoke("MarkAsRead", stream)), /invalid_argument: /);
  assert.match(await refused(connection.invoke("MarkAsRead", stream, "1")), /invalid_argument: /);
  const nameless = await connect();
  assert.match(await refused(nameless.connection.invoke("MarkAsRead", stream, 1)), /invalid_argument: say who reads/);
  await Promise.all([connection.stop(), nameless.connection.stop()]);
});

if (transport === "WebSockets") {
  await check("a client may skip the negotiation", async () => {
    const stream = freshStream();
    const { connection, until, offsets } = await connect({ skipNegotiation: true });
    await connection.invoke("SubscribeToStream", stream, 0);
    await publish(stream, 2);
    await until(() => offsets(stream).length === 2, "2 events");
    await connection.stop();
  });

  await check("200 connections, one subscription each", async () => {
    const stream = freshStream();
    const clients = await Promise.all(Array.from({ length: 200 }, () => connect()));
    await Promise.all(clients.map(({ connection }) => connection.invoke("SubscribeToStream", stream, 0)));
    await publish(stream, 100);
    await Promise.all(clients.map(({ until, offsets }) => until(() => offsets(stream).length >= 100, "100 events")));
    for (const { offsets } of clients) assert.deepEqual(offsets(stream), numbers(0, 100));
    await Promise.all(clients.map(({ connection }) => connection.stop()));
  });
}

await check("an earlier version of the negotiation is answered", async () => {
  const answer = await fetch(`${url}/hubs/events/negotiate`, { method: "POST" });
  const { negotiateVersion, connectionId, connectionToken, availableTransports } = await answer.json();
  assert.deepEqual([negotiateVersion, connectionToken, availableTransports.length], [0, undefined, 3]);
  const poll = await fetch(`${url}/hubs/events?id=${connectionId}`);
  assert.deepEqual([poll.status, await poll.text()], [200, ""]);
  assert.equal((await fetch(`${url}/hubs/events?id=${connectionId}`, { method: "DELETE" })).status, 202);
  assert.equal((await fetch(`${url}/hubs/events?id=${connectionId}`)).status, 404);
});
