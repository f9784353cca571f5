// An order is fulfilled: its items are set aside, its amount is held, and it is shipped. When one of these fails for
// good, what was done before it is undone, the last first. Each step asks a partner over HTTP, tests/partner for one.

import { config, http, log, Reject, saga } from "../../../guest-sdk/js/index.js";
import { isText } from "./users.js";

const ask = (what) => (context) => {
  const order = context.input;
  if (!isText(order?.orderId)) throw new Reject("order.malformed", "an order has an orderId");
  const url = `${config.get("partner").replace(/\/+$/, "")}/${what}`;
  const { reference } = http.postJson(url, order).success().json();
  log.info(`${what}: ${reference}`);
  return { reference };
};

/** A card that was declined will be declined again: the order is not fulfilled. */
function authorize(context) {
  try {
    return ask("authorize")(context);
  } catch (failure) {
    if (failure.code !== "http.402") throw failure;
    throw new Reject("payment.declined", "the card was declined");
  }
}

const policy = { retry: { attempts: 5, baseMs: 50, longestMs: 5000 }, attemptTimeoutMs: 5000 };

export default saga({
  name: "order-fulfillment",
  version: "1.0.0",
  description: "Sets an order's items aside, holds its amount, and ships it",
  config: [{ name: "partner", description: "The URL of the shop", required: true }],
  capabilities: ["http:POST {partner}/*"],
  saga: { timeoutMs: 24 * 3_600_000 },
  steps: [
    { name: "reserve-inventory", ...policy, execute: ask("reserve"), compensate: ask("release") },
    { name: "authorize-payment", ...policy, execute: authorize, compensate: ask("void") },
    { name: "ship", ...policy, execute: ask("ship"), compensate: ask("recall") },
  ],
});
