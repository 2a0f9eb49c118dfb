/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event channels. A guest's port sets a flag and wakes who waits for it. A port of a struct hv
 * behaves like /dev/xen/evtchn: an event masks it and puts it in the list of the handle, until
 * it is unmasked; what comes meanwhile is one event then. One of a port that was unbound since stays
 * in the list, and a list that ran over cannot be read any more.
 */
#include "hv/sim_priv.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint32_t sim_port_new_locked(struct sim_shared *sh, struct sim_dom *d)
{
	/* Port 0 is none, as in Xen. */
	for (uint32_t port = 1; port < sh->config.max_ports; port++)
		if (d->port[port].state == SIM_PORT_FREE)
			return port;
	return SIM_NONE;
}

static struct sim_port *sim_port_get(struct sim_dom *d, uint32_t port)
{
	if (!d || !port || port >= SIM_PORTS || d->port[port].state == SIM_PORT_FREE)
		return NULL;
	return &d->port[port];
}

static struct sim_port *sim_port_peer(struct sim_shared *sh, const struct sim_port *p,
				      struct sim_dom **d)
{
	if (p->state != SIM_PORT_BOUND)
		return NULL;
	*d = sim_dom_get(sh, p->remote);
	return sim_port_get(*d, p->remote_port);
}

static void sim_wake(struct sim_shared *sh, struct sim_dom *d)
{
	SIM_SET(sh, d->evt_seq, d->evt_seq + 1);
	syscall(SYS_futex, &d->evt_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void sim_fd_raise(int fd)
{
	/* Full means readable, which is all that is wanted. */
	if (eventfd_write(fd, 1))
		return;
}

static void sim_fd_clear(int fd)
{
	eventfd_t n;

	if (eventfd_read(fd, &n))
		return;
}

/* Linux's evtchn driver taking an event: mask, list, wake. */
static void sim_port_deliver_locked(struct sim_machine *m, struct sim_port *p, uint32_t port)
{
	struct sim_slot *s = &m->sh->slot[p->slot];
	uint32_t at = (s->first_ready + s->nready) % SIM_READY;

	sim_touch(m->sh, p, sizeof(*p));
	p->pending = false;
	p->masked = true;
	p->ready = true;
	if (s->nready < SIM_READY) {
		SIM_SET(m->sh, s->ready[at], port);
		SIM_SET(m->sh, s->nready, s->nready + 1);
	} else {
		SIM_SET(m->sh, s->ran_over, true);
	}
	sim_fd_raise(m->evt_fd[p->slot]);
}

static void sim_port_raise_locked(struct sim_machine *m, struct sim_dom *d, uint32_t port)
{
	struct sim_port *p = &d->port[port];

	SIM_SET(m->sh, p->pending, true);
	if (p->slot >= SIM_SLOTS)
		sim_wake(m->sh, d);
	else if (!p->masked)
		sim_port_deliver_locked(m, p, port);
}

/* The peer of a closed port waits for another one of the same domain. */
void sim_port_close_locked(struct sim_machine *m, struct sim_dom *d, uint32_t port, bool dead)
{
	struct sim_port *p = &d->port[port], *peer;
	struct sim_dom *other = NULL;

	peer = sim_port_peer(m->sh, p, &other);
	if (peer) {
		sim_touch(m->sh, peer, sizeof(*peer));
		peer->state = SIM_PORT_UNBOUND;
		peer->remote_port = 0;
	}
	sim_touch(m->sh, p, sizeof(*p));
	*p = (struct sim_port){ .state = SIM_PORT_FREE };
	/* Who waits for an event of a port that is gone has to look again. */
	if (dead || p->slot >= SIM_SLOTS)
		sim_wake(m->sh, d);
}

void sim_ports_release_locked(struct sim_machine *m, uint16_t slot)
{
	struct sim_dom *d = sim_dom_get(m->sh, m->sh->slot[slot].domid);

	for (uint32_t port = 1; d && port < SIM_PORTS; port++)
		if (d->port[port].state != SIM_PORT_FREE && d->port[port].slot == slot)
			sim_port_close_locked(m, d, port, false);
	sim_fd_clear(m->evt_fd[slot]);
}

int sim_evtchn_alloc(struct sim_machine *m, uint16_t domid, uint16_t remote, uint32_t *port)
{
	struct sim_dom *d;
	int err = -ESRCH;

	sim_lock(m);
	sim_reap_locked(m);
	d = sim_dom_live(m->sh, domid);
	if (d) {
		*port = sim_port_new_locked(m->sh, d);
		err = *port == SIM_NONE ? -ENOSPC : 0;
	}
	if (!err) {
		sim_touch(m->sh, &d->port[*port], sizeof(d->port[0]));
		d->port[*port] = (struct sim_port){ .state = SIM_PORT_UNBOUND, .remote = remote,
						    .slot = SIM_SLOTS };
	}
	sim_unlock(m);
	return err;
}

int sim_evtchn_close(struct sim_machine *m, uint16_t domid, uint32_t port)
{
	struct sim_dom *d;
	int err = -EINVAL;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	if (sim_port_get(d, port)) {
		sim_port_close_locked(m, d, port, false);
		err = 0;
	}
	sim_unlock(m);
	return err;
}

static int sim_send_locked(struct sim_machine *m, struct sim_dom *d, uint32_t port)
{
	struct sim_port *p = sim_port_get(d, port);
	struct sim_dom *other = NULL;

	if (!p)
		return -EINVAL;
	/* Nobody at the other end: the event is lost, and that is no error. */
	if (sim_port_peer(m->sh, p, &other))
		sim_port_raise_locked(m, other, p->remote_port);
	return 0;
}

int sim_evtchn_send(struct sim_machine *m, uint16_t domid, uint32_t port)
{
	int err;

	sim_lock(m);
	err = sim_send_locked(m, sim_dom_live(m->sh, domid), port);
	sim_unlock(m);
	return err;
}

bool sim_evtchn_bound(struct sim_machine *m, uint16_t domid, uint32_t port)
{
	const struct sim_port *p;
	bool bound;

	sim_lock(m);
	sim_reap_locked(m);
	p = sim_port_get(sim_dom_get(m->sh, domid), port);
	bound = p && p->state == SIM_PORT_BOUND;
	sim_unlock(m);
	return bound;
}

static int64_t sim_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* 1 taken, 0 none yet, or an error; *seq for the wait that follows. */
static int sim_evtchn_take(struct sim_machine *m, uint16_t domid, uint32_t port, uint32_t *seq,
			   uint32_t **word)
{
	struct sim_dom *d;
	struct sim_port *p;
	int rc = -EINVAL;

	sim_lock(m);
	d = sim_dom_live(m->sh, domid);
	p = sim_port_get(d, port);
	if (p) {
		*seq = d->evt_seq;
		*word = &d->evt_seq;
		rc = p->pending;
		SIM_SET(m->sh, p->pending, false);
	}
	sim_unlock(m);
	return rc;
}

int sim_evtchn_wait(struct sim_machine *m, uint16_t domid, uint32_t port, unsigned int ms)
{
	int64_t end = sim_now_ms() + ms, left = ms;

	for (;;) {
		uint32_t seq = 0, *word = NULL;
		int rc = sim_evtchn_take(m, domid, port, &seq, &word);
		struct timespec ts = { .tv_sec = left / 1000,
				       .tv_nsec = left % 1000 * 1000000 };

		if (rc || left <= 0)
			return rc;
		syscall(SYS_futex, word, FUTEX_WAIT, seq, &ts, NULL, 0);
		left = end - sim_now_ms();
	}
}

int sim_hv_evtchn_fd(struct hv *hv)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_EVTCHN_FD);

	return err ? err : sim_leave(hv, SIM_OP_EVTCHN_FD, h->m->evt_fd[h->slot]);
}

