/* A reader of JSON that allocates for decoded strings only, never recurses, and never reads beyond its text. */

#include <string.h>

#include "internal.h"

static bool is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static size_t skip_space(wm_text json, size_t at) {
  while (at < json.len && is_space(json.ptr[at])) at++;
  return at;
}

static bool is_at(wm_text json, size_t at, uint8_t c) { return at < json.len && json.ptr[at] == c; }

/* Behind the string that begins at `at`; beyond the text when it has no end. */
static size_t skip_string(wm_text json, size_t at) {
  for (at++; at < json.len; at++) {
    if (json.ptr[at] == '\\') {
      at++;
    } else if (json.ptr[at] == '"') {
      return at + 1;
    }
  }
  return json.len + 1;
}

/* Behind the value that begins at `at`; beyond the text when it has no end. */
static size_t skip_value(wm_text json, size_t at) {
  size_t depth = 0;
  size_t start = at;
  while (at < json.len) {
    uint8_t c = json.ptr[at];
    if (c == '"') {
      at = skip_string(json, at);
    } else if (c == '{' || c == '[') {
      depth++;
      at++;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at > start ? at : json.len + 1;
      depth--;
      at++;
    } else if (depth == 0 && (c == ',' || is_space(c))) {
      return at > start ? at : json.len + 1;
    } else {
      at++;
      continue;
    }
    if (depth == 0) return at;
  }
  return depth == 0 && at > start ? at : json.len + 1;
}

static wm_text part(wm_text json, size_t from, size_t to) { return (wm_text){json.ptr + from, to - from}; }

bool wm_json_is_object(wm_text json) {
  size_t start = skip_space(json, 0);
  if (!is_at(json, start, '{')) return false;
  return skip_space(json, skip_value(json, start)) == json.len;
}

bool wm_json_next(wm_text object, size_t *at, wm_text *name, wm_text *value, wm_text *raw) {
  size_t start = skip_space(object, *at);
  if (*at == 0) {
    if (!is_at(object, start, '{')) return false;
  } else if (!is_at(object, start, ',')) {
    return false;
  }
  start = skip_space(object, start + 1);
  if (!is_at(object, start, '"')) return false;
  size_t colon = skip_space(object, skip_string(object, start));
  if (!is_at(object, colon, ':') || !wm_json_string(part(object, start, colon), name)) return false;
  size_t from = skip_space(object, colon + 1);
  size_t to = skip_value(object, from);
  if (to > object.len) return false;
  *value = part(object, from, to);
  *raw = part(object, start, to);
  *at = to;
  return true;
}

bool wm_json_member(wm_text object, wm_text name, wm_text *value) {
  bool found = false;
  size_t at = 0;
  wm_text member, its_value, raw;
  while (wm_json_next(object, &at, &member, &its_value, &raw)) {
    if (wm_equal(member, name)) {
      *value = its_value;
      found = true;
    }
  }
  return found;
}

bool wm_json_is_null(wm_text value) { return wm_equal(value, WM("null")); }

bool wm_json_name(wm_text object, wm_text name, wm_text *string) {
  wm_text value;
  return wm_json_member(object, name, &value) && wm_json_string(value, string) && string->len > 0;
}

bool wm_json_integer(wm_text value, int64_t *number) {
  size_t at = is_at(value, 0, '-') ? 1 : 0;
  uint64_t limit = (uint64_t)INT64_MAX + at;
  uint64_t sum = 0;
  size_t first = at;
  for (; at < value.len && value.ptr[at] >= '0' && value.ptr[at] <= '9'; at++) {
    uint64_t digit = value.ptr[at] - '0';
    if (sum > (limit - digit) / 10) return false;
    sum = sum * 10 + digit;
  }
  if (at == first || at != value.len) return false;
  *number = first == 1 ? (int64_t)(0 - sum) : (int64_t)sum;
  return true;
}

/* ---- strings -------------------------------------------------------------------------------- */

/* The code unit of the four hexadecimal digits at `at`, or -1. */
static int32_t code_unit(wm_text json, size_t at) {
  if (at + 4 > json.len) return -1;
  int32_t unit = 0;
  for (size_t n = at; n < at + 4; n++) {
    uint8_t c = json.ptr[n];
    uint8_t letter = c | 0x20;
    if (c >= '0' && c <= '9') {
      unit = unit * 16 + c - '0';
    } else if (letter >= 'a' && letter <= 'f') {
      unit = unit * 16 + letter - 'a' + 10;
    } else {
      return -1;
    }
  }
  return unit;
}

static size_t put_utf8(uint8_t *to, uint32_t c) {
  if (c < 0x80) {
    to[0] = (uint8_t)c;
    return 1;
  }
  size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
  to[0] = first[more] | (uint8_t)(c >> (6 * more));
  for (size_t n = 1; n <= more; n++) to[n] = 0x80 | (uint8_t)((c >> (6 * (more - n))) & 0x3f);
  return more + 1;
}

static bool is_high(int32_t unit) { return unit >= 0xd800 && unit < 0xdc00; }
static bool is_low(int32_t unit) { return unit >= 0xdc00 && unit < 0xe000; }

/* Decodes the \u at `*at`, with the one behind it if both are a pair; half a pair becomes U+FFFD. */
static bool put_escape(wm_text json, size_t *at, uint8_t *to, size_t *len) {
  int32_t unit = code_unit(json, *at + 2);
  if (unit < 0) return false;
  *at += 6;
  uint32_t c = (uint32_t)unit;
  if (is_high(unit)) {
    bool escape = is_at(json, *at, '\\') && is_at(json, *at + 1, 'u');
    int32_t low = escape ? code_unit(json, *at + 2) : -1;
    c = 0xfffd;
    if (is_low(low)) {
      c = 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
      *at += 6;
    }
  } else if (is_low(unit)) {
    c = 0xfffd;
  }
  *len += put_utf8(to + *len, c);
  return true;
}

bool wm_json_string(wm_text value, wm_text *string) {
  static const char escapes[] = "\"\\/bfnrt";
  static const char escaped[] = "\"\\/\b\f\n\r\t";
  while (value.len > 0 && is_space(value.ptr[value.len - 1])) value.len--;
  if (!is_at(value, 0, '"') || skip_string(value, 0) != value.len) return false;
  wm_text json = part(value, 1, value.len - 1);
  if (json.len == 0 || memchr(json.ptr, '\\', json.len) == NULL) {
    *string = json;
    return true;
  }
  /* What is decoded is never longer. */
  uint8_t *to = wm_alloc(json.len);
  size_t len = 0;
  for (size_t at = 0; at < json.len;) {
    if (json.ptr[at] != '\\') {
      to[len++] = json.ptr[at++];
    } else if (is_at(json, at + 1, 'u')) {
      if (!put_escape(json, &at, to, &len)) return false;
    } else {
      const char *name = at + 1 < json.len && json.ptr[at + 1] != 0 ? strchr(escapes, json.ptr[at + 1]) : NULL;
      if (name == NULL) return false;
      to[len++] = (uint8_t)escaped[name - escapes];
      at += 2;
    }
  }
  *string = (wm_text){to, len};
  return true;
}
