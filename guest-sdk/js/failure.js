/**
 * Why a call failed, and what the host should do about it: throw one from `apply`. Everything that the
 * batch changed is rolled back.
 *
 * `disposition` is "retry" (transient: the same input may work later), "reject" (this event can never
 * work) or "halt" (the plugin cannot go on). `code` is stable and machine-readable.
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

/** The record of the contract for whatever was thrown over the event at `index` of the batch. */
export function toRecord(thrown, index) {
  const failure =
    thrown instanceof Failure ? thrown : new Failure("reject", "plugin.exception", describe(thrown));
  return {
    disposition: failure.disposition,
    code: failure.code,
    message: failure.message,
    retryAfterMs: failure.retryAfterMs,
    eventIndex: index,
    attributes: Object.entries(failure.attributes),
  };
}

function describe(thrown) {
  const where = thrown?.stack?.trim().split("\n")[0] ?? "";
  return `${thrown} ${where}`.trim();
}
