/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/guard.h"

#include "daemon/domain.h"
#include "daemon/keeper.h"
#include "dev/virtio_pci.h"
#include "policy/types.h"
#include "survey/survey.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PCIBACK "sys/bus/pci/drivers/pciback"
#define PATH_MAX_HERE 160

/* -- what says that it is time to look -- */

void guard_kick(struct keeper *k)
{
	k->guard.due = true;
	keeper_kick(k);
}

/* Which device and driver it is about is left to the look itself. */
static void on_uevent(struct ev_loop *loop, ev_io *io, int events)
{
	struct keeper *k = io->data;
	char text[2048];
	ssize_t n;

	(void)loop;
	(void)events;
	while ((n = recv(io->fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
		text[n] = '\0'; /* the first string is ACTION@PATH */
		if (!strncmp(text, "bind@", 5) && strstr(text, "/pci"))
			guard_kick(k);
	}
	if (n < 0 && errno == ENOBUFS) /* some were lost */
		guard_kick(k);
}

static int listen_to_kernel(struct keeper *k)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);
	int rc;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		rc = -errno;
		close(fd);
		return rc;
	}
	k->guard.uevents = fd;
	ev_io_init(&k->guard.io, on_uevent, fd, EV_READ);
	k->guard.io.data = k;
	ev_io_start(k->loop, &k->guard.io);
	return 0;
}

static void backend_path(const struct keeper *k, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/backend/pci", k->self);
}

void guard_open(struct keeper *k, const char *root)
{
	char path[PATH_SIZE];
	int rc;

	k->guard.root = root;
	k->guard.uevents = -1;
	if (k->conf.guard == GUARD_OFF)
		return;
	rc = root ? 0 : listen_to_kernel(k);
	if (rc)
		log_line(LOG_WARN, "guard: no news of the kernel's drivers: %s", strerror(-rc));
	backend_path(k, path);
	rc = k->hv->ops->store_watch(k->hv, path, "pci");
	if (rc)
		log_line(LOG_WARN, "guard: the store refused a watch: %s", strerror(-rc));
	guard_kick(k);
}

void guard_close(struct keeper *k)
{
	if (k->guard.uevents < 0 || !k->guard.io.data)
		return;
	ev_io_stop(k->loop, &k->guard.io);
	close(k->guard.uevents);
	k->guard.uevents = -1;
}

/* -- who has it -- */

/* dev-N of /local/domain/0/backend/pci/DOMID/0, as libxl writes them. */
static bool assigned_in(struct keeper *k, const char *dir, const char *bdf)
{
	char key[16], value[NODE_MAX + 1];
	uint64_t n = 0;

	if (node_get_number(k->hv, dir, "num_devs", 256, &n))
		return false;
	for (uint64_t i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "dev-%u", (unsigned int)i);
		if (!node_get(k->hv, dir, key, value) &&
		    !strncasecmp(value, bdf, strlen(bdf)))
			return true;
	}
	return false;
}

static int owner_of(struct keeper *k, const char *bdf)
{
	char path[PATH_SIZE], dir[PATH_SIZE + 32];
	char **names = NULL;
	unsigned int n = 0;
	uint64_t domid;
	int owner = -1;

	backend_path(k, path);
	if (k->hv->ops->store_list(k->hv, 0, path, &names, &n))
		return -1;
	for (unsigned int i = 0; i < n && owner < 0; i++) {
		if (parse_number(names[i], 0x7fef, &domid))
			continue;
		snprintf(dir, sizeof(dir), "%s/%u/0", path, (unsigned int)domid);
		/* The toolstack leaves the nodes of a guest that ended. */
		if (assigned_in(k, dir, bdf) && !keeper_domain_gone(k, (uint16_t)domid))
			owner = (int)domid;
	}
	free(names);
	return owner;
}

/* -- taking it back -- */

