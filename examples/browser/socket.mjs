// Follows a stream over the plain WebSocket, with credit: the host sends no more than was asked for, and every
// acknowledgement makes room for more.
//
//     node socket.mjs [URL [STREAM [FROM]]]
//
// Ends with the first event of the type `end`. Comes back by itself after a lost connection.

import WebSocket from "ws";

const [url = "http://127.0.0.1:7400", stream = "order-1", from = "0"] = process.argv.slice(2);
const query = process.env.WASMILL_TOKEN ? `?access_token=${encodeURIComponent(process.env.WASMILL_TOKEN)}` : "";
let next = Number(from);

function follow() {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/ws${query}`);
  socket.onopen = () =>
    socket.send(JSON.stringify({ op: "subscribe", id: "orders", stream, from: next, credit: 32 }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.op === "subscribed") console.log(`subscribed to ${stream}`);
    if (message.op === "error") console.error(`${message.code}: ${message.message}`);
    if (message.op !== "event") return;
    const { event } = message;
    console.log(`${event.offset} ${event.type} ${JSON.stringify(event.data)}`);
    next = event.offset + 1;
    if (event.type === "end") return socket.close();
    // Everything up to here is done, which gives back the credit of it all: once in a while is enough.
    if (event.offset % 8 === 7) socket.send(JSON.stringify({ op: "ack", id: "orders", offset: event.offset }));
  };
  socket.onerror = () => {};
  socket.onclose = ({ code }) => code === 1005 || code === 1000 || setTimeout(follow, 250);
}

follow();
