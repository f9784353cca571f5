/* Texts, and the memory of an event. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* What was allocated since the last event, newest first. */
struct block {
  struct block *next;
  void *memory;
};

static struct block *blocks;

static void *allocated(size_t size) {
  void *memory = malloc(size > 0 ? size : 1);
  if (memory == NULL) abort();
  return memory;
}

void *wm_keep(void *memory) {
  struct block *block = allocated(sizeof *block);
  *block = (struct block){blocks, memory};
  blocks = block;
  return memory;
}

void *wm_alloc(size_t size) { return wm_keep(allocated(size)); }

void wm_release(void) {
  while (blocks != NULL) {
    struct block *next = blocks->next;
    free(blocks->memory);
    free(blocks);
    blocks = next;
  }
}

wm_text wm_kept(wm_text text) {
  /* An empty text of the host has an address that was never allocated. */
  if (text.len > 0) wm_keep(text.ptr);
  return text;
}

bool wm_equal(wm_text one, wm_text other) {
  return one.len == other.len && (one.len == 0 || memcmp(one.ptr, other.ptr, one.len) == 0);
}

/* ---- wm_format ------------------------------------------------------------------------------ */

/* Appends to `to` when there is one; counts in any case. */
struct writer {
  uint8_t *to;
  size_t len;
};

static void add(struct writer *writer, const void *bytes, size_t len) {
  if (writer->to != NULL && len > 0) memcpy(writer->to + writer->len, bytes, len);
  writer->len += len;
}

static void add_quoted(struct writer *writer, wm_text text) {
  static const char hex[] = "0123456789abcdef";
  static const char controls[] = "\b\f\n\r\t";
  static const char letters[] = "bfnrt";
  add(writer, "\"", 1);
  for (size_t n = 0; n < text.len; n++) {
    uint8_t c = text.ptr[n];
    const char *control = c != 0 ? strchr(controls, c) : NULL;
    if (c == '"' || c == '\\') {
      add(writer, (char[]){'\\', (char)c}, 2);
    } else if (control != NULL) {
      add(writer, (char[]){'\\', letters[control - controls]}, 2);
    } else if (c < 0x20) {
      add(writer, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    } else {
      add(writer, &text.ptr[n], 1);
    }
  }
  add(writer, "\"", 1);
}

static void add_integer(struct writer *writer, int64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (number < 0) add(writer, "-", 1);
  add(writer, digits + at, sizeof digits - at);
}

static void add_pattern(struct writer *writer, const char *pattern, va_list values) {
  for (const char *c = pattern; *c != 0; c++) {
    if (*c != '%') {
      add(writer, c, 1);
      continue;
    }
    wm_text text;
    switch (*++c) {
      case 't':
        text = va_arg(values, wm_text);
        add(writer, text.ptr, text.len);
        break;
      case 'q':
        add_quoted(writer, va_arg(values, wm_text));
        break;
      case 'd':
        add_integer(writer, va_arg(values, int64_t));
        break;
      case '%':
        add(writer, c, 1);
        break;
      default:
        abort();
    }
  }
}

wm_text wm_format(const char *pattern, ...) {
  va_list values, again;
  va_start(values, pattern);
  va_copy(again, values);
  struct writer writer = {NULL, 0};
  add_pattern(&writer, pattern, values);
  writer = (struct writer){wm_alloc(writer.len), 0};
  add_pattern(&writer, pattern, again);
  va_end(again);
  va_end(values);
  return (wm_text){writer.to, writer.len};
}
