// A host in memory, to test plugins with in Node: no Wasm, no server.
//
//     import orders from "../src/plugin.js";
//     const host = new Harness(orders);
//     host.feed([{ stream: "order-1", type: "order.placed", data: { customer: "c1" } }]);
//     assert.equal(host.get("customers", "c1"), 1);

import { Buffer } from "node:buffer";

export { SagaHarness } from "./testing-saga.js";

const BATCH = 256;
const EXPORTS = {
  projection: ["projectionJson", "apply"],
  handler: ["handlerJson", "handle"],
  upcaster: ["upcasterJson", "upcast"],
};

/** Feeds a plugin events as a host does: numbered, in batches, all or nothing each. */
export class Harness {
  #call;
  #batch;
  #position = 0;
  #offsets = new Map();
  /** The events of the present batch, as they were given. */
  #events = [];
  /** Where it begins in the log. */
  #first = 0;
  documents = new Map();
  /** What a handler has appended: `{ cause, stream, type, ... }`, cause as the position of the event it answers. */
  appended = [];
  log = [];

  constructor(plugin, { batch = BATCH, config = {} } = {}) {
    this.#batch = batch;
    this.config = config;
    const exported = plugin.on(this.#host());
    this.descriptor = JSON.parse(exported.descriptor.describe());
    const [name, method] = EXPORTS[this.descriptor.kind];
    this.#call = exported[name][method];
  }

  /**
   * Feeds events: `{ stream, type, data, key, time, details }`, of which stream and type are required, as in the
   * lines that `wasmill publish` takes. Returns what an upcaster makes of each, null for unchanged. Throws the
   * plugin's failure; its batch is rolled back then.
   */
  feed(events) {
    const results = [];
    for (let from = 0; from < events.length; from += this.#batch) {
      results.push(...this.#feedBatch(events.slice(from, from + this.#batch)));
    }
    return results;
  }

  /** A document, or undefined. */
  get(collection, key) {
    const text = this.documents.get(place(collection, key));
    return text && JSON.parse(text);
  }

  /** The keys and documents of a collection, in the byte order of the keys, as an object. */
  all(collection) {
    return Object.fromEntries(this.keys(collection, "").map((key) => [key, this.get(collection, key)]));
  }

  keys(collection, prefix) {
    const keys = [...this.documents.keys()].map((at) => JSON.parse(at)).filter(([of]) => of === collection);
    const matching = keys.map(([, key]) => key).filter((key) => key.startsWith(prefix));
    return matching.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  #feedBatch(events) {
    const before = [new Map(this.documents), [...this.appended]];
    this.#events = events;
    try {
      const numbered = events.map((event) => this.#number(event));
      this.#first = numbered[0].position;
      return JSON.parse(this.#call(JSON.stringify(numbered)) ?? "[]");
    } catch (failure) {
      [this.documents, this.appended] = before;
      throw failure;
    }
  }

  #number({ stream, type, data, dataBase64, key, time = 0, schemaVersion = 1, correlationId }) {
    const offset = this.#offsets.get(stream) ?? 0;
    this.#offsets.set(stream, offset + 1);
    const position = this.#position++;
    const id = `00000000-0000-7000-8000-${String(position).padStart(12, "0")}`;
    const timeUs = microseconds(time);
    const content = dataBase64 === undefined ? { data: data ?? null } : { dataBase64 };
    return { position, offset, timeUs, id, type, schemaVersion, stream, key, correlationId, ...content };
  }

  /** What a component would import. */
  #host() {
    return {
      state: {
        scan: (collection, prefix, after, limit) => {
          const rest = this.keys(this.#declared(collection), prefix).filter((key) => after === null || key > after);
          const value = (key) => new Uint8Array(Buffer.from(this.documents.get(place(collection, key))));
          const entries = rest.slice(0, limit).map((key) => ({ key, value: value(key) }));
          return { entries, nextAfter: rest.length > limit ? rest[limit - 1] : null };
        },
      },
      stateJson: {
        load: (wanted) => {
          const found = Object.entries(JSON.parse(wanted)).map(([collection, keys]) => {
            const text = (key) => this.documents.get(place(this.#declared(collection), key)) ?? "null";
            return `${JSON.stringify(collection)}:{${keys.map((key) => `${JSON.stringify(key)}:${text(key)}`).join()}}`;
          });
          return `{${found.join()}}`;
        },
        save: (changes) => {
          for (const [collection, documents] of Object.entries(JSON.parse(changes))) {
            for (const [key, document] of Object.entries(documents)) {
              const at = place(this.#declared(collection), key);
              if (document === null) this.documents.delete(at);
              else this.documents.set(at, JSON.stringify(document));
            }
          }
        },
      },
      outboxJson: {
        append: (appends) => {
          for (const { cause, stream, events } of JSON.parse(appends)) {
            for (const event of events) this.appended.push({ cause: this.#first + cause, stream, ...event });
          }
        },
      },
      eventDetails: { attributesOf: (index) => Object.entries(this.#events[index].details ?? {}) },
      config: {
        get: (key) => this.config[key] ?? this.#default(key),
        getAll: () => {
          const declared = (this.descriptor.config ?? []).map(({ name }) => name);
          const names = new Set([...declared, ...Object.keys(this.config)]);
          const all = [...names].map((name) => [name, this.config[name] ?? this.#default(name)]);
          return all.filter(([, value]) => value !== null);
        },
      },
      env: { nowUs: () => 0n, random: (length) => new Uint8Array(length) },
      log: { write: (level, message, fields) => this.log.push({ level, message, fields }) },
    };
  }

  #default(key) {
    return this.descriptor.config?.find(({ name }) => name === key)?.default ?? null;
  }

  /** As a host, refuses a collection that the descriptor does not name. */
  #declared(collection) {
    const names = this.descriptor.collections?.map(({ name }) => name) ?? [];
    if (!names.includes(collection)) throw new Error(`the collection ${collection} is not in the descriptor`);
    return collection;
  }
}

/** Of milliseconds since the epoch, or of a time in RFC 3339, which may be finer than a Date. */
function microseconds(time) {
  const finer = /\.\d{3}(\d{1,3})/.exec(time)?.[1] ?? "";
  return new Date(time).getTime() * 1000 + Number(finer.padEnd(3, "0"));
}

const place = (collection, key) => JSON.stringify([collection, key]);

// Newer than many a Node.
Uint8Array.prototype.toBase64 ??= function () {
  return Buffer.from(this).toString("base64");
};
Uint8Array.fromBase64 ??= (text) => new Uint8Array(Buffer.from(text, "base64"));
String.prototype.toWellFormed ??= function () {
  return Buffer.from(String(this)).toString();
};
