import { decode, encode } from "./bytes.js";
import { Halt, Reject, toRecord } from "./failure.js";
import { runIn, within } from "./host.js";

export { http } from "./http.js";

/** What a step returns that has to wait. */
class Wait {
  constructor(wait) {
    this.wait = wait;
  }
}

/**
 * To be returned by a step: it is called again at `untilUs`, or when there is an event of `eventType` whose key is `key`
 * (the saga's correlation id without), whichever comes first.
 */
export function wait({ untilUs = null, eventType = null, key = null }) {
  return new Wait({ untilUs, eventType, matchKey: key });
}

/**
 * A saga: steps in order, driven by the host. When one fails for good, those before it are undone, the last first.
 *
 * Each of `steps` is `{ name, execute, compensate, ... }`: a function `(context)` that does it, one that undoes it (or
 * none), and its policies, `retry`, `compensateRetry`, `attemptTimeoutMs`, `timeoutMs`, `exhausted` and `pivot`, as in
 * the descriptor. What a step returns is its output; `wait(...)` suspends it. `saga` says what holds for the whole:
 * `timeoutMs`, `clock` and `startsOn`.
 *
 * A step is called at least once, so what it does outside has to bear that; what it keeps and emits is stored with its
 * completion, or not at all.
 */
export function saga({ steps, ...rest }) {
  const byName = new Map(steps.map((step) => [step.name, step]));
  const declared = steps.map(({ execute, compensate, ...step }) => ({ ...step, compensate: compensate !== undefined }));
  const descriptor = { ...rest, kind: "saga", steps: declared };
  const call = (host, way) => (record) => {
    runIn(host);
    try {
      const step = byName.get(record.step);
      if (step === undefined) throw new Halt("saga.no-such-step", `the plugin has no step ${record.step}`);
      const context = new Context(host, record);
      const answer = within(context.wokenBy, () => step[way]?.(context));
      context.finish();
      if (answer instanceof Wait) return { tag: "suspended", val: answer.wait };
      return { tag: "completed", val: encode(answer === undefined ? "" : JSON.stringify(answer)) };
    } catch (thrown) {
      throw toRecord(thrown, null, Halt);
    }
  };
  return {
    descriptor,
    on: (host) => ({
      descriptor: { describe: () => JSON.stringify(descriptor) },
      saga: { execute: call(host, "execute"), compensate: call(host, "compensate") },
    }),
  };
}

/** One attempt at a step. */
class Context {
  #host;
  #record;
  #emitted = [];

  constructor(host, record) {
    this.#host = host;
    this.#record = record;
    this.sagaId = record.sagaId;
    this.sagaType = record.sagaType;
    this.correlationId = record.correlationId;
    this.step = record.step;
    /** 1 for the first attempt at doing it, and again for the first at undoing it. */
    this.attempt = record.attempt;
    /** The same for every attempt at doing this step of this saga. */
    this.idempotencyKey = record.idempotencyKey;
    this.attributes = Object.fromEntries(record.attributes);
    /** By the saga's clock, in microseconds since the epoch: the host's, or that of the events. */
    this.nowUs = Number(this.attributes["now-us"] ?? 0);
    this.deadlineUs = Number(record.deadlineUs);
    /** The event that has woken the step, if one did. */
    this.wokenBy = eventOf(record.wokenBy);
    /** What the saga's steps share, as JSON. */
    this.data = {
      get: (key) => parsed(host.sagaData.get(key), `${key} of the saga's data`),
      put: (key, value) => host.sagaData.put(key, encode(JSON.stringify(value))),
      remove: (key) => host.sagaData.remove(key),
    };
  }

  /** What the saga was started with. */
  get input() {
    return parsed(this.#record.input, "the saga's input");
  }

  /** What this step has answered when it was completed, for what undoes it; undefined when that is not known. */
  get output() {
    return parsed(this.#record.output, "the step's output");
  }

  /** What an earlier step has answered. */
  outputOf(step) {
    return parsed(this.#host.sagaData.outputOf(step), `the output of ${step}`);
  }

  /** An idempotency key for one of several requests of the step. */
  keyFor(request) {
    return `${this.idempotencyKey}/${request}`;
  }

  /** Appends events to a stream, as a handler's `emit` does, with the step's outcome. */
  emit(stream, events) {
    this.#emitted.push([stream, events]);
  }

  finish() {
    for (const [stream, events] of this.#emitted) this.#host.outbox.append(0, stream, events.map(newEvent));
  }
}

function parsed(bytes, what) {
  if (bytes === null || bytes === undefined || bytes.length === 0) return undefined;
  try {
    return JSON.parse(decode(bytes));
  } catch (error) {
    throw new Reject("saga.malformed", `${what}: ${error.message}`);
  }
}

/** As in a batch, but for its id, which is more than a number holds. */
function eventOf(record) {
  if (record === null || record === undefined) return undefined;
  const { position, offset, timeUs, schemaVersion, eventType, streamName, key, correlationId, data } = record;
  const event = { position: Number(position), offset: Number(offset), timeUs: Number(timeUs), type: eventType };
  Object.assign(event, { schemaVersion, stream: streamName });
  if (key !== null && key !== undefined) event.key = key;
  if (correlationId !== null && correlationId !== undefined) event.correlationId = correlationId;
  try {
    event.data = JSON.parse(decode(data));
  } catch {
    event.dataBase64 = data.toBase64();
  }
  return event;
}

function newEvent({ type, schemaVersion = 1, key = null, data, attributes = {} }) {
  const pairs = Object.entries(attributes).flatMap(([name, value]) => [value].flat().map((one) => [name, String(one)]));
  return { eventType: type, schemaVersion, key, data: encode(JSON.stringify(data)), attributes: pairs };
}
