/* The exports of each kind: a batch is run event by event, and what an event allocated is freed behind it. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The bindings name it for an object file with the world's type, which the build embeds by itself. */
void __component_type_object_force_link_plugin(void) {}

void exports_wasmill_plugin_descriptor_describe(plugin_string_t *descriptor) {
  plugin_string_dup(descriptor, wm_descriptor);
}

#ifndef WM_KIND_UPCASTER

static bool run(wm_event_t *events, size_t count, bool (*step)(const wm_event_t *),
                wasmill_plugin_outcomes_failure_t *failure) {
  bool ok = true;
  for (wm_index = 0; ok && wm_index < count; wm_index++) {
    ok = step(&events[wm_index]);
    if (!ok) {
      wm_take_failure(failure);
    }
    wm_release();
  }
  return ok;
}

#endif

#ifdef WM_KIND_PROJECTION

bool exports_wasmill_plugin_projection_apply(exports_wasmill_plugin_projection_list_event_t *events,
                                             exports_wasmill_plugin_projection_failure_t *failure) {
  bool ok = run(events->ptr, events->len, wm_apply, failure);
  exports_wasmill_plugin_projection_list_event_free(events);
  return ok;
}

#endif
#ifdef WM_KIND_HANDLER

bool exports_wasmill_plugin_handler_handle(exports_wasmill_plugin_handler_list_event_t *events,
                                           exports_wasmill_plugin_handler_failure_t *failure) {
  bool ok = run(events->ptr, events->len, wm_handle, failure);
  exports_wasmill_plugin_handler_list_event_free(events);
  return ok;
}

#endif
#ifdef WM_KIND_UPCASTER

/* A copy that the bindings free when the host has read it. */
static wm_text copied(wm_text text) {
  plugin_string_t copy;
  plugin_string_dup_n(&copy, (const char *)text.ptr, text.len);
  return copy;
}

static void upcast(const wm_event_t *event, exports_wasmill_plugin_upcaster_upcasted_t *upcasted) {
  wm_lifted_t lifted = {false, event->event_type, event->schema_version, {NULL, 0}};
  if (!wm_upcast(event, &lifted)) {
    upcasted->tag = EXPORTS_WASMILL_PLUGIN_UPCASTER_UPCASTED_FAILED;
    wm_take_failure(&upcasted->val.failed);
    /* The entry's own place says which event it is. */
    upcasted->val.failed.event_index.is_some = false;
  } else if (lifted.changed) {
    wm_text data = copied(lifted.data);
    upcasted->tag = EXPORTS_WASMILL_PLUGIN_UPCASTER_UPCASTED_REPLACED;
    upcasted->val.replaced.event_type = copied(lifted.type);
    upcasted->val.replaced.schema_version = lifted.schema_version;
    upcasted->val.replaced.data.ptr = data.ptr;
    upcasted->val.replaced.data.len = data.len;
  } else {
    upcasted->tag = EXPORTS_WASMILL_PLUGIN_UPCASTER_UPCASTED_UNCHANGED;
  }
}

bool exports_wasmill_plugin_upcaster_upcast(exports_wasmill_plugin_upcaster_list_event_t *events,
                                            exports_wasmill_plugin_upcaster_list_upcasted_t *results,
                                            exports_wasmill_plugin_upcaster_failure_t *failure) {
  (void)failure;
  results->len = events->len;
  results->ptr = malloc((events->len > 0 ? events->len : 1) * sizeof *results->ptr);
  if (results->ptr == NULL) abort();
  for (wm_index = 0; wm_index < events->len; wm_index++) {
    upcast(&events->ptr[wm_index], &results->ptr[wm_index]);
    wm_release();
  }
  exports_wasmill_plugin_upcaster_list_event_free(events);
  return true;
}

#endif
