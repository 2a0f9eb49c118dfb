/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front end: the control page and its mailbox. docs/protocol.md, "The control page". */
#include "sim/guest_priv.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void guest_violate(struct sim_guest *g, const char *fmt, ...)
{
	va_list ap;
	bool first;

	pthread_mutex_lock(&g->lock);
	first = !g->violated;
	if (first) {
		va_start(ap, fmt);
		vsnprintf(g->story, sizeof(g->story), fmt, ap);
		va_end(ap);
		g->violated = true;
	}
	pthread_mutex_unlock(&g->lock);
	if (first && g->cfg.violation)
		g->cfg.violation(g->cfg.arg, g->story);
}

const char *sim_guest_violation(struct sim_guest *g)
{
	bool violated;

	pthread_mutex_lock(&g->lock);
	violated = g->violated;
	pthread_mutex_unlock(&g->lock);
	return violated ? g->story : NULL;
}

uint32_t sim_guest_ctrl_ref(const struct sim_guest *g)
{
	return g->ctrl_ref;
}

uint32_t sim_guest_ctrl_port(const struct sim_guest *g)
{
	return g->ctrl_port;
}

struct xvs_control_page *sim_guest_ctrl(struct sim_guest *g)
{
	return g->ctrl;
}

uint64_t sim_guest_features(const struct sim_guest *g)
{
	return g->features;
}

unsigned int sim_guest_queues(const struct sim_guest *g)
{
	return g->nqueues;
}

static int guest_ctrl_open(struct sim_guest *g)
{
	struct sim_machine *m = g->cfg.machine;
	int err;

	err = sim_pages_alloc(m, g->cfg.domid, 1, &g->ctrl_pfn);
	if (err)
		return err;
	g->ctrl = sim_pages_map(m, g->cfg.domid, g->ctrl_pfn, 1);
	err = g->ctrl ? 0 : -ENOMEM;
	if (err)
		goto err_page;
	memset(g->ctrl, 0, XVS_PAGE_SIZE);
	err = sim_grant(m, g->cfg.domid, g->ctrl_pfn, g->cfg.backend, false, &g->ctrl_ref);
	if (err)
		goto err_map;
	err = sim_evtchn_alloc(m, g->cfg.domid, g->cfg.backend, &g->ctrl_port);
	if (!err)
		return 0;
	sim_grant_end(m, g->cfg.domid, g->ctrl_ref, 1);
err_map:
	sim_pages_unmap(g->ctrl, 1);
err_page:
	sim_pages_free(m, g->cfg.domid, g->ctrl_pfn, 1);
	return err;
}

struct sim_guest *sim_guest_new(const struct sim_guest_config *config, int *err)
{
	struct sim_guest *g = calloc(1, sizeof(*g));
	int rc = -ENOMEM;

	if (!g)
		goto err_out;
	g->cfg = *config;
	if (!g->cfg.addressing)
		g->cfg.addressing = XVS_ADDRESSING_GRANT;
	if (!g->cfg.protection)
		g->cfg.protection = XVS_PROTECTION_STRICT;
	if (!g->cfg.timeout)
		g->cfg.timeout = 5000;
	if (!g->cfg.max_queues || g->cfg.max_queues > XVS_MAX_QUEUES)
		g->cfg.max_queues = XVS_MAX_QUEUES;
	for (unsigned int i = 0; i < XVS_MAX_QUEUES; i++)
		g->queue[i].rng = config->seed * XVS_MAX_QUEUES + i + 1;
	g->sg_rng = config->seed;
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_init(&g->keep_lock, NULL);
	rc = guest_ctrl_open(g);
	if (!rc)
		return g;
	pthread_mutex_destroy(&g->keep_lock);
	pthread_mutex_destroy(&g->lock);
	free(g);
err_out:
	if (err)
		*err = rc;
	return NULL;
}

