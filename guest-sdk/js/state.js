import { decode } from "./bytes.js";

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
      this.save();
      const page = this.#host.state.scan(collection, prefix, after, PAGE);
      for (const { key, value } of page.entries) yield [key, JSON.parse(decode(value))];
      after = page.nextAfter;
    } while (after !== null);
  }

  /** Notes that documents will be read: `[[collection, key], ...]`, or undefined. */
  expect(documents = []) {
    for (let n = 0; n < documents.length; n++) this.#slot(documents[n][0], documents[n][1]);
  }

  /** Loads all that is expected, in one call of the host. */
  load() {
    const wanted = [];
    this.#collections.forEach(({ slots }, collection) => {
      const keys = slots.filter(isUnread).map((slot) => slot.key);
      if (keys.length > 0) wanted.push(`${JSON.stringify(collection)}:${JSON.stringify(keys)}`);
    });
    if (wanted.length === 0) return;
    const loaded = JSON.parse(this.#host.stateJson.load(`{${wanted.join()}}`));
    this.#collections.forEach(({ slots }, collection) => {
      const documents = loaded[collection];
      if (documents === undefined) return;
      for (let n = 0; n < slots.length; n++) if (isUnread(slots[n])) fill(slots[n], documents[slots[n].key]);
    });
  }

  /** Hands every change to the host, in one call, and forgets what was read. */
  save() {
    const changes = [];
    this.#collections.forEach(({ slots }, collection) => {
      const entries = [];
      for (let n = 0; n < slots.length; n++) {
        const { key, text, document, changed } = slots[n];
        if (changed) entries.push(`${JSON.stringify(key)}:${document === undefined ? text : JSON.stringify(document)}`);
      }
      if (entries.length > 0) changes.push(`${JSON.stringify(collection)}:{${entries.join()}}`);
    });
    this.#collections.clear();
    if (changes.length > 0) this.#host.stateJson.save(`{${changes.join()}}`);
  }

  /**
   * `document` is undefined until it is read or parsed, and then newer than `text`. `text` is the JSON that was
   * put, null where there is no document, and undefined until that is known.
   */
  #slot(collection, key) {
    let documents = this.#collections.get(collection);
    if (documents === undefined) this.#collections.set(collection, (documents = { byKey: new Map(), slots: [] }));
    let slot = documents.byKey.get(key);
    if (slot === undefined) {
      // As JSON it would go through, and come back under another name.
      if (typeof key !== "string") throw new TypeError(`a key of ${collection} is not a string: ${key}`);
      slot = { key, text: undefined, document: undefined, changed: false };
      documents.byKey.set(key, slot);
      documents.slots.push(slot);
    }
    return slot;
  }

  #read(collection, key) {
    const slot = this.#slot(collection, key);
    if (isUnread(slot)) {
      const wanted = `{${JSON.stringify(collection)}:[${JSON.stringify(key)}]}`;
      fill(slot, JSON.parse(this.#host.stateJson.load(wanted))[collection]?.[key]);
    }
    return slot;
  }

  #set(collection, key, text) {
    const slot = this.#slot(collection, key);
    slot.text = text;
    slot.document = undefined;
    slot.changed = true;
  }
}

const isUnread = (slot) => slot.text === undefined && slot.document === undefined;

function fill(slot, document) {
  if (document === null || document === undefined) slot.text = null;
  else slot.document = document;
}
