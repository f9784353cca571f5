// A queue over HTTP, with nothing but Node.js 20 or newer.
//
//     node queue.mjs [URL]          a host at URL, by default http://127.0.0.1:7400
//
// Makes the queue `mail`, puts messages into it, one of them for later, and takes them out again. Ends when
// nothing comes for two seconds; a real consumer asks again for ever.

const url = (process.argv[2] ?? "http://127.0.0.1:7400").replace(/\/$/, "");
const consumer = "mailer-1";

async function call(method, path, body) {
  const headers = { "content-type": "application/json" };
  if (process.env.WASMILL_TOKEN) headers.authorization = `Bearer ${process.env.WASMILL_TOKEN}`;
  const answer = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
  const result = await answer.json();
  // `code` is stable, `retryable` says whether the same call may succeed later.
  if (!answer.ok) throw Object.assign(new Error(`${result.code}: ${result.detail}`), result);
  return result;
}

const take = (limit, waitMs) =>
  call("POST", "/api/queues/mail/dequeue", { consumer, limit, waitMs, visibilityMs: 10_000 });

async function send(mail) {
  console.log(`sent to ${mail.key}: ${mail.data.text}`);
}

// While a message takes long, its visibility timeout is moved on again and again.
async function holding(token, work) {
  const extend = () => call("POST", "/api/queues/mail/extend", { consumer, tokens: [token], visibilityMs: 10_000 });
  // A message that is lost meanwhile is told by the acknowledgement.
  const timer = setInterval(() => extend().catch(() => {}), 3_000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

await call("PUT", "/api/event-streams/mail/config", { kind: "ephemeral" });
await call("POST", "/api/queues/mail/messages", [
  { type: "mail.due", key: "c-9", data: { text: "later" }, delayMs: 500 },
  { type: "mail.due", key: "c-7", data: { text: "your order is on its way" } },
  { type: "mail.due", key: "c-8", data: { text: "your order has arrived" }, timeToLiveMs: 3_600_000 },
]);

for (;;) {
  const { messages } = await take(10, 2_000);
  if (messages.length === 0) break;
  for (const { token, event, refused, lost } of messages) {
    try {
      await holding(token, () => send(event));
      const { outcomes } = await call("POST", "/api/queues/mail/ack", { consumer, tokens: [token] });
      if (outcomes[0] === "superseded") console.log(`too late: ${event.id} is with someone else`);
    } catch (error) {
      console.log(`not sent, ${refused + lost + 1} attempts: ${error.message}`);
      await call("POST", "/api/queues/mail/nack", { consumer, tokens: [token], refusal: { retry: error.message } });
    }
  }
}
