// The page in a real browser: node test/page.mjs URL PAGE CHROMIUM
// Prints `connected` when the page follows the stream, then `row OFFSET TYPE DATA` for each row that it shows,
// until one has the type `end`.

import { chromium } from "playwright-core";

const [url, page, executablePath] = process.argv.slice(2);
// A browser run by root has no sandbox of its own.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const tab = await browser.newPage({ viewport: { width: 1000, height: 700 } });
tab.on("pageerror", (error) => console.error(error.message));
await tab.goto(`${page}?host=${encodeURIComponent(url)}&stream=order-1&from=0`);
await tab.click("#connect");
await tab.waitForSelector('#state[data-state="connected"]');
console.log("connected");
let shown = 0;
for (let ended = false; !ended; ) {
  await tab.waitForFunction((shown) => document.getElementById("events").rows.length > shown, shown, { timeout: 60_000 });
  const rows = await tab.$$eval("#events tr", (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  for (const [offset, type, , data] of rows.reverse().slice(shown)) {
    console.log(`row ${offset} ${type} ${data}`);
    ended ||= type === "end";
  }
  shown = rows.length;
}
if (process.env.SCREENSHOT) await tab.screenshot({ path: process.env.SCREENSHOT });
await tab.click("#connect");
await tab.waitForSelector('#state[data-state="disconnected"]');
await browser.close();
