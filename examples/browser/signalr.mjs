// Follows a stream through the SignalR hub, without gap or repeat, whatever happens to the connection.
//
//     node signalr.mjs [URL [STREAM [FROM [TRANSPORT]]]]
//
// URL is http://127.0.0.1:7400 if left out. FROM is an offset, or `live` for what comes from now on. TRANSPORT is
// WebSockets, ServerSentEvents or LongPolling. Ends with the first event of the type `end`.

import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [url = "http://127.0.0.1:7400", stream = "order-1", from = "0", transport = "WebSockets"] = process.argv.slice(2);

const connection = new HubConnectionBuilder()
  .withUrl(`${url}/hubs/events`, {
    transport: HttpTransportType[transport],
    accessTokenFactory: process.env.WASMILL_TOKEN ? () => process.env.WASMILL_TOKEN : undefined,
  })
  // As often as it takes.
  .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 250 })
  .configureLogging(LogLevel.None)
  .build();

// Where to go on: a real client keeps it where it keeps what it makes of the events.
let next = from === "live" ? null : Number(from);

async function subscribe() {
  const confirmed = await connection.invoke("SubscribeToStream", stream, next);
  // Known even if no event ever came, so that a lost connection leaves no gap.
  next ??= confirmed.nextOffset;
}

const ended = new Promise((resolve) => {
  connection.on("EventReceived", (name, event) => {
    next = event.offset + 1;
    console.log(`${event.offset} ${event.eventType} ${JSON.stringify(event.data)}`);
    if (event.eventType === "end") resolve();
  });
});
connection.on("SubscriptionConfirmed", (name) => console.log(`subscribed to ${name}`));
connection.on("Error", (message) => console.error(message));
connection.onreconnected(() => subscribe().catch((error) => console.error(error.message)));

await connection.start();
await subscribe();
await ended;
await connection.stop();
