import { decode, encode } from "./utf8.js";

const PAGE = 128;

/**
 * The documents of a plugin, as one batch sees them. Each is read and written once a batch: changes stay
 * here until the batch ends, and nothing outlives it, since the host may roll it back.
 *
 * Loops count and results are objects: in QuickJS, iterators and destructured arrays cost several times
 * as much, and this is where a plugin spends its time.
 */
export class State {
  #host;
  #collections = new Map();

  constructor(host) {
    this.#host = host;
  }

  /** A copy of the document under `key`, or undefined. */
  get(collection, key) {
    const slot = this.#read(collection, key);
    const text = slot.document === undefined ? slot.text : JSON.stringify(slot.document);
    return text === null ? undefined : JSON.parse(text);
  }

  /**
   * Changes the document under `key`: `change` is given it, or undefined, and returns what it is to be.
   * A default parameter does for the first time: `(count = 0) => count + 1`.
   */
  update(collection, key, change) {
    const slot = this.#read(collection, key);
    if (slot.document === undefined && slot.text !== null) slot.document = JSON.parse(slot.text);
    const document = change(slot.document);
    if (document === undefined) throw new TypeError("what changes a document must return it");
    slot.document = document;
    slot.changed = true;
  }

  /** Sets the document under `key`, without reading what was there. */
  put(collection, key, document) {
    const text = JSON.stringify(document);
    if (text === undefined) throw new TypeError("a document must be JSON");
    this.#set(collection, key, text);
  }

  /** Removes the document under `key`, if there is one. */
  remove(collection, key) {
    this.#set(collection, key, null);
  }

  /** `[key, document]` of all whose keys begin with `prefix`, in the byte order of their keys. */
  *scan(collection, prefix = "") {
    let after = null;
    do {
      // Now, so that the page shows what has been changed so far.
      this.write();
      const page = this.#host.state.scan(collection, prefix, after, PAGE);
      for (const { key, value } of page.entries) yield [key, JSON.parse(decode(value))];
      after = page.nextAfter;
    } while (after !== null);
  }

  /** Notes that a document will be read. */
  expect(collection, key) {
    this.#slot(collection, key);
  }

  /** Reads all that is expected, in one call of the host for each collection. */
  fetch() {
    this.#collections.forEach(({ slots }, collection) => {
      const unread = slots.filter((slot) => slot.text === undefined);
      if (unread.length === 0) return;
      const values = this.#host.state.getMany(
        collection,
        unread.map((slot) => slot.key),
      );
      for (let n = 0; n < unread.length; n++) unread[n].text = textOf(values[n]);
    });
  }

  /** Hands every change to the host, and forgets what was read. */
  write() {
    this.#collections.forEach(({ slots }, collection) => {
      const entries = [];
      for (let n = 0; n < slots.length; n++) {
        const { key, text, document, changed } = slots[n];
        if (!changed) continue;
        const json = document === undefined ? text : JSON.stringify(document);
        if (json === null) this.#host.state.remove(collection, key);
        else entries.push({ key, value: encode(json) });
      }
      if (entries.length > 0) this.#host.state.putMany(collection, entries);
    });
    this.#collections.clear();
  }

  /** `text` is undefined until it has been read, and null where there is no document; `document`, once it
   * is there, is newer. */
  #slot(collection, key) {
    let documents = this.#collections.get(collection);
    if (documents === undefined) this.#collections.set(collection, (documents = { byKey: new Map(), slots: [] }));
    let slot = documents.byKey.get(key);
    if (slot === undefined) {
      // The component traps on anything else, without a word of which event it was.
      if (typeof key !== "string") throw new TypeError(`a key of ${collection} is not a string: ${key}`);
      slot = { key, text: undefined, document: undefined, changed: false };
      documents.byKey.set(key, slot);
      documents.slots.push(slot);
    }
    return slot;
  }

  #read(collection, key) {
    const slot = this.#slot(collection, key);
    if (slot.text === undefined) slot.text = textOf(this.#host.state.get(collection, key));
    return slot;
  }

  #set(collection, key, text) {
    const slot = this.#slot(collection, key);
    slot.text = text;
    slot.document = undefined;
    slot.changed = true;
  }
}

const textOf = (value) => (value === null ? null : decode(value));
