// Serves the page of this folder, and nothing else: node serve.mjs [PORT]

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";

const port = Number(process.argv[2] ?? 7480);
const files = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
  "/signalr.js": ["node_modules/@microsoft/signalr/dist/browser/signalr.min.js", "text/javascript; charset=utf-8"],
};

const server = createServer(async (request, response) => {
  const [file, type] = files[new URL(request.url, "http://page").pathname] ?? [];
  const content = file && (await readFile(new URL(file, import.meta.url)).catch(() => undefined));
  response.writeHead(content ? 200 : 404, { "content-type": type ?? "text/plain" }).end(content ?? "not here");
});
server.listen(port, "127.0.0.1", () => console.log(`http://localhost:${server.address().port}/`));
