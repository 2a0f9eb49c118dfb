/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way through the store: docs/protocol.md, "XenStore nodes" and "States". */
#include "sim/guest_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUS_PATH 256

enum bus_state {
	BUS_INITIALISING = 1,
	BUS_INITWAIT,
	BUS_INITIALISED,
	BUS_CONNECTED,
	BUS_CLOSING,
	BUS_CLOSED,
};

static void bus_front(char *path, uint16_t front, unsigned int dev, const char *key)
{
	snprintf(path, BUS_PATH, "/local/domain/%u/device/" XVS_DEVICE_KIND "/%u%s%s", front, dev,
		 *key ? "/" : "", key);
}

static void bus_back(char *path, uint16_t front, uint16_t back, unsigned int dev, const char *key)
{
	snprintf(path, BUS_PATH, "/local/domain/%u/backend/" XVS_DEVICE_KIND "/%u/%u%s%s", back,
		 front, dev, *key ? "/" : "", key);
}

static int bus_write(struct hv *hv, uint32_t t, const char *path, const char *value)
{
	return hv->ops->store_write(hv, t, path, value);
}

static int bus_write_num(struct hv *hv, uint32_t t, const char *path, unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	return bus_write(hv, t, path, text);
}

/* Both ends in one transaction, the states last, as libxl does it. */
static int bus_attach(struct hv *hv, uint32_t t, uint16_t front, uint16_t back, unsigned int dev,
		      const char *source)
{
	char f[BUS_PATH], b[BUS_PATH], p[BUS_PATH];
	int err = 0;

	bus_front(f, front, dev, "");
	bus_back(b, front, back, dev, "");
	err |= hv->ops->store_grant(hv, t, f, front, back);
	err |= hv->ops->store_grant(hv, t, b, back, front);
	bus_front(p, front, dev, "backend");
	err |= bus_write(hv, t, p, b);
	bus_front(p, front, dev, "backend-id");
	err |= bus_write_num(hv, t, p, back);
	bus_back(p, front, back, dev, "frontend");
	err |= bus_write(hv, t, p, f);
	bus_back(p, front, back, dev, "frontend-id");
	err |= bus_write_num(hv, t, p, front);
	bus_back(p, front, back, dev, "online");
	err |= bus_write_num(hv, t, p, 1);
	bus_back(p, front, back, dev, XVS_KEY_SOURCE);
	err |= bus_write(hv, t, p, source);
	bus_front(p, front, dev, "state");
	err |= bus_write_num(hv, t, p, BUS_INITIALISING);
	bus_back(p, front, back, dev, "state");
	err |= bus_write_num(hv, t, p, BUS_INITIALISING);
	return err ? -EIO : 0;
}

int sim_toolstack_attach(struct sim_machine *m, uint16_t front, uint16_t back, unsigned int dev,
			 const char *source)
{
	int err = 0;
	struct hv *hv = sim_hv_open(m, back, HV_CAP_STORE, &err);
	uint32_t t;

	if (!hv)
		return err;
	do {
		err = hv->ops->store_begin(hv, &t);
		if (err)
			break;
		err = bus_attach(hv, t, front, back, dev, source);
		if (err)
			hv->ops->store_end(hv, t, true);
		else
			err = hv->ops->store_end(hv, t, false);
	} while (err == -EAGAIN);
	hv_close(hv);
	return err;
}

int sim_toolstack_detach(struct sim_machine *m, uint16_t front, uint16_t back, unsigned int dev)
{
	int err = 0;
	struct hv *hv = sim_hv_open(m, back, HV_CAP_STORE, &err);
	char p[BUS_PATH];

	if (!hv)
		return err;
	bus_back(p, front, back, dev, "online");
	err = bus_write_num(hv, 0, p, 0);
	bus_back(p, front, back, dev, "state");
	if (!err)
		err = bus_write_num(hv, 0, p, BUS_CLOSING);
	hv_close(hv);
	return err;
}

