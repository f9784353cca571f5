// QuickJS has no TextEncoder. Base64 is the detour through native code: it takes bytes to characters and
// back some forty times faster than a loop.

const BEYOND_ASCII = /[^\x00-\x7f]/;

/** The UTF-8 of a string; a lone surrogate becomes U+FFFD. */
export function encode(text) {
  const octets = BEYOND_ASCII.test(text) ? unescape(encodeURIComponent(text.toWellFormed())) : text;
  return Uint8Array.fromBase64(btoa(octets));
}

/** The string of which `bytes` are the UTF-8. Throws a URIError when they are not UTF-8. */
export function decode(bytes) {
  const octets = atob(bytes.toBase64());
  return BEYOND_ASCII.test(octets) ? decodeURIComponent(escape(octets)) : octets;
}