static int sim_bind_locked(struct sim_hv *h, uint16_t domid, uint32_t remote, uint32_t *port)
{
	struct sim_shared *sh = h->m->sh;
	struct sim_dom *d = sim_dom_live(sh, h->domid), *other = sim_dom_live(sh, domid);
	struct sim_port *peer = sim_port_get(other, remote);

	if (h->restricted && domid != h->only)
		return -EACCES;
	if (!d || !other)
		return -ESRCH;
	if (!peer || peer->state != SIM_PORT_UNBOUND || peer->remote != h->domid)
		return -EINVAL;
	*port = sim_port_new_locked(sh, d);
	if (*port == SIM_NONE)
		return -ENOSPC;
	sim_touch(sh, peer, sizeof(*peer));
	peer->state = SIM_PORT_BOUND;
	peer->remote_port = *port;
	sim_touch(sh, &d->port[*port], sizeof(d->port[0]));
	d->port[*port] = (struct sim_port){ .state = SIM_PORT_BOUND, .remote = domid,
					    .remote_port = remote, .slot = h->slot };
	/* An event may have been lost while nobody was there; Xen raises one as well. */
	sim_port_raise_locked(h->m, d, *port);
	return 0;
}

int sim_hv_evtchn_bind(struct hv *hv, uint16_t domid, uint32_t remote, uint32_t *port)
{
	int err = sim_enter(hv, SIM_OP_EVTCHN_BIND);

	if (err)
		return err;
	sim_reap_locked(sim_of(hv)->m);
	return sim_leave(hv, SIM_OP_EVTCHN_BIND, sim_bind_locked(sim_of(hv), domid, remote, port));
}

