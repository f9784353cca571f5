import { Failure } from "./failure.js";
import { decode } from "./utf8.js";

/** An event of the present batch. */
export class Event {
  #record;
  #index;
  #details;
  #data;

  constructor(record, index, details) {
    this.#record = record;
    this.#index = index;
    this.#details = details;
  }

  get type() {
    return this.#record.eventType;
  }

  get stream() {
    return this.#record.streamName;
  }

  /** The ordering key, or null. */
  get key() {
    return this.#record.key;
  }

  /** Place in the whole log, from 0. */
  get position() {
    return this.#record.position;
  }

  /** Place in its stream, from 0. */
  get offset() {
    return this.#record.offset;
  }

  /** When it happened, in microseconds since the Unix epoch: a projection's only clock. */
  get timeUs() {
    return this.#record.timeUs;
  }

  /** The version of its schema, after upcasting. */
  get schemaVersion() {
    return this.#record.schemaVersion;
  }

  get correlationId() {
    return this.#record.correlationId;
  }

  /** The data as it was published. */
  get bytes() {
    return this.#record.data;
  }

  /** The data, parsed as JSON when it is first asked for. */
  get data() {
    if (this.#data === undefined) {
      try {
        this.#data = JSON.parse(decode(this.#record.data));
      } catch (error) {
        throw new Failure("reject", "event.malformed", `${this.type}: ${error.message}`);
      }
    }
    return this.#data;
  }

  /** The rest of the event, as an object of strings. Each call asks the host. */
  details() {
    return Object.fromEntries(this.#details(this.#index));
  }
}
