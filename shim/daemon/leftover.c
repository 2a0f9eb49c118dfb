/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that are found rather than attached: named by the store, or left in the run directory
 * by an earlier keeper, whether it was stopped or killed. Those left behind are first brought to
 * rest, in state RECOVER like that of a dead worker; then either the guest is still connected and
 * a new worker takes over, or it is cleaned up.
 */
#include "daemon/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- named by the store -- */

/*
 * Below the back ends' directory only the toolstack and this keeper write. What this keeper
 * wrote itself is no news, so one guest's comings and goings cost the others nothing.
 */
static void on_backend_watch(struct keeper *k, const char *path)
{
	size_t root = strlen(k->be_root);
	char key[16] = "";
	unsigned int domid, devid;
	struct kdev *d = NULL;

	if (!strncmp(path, k->be_root, root) &&
	    sscanf(path + root, "/%u/%u/%15s", &domid, &devid, key) >= 2) {
		if (domid <= UINT16_MAX && devid <= UINT16_MAX)
			d = keeper_find(k, (uint16_t)domid, devid);
	}
	if (!d)
		k->rescan = true;
	else if (!key[0] || !strcmp(key, "online"))
		d->dirty = true;
}

void keeper_on_watch(void *arg, const char *path, const char *token)
{
	struct keeper *k = arg;
	uint32_t domid, devid;
	unsigned long long generation;
	struct kdev *d;

	if (!strcmp(token, "backend")) {
		on_backend_watch(k, path);
	} else if (!strcmp(token, "release")) {
		k->check_domains = true;
	} else if (!strcmp(token, "pci")) {
		k->guard.due = true;
	} else if (sscanf(token, "fe-%u-%u-%llu", &domid, &devid, &generation) == 3) {
		/* The generation: an event on its way for a device that is gone (hazard 29). */
		d = keeper_find(k, (uint16_t)domid, devid);
		if (d && d->generation == generation)
			d->dirty = true;
	}
	keeper_kick(k);
}

void keeper_watch(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	char path[PATH_SIZE + 8];

	snprintf(path, sizeof(path), "%s/state", d->fe);
	snprintf(d->watch_token, sizeof(d->watch_token), "fe-%u-%u-%llu", d->domid, d->devid,
		 (unsigned long long)d->generation);
	d->watched = !hv->ops->store_watch(hv, path, d->watch_token);
	if (!d->watched) /* the patrol looks too, only less often */
		log_line(LOG_WARN, "%s: the store refused a watch", d->name);
}

void keeper_unwatch(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	char path[PATH_SIZE + 8];

	snprintf(path, sizeof(path), "%s/state", d->fe);
	if (d->watched)
		hv->ops->store_unwatch(hv, path, d->watch_token);
	d->watched = false;
}

struct kdev *keeper_add(struct keeper *k, uint16_t domid, uint32_t devid,
			const struct source *src)
{
	struct kdev *d = kdev_new(k, domid, devid);

	if (!d)
		return NULL;
	d->src = *src;
	node_get_state(k->hv, d->be, &d->xb_written);
	node_get_text(k->hv, d->be, "error", d->error_written, sizeof(d->error_written));
	d->xb = d->xb_written;
	keeper_watch(d);
	kdev_mark(d);
	return d;
}

/* A device that the store names and nobody has yet. */
static void discover(struct keeper *k, uint16_t domid, uint32_t devid)
{
	char be[PATH_SIZE], text[NODE_MAX + 1], why[160];
	struct source src = { 0 };
	struct kdev *d = keeper_find(k, domid, devid);
	int rc;

	if (d) {
		d->dirty = true;
		return;
	}
	path_backend(be, k->self, domid, devid);
	rc = node_get(k->hv, be, XVS_KEY_SOURCE, text);
	if (rc == -ENOENT) /* half written, or half removed: another event will follow */
		return;
	if (rc)
		snprintf(why, sizeof(why), "its node 'source' cannot be read: %s", strerror(-rc));
	else
		rc = source_init(&src, text, why, sizeof(why));
	d = keeper_add(k, domid, devid, &src);
	if (!d)
		k->rescan = true; /* the patrol tries again */
	if (d && rc) {
		snprintf(d->error, sizeof(d->error), "%s", why);
		d->xb = XB_CLOSING;
		d->state = KD_FAILED;
	}
}

static void scan_domain(struct keeper *k, const char *name)
{
	char path[PATH_SIZE + 16], both[48];
	char **names = NULL;
	unsigned int n = 0;
	uint16_t domid;
	uint32_t devid;
	int rc;

	if (strlen(name) > 5)
		return;
	snprintf(path, sizeof(path), "%s/%s", k->be_root, name);
	rc = k->hv->ops->store_list(k->hv, 0, path, &names, &n);
	k->rescan |= rc && rc != -ENOENT;
	if (rc)
		return;
	if (!n) /* an earlier keeper was killed before it removed that */
		node_remove_empty(k->hv, path);
	for (unsigned int i = 0; i < n; i++) {
		snprintf(both, sizeof(both), "%s/%.16s", name, names[i]);
		if (!parse_device_path(both, &domid, &devid))
			discover(k, domid, devid);
	}
	free(names);
}

void keeper_scan_store(struct keeper *k)
{
	char **names = NULL;
	unsigned int n = 0;
	int rc;

	k->rescan = false;
	rc = k->hv->ops->store_list(k->hv, 0, k->be_root, &names, &n);
	k->rescan = rc && rc != -ENOENT; /* the patrol tries again */
	if (!rc) {
		for (unsigned int i = 0; i < n; i++)
			scan_domain(k, names[i]);
		free(names);
	}
	for (struct kdev *d = k->devices; d; d = d->hh.next)
		d->dirty = true; /* those whose directory went away */
}

