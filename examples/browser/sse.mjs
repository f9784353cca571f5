// Follows a stream by server-sent events: `EventSource`, which browsers have and Node.js gets from the package
// `eventsource`. It comes back by itself after a lost connection and says which event it has seen last.
//
//     node sse.mjs [URL [STREAM [FROM]]]
//
// Ends with the first event of the type `end`.

import { EventSource } from "eventsource";

const [url = "http://127.0.0.1:7400", stream = "order-1", from = "0"] = process.argv.slice(2);
const query = new URLSearchParams({ from });
if (process.env.WASMILL_TOKEN) query.set("access_token", process.env.WASMILL_TOKEN);

const source = new EventSource(`${url}/api/event-streams/${encodeURIComponent(stream)}/events/live?${query}`);
source.onopen = () => console.log(`following ${stream}`);
source.onmessage = (message) => {
  const event = JSON.parse(message.data);
  console.log(`${event.offset} ${event.type} ${JSON.stringify(event.data)}`);
  if (event.type === "end") source.close();
};
// What the host could not do, such as reading its store.
source.addEventListener("problem", (message) => console.error(message.data));
