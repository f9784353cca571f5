// Shows the live events of a stream. The fields may stand in the URL: ?host=...&stream=order-1&from=0
/* global signalR */

/// Rows that are kept: a page that stays open for days must not grow for ever.
const ROWS_MAX = 500;
const at = (id) => document.getElementById(id);
for (const [name, value] of new URLSearchParams(location.search)) {
  const field = at(name);
  if (field && name !== "token") field.value = value;
}

let connection;

function show(state) {
  at("state").textContent = state;
  at("state").dataset.state = state;
  at("connect").textContent = state === "disconnected" ? "Connect" : "Disconnect";
}

function complain(error) {
  at("error").hidden = !error;
  at("error").textContent = error ? String(error.message ?? error) : "";
}

function add(event) {
  const row = document.createElement("tr");
  const data = event.dataBase64 ?? JSON.stringify(event.data);
  for (const text of [event.offset, event.eventType, new Date(event.recordedAt).toLocaleTimeString(), data]) {
    row.insertCell().textContent = text;
  }
  at("events").prepend(row);
  if (at("events").rows.length > ROWS_MAX) at("events").deleteRow(-1);
}

async function connect() {
  const stream = at("stream").value;
  const token = at("token").value;
  // Where to go on; `null` is: with what comes.
  let next = at("from").value === "" ? null : Number(at("from").value);
  const mine = new signalR.HubConnectionBuilder()
    .withUrl(`${at("host").value.replace(/\/$/, "")}/hubs/events`, {
      transport: signalR.HttpTransportType[at("transport").value],
      accessTokenFactory: token ? () => token : undefined,
      withCredentials: false,
    })
    .withAutomaticReconnect({ nextRetryDelayInMilliseconds: ({ previousRetryCount }) => Math.min(250 * 2 ** previousRetryCount, 5000) })
    .build();
  connection = mine;
  const subscribe = async () => {
    const { nextOffset } = await mine.invoke("SubscribeToStream", stream, next);
    next ??= nextOffset;
    show("connected");
  };
  mine.on("EventReceived", (_, event) => {
    next = event.offset + 1;
    add(event);
  });
  mine.on("SubscriptionConfirmed", () => complain());
  mine.on("Error", complain);
  mine.onreconnecting(() => show("reconnecting"));
  mine.onreconnected(() => subscribe().catch(complain));
  mine.onclose((error) => {
    if (connection === mine) {
      connection = undefined;
      show("disconnected");
      complain(error);
    }
  });
  at("events").replaceChildren();
  complain();
  show("connecting");
  try {
    await mine.start();
    await subscribe();
  } catch (error) {
    await mine.stop();
    connection = undefined;
    show("disconnected");
    complain(error);
  }
}

at("form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (connection) connection.stop();
  else connect();
});
show("disconnected");