void sim_guest_free(struct sim_guest *g)
{
	struct sim_machine *m;

	if (!g)
		return;
	m = g->cfg.machine;
	for (unsigned int i = 0; i < XVS_MAX_QUEUES; i++)
		guest_queue_free(g, &g->queue[i]);
	guest_keep_end(g, true);
	sim_evtchn_close(m, g->cfg.domid, g->ctrl_port);
	/* A page that is still mapped stays granted and is never used again. */
	if (!sim_grant_end(m, g->cfg.domid, g->ctrl_ref, 1))
		sim_pages_free(m, g->cfg.domid, g->ctrl_pfn, 1);
	sim_pages_unmap(g->ctrl, 1);
	pthread_mutex_destroy(&g->keep_lock);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int sim_guest_ctrl_event(struct sim_guest *g, unsigned int ms)
{
	return sim_evtchn_wait(g->cfg.machine, g->cfg.domid, g->ctrl_port, ms);
}

/* The response; acquire pairs with the back end's release store of rsp.seq. */
static bool guest_answered(const struct sim_guest *g)
{
	return atomic_load_explicit((_Atomic uint32_t *)&g->ctrl->rsp.seq,
				    memory_order_acquire) == g->seq;
}

/* Waits in slices, so that a back end that does not notify is seen as slow and not as dead. */
static int guest_wait_answer(struct sim_guest *g)
{
	for (unsigned int ms = 0; !guest_answered(g); ms += 50) {
		if (ms >= g->cfg.timeout)
			return -ETIMEDOUT;
		if (sim_guest_ctrl_event(g, 50) > 0)
			ms = ms > 50 ? ms - 50 : 0;
	}
	return (int)g->ctrl->rsp.result;
}

int sim_guest_request(struct sim_guest *g, const struct xvs_request *req)
{
	struct xvs_request *slot = &g->ctrl->req;

	g->seq = g->seq + 1 ? g->seq + 1 : 1;
	slot->op = req->op;
	memcpy(&slot->u, &req->u, sizeof(slot->u));
	atomic_store_explicit((_Atomic uint32_t *)&slot->seq, g->seq, memory_order_release);
	sim_evtchn_send(g->cfg.machine, g->cfg.domid, g->ctrl_port);
	return guest_wait_answer(g);
}

int sim_guest_set_status(struct sim_guest *g, uint32_t status, uint32_t *now)
{
	struct xvs_request req = { .op = XVS_OP_SET_DEVICE_STATUS, .u.status = status };
	int err = sim_guest_request(g, &req);

	if (!err && now)
		*now = g->ctrl->rsp.status;
	return err;
}

int sim_guest_set_features(struct sim_guest *g, uint64_t features)
{
	struct xvs_request req = { .op = XVS_OP_SET_DRIVER_FEATURES, .u.features = features };

	return sim_guest_request(g, &req);
}

int sim_guest_config_write(struct sim_guest *g, unsigned int off, const void *buf,
			   unsigned int len)
{
	struct xvs_request req = { .op = XVS_OP_SET_CONFIG };

	if (len > XVS_CONFIG_WRITE_MAX)
		return -EINVAL;
	req.u.config.offset = off;
	req.u.config.len = len;
	memcpy(req.u.config.data, buf, len);
	return sim_guest_request(g, &req);
}

int sim_guest_config_read(struct sim_guest *g, unsigned int off, void *buf, unsigned int len)
{
	_Atomic uint32_t *gen = (_Atomic uint32_t *)&g->ctrl->info.config_generation;

	if (len > XVS_CONFIG_MAX || off > XVS_CONFIG_MAX - len)
		return -EINVAL;
	for (int i = 0; i < 1000; i++) {
		uint32_t before = atomic_load_explicit(gen, memory_order_acquire);

		memcpy(buf, g->ctrl->config + off, len);
		atomic_thread_fence(memory_order_acquire);
		if (!(before & 1) && before == atomic_load_explicit(gen, memory_order_relaxed))
			return 0;
	}
	return -EAGAIN;
}

bool sim_guest_needs_reset(struct sim_guest *g)
{
	return atomic_load_explicit((_Atomic uint32_t *)&g->ctrl->info.device_status,
				    memory_order_acquire) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

int sim_guest_wait_info(struct sim_guest *g)
{
	const struct xvs_device_info *info = &g->ctrl->info;
	_Atomic uint32_t *magic = (_Atomic uint32_t *)&g->ctrl->info.magic;

	for (unsigned int ms = 0; atomic_load_explicit(magic, memory_order_acquire) != XVS_MAGIC;
	     ms += 10) {
		if (ms >= g->cfg.timeout)
			return -ETIMEDOUT;
		sim_guest_ctrl_event(g, 10);
	}
	if (info->version != XVS_VERSION || !info->num_queues ||
	    info->num_queues > XVS_MAX_QUEUES || info->config_len > XVS_CONFIG_MAX ||
	    info->addressing != (uint32_t)g->cfg.addressing ||
	    info->protection != (uint32_t)g->cfg.protection) {
		guest_violate(g, "control page: version %u, %u queues, config %u, addressing %u, "
			      "protection %u", info->version, info->num_queues,
			      info->config_len, info->addressing, info->protection);
		return -EPROTO;
	}
	return 0;
}

static int guest_negotiate(struct sim_guest *g)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE, now = 0;
	int err = sim_guest_set_status(g, 0, &now);

	if (!err)
		err = sim_guest_set_status(g, status, &now);
	status |= VIRTIO_CONFIG_S_DRIVER;
	if (!err)
		err = sim_guest_set_status(g, status, &now);
	if (err)
		return err;
	g->features = g->ctrl->info.device_features & ~g->cfg.no_features;
	err = sim_guest_set_features(g, g->features);
	if (!err)
		err = sim_guest_set_status(g, status | VIRTIO_CONFIG_S_FEATURES_OK, &now);
	if (!err && !(now & VIRTIO_CONFIG_S_FEATURES_OK))
		err = -ENOTSUP;
	return err;
}

int sim_guest_start(struct sim_guest *g)
{
	int err = sim_guest_wait_info(g);

	if (!err)
		err = guest_negotiate(g);
	g->nqueues = 0;
	for (unsigned int i = 0; !err && i < g->ctrl->info.num_queues; i++) {
		if (i >= g->cfg.max_queues || !g->ctrl->queue[i].size_max)
			break;
		err = sim_guest_setup_queue(g, i, g->cfg.queue_size);
		g->nqueues += !err;
	}
	if (err)
		return err;
	return sim_guest_set_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				    VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK, NULL);
}

int sim_guest_reset(struct sim_guest *g)
{
	int err = sim_guest_set_status(g, 0, NULL);

	/* Without an answer the pages may still be in use. */
	if (err)
		return err;
	for (unsigned int i = 0; i < XVS_MAX_QUEUES; i++)
		guest_queue_free(g, &g->queue[i]);
	guest_keep_end(g, true);
	g->nqueues = 0;
	return sim_guest_violation(g) ? -EPROTO : 0;
}
