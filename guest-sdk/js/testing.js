// A host in memory, to test plugins with in Node: no Wasm, no server.
//
//     const orders = await Harness.of(new URL("../src/plugin.js", import.meta.url));
//     orders.apply([{ stream: "order-1", type: "order.placed", data: { pence: 120 } }]);
//     assert.deepEqual(orders.get("counts", "order.placed"), 1);

import { Buffer } from "node:buffer";
import { register } from "node:module";

const BATCH = 256;

/** The harness whose plugin is running: the plugin's imports are the same for all. */
let running;

/** Folds events with a projection, as a host does: numbered, in batches, all or nothing each. */
export class Harness {
  #plugin;
  #batch;
  #position = 0;
  #offsets = new Map();
  documents = new Map();
  config;
  log = [];
  events = [];

  /** The plugin of the module at `url`. */
  static async of(url, { batch = BATCH, config = {} } = {}) {
    return new Harness(await import(url), batch, config);
  }

  constructor(plugin, batch, config) {
    this.#plugin = plugin;
    this.#batch = batch;
    this.config = config;
    this.descriptor = JSON.parse(plugin.descriptor.describe());
  }

  /**
   * Folds events: `{ stream, type, data, key, time, details }`, of which stream and type are required, as in
   * the lines that `wasmill publish` takes. Throws the plugin's failure; its batch is rolled back then.
   */
  apply(events) {
    for (let from = 0; from < events.length; from += this.#batch) {
      this.#applyBatch(events.slice(from, from + this.#batch));
    }
  }

  /** A document, or undefined. */
  get(collection, key) {
    const bytes = this.documents.get(place(collection, key));
    return bytes && JSON.parse(Buffer.from(bytes).toString());
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

  #applyBatch(events) {
    const before = new Map(this.documents);
    this.events = events;
    running = this;
    try {
      this.#plugin.projection.apply(events.map((event) => this.#record(event)));
    } catch (failure) {
      this.documents = before;
      throw failure;
    } finally {
      running = undefined;
    }
  }

  #record({ stream, type, data = null, bytes, key = null, time = 0, schemaVersion = 1, correlationId = null }) {
    const offset = this.#offsets.get(stream) ?? 0;
    this.#offsets.set(stream, offset + 1);
    const position = this.#position++;
    return {
      position,
      offset,
      timeUs: new Date(time).getTime() * 1000,
      id: [0, position + 1],
      schemaVersion,
      eventType: type,
      streamName: stream,
      key,
      correlationId,
      data: bytes ?? new Uint8Array(Buffer.from(JSON.stringify(data))),
    };
  }
}

const place = (collection, key) => JSON.stringify([collection, key]);

/** As a host, refuses a collection that the descriptor does not name. */
function declared(collection) {
  const names = running.descriptor.collections?.map(({ name }) => name) ?? [];
  if (!names.includes(collection)) throw new Error(`the collection ${collection} is not in the descriptor`);
  return collection;
}

const get = (collection, key) => running.documents.get(place(declared(collection), key)) ?? null;
const put = (collection, key, value) => running.documents.set(place(declared(collection), key), value);

globalThis.wasmillTestHost = {
  state: {
    get,
    getMany: (collection, keys) => keys.map((key) => get(collection, key)),
    put,
    putMany: (collection, entries) => entries.forEach(({ key, value }) => put(collection, key, value)),
    remove: (collection, key) => running.documents.delete(place(declared(collection), key)),
    scan(collection, prefix, after, limit) {
      const rest = running.keys(declared(collection), prefix).filter((key) => after === null || key > after);
      const entries = rest.slice(0, limit).map((key) => ({ key, value: get(collection, key) }));
      return { entries, nextAfter: rest.length > limit ? rest[limit - 1] : null };
    },
  },
  "event-details": { attributesOf: (index) => Object.entries(running.events[index].details ?? {}) },
  config: {
    get: (key) => running.config[key] ?? null,
    getAll: () => Object.entries(running.config),
  },
  log: { write: (level, message, fields) => running.log.push({ level, message, fields }) },
};

// The imports of the contract exist in a component only; here they are made of the host above.
const hooks = `
  const imports = /^wasmill:plugin\\/([a-z-]+)@/;
  export const resolve = (specifier, context, next) =>
    imports.test(specifier) ? { url: specifier, shortCircuit: true } : next(specifier, context);
  export const load = (url, context, next) => {
    const name = imports.exec(url)?.[1];
    if (name === undefined) return next(url, context);
    const source = "export default globalThis.wasmillTestHost[" + JSON.stringify(name) + "];";
    return { format: "module", source, shortCircuit: true };
  };`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

// Newer than many a Node.
Uint8Array.fromBase64 ??= (text) => new Uint8Array(Buffer.from(text, "base64"));
Uint8Array.prototype.toBase64 ??= function () {
  return Buffer.from(this).toString("base64");
};
