/* How many users were added and removed, in all and by country. */

#include "users.h"

const char wm_descriptor[] =
    "{\"name\":\"user-statistics\",\"version\":\"1.0.0\",\"kind\":\"projection\","
    "\"description\":\"Users added and removed, in all and by country\","
    "\"subscribes\":[{\"types\":[\"user.*\"]}],"
    "\"collections\":["
    "{\"name\":\"statistics\",\"description\":\"Under `all` and under `country.NO`: added, removed, current\"},"
    "{\"name\":\"users\",\"description\":\"By id: the users of now\"}]}";

static int64_t figure(wm_text document, wm_text name) {
  wm_text value;
  int64_t figure = 0;
  if (wm_json_member(document, name, &value)) wm_json_integer(value, &figure);
  return figure;
}

static void count_under(wm_text key, int64_t more_added, int64_t more_removed) {
  wm_text document = WM("{}");
  wm_state_get(WM("statistics"), key, &document);
  int64_t added = figure(document, WM("added")) + more_added;
  int64_t removed = figure(document, WM("removed")) + more_removed;
  const char *pattern = "{\"added\":%d,\"removed\":%d,\"current\":%d}";
  wm_state_put(WM("statistics"), key, wm_format(pattern, added, removed, added - removed));
}

static void count(wm_text country, int64_t added, int64_t removed) {
  count_under(WM("all"), added, removed);
  count_under(wm_format("country.%t", country), added, removed);
}

static bool user_added(wm_text data) {
  wm_text id, value, known;
  wm_text country = WM("unknown");
  if (!user_of(data, &id)) return false;
  bool given = wm_json_member(data, WM("country"), &value) && !wm_json_is_null(value);
  if (given && !wm_json_name(data, WM("country"), &country)) {
    return wm_reject("user.malformed", "the country is not a name");
  }
  if (wm_state_get(WM("users"), id, &known)) return true;
  wm_state_put(WM("users"), id, wm_format("{\"country\":%q}", country));
  count(country, 1, 0);
  return true;
}

static bool user_removed(wm_text data) {
  wm_text id, user, country;
  if (!user_of(data, &id)) return false;
  if (!wm_state_get(WM("users"), id, &user) || !wm_json_name(user, WM("country"), &country)) return true;
  wm_state_remove(WM("users"), id);
  count(country, 0, 1);
  return true;
}

bool wm_apply(const wm_event_t *event) {
  if (wm_equal(event->event_type, WM("user.added"))) return user_added(wm_data(event));
  if (wm_equal(event->event_type, WM("user.removed"))) return user_removed(wm_data(event));
  return true;
}