int sim_toolstack_remove(struct sim_machine *m, uint16_t front, uint16_t back, unsigned int dev)
{
	int err = 0;
	struct hv *hv = sim_hv_open(m, back, HV_CAP_STORE, &err);
	char p[BUS_PATH];

	if (!hv)
		return err;
	bus_back(p, front, back, dev, "");
	err = hv->ops->store_rm(hv, 0, p);
	bus_front(p, front, dev, "");
	if (!err || err == -ENOENT)
		err = hv->ops->store_rm(hv, 0, p);
	hv_close(hv);
	return err;
}

static unsigned int bus_get_state(struct hv *hv, const char *path)
{
	char *text = NULL;
	unsigned int state;

	if (hv->ops->store_read(hv, 0, path, &text))
		return 0;
	state = (unsigned int)strtoul(text, NULL, 10);
	free(text);
	return state;
}

static void bus_event(void *arg, const char *path, const char *token)
{
	(void)arg;
	(void)path;
	(void)token;
}

/* Waits until the state is at least min; returns it, or -ETIMEDOUT. */
static int bus_wait(struct hv *hv, const char *path, unsigned int min, unsigned int timeout)
{
	struct pollfd pfd = { .fd = hv->ops->store_fd(hv), .events = POLLIN };
	unsigned int state;

	for (;;) {
		state = bus_get_state(hv, path);
		if (state >= min)
			return (int)state;
		if (poll(&pfd, 1, (int)timeout) <= 0)
			return -ETIMEDOUT;
		hv->ops->store_dispatch(hv, bus_event, NULL);
	}
}

/* Whether a list of words, separated by commas, has this one. */
static bool bus_offers(struct hv *hv, const char *path, const char *word)
{
	char *text = NULL, *save = NULL;
	bool found = false;

	if (hv->ops->store_read(hv, 0, path, &text))
		return false;
	for (char *w = strtok_r(text, ",", &save); w && !found; w = strtok_r(NULL, ",", &save))
		found = !strcmp(w, word);
	free(text);
	return found;
}

struct bus {
	struct hv *hv;
	struct sim_guest *g;
	unsigned int dev;
	char state[BUS_PATH]; /* the back end's */
};

static void bus_reason(struct bus *bus, char *why, size_t size)
{
	char p[BUS_PATH], *text = NULL;

	bus_back(p, bus->g->cfg.domid, bus->g->cfg.backend, bus->dev, "error");
	if (bus->hv->ops->store_read(bus->hv, 0, p, &text))
		snprintf(why, size, "the back end closed and gave no reason");
	else
		snprintf(why, size, "%s", text);
	free(text);
}

static const char *bus_addressing(const struct sim_guest *g)
{
	return g->cfg.addressing == XVS_ADDRESSING_P2M ? "p2m" : "grant";
}

static const char *bus_protection(const struct sim_guest *g)
{
	static const char *const words[] = {
		[XVS_PROTECTION_STRICT] = "strict",
		[XVS_PROTECTION_POOL] = "pool",
		[XVS_PROTECTION_LAZY] = "lazy",
		[XVS_PROTECTION_ADAPTIVE] = "adaptive",
	};

	return words[g->cfg.protection];
}

static bool bus_agree(struct bus *bus)
{
	const uint16_t f = bus->g->cfg.domid, b = bus->g->cfg.backend;
	char p[BUS_PATH];

	bus_back(p, f, b, bus->dev, XVS_KEY_VERSIONS);
	if (!bus_offers(bus->hv, p, "1"))
		return false;
	bus_back(p, f, b, bus->dev, XVS_KEY_PROTECTION_OFFERED);
	if (!bus_offers(bus->hv, p, bus_protection(bus->g)))
		return false;
	bus_back(p, f, b, bus->dev, XVS_KEY_ADDRESSING_OFFERED);
	return bus_offers(bus->hv, p, bus_addressing(bus->g));
}

