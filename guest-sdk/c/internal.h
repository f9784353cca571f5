/* What the files of the helper share, and a plugin has no use for. */
#ifndef WASMILL_INTERNAL_H
#define WASMILL_INTERNAL_H

#include "wasmill.h"

/* Has memory of the host or of malloc freed when the present event is done. Returns it. */
void *wm_keep(void *memory);
/* The same for a text that the host has returned. */
wm_text wm_kept(wm_text text);
/* Frees all that was kept. */
void wm_release(void);

/* The event that is worked on, by its place in the batch. */
extern uint32_t wm_index;

/* What the present event failed with. */
void wm_take_failure(wasmill_plugin_outcomes_failure_t *failure);

#endif
