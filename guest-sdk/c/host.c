/* What a plugin reaches beside its arguments. */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

uint32_t wm_index;

wm_text wm_data(const wm_event_t *event) { return (wm_text){event->data.ptr, event->data.len}; }

bool wm_config(wm_text name, wm_text *value) {
  if (!wasmill_plugin_config_get(&name, value)) return false;
  wm_kept(*value);
  return true;
}

bool wm_detail(wm_text name, wm_text *value) {
  wasmill_plugin_types_attributes_t details;
  wasmill_plugin_event_details_attributes_of(wm_index, &details);
  bool found = false;
  for (size_t n = 0; n < details.len; n++) {
    wm_kept(details.ptr[n].f0);
    wm_text kept = wm_kept(details.ptr[n].f1);
    if (!found && wm_equal(details.ptr[n].f0, name)) {
      *value = kept;
      found = true;
    }
  }
  if (details.len > 0) wm_keep(details.ptr);
  return found;
}

void wm_log(wasmill_plugin_log_level_t level, wm_text message, const wm_field_t *fields, size_t count) {
  wasmill_plugin_types_attributes_t attributes = {wm_alloc(count * sizeof *attributes.ptr), count};
  for (size_t n = 0; n < count; n++) {
    attributes.ptr[n].f0 = fields[n].name;
    attributes.ptr[n].f1 = fields[n].value;
  }
  wasmill_plugin_log_write(level, &message, &attributes);
}

/* ---- failures ------------------------------------------------------------------------------- */

static wasmill_plugin_outcomes_failure_t failure;

static bool fail(wasmill_plugin_outcomes_disposition_t disposition, const char *code, const char *message) {
  failure = (wasmill_plugin_outcomes_failure_t){.disposition = disposition};
  /* Not kept: the bindings free it when the host has read it. */
  plugin_string_dup(&failure.code, code);
  plugin_string_dup(&failure.message, message);
  return false;
}

bool wm_reject(const char *code, const char *message) {
  return fail(WASMILL_PLUGIN_OUTCOMES_DISPOSITION_REJECT, code, message);
}

bool wm_retry(const char *code, const char *message, uint32_t after_ms) {
  fail(WASMILL_PLUGIN_OUTCOMES_DISPOSITION_RETRY, code, message);
  failure.retry_after_ms.is_some = true;
  failure.retry_after_ms.val = after_ms;
  return false;
}

bool wm_halt(const char *code, const char *message) {
  return fail(WASMILL_PLUGIN_OUTCOMES_DISPOSITION_HALT, code, message);
}

void wm_take_failure(wasmill_plugin_outcomes_failure_t *taken) {
  /* A plugin that returned false without a word. */
  if (failure.code.len == 0) wm_reject("plugin.failed", "the plugin gave no reason");
  *taken = failure;
  taken->event_index.is_some = true;
  taken->event_index.val = wm_index;
  memset(&failure, 0, sizeof failure);
}

/* ---- documents ------------------------------------------------------------------------------ */

#ifndef WM_KIND_UPCASTER

bool wm_state_get(wm_text collection, wm_text key, wm_text *document) {
  plugin_list_u8_t bytes;
  if (!wasmill_plugin_state_get(&collection, &key, &bytes)) return false;
  *document = wm_kept((wm_text){bytes.ptr, bytes.len});
  return true;
}

void wm_state_put(wm_text collection, wm_text key, wm_text document) {
  plugin_list_u8_t bytes = {document.ptr, document.len};
  wasmill_plugin_state_put(&collection, &key, &bytes);
}

void wm_state_remove(wm_text collection, wm_text key) { wasmill_plugin_state_remove(&collection, &key); }

void wm_state_scan(wm_text collection, wm_text prefix, const wm_text *after, uint32_t limit,
                   wasmill_plugin_state_page_t *page) {
  wm_text from = after != NULL ? *after : WM("");
  wasmill_plugin_state_scan(&collection, &prefix, after != NULL ? &from : NULL, limit, page);
  for (size_t n = 0; n < page->entries.len; n++) {
    wm_kept(page->entries.ptr[n].key);
    wm_kept((wm_text){page->entries.ptr[n].value.ptr, page->entries.ptr[n].value.len});
  }
  if (page->entries.len > 0) wm_keep(page->entries.ptr);
  if (page->next_after.is_some) wm_kept(page->next_after.val);
}

#endif

/* ---- handlers ------------------------------------------------------------------------------- */

#ifdef WM_KIND_HANDLER

void wm_emit(wm_text stream, wm_text type, uint32_t schema_version, wm_text key, wm_text data) {
  wasmill_plugin_outbox_new_event_t event = {
      .event_type = type,
      .schema_version = schema_version,
      .key = {.is_some = true, .val = key},
      .data = {data.ptr, data.len},
  };
  wasmill_plugin_outbox_list_new_event_t events = {&event, 1};
  wasmill_plugin_outbox_append(wm_index, &stream, &events);
}

uint64_t wm_now_us(void) { return wasmill_plugin_env_now_us(); }

wm_text wm_random(uint32_t length) {
  plugin_list_u8_t bytes;
  wasmill_plugin_env_random(length, &bytes);
  return wm_kept((wm_text){bytes.ptr, bytes.len});
}

#endif