/* A port of this handle, or NULL. */
static struct sim_port *sim_own_port(struct sim_hv *h, uint32_t port)
{
	struct sim_port *p = sim_port_get(sim_dom_live(h->m->sh, h->domid), port);

	return p && p->slot == h->slot ? p : NULL;
}

int sim_hv_evtchn_unbind(struct hv *hv, uint32_t port)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_EVTCHN_UNBIND);

	if (err)
		return err;
	if (sim_own_port(h, port))
		sim_port_close_locked(h->m, sim_dom_live(h->m->sh, h->domid), port, false);
	else
		err = -EINVAL;
	return sim_leave(hv, SIM_OP_EVTCHN_UNBIND, err);
}

int sim_hv_evtchn_notify(struct hv *hv, uint32_t port)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_EVTCHN_NOTIFY);

	if (err)
		return err;
	hv->counters.notify_calls++;
	if (sim_own_port(h, port))
		err = sim_send_locked(h->m, sim_dom_live(h->m->sh, h->domid), port);
	else
		err = -EINVAL;
	return sim_leave(hv, SIM_OP_EVTCHN_NOTIFY, err);
}

int sim_hv_evtchn_pending(struct hv *hv, uint32_t *port)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_EVTCHN_PENDING);
	struct sim_shared *sh = h->m->sh;
	struct sim_slot *s;
	struct sim_port *p;

	if (err)
		return err;
	s = &sh->slot[h->slot];
	if (s->ran_over)
		return sim_leave(hv, SIM_OP_EVTCHN_PENDING, -EFBIG);
	if (!s->nready)
		return sim_leave(hv, SIM_OP_EVTCHN_PENDING, 0);
	*port = s->ready[s->first_ready];
	SIM_SET(sh, s->first_ready, (s->first_ready + 1) % SIM_READY);
	SIM_SET(sh, s->nready, s->nready - 1);
	if (!s->nready)
		sim_fd_clear(h->m->evt_fd[h->slot]);
	p = sim_own_port(h, *port);
	if (p)
		SIM_SET(sh, p->ready, false);
	return sim_leave(hv, SIM_OP_EVTCHN_PENDING, 1);
}

int sim_hv_evtchn_unmask(struct hv *hv, uint32_t port)
{
	struct sim_hv *h = sim_of(hv);
	int err = sim_enter(hv, SIM_OP_EVTCHN_UNMASK);
	struct sim_port *p;

	if (err)
		return err;
	p = sim_own_port(h, port);
	if (!p)
		return sim_leave(hv, SIM_OP_EVTCHN_UNMASK, -EINVAL);
	/* Still in the list: the event has not been read, so it is not over. */
	if (!p->ready) {
		SIM_SET(h->m->sh, p->masked, false);
		if (p->pending)
			sim_port_deliver_locked(h->m, p, port);
	}
	return sim_leave(hv, SIM_OP_EVTCHN_UNMASK, 0);
}
