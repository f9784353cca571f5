/* Tests of texts and JSON, as a program of this machine: cc -DWM_KIND_UPCASTER ... tests/json.c json.c text.c */

#include <stdio.h>
#include <string.h>

#include "../internal.h"

static int failed;

static void expect(bool ok, const char *what) {
  if (!ok) {
    printf("FAILED: %s\n", what);
    failed = 1;
  }
}

/* A text in memory of its own, so that a checker of addresses sees a read beyond its end. */
static wm_text exact(const char *bytes, size_t len) {
  wm_text text = {wm_alloc(len), len};
  memcpy(text.ptr, bytes, len);
  return text;
}

#define EXACT(literal) exact(literal, sizeof(literal) - 1)

static bool decodes(wm_text json, wm_text to) {
  wm_text string;
  return wm_json_string(json, &string) && wm_equal(string, to);
}

static void strings(void) {
  expect(decodes(EXACT("\"\""), WM("")), "the empty string");
  expect(decodes(EXACT("\"plain \xc3\xa9\""), WM("plain \xc3\xa9")), "UTF-8 as it is");
  expect(decodes(EXACT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), WM("\"\\/\b\f\n\r\t")), "every escape");
  expect(decodes(EXACT("\"\\u0041\\u00e9\\u65e5\\ud83d\\uDE00\\u0000\""),
                 WM("A\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80\0")), "code units, and a pair");
  expect(decodes(EXACT("\"\\ud83d-\\ude00\""), WM("\xef\xbf\xbd-\xef\xbf\xbd")), "halves of a pair");
  expect(decodes(EXACT("\"\\ud83d\\u0041\""), WM("\xef\xbf\xbd" "A")), "half a pair before another character");
  wm_text string;
  const char *bad[] = {"", "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "a\"", "\"a\"b", "1"};
  for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
    expect(!wm_json_string(exact(bad[n], strlen(bad[n])), &string), bad[n]);
  }
}

static void members(void) {
  wm_text object = EXACT(" {\"a\" : {\"x\":\"wrong}\\\"\",\"l\":[1,{\"b\":0}]} ,\"b\":\t-12 , \"\\u0063\":null,\"b\":13} ");
  wm_text value;
  int64_t number;
  expect(wm_json_is_object(object), "an object");
  expect(wm_json_member(object, WM("a"), &value) && wm_json_member(value, WM("l"), &value), "a nested member");
  expect(wm_equal(value, WM("[1,{\"b\":0}]")), "a list as it stands");
  expect(wm_json_member(object, WM("b"), &value) && wm_json_integer(value, &number) && number == 13, "the last of two");
  expect(wm_json_member(object, WM("c"), &value) && wm_json_is_null(value), "a name with an escape");
  expect(!wm_json_member(object, WM("x"), &value), "what is inside is not a member");
  const char *not[] = {"", "[]", "7", "\"{}\"", "{", "{} x", "{\"a\":1", "null"};
  for (size_t n = 0; n < sizeof not / sizeof *not; n++) {
    expect(!wm_json_is_object(exact(not[n], strlen(not[n]))), not[n]);
  }
}

static void numbers(void) {
  int64_t number;
  expect(wm_json_integer(WM("9223372036854775807"), &number) && number == INT64_MAX, "the greatest");
  expect(wm_json_integer(WM("-9223372036854775808"), &number) && number == INT64_MIN, "the least");
  expect(!wm_json_integer(WM("9223372036854775808"), &number), "one too many");
  expect(!wm_json_integer(WM("-9223372036854775809"), &number), "one too few");
  expect(!wm_json_integer(WM("1.5"), &number) && !wm_json_integer(WM("-"), &number), "no integer");
  expect(wm_equal(wm_format("%d %d %d", INT64_MIN, (int64_t)0, (int64_t)-7), WM("-9223372036854775808 0 -7")), "%d");
}

static uint32_t next(void) {
  static uint32_t x = 2463534242;
  x ^= x << 13;
  x ^= x >> 17;
  return x ^= x << 5;
}

/* Whatever is cut off or changed is read within its bounds, and a string that is written is read as it was. */
static void anything(void) {
  static const char seed[] = "{\"a\":[1,\"\\ud83d\\ude00\",{\"b\":null}],\"c\":\"\\n\",\"d\":-5}";
  for (int round = 0; round < 200000; round++) {
    wm_text text = exact(seed, next() % sizeof seed);
    for (int change = 0; change < 3 && text.len > 0; change++) {
      uint32_t random = next();
      text.ptr[next() % text.len] = round % 2 ? (uint8_t)random : (uint8_t)seed[random % (sizeof seed - 1)];
    }
    wm_text value, string;
    int64_t number;
    wm_json_is_object(text);
    if (wm_json_member(text, WM("a"), &value)) wm_json_member(value, WM("b"), &value);
    if (wm_json_name(text, WM("c"), &string)) expect(decodes(wm_format("%q", string), string), "%q");
    if (wm_json_member(text, WM("d"), &value)) wm_json_integer(value, &number);
    expect(decodes(wm_format("%q", text), text), "%q of bytes");
    wm_release();
  }
}

int main(void) {
  strings();
  members();
  numbers();
  anything();
  wm_release();
  return failed;
}