static int write_at(const struct tree *t, const char *file, off_t at, const void *data, size_t len)
{
	int fd = openat(t->fd, file, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (pwrite(fd, data, len, at) != (ssize_t)len)
		rc = errno ? -errno : -EIO;
	close(fd);
	return rc;
}

/* No memory decoding, no ports, no bus mastering: what the guest still maps answers to nothing. */
static int silence(const struct tree *t, const char *bdf)
{
	static const uint8_t off[2];
	char file[PATH_MAX_HERE];

	snprintf(file, sizeof(file), "sys/bus/pci/devices/%s/config", bdf);
	return write_at(t, file, PCI_COMMAND, off, sizeof(off));
}

/* Its slot goes too, or the next device at this address would be pciback's again. */
static int take_from_pciback(const struct tree *t, const char *bdf)
{
	int rc = write_at(t, PCIBACK "/unbind", 0, bdf, strlen(bdf));

	if (!rc)
		write_at(t, PCIBACK "/remove_slot", 0, bdf, strlen(bdf));
	return rc;
}

/*
 * The guest is paused. The device forgets the rings it was told of, then answers to nothing; and
 * once more, for pciback puts the config space back that it found when it took the device. A
 * legacy device cannot be stopped here, but without bus mastering it cannot write either.
 */
static int separate(const struct tree *t, const char *bdf)
{
	int rc = t->live ? xpci_stop(bdf) : 0;

	if (rc)
		log_line(LOG_WARN, "guard: %s: not reset: %s", bdf, strerror(-rc));
	rc = silence(t, bdf);
	if (!rc)
		rc = take_from_pciback(t, bdf);
	return rc ? rc : silence(t, bdf);
}

static void enforce(struct keeper *k, const struct tree *t, const char *bdf, int domid)
{
	const struct hv_ops *ops = k->hv->ops;
	int paused = -1, rc;

	if (domid >= 0)
		paused = ops->dom_pause(k->hv, (uint16_t)domid, true);
	rc = domid >= 0 ? separate(t, bdf) : take_from_pciback(t, bdf);
	/* A guest that could not be separated from it does not run on. */
	if (rc)
		log_line(LOG_ERROR, "guard: %s: cannot be taken from pciback: %s%s", bdf,
			 strerror(-rc), paused ? "" : "; the guest stays paused");
	else
		log_line(LOG_ERROR, "guard: %s: taken from pciback%s; no driver has it now", bdf,
			 domid >= 0 ? " and from the guest" : "");
	if (!rc && !paused)
		ops->dom_pause(k->hv, (uint16_t)domid, false);
}

/* -- one look -- */

/* true: not warned of before. */
static bool is_new(struct guard *g, const char *bdf, int domid)
{
	struct guard_seen *room = NULL;

	for (int i = 0; i < GUARD_SEEN; i++) {
		struct guard_seen *s = &g->seen[i];

		if (!s->bdf[0]) {
			room = s;
		} else if (!strcmp(s->bdf, bdf) && s->domid == domid) {
			s->now = true;
			return false;
		}
	}
	if (room) {
		memcpy(room->bdf, bdf, PCI_BDF_SIZE);
		room->domid = domid;
		room->now = true;
	}
	return true;
}

static void forget_old(struct guard *g)
{
	for (int i = 0; i < GUARD_SEEN; i++) {
		if (!g->seen[i].now)
			g->seen[i].bdf[0] = '\0';
		g->seen[i].now = false;
	}
}

static void judge(struct keeper *k, struct survey_machine *m, const char *bdf)
{
	struct survey_device d;
	char name[64] = "";
	int domid;

	/* Other than virtio is the toolstack's to judge; what stands there no more, nobody's. */
	if (survey_pci(m, bdf, &d) || !d.is_virtio || d.decision.assignable ||
	    strcmp(d.driver, "pciback"))
		return;
	domid = owner_of(k, d.address);
	if (!is_new(&k->guard, d.address, domid))
		return;
	if (domid >= 0)
		domain_name(k->hv, (uint16_t)domid, name, sizeof(name));
	log_line(LOG_ERROR, "guard: %s (virtio-%s) %s%s%s, which is not safe: %s", d.address,
		 vtype_name(d.type),
		 domid >= 0 ? "is assigned to domain '" : "is ready to be assigned", name, domid >= 0 ? "'" : "", d.decision.assign_reason);
	if (k->conf.guard == GUARD_ENFORCE)
		enforce(k, &m->tree, d.address, domid);
}

void guard_step(struct keeper *k)
{
	struct survey_machine m;
	char **names = NULL;
	unsigned int n = 0;
	char bdf[PCI_BDF_SIZE];

	if (!k->guard.due || k->conf.guard == GUARD_OFF)
		return;
	k->guard.due = false;
	if (!k->guard.root && access("/" PCIBACK, F_OK))
		return; /* the module is not loaded: nothing can be assigned */
	if (survey_open(&m, k->guard.root))
		return;
	if (!tree_list(&m.tree, &names, &n, PCIBACK))
		for (unsigned int i = 0; i < n; i++)
			if (!pci_bdf_parse(names[i], bdf))
				judge(k, &m, bdf);
	free(names);
	survey_close(&m);
	forget_old(&k->guard);
}
