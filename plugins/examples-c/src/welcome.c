/* Asks for a welcome, once for each user. */

#include "users.h"

const char wm_descriptor[] =
    "{\"name\":\"welcome\",\"version\":\"1.0.0\",\"kind\":\"handler\","
    "\"description\":\"Asks for a welcome, once for each user\","
    "\"subscribes\":[{\"types\":[\"user.added\"]}],"
    "\"collections\":[{\"name\":\"greeted\",\"description\":\"By id: who was welcomed, and when\"}],"
    "\"config\":[{\"name\":\"greeting\",\"description\":\"The first word of a welcome\",\"default\":\"Welcome\"}],"
    "\"capabilities\":[\"append:outbox-welcome\"]}";

bool wm_handle(const wm_event_t *event) {
  wm_text data = wm_data(event);
  wm_text id, greeted, name, greeting;
  if (!user_of(data, &id)) return false;
  if (wm_state_get(WM("greeted"), id, &greeted)) return true;
  if (!wm_json_name(data, WM("firstName"), &name) && !wm_json_name(data, WM("name"), &name)) name = id;
  if (!wm_config(WM("greeting"), &greeting)) return wm_halt("welcome.greeting", "there is no greeting");

  wm_text text = wm_format("%t, %t!", greeting, name);
  wm_text welcome = wm_format("{\"id\":%q,\"text\":%q}", id, text);
  wm_emit(WM("outbox-welcome"), WM("welcome.requested"), 1, id, welcome);
  wm_state_put(WM("greeted"), id, wm_format("{\"atUs\":%d}", (int64_t)event->time_us));
  wm_field_t user = {WM("user"), id};
  wm_log(WASMILL_PLUGIN_LOG_LEVEL_INFO, WM("a welcome is asked for"), &user, 1);
  return true;
}
