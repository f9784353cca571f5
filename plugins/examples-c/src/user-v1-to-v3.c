/* Lifts user.added to the version that is published today. */

#include "wasmill.h"

const char wm_descriptor[] =
    "{\"name\":\"user-v1-to-v3\",\"version\":\"1.0.0\",\"kind\":\"upcaster\","
    "\"description\":\"Two names instead of one, and always a country\","
    "\"lifts\":["
    "{\"type\":\"user.added\",\"version\":1,\"toVersion\":2},"
    "{\"type\":\"user.added\",\"version\":2,\"toVersion\":3}]}";

/* The object without one of its members, and without its end, so that more can be put behind it. */
static wm_text without(wm_text object, wm_text name) {
  wm_text left = WM("{");
  wm_text member, value, raw;
  size_t at = 0;
  while (wm_json_next(object, &at, &member, &value, &raw)) {
    if (!wm_equal(member, name)) left = wm_format("%t%t,", left, raw);
  }
  return left;
}

static wm_text trimmed(wm_text text) {
  while (text.len > 0 && text.ptr[0] == ' ') text = (wm_text){text.ptr + 1, text.len - 1};
  while (text.len > 0 && text.ptr[text.len - 1] == ' ') text.len--;
  return text;
}

static bool split_name(wm_text data, wm_lifted_t *lifted) {
  wm_text value, name;
  if (!wm_json_is_object(data) || !wm_json_member(data, WM("name"), &value) || !wm_json_string(value, &name)) {
    return wm_reject("user.malformed", "the name is not a string");
  }
  name = trimmed(name);
  size_t space = 0;
  while (space < name.len && name.ptr[space] != ' ') space++;
  wm_text first = {name.ptr, space};
  wm_text last = {name.ptr + space, name.len - space};
  if (last.len > 0) last = (wm_text){last.ptr + 1, last.len - 1};
  lifted->data = wm_format("%t\"firstName\":%q,\"lastName\":%q}", without(data, WM("name")), first, last);
  return true;
}

static bool add_country(wm_text data, wm_lifted_t *lifted) {
  wm_text country;
  if (!wm_json_is_object(data)) return wm_reject("user.malformed", "the data is not an object");
  if (!wm_json_member(data, WM("country"), &country) || wm_json_is_null(country)) country = WM("\"unknown\"");
  lifted->data = wm_format("%t\"country\":%t}", without(data, WM("country")), country);
  return true;
}

bool wm_upcast(const wm_event_t *event, wm_lifted_t *lifted) {
  uint32_t version = event->schema_version;
  if (!wm_equal(event->event_type, WM("user.added")) || (version != 1 && version != 2)) return true;
  lifted->changed = true;
  lifted->schema_version = version + 1;
  return version == 1 ? split_name(wm_data(event), lifted) : add_country(wm_data(event), lifted);
}