/* -- left by an earlier keeper -- */

/* Is it still the same guest, and does the store still give it this device? 1, 0, or an error. */
static int still_wanted(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	char identity[sizeof(d->identity)], source[NODE_MAX + 1], why[160];
	struct source named;
	int rc;

	if (keeper_domain_gone(d->keeper, d->domid)) {
		d->domain_gone = true;
		return 0;
	}
	rc = kdev_domain_identity(hv, d->domid, identity, sizeof(identity));
	if (rc)
		return rc;
	if (strcmp(identity, d->identity)) {
		d->domain_gone = true; /* its number has another owner now */
		return 0;
	}
	rc = node_get(hv, d->be, XVS_KEY_SOURCE, source);
	if (rc)
		return rc == -ENOENT || node_is_malformed(rc) ? 0 : rc;
	/* A toolstack may write an address in a shorter form. */
	if (source_init(&named, source, why, sizeof(why)) || strcmp(named.text, d->src.text))
		return 0;
	/* A guest may be made anew with the identity that its configuration says, and its number. Its
	 * directory ended with the domain that had it. The node is the guest's to write. */
	rc = node_get(hv, d->fe, "backend", source);
	return rc == -ENOENT ? 0 : rc && !node_is_malformed(rc) ? rc : 1;
}

/* What a front end writes may be anything. */
static int read_states(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	int rc = node_get_state(hv, d->be, &d->xb_written);

	if (!rc || node_is_malformed(rc))
		rc = node_get_state(hv, d->fe, &d->fe_state);
	return node_is_malformed(rc) ? 0 : rc;
}

/* An error: what is left cannot be told now, so nobody may act on it. */
static int take_up(struct kdev *d)
{
	struct hv *hv = d->keeper->hv;
	char path[RUN_PATH_SIZE];
	int wanted = still_wanted(d), rc = wanted < 0 ? wanted : read_states(d);

	if (rc)
		return rc;
	node_get_text(hv, d->be, "error", d->error_written, sizeof(d->error_written));
	d->xb = d->xb_written;
	keeper_path(d->keeper, path, d, "journal");
	rc = journal_open(&d->journal, path);
	if (rc)
		memset(&d->journal, 0, sizeof(d->journal));
	if (rc && rc != -ENOENT && rc != -ENODATA && rc != -EINVAL)
		return rc; /* it may well be one: another in its place would forget its pages */
	if (rc && rc != -ENOENT)
		log_line(LOG_ERROR, "%s: %s is no journal (%s); pages of the guest may stay mapped",
			 d->name, path, strerror(-rc));
	log_line(LOG_INFO, "%s: left behind by an earlier xvshimd, %s", d->name,
		 wanted ? "taken up again" : "cleaned up");
	/* Without a journal the device was never given an address: nothing to reset. */
	if (!d->journal.data) {
		if (!wanted)
			kdev_want(d, GOAL_REMOVE);
		kdev_mark(d);
		return 0;
	}
	d->state = KD_RECOVER;
	d->goal = wanted ? GOAL_RESUME : GOAL_REMOVE;
	ev_timer_set(&d->timer, 0., 0.);
	ev_timer_start(d->keeper->loop, &d->timer);
	return 0;
}

static int adopt(struct keeper *k, const char *file)
{
	char path[RUN_PATH_SIZE + 256], source[SOURCE_MAX], earlier[SOURCE_DRIVER_MAX], why[160];
	struct kdev saved = { 0 }, *d;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", k->conf.run_dir, file);
	rc = statefile_read(path, &saved, source, earlier);
	if (rc == -EINVAL) {
		log_line(LOG_ERROR, "%s is malformed and is left alone", path);
		return 0;
	}
	if (rc)
		return rc;
	if (keeper_find(k, saved.domid, saved.devid))
		return 0;
	d = kdev_new(k, saved.domid, saved.devid);
	if (!d)
		return -ENOMEM;
	memcpy(d->identity, saved.identity, sizeof(d->identity));
	if (source_init(&d->src, source, why, sizeof(why))) {
		log_line(LOG_ERROR, "%s: %s", path, why);
		kdev_free(d);
		return 0;
	}
	memcpy(d->src.earlier, earlier, sizeof(d->src.earlier));
	d->src.instance = saved.src.instance;
	d->adopted = true;
	d->taken = true;
	return take_up(d);
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && !strcmp(name + n - m, end);
}

int leftover_adopt(struct keeper *k, char *why, size_t size)
{
	DIR *dir = opendir(k->conf.run_dir);
	struct dirent *entry;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		snprintf(why, size, "%s: %s", k->conf.run_dir, strerror(-rc));
		return rc;
	}
	while (!rc && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "dev-", 4))
			continue;
		if (ends_in(entry->d_name, ".new")) /* killed before it was renamed */
			unlinkat(dirfd(dir), entry->d_name, 0);
		else if (ends_in(entry->d_name, ".json"))
			rc = adopt(k, entry->d_name);
		if (rc)
			snprintf(why, size, "what an earlier xvshimd left (%s/%.64s) cannot be taken "
					    "up: %s", k->conf.run_dir, entry->d_name, strerror(-rc));
	}
	closedir(dir);
	return rc;
}
