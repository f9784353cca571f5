import { decode, encode } from "./bytes.js";
import { Reject, Retry } from "./failure.js";
import { imported } from "./host.js";

/** What will never work if it does not now. */
const TRANSIENT = new Set(["http.connect", "http.broken", "http.timeout"]);
/** Characters of a body that stand in a failure. */
const SHOWN = 200;

/** An answer, whatever its status is. */
class Response {
  constructor({ status, headers, body }) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  /** The first header of this name, or undefined. */
  header(name) {
    return this.headers.find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1];
  }

  text() {
    return decode(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  /**
   * The answer, if its status says that it was done. Else it throws `http.STATUS`: to be retried for 408, 425, 429 and
   * what begins with 5, after the time that the answer names; rejected for all else.
   */
  success() {
    if (this.ok) return this;
    const [code, message] = [`http.${this.status}`, `the answer is ${this.status}: ${this.text().slice(0, SHOWN)}`];
    if (![408, 425, 429].includes(this.status) && this.status < 500) throw new Reject(code, message);
    const seconds = /^\d+$/.exec(this.header("retry-after") ?? "")?.[0];
    throw new Retry(code, message, seconds && { retryAfterMs: Number(seconds) * 1000 });
  }
}

/**
 * Requests of a saga's steps, through the host and to where it was allowed (`capabilities: ["http:METHODS URL"]`). Each
 * that changes something carries the step's idempotency key; a step that sends several different ones gives each its
 * own: `headers: { "idempotency-key": context.keyFor("charge") }`.
 */
export const http = {
  /**
   * Sends a request: `{ method, url, headers, body, timeoutMs }`, of which method and url are required. In a header's
   * value `{{secret:NAME}}` becomes a secret of the host. Throws when there is no answer.
   */
  send({ method, url, headers = {}, body = "", timeoutMs = null }) {
    const bytes = typeof body === "string" ? encode(body) : body;
    try {
      return new Response(imported().http.send({ method, url, headers: Object.entries(headers), body: bytes, timeoutMs }));
    } catch (thrown) {
      // What the contract throws is a record; anything else is a mistake.
      if (typeof thrown?.code !== "string") throw thrown;
      const Failure = TRANSIENT.has(thrown.code) ? Retry : Reject;
      throw new Failure(thrown.code, thrown.message);
    }
  },

  get: (url, options = {}) => http.send({ ...options, method: "GET", url }),

  postJson: (url, body, { headers = {}, ...options } = {}) =>
    http.send({
      ...options,
      method: "POST",
      url,
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    }),
};
