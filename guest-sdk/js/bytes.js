// QuickJS has neither TextDecoder nor TextEncoder. Base64 is the detour through native code: it takes bytes to
// characters, and back, some forty times faster than a loop.

/** The text that UTF-8 bytes are. */
export function decode(bytes) {
  const octets = atob(bytes.toBase64());
  return /[^\x00-\x7f]/.test(octets) ? decodeURIComponent(escape(octets)) : octets;
}

/** The UTF-8 bytes of a text. */
export function encode(text) {
  const octets = /[^\x00-\x7f]/.test(text) ? unescape(encodeURIComponent(text.toWellFormed())) : text;
  return Uint8Array.fromBase64(btoa(octets));
}
