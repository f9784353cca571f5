/**
 * Why a call failed, and what the host should do about it. Throw one of the three below; everything that
 * the batch changed is rolled back. `code` is stable and machine-readable.
 */
export class Failure extends Error {
  constructor(disposition, code, message, { retryAfterMs = null, attributes = {} } = {}) {
    super(message);
    this.disposition = disposition;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.attributes = attributes;
  }
}

/** This event can never work. */
export class Reject extends Failure {
  constructor(code, message, options) {
    super("reject", code, message, options);
  }
}

/** Transient: the same input may work later, after `retryAfterMs` if that is given. */
export class Retry extends Failure {
  constructor(code, message, options) {
    super("retry", code, message, options);
  }
}

/** The plugin itself cannot go on. */
export class Halt extends Failure {
  constructor(code, message, options) {
    super("halt", code, message, options);
  }
}

const failureOf = (thrown, Otherwise = Reject) =>
  thrown instanceof Failure ? thrown : new Otherwise("plugin.exception", describe(thrown));

/**
 * The record of the contract for whatever was thrown over the event at `index` of the batch. What is no failure is the
 * event's fault, or, where there is none, the plugin's.
 */
export function toRecord(thrown, index, Otherwise = Reject) {
  const { disposition, code, message, retryAfterMs, attributes } = failureOf(thrown, Otherwise);
  return { disposition, code, message, retryAfterMs, eventIndex: index, attributes: Object.entries(attributes) };
}

/** The same for one event of an upcaster, in JSON: it has a code and a message. */
export function toJson(thrown) {
  const { code, message } = failureOf(thrown);
  return { code, message };
}

function describe(thrown) {
  const where = thrown?.stack?.trim().split("\n")[0] ?? "";
  return `${thrown} ${where}`.trim();
}