static int bus_offer(struct bus *bus)
{
	const uint16_t f = bus->g->cfg.domid;
	struct hv *hv = bus->hv;
	char p[BUS_PATH];
	int err = 0;

	bus_front(p, f, bus->dev, XVS_KEY_VERSION);
	err |= bus_write_num(hv, 0, p, XVS_VERSION);
	bus_front(p, f, bus->dev, XVS_KEY_ADDRESSING);
	err |= bus_write(hv, 0, p, bus_addressing(bus->g));
	bus_front(p, f, bus->dev, XVS_KEY_PROTECTION);
	err |= bus_write(hv, 0, p, bus_protection(bus->g));
	bus_front(p, f, bus->dev, XVS_KEY_CTRL_REF);
	err |= bus_write_num(hv, 0, p, bus->g->ctrl_ref);
	bus_front(p, f, bus->dev, XVS_KEY_CTRL_PORT);
	err |= bus_write_num(hv, 0, p, bus->g->ctrl_port);
	bus_front(p, f, bus->dev, "state");
	err |= bus_write_num(hv, 0, p, BUS_INITIALISED);
	return err ? -EIO : 0;
}

static int bus_connect(struct bus *bus, char *why, size_t size)
{
	char p[BUS_PATH];
	int rc = bus_wait(bus->hv, bus->state, BUS_INITWAIT, bus->g->cfg.timeout);

	if (rc == BUS_INITWAIT) {
		if (!bus_agree(bus)) {
			snprintf(why, size, "no common version, addressing or protection");
			return -EPROTO;
		}
		rc = bus_offer(bus);
		if (!rc)
			rc = bus_wait(bus->hv, bus->state, BUS_CONNECTED, bus->g->cfg.timeout);
	}
	if (rc < 0) {
		snprintf(why, size, "the back end did not answer");
		return rc;
	}
	if (rc != BUS_CONNECTED) {
		bus_reason(bus, why, size);
		return -ECONNREFUSED;
	}
	rc = sim_guest_wait_info(bus->g);
	bus_front(p, bus->g->cfg.domid, bus->dev, "state");
	return rc ? rc : bus_write_num(bus->hv, 0, p, BUS_CONNECTED);
}

static int bus_open(struct bus *bus, struct sim_guest *g, unsigned int dev)
{
	int err = 0;

	bus->g = g;
	bus->dev = dev;
	bus->hv = sim_hv_open(g->cfg.machine, g->cfg.domid, HV_CAP_STORE, &err);
	if (!bus->hv)
		return err;
	bus_back(bus->state, g->cfg.domid, g->cfg.backend, dev, "state");
	err = bus->hv->ops->store_watch(bus->hv, bus->state, "state");
	if (err)
		hv_close(bus->hv);
	return err;
}

int sim_guest_handshake(struct sim_guest *g, unsigned int dev, char *why, size_t size)
{
	struct bus bus;
	int err = bus_open(&bus, g, dev);

	if (err) {
		snprintf(why, size, "no connection to the store");
		return err;
	}
	err = bus_connect(&bus, why, size);
	hv_close(bus.hv);
	return err;
}

/* The device is reset; tells the back end and waits until it has let go. */
int sim_guest_goodbye(struct sim_guest *g, unsigned int dev)
{
	char p[BUS_PATH];
	struct bus bus;
	int err = bus_open(&bus, g, dev);

	if (err)
		return err;
	bus_front(p, g->cfg.domid, dev, "state");
	err = bus_write_num(bus.hv, 0, p, BUS_CLOSING);
	if (!err)
		err = bus_wait(bus.hv, bus.state, BUS_CLOSING, g->cfg.timeout);
	if (err >= 0)
		err = bus_write_num(bus.hv, 0, p, BUS_CLOSED);
	if (!err)
		err = bus_wait(bus.hv, bus.state, BUS_CLOSED, g->cfg.timeout);
	hv_close(bus.hv);
	return err < 0 ? err : 0;
}
