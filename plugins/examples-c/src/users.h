/* What the projection and the handler know of users. */

#include "wasmill.h"

/* The user's id; false when the event is malformed, which is then its failure. */
static bool user_of(wm_text data, wm_text *id) {
  if (wm_json_is_object(data) && wm_json_name(data, WM("id"), id)) return true;
  return wm_reject("user.malformed", "the user's id is missing");
}
