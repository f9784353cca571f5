// A host in memory for one saga.
//
//     const host = new SagaHarness(orders, { answer: ({ url }) => ({ status: 201, body: "{}" }) });
//     assert.deepEqual(host.start({ orderId: "o-1" }), { state: "completed" });

import { Buffer } from "node:buffer";

const bytes = (text) => new Uint8Array(Buffer.from(text));
const json = (value) => bytes(JSON.stringify(value));
const parsed = (found) => (found === undefined || found.length === 0 ? undefined : JSON.parse(Buffer.from(found)));

/**
 * Runs one saga as a host does: step by step, and backwards when one is rejected. `answer` is given each request,
 * `{ method, url, headers, body }`, and returns `{ status, headers, body }`, or throws `{ code, message }`.
 *
 * `start`, `wake`, `wakeAt`, `goOn` and `cancel` tell where the saga stands then: `{ state }`, which is `completed`,
 * `waiting` (with `wait`), `retrying`, `compensated` or `paused` (with `failure`).
 */
export class SagaHarness {
  #exported;
  #answer;
  #input;
  #at = 0;
  #attempt = 1;
  #failure;
  #data = new Map();
  #outputs = new Map();
  /** What it has emitted: `{ stream, type, ... }`. */
  emitted = [];
  /** What it has sent, in order. */
  sent = [];
  log = [];
  nowUs = 0;

  constructor(plugin, { config = {}, correlationId = "correlation-1", answer } = {}) {
    this.config = config;
    this.correlationId = correlationId;
    this.#answer = answer;
    const exported = plugin.on(this.#host());
    this.descriptor = JSON.parse(exported.descriptor.describe());
    this.#exported = exported.saga;
  }

  start(input) {
    this.#input = json(input);
    return this.#run();
  }

  wake(event) {
    return this.#run(event);
  }

  wakeAt(nowUs) {
    this.nowUs = nowUs;
    return this.#run();
  }

  goOn() {
    return this.#run();
  }

  cancel() {
    this.#turnBack({ disposition: "reject", code: "saga.cancelled", message: "it was cancelled" });
    return this.#run();
  }

  data(key) {
    return parsed(this.#data.get(key));
  }

  output(step) {
    return parsed(this.#outputs.get(step));
  }

  #run(event) {
    for (;;) {
      const step = this.descriptor.steps[this.#at];
      const failure = this.#failure;
      if (step === undefined) return failure ? { state: "compensated", failure } : { state: "completed" };
      const before = [new Map(this.#data), [...this.emitted]];
      try {
        const outcome = this.#attemptAt(step.name, failure === undefined ? "execute" : "compensate", event);
        event = undefined;
        if (outcome.tag === "suspended") return { state: "waiting", wait: outcome.val };
        if (failure === undefined) {
          this.#outputs.set(step.name, outcome.val);
          this.#at += 1;
          this.#attempt = 1;
        } else this.#back();
      } catch (thrown) {
        [this.#data, this.emitted] = before;
        event = undefined;
        if (thrown.disposition === "retry") {
          this.#attempt += 1;
          return { state: "retrying", failure: thrown };
        }
        if (thrown.disposition !== "reject" || failure !== undefined) return { state: "paused", failure: thrown };
        this.#turnBack(thrown);
      }
    }
  }

  #turnBack(failure) {
    this.#failure = failure;
    this.#back();
  }

  /** Before the first step there is nothing left to undo. */
  #back() {
    this.#at -= 1;
    this.#attempt = 1;
  }

  #attemptAt(step, way, event) {
    const { type, stream = "s", key = null, data = null, time = 0 } = event ?? {};
    const timeUs = new Date(time).getTime() * 1000;
    const wokenBy = { position: 0, offset: 0, timeUs, id: [0, 1], schemaVersion: 1, eventType: type };
    return this.#exported[way]({
      sagaId: "saga-1",
      sagaType: this.descriptor.name,
      correlationId: this.correlationId,
      step,
      attempt: this.#attempt,
      idempotencyKey: `saga-1/${step}/${way}`,
      input: this.#input,
      output: way === "compensate" ? (this.#outputs.get(step) ?? null) : null,
      wokenBy: event && { ...wokenBy, streamName: stream, key, correlationId: null, data: json(data) },
      deadlineUs: Number.MAX_SAFE_INTEGER,
      attributes: [["now-us", String(this.nowUs)]],
    });
  }

  /** What a component would import. */
  #host() {
    const value = (name) => this.config[name] ?? this.#default(name);
    return {
      sagaData: {
        get: (key) => this.#data.get(key) ?? null,
        put: (key, bytes) => this.#data.set(key, bytes),
        remove: (key) => this.#data.delete(key),
        outputOf: (step) => this.#outputs.get(step) ?? null,
      },
      http: {
        send: (request) => {
          const body = Buffer.from(request.body).toString();
          this.sent.push({ ...request, headers: Object.fromEntries(request.headers), body });
          if (this.#answer === undefined) throw { code: "http.connect", message: "nobody answers: give `answer`" };
          const { status = 200, headers = {}, body: answered = "" } = this.#answer(this.sent.at(-1));
          return { status, headers: Object.entries(headers), body: bytes(answered) };
        },
      },
      outbox: {
        append: (cause, stream, events) => {
          for (const { eventType, data, ...event } of events) {
            this.emitted.push({ stream, type: eventType, ...event, data: parsed(data) });
          }
        },
      },
      eventDetails: { attributesOf: () => [] },
      config: { get: value, getAll: () => Object.entries(this.config) },
      env: { nowUs: () => this.nowUs, random: (length) => new Uint8Array(length) },
      log: { write: (level, message, fields) => this.log.push({ level, message, fields }) },
    };
  }

  #default(name) {
    return this.descriptor.config?.find((setting) => setting.name === name)?.default ?? null;
  }
}
