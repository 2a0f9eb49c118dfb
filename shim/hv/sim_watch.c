/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches of the store. Each handle has a short queue of events: one that waits already is not
 * queued again, and when the queue is full the watch fires with its own path, so nobody can
 * make it grow and nothing goes unnoticed.
 */
#include "hv/sim_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static struct sim_event *sim_event_at(struct sim_slot *s, uint32_t i)
{
	return &s->event[(s->first_event + i) % SIM_EVENTS];
}

static bool sim_event_waits(struct sim_slot *s, uint16_t watch, const char *path)
{
	for (uint32_t i = 0; i < s->nevents; i++) {
		const struct sim_event *e = sim_event_at(s, i);

		if (e->watch == watch && !strcmp(e->path, path))
			return true;
	}
	return false;
}

static void sim_event_add_locked(struct sim_machine *m, uint16_t watch, const char *path)
{
	struct sim_shared *sh = m->sh;
	uint16_t slot = sh->watch[watch].slot;
	struct sim_slot *s = &sh->slot[slot];
	struct sim_event *e;

	if (sim_event_waits(s, watch, path))
		return;
	if (s->nevents == SIM_EVENTS) {
		/* The newest gives way to "something below the watch changed". */
		e = sim_event_at(s, SIM_EVENTS - 1);
		watch = e->watch;
		path = sh->watch[watch].path;
	} else {
		e = sim_event_at(s, s->nevents);
		SIM_SET(sh, s->nevents, s->nevents + 1);
	}
	sim_touch(sh, e, sizeof(*e));
	e->watch = watch;
	snprintf(e->path, sizeof(e->path), "%s", path);
	if (eventfd_write(m->store_fd[slot], 1))
		return;
}

/* A path changed: every watch on it or above it fires; below it as well if it was removed. */
void sim_watch_fire_locked(struct sim_machine *m, const char *path, bool removed)
{
	for (uint16_t i = 0; i < SIM_WATCHES; i++) {
		const struct sim_watch *w = &m->sh->watch[i];

		if (!w->used)
			continue;
		if (sim_path_below(path, w->path))
			sim_event_add_locked(m, i, path);
		else if (removed && sim_path_below(w->path, path))
			sim_event_add_locked(m, i, w->path);
	}
}

/* The path a watch names: in full, or special. */
static int sim_watch_path(const struct sim_hv *h, const char *path, char *full)
{
	int n;

	if (path[0] == '/' || path[0] == '@')
		n = snprintf(full, SIM_PATH, "%s", path);
	else
		n = snprintf(full, SIM_PATH, "/local/domain/%u/%s", h->domid, path);
	return n > 0 && n < SIM_PATH ? 0 : -EINVAL;
}

static struct sim_watch *sim_watch_find(struct sim_hv *h, const char *path, const char *token)
{
	for (unsigned int i = 0; i < SIM_WATCHES; i++) {
		struct sim_watch *w = &h->m->sh->watch[i];

		if (w->used && w->slot == h->slot && !strcmp(w->path, path) &&
		    !strcmp(w->token, token))
			return w;
	}
	return NULL;
}

static int sim_watch_add_locked(struct sim_hv *h, const char *path, const char *token)
{
	if (sim_watch_find(h, path, token))
		return -EEXIST;
	if (strlen(token) >= SIM_PATH)
		return -EINVAL;
	for (uint16_t i = 0; i < SIM_WATCHES; i++) {
		struct sim_watch *w = &h->m->sh->watch[i];

		if (w->used)
			continue;
		sim_touch(h->m->sh, w, sizeof(*w));
		w->used = true;
		w->slot = h->slot;
		snprintf(w->path, sizeof(w->path), "%s", path);
		snprintf(w->token, sizeof(w->token), "%s", token);
		sim_event_add_locked(h->m, i, path);
		return 0;
	}
	return -ENOSPC;
}

static void sim_fd_settle(struct sim_machine *m, uint16_t slot)
{
	eventfd_t n;

	if (!m->sh->slot[slot].nevents && eventfd_read(m->store_fd[slot], &n))
		return;
}

static void sim_watch_drop_locked(struct sim_machine *m, struct sim_watch *w)
{
	struct sim_shared *sh = m->sh;
	struct sim_slot *s = &sh->slot[w->slot];
	uint16_t id = (uint16_t)(w - sh->watch);
	uint32_t n = s->nevents, kept = 0;

	SIM_SET(sh, w->used, false);
	sim_touch(sh, s, sizeof(*s));
	for (uint32_t i = 0; i < n; i++) {
		struct sim_event *e = sim_event_at(s, i);

		if (e->watch == id)
			continue;
		if (kept != i)
			*sim_event_at(s, kept) = *e;
		kept++;
	}
	s->nevents = kept;
	sim_fd_settle(m, w->slot);
}

void sim_watches_release_locked(struct sim_machine *m, uint16_t slot)
{
	for (unsigned int i = 0; i < SIM_WATCHES; i++)
		if (m->sh->watch[i].used && m->sh->watch[i].slot == slot)
			sim_watch_drop_locked(m, &m->sh->watch[i]);
	sim_fd_settle(m, slot);
}

int sim_store_fd(struct hv *hv)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_STORE_FD);

	return err ? err : sim_leave(hv, SIM_OP_STORE_FD, h->m->store_fd[h->slot]);
}

int sim_store_watch(struct hv *hv, const char *path, const char *token)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_STORE_WATCH);
	char full[SIM_PATH];

	if (err)
		return err;
	err = sim_watch_path(h, path, full);
	if (!err)
		err = sim_watch_add_locked(h, full, token);
	return sim_leave(hv, SIM_OP_STORE_WATCH, err);
}

int sim_store_unwatch(struct hv *hv, const char *path, const char *token)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_STORE_UNWATCH);
	struct sim_watch *w = NULL;
	char full[SIM_PATH];

	if (err)
		return err;
	err = sim_watch_path(h, path, full);
	if (!err)
		w = sim_watch_find(h, full, token);
	if (w)
		sim_watch_drop_locked(h->m, w);
	else
		err = -ENOENT;
	return sim_leave(hv, SIM_OP_STORE_UNWATCH, err);
}

static bool sim_event_take(struct hv *hv, char *path, char *token)
{
	struct sim_hv *h = sim_of(hv);
	struct sim_shared *sh = h->m->sh;
	struct sim_slot *s = &sh->slot[h->slot];
	const struct sim_event *e;

	sim_lock(h->m);
	if (!s->nevents) {
		sim_unlock(h->m);
		return false;
	}
	e = sim_event_at(s, 0);
	snprintf(path, SIM_PATH, "%s", e->path);
	snprintf(token, SIM_PATH, "%s", sh->watch[e->watch].token);
	SIM_SET(sh, s->first_event, (s->first_event + 1) % SIM_EVENTS);
	SIM_SET(sh, s->nevents, s->nevents - 1);
	sim_fd_settle(h->m, h->slot);
	sim_unlock(h->m);
	return true;
}

/* Calls fn for what waits now; without the lock, for fn will read the store. */
int sim_store_dispatch(struct hv *hv, hv_watch_fn *fn, void *arg)
{
	int err = sim_enter(hv, SIM_OP_STORE_DISPATCH);
	char path[SIM_PATH], token[SIM_PATH];

	if (err)
		return err;
	sim_leave(hv, SIM_OP_STORE_DISPATCH, 0);
	for (int i = 0; i < SIM_EVENTS && sim_event_take(hv, path, token); i++)
		fn(arg, path, token);
	return 0;
}
