/* Write Wasmill plugins in C. A projection is one text and one function:
 *
 *     #include "wasmill.h"
 *
 *     const char wm_descriptor[] = "{\"name\":\"orders\",\"version\":\"1.0.0\",\"kind\":\"projection\","
 *                                  "\"collections\":[{\"name\":\"types\"}]}";
 *
 *     bool wm_apply(const wm_event_t *event) {
 *       wm_text document;
 *       int64_t count = 0;
 *       if (wm_state_get(WM("types"), event->event_type, &document)) wm_json_integer(document, &count);
 *       wm_state_put(WM("types"), event->event_type, wm_format("%d", count + 1));
 *       return true;
 *     }
 *
 * build.sh compiles it. A handler defines wm_handle, an upcaster wm_upcast instead. WM_KIND_PROJECTION,
 * WM_KIND_HANDLER or WM_KIND_UPCASTER is defined by the build.
 *
 * Everything that a function here returns lives until the present event is done, and need not be freed. Keep nothing
 * from one event to the next: the host may roll a batch back.
 */
#ifndef WASMILL_H
#define WASMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

/* ---- texts ---------------------------------------------------------------------------------- */

/* UTF-8 with its length in bytes; it does not end in 0 and may contain one. */
typedef plugin_string_t wm_text;

/* A text of a literal. */
#define WM(literal) ((wm_text){(uint8_t *)(literal), sizeof(literal) - 1})

bool wm_equal(wm_text one, wm_text other);

/* A text made of a pattern: %t is a wm_text as it is, %q one as a JSON string, %d an int64_t. */
wm_text wm_format(const char *pattern, ...);

/* Memory that lives until the present event is done. Ends the plugin when there is none. */
void *wm_alloc(size_t size);

/* ---- events --------------------------------------------------------------------------------- */

/* See bindings: position, offset, time_us, id, schema_version, event_type, stream_name, key, correlation_id, data. */
typedef wasmill_plugin_events_event_t wm_event_t;

/* An event's data. */
wm_text wm_data(const wm_event_t *event);

/* ---- JSON ----------------------------------------------------------------------------------- */

/* These read a part of a JSON text without making anything of the rest. Each is false when the part is not there, has
 * another type, or the text is not JSON as far as it was read. A value is a text as well. */

bool wm_json_is_object(wm_text json);

/* The value of an object's member; of several of one name, the last. */
bool wm_json_member(wm_text object, wm_text name, wm_text *value);

/* Walks through an object's members: start with *at = 0. The name is decoded, `raw` is the member as it stands. */
bool wm_json_next(wm_text object, size_t *at, wm_text *name, wm_text *value, wm_text *raw);

bool wm_json_is_null(wm_text value);
bool wm_json_string(wm_text value, wm_text *string);
bool wm_json_integer(wm_text value, int64_t *number);

/* A member that is a string, and not empty. */
bool wm_json_name(wm_text object, wm_text name, wm_text *string);

/* ---- failures ------------------------------------------------------------------------------- */

/* Why the present event failed: `return wm_reject("order.malformed", "no customer");`. Each returns false, and
 * everything that the batch changed is rolled back. `code` is stable and machine-readable. */

/* This event can never work. */
bool wm_reject(const char *code, const char *message);
/* Transient: the same input may work later. */
bool wm_retry(const char *code, const char *message, uint32_t after_ms);
/* The plugin itself cannot go on. */
bool wm_halt(const char *code, const char *message);

/* ---- what the host gives -------------------------------------------------------------------- */

/* A value of the plugin's configuration. False when there is none. */
bool wm_config(wm_text name, wm_text *value);

/* What is rarely read of an event, such as "content-type". False when the event has none. */
bool wm_detail(wm_text name, wm_text *value);

typedef struct {
  wm_text name;
  wm_text value;
} wm_field_t;

/* `level` is one of WASMILL_PLUGIN_LOG_LEVEL_TRACE to _ERROR. */
void wm_log(wasmill_plugin_log_level_t level, wm_text message, const wm_field_t *fields, size_t count);

#ifndef WM_KIND_UPCASTER

/* A document. False when there is none. */
bool wm_state_get(wm_text collection, wm_text key, wm_text *document);
void wm_state_put(wm_text collection, wm_text key, wm_text document);
void wm_state_remove(wm_text collection, wm_text key);

/* A page of documents whose keys begin with `prefix`, in byte order, after the key `after`, or from the first if that
 * is NULL. More follow when `page->next_after.is_some`: it is what to give as `after` then. */
void wm_state_scan(wm_text collection, wm_text prefix, const wm_text *after, uint32_t limit,
                   wasmill_plugin_state_page_t *page);

#endif
#ifdef WM_KIND_HANDLER

/* Appends an event in answer to the present one, with the progress of the handler: exactly once. */
void wm_emit(wm_text stream, wm_text type, uint32_t schema_version, wm_text key, wm_text data);

/* Real time and random numbers. */
uint64_t wm_now_us(void);
wm_text wm_random(uint32_t length);

#endif

/* ---- what a plugin gives -------------------------------------------------------------------- */

/* Who it is and what it asks for, as JSON: wit/descriptor.schema.json. */
extern const char wm_descriptor[];

#ifdef WM_KIND_PROJECTION
/* Folds one event. True, or what wm_reject and its like return. */
bool wm_apply(const wm_event_t *event);
#endif

#ifdef WM_KIND_HANDLER
/* Reacts to one event. */
bool wm_handle(const wm_event_t *event);
#endif

#ifdef WM_KIND_UPCASTER
/* What an event becomes. It comes with `changed` false and the type and version of the event. */
typedef struct {
  bool changed;
  wm_text type;
  uint32_t schema_version;
  wm_text data;
} wm_lifted_t;

/* Lifts one event by one step. A failure is of this event alone. */
bool wm_upcast(const wm_event_t *event, wm_lifted_t *lifted);
#endif

#endif
