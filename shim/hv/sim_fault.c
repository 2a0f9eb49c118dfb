/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way into and out of each operation: who may, how often, and what is to go wrong. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	unsigned int caps; /* one of them is enough */
} sim_ops[SIM_OP_COUNT] = {
	[SIM_OP_OPEN] = { "open", 0 },
	[SIM_OP_GNT_MAP] = { "gnt_map", HV_CAP_GRANT },
	[SIM_OP_GNT_UNMAP] = { "gnt_unmap", HV_CAP_GRANT },
	[SIM_OP_GNT_COPY] = { "gnt_copy", HV_CAP_GRANT },
	[SIM_OP_HOST_MAP] = { "host_map", HV_CAP_GRANT },
	[SIM_OP_HOST_UNMAP] = { "host_unmap", HV_CAP_GRANT },
	[SIM_OP_DMA_ALLOC] = { "dma_alloc", HV_CAP_DMA },
	[SIM_OP_DMA_FREE] = { "dma_free", HV_CAP_DMA },
	[SIM_OP_SELF_PFN] = { "self_pfn", HV_CAP_DOMAIN },
	[SIM_OP_SELF_P2M] = { "self_p2m", HV_CAP_DOMAIN },
	[SIM_OP_SELF_MAP] = { "self_map", HV_CAP_GRANT },
	[SIM_OP_SELF_UNMAP] = { "self_unmap", HV_CAP_GRANT },
	[SIM_OP_FOREIGN_MAP] = { "foreign_map", HV_CAP_GRANT | HV_CAP_P2M },
	[SIM_OP_FOREIGN_UNMAP] = { "foreign_unmap", HV_CAP_GRANT | HV_CAP_P2M },
	[SIM_OP_P2M_OPEN] = { "p2m_open", HV_CAP_P2M },
	[SIM_OP_P2M_SYNC] = { "p2m_sync", HV_CAP_P2M },
	[SIM_OP_P2M_LEAF] = { "p2m_leaf", HV_CAP_P2M },
	[SIM_OP_EVTCHN_FD] = { "evtchn_fd", HV_CAP_EVTCHN },
	[SIM_OP_EVTCHN_BIND] = { "evtchn_bind", HV_CAP_EVTCHN },
	[SIM_OP_EVTCHN_UNBIND] = { "evtchn_unbind", HV_CAP_EVTCHN },
	[SIM_OP_EVTCHN_NOTIFY] = { "evtchn_notify", HV_CAP_EVTCHN },
	[SIM_OP_EVTCHN_PENDING] = { "evtchn_pending", HV_CAP_EVTCHN },
	[SIM_OP_EVTCHN_UNMASK] = { "evtchn_unmask", HV_CAP_EVTCHN },
	[SIM_OP_STORE_FD] = { "store_fd", HV_CAP_STORE },
	[SIM_OP_STORE_DISPATCH] = { "store_dispatch", HV_CAP_STORE },
	[SIM_OP_STORE_WATCH] = { "store_watch", HV_CAP_STORE },
	[SIM_OP_STORE_UNWATCH] = { "store_unwatch", HV_CAP_STORE },
	[SIM_OP_STORE_BEGIN] = { "store_begin", HV_CAP_STORE },
	[SIM_OP_STORE_END] = { "store_end", HV_CAP_STORE },
	[SIM_OP_STORE_READ] = { "store_read", HV_CAP_STORE },
	[SIM_OP_STORE_WRITE] = { "store_write", HV_CAP_STORE },
	[SIM_OP_STORE_RM] = { "store_rm", HV_CAP_STORE },
	[SIM_OP_STORE_LIST] = { "store_list", HV_CAP_STORE },
	[SIM_OP_STORE_GRANT] = { "store_grant", HV_CAP_STORE },
	[SIM_OP_DOM_INFO] = { "dom_info", HV_CAP_DOMAIN },
	[SIM_OP_DOM_PAUSE] = { "dom_pause", HV_CAP_DOMAIN },
	[SIM_OP_VERSION] = { "version", 0 },
	[SIM_OP_MACHINE] = { "machine", HV_CAP_DOMAIN },
};

const char *sim_op_name(enum sim_op op)
{
	return (unsigned int)op < SIM_OP_COUNT ? sim_ops[op].name : "?";
}

/* Counts one occasion against every fault of this sort; returns the code of the one due. */
static int sim_fault_due_locked(struct sim_shared *sh, enum sim_op op, enum sim_fault_kind kind)
{
	int code = 0;

	for (unsigned int i = 0; i < SIM_FAULTS; i++) {
		struct sim_fault *f = &sh->fault[i];

		if (f->kind != kind || f->op != op)
			continue;
		sim_touch(sh, f, sizeof(*f));
		if (--f->left)
			continue;
		f->kind = SIM_FAULT_NONE;
		code = f->code;
	}
	return code;
}

int sim_element_fault_locked(struct sim_shared *sh, enum sim_op op)
{
	if (sh->spared == getpid())
		return 0;
	SIM_SET(sh, sh->elements[op], sh->elements[op] + 1);
	return sim_fault_due_locked(sh, op, SIM_FAULT_ELEMENT);
}

static void sim_die_locked(struct sim_shared *sh)
{
	/* What was counted so far stays counted, or it would die again for ever. */
	sim_commit(sh);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

static int sim_may_locked(struct hv *hv, enum sim_op op)
{
	const struct sim_hv *h = sim_of(hv);

	if (h->slot >= SIM_SLOTS)
		return op == SIM_OP_OPEN ? 0 : -EBADF;
	/* A handle of the parent, used in a child. */
	if (h->m->sh->slot[h->slot].pid != getpid())
		return -EBADF;
	return sim_ops[op].caps && !(sim_ops[op].caps & hv->caps) ? -EPERM : 0;
}

int sim_enter(struct hv *hv, enum sim_op op)
{
	struct sim_machine *m = sim_of(hv)->m;
	int err, fault = 0;

	sim_lock(m);
	if (m->sh->spared != getpid()) {
		SIM_SET(m->sh, m->sh->calls[op], m->sh->calls[op] + 1);
		if (sim_fault_due_locked(m->sh, op, SIM_FAULT_KILL_BEFORE))
			sim_die_locked(m->sh);
		fault = sim_fault_due_locked(m->sh, op, SIM_FAULT_CALL);
	}
	err = sim_may_locked(hv, op);
	sim_commit(m->sh);
	if (!err && op != SIM_OP_DMA_FREE)
		err = fault;
	if (err)
		sim_unlock(m);
	return err;
}

int sim_leave(struct hv *hv, enum sim_op op, int err)
{
	struct sim_machine *m = sim_of(hv)->m;

	sim_commit(m->sh);
	if (m->sh->spared != getpid() && sim_fault_due_locked(m->sh, op, SIM_FAULT_KILL_AFTER))
		sim_die_locked(m->sh);
	sim_unlock(m);
	return err;
}

static int sim_fault_add(struct sim_machine *m, enum sim_fault_kind kind, enum sim_op op,
			 uint64_t nth, int code)
{
	int err = -ENOSPC;

	if ((unsigned int)op >= SIM_OP_COUNT || !nth || !code)
		return -EINVAL;
	sim_lock(m);
	for (unsigned int i = 0; err && i < SIM_FAULTS; i++) {
		struct sim_fault *f = &m->sh->fault[i];

		if (f->kind != SIM_FAULT_NONE)
			continue;
		*f = (struct sim_fault){ .kind = (uint8_t)kind, .op = (uint8_t)op, .code = code,
					 .left = nth };
		err = 0;
	}
	sim_unlock(m);
	return err;
}

int sim_fault_set(struct sim_machine *m, enum sim_op op, uint64_t nth, int err)
{
	return sim_fault_add(m, SIM_FAULT_CALL, op, nth, err);
}

int sim_fault_element(struct sim_machine *m, enum sim_op op, uint64_t nth, int status)
{
	return sim_fault_add(m, SIM_FAULT_ELEMENT, op, nth, status);
}

int sim_fault_kill(struct sim_machine *m, enum sim_op op, uint64_t nth, bool after)
{
	return sim_fault_add(m, after ? SIM_FAULT_KILL_AFTER : SIM_FAULT_KILL_BEFORE, op, nth, 1);
}

void sim_fault_clear(struct sim_machine *m)
{
	sim_lock(m);
	memset(m->sh->fault, 0, sizeof(m->sh->fault));
	sim_unlock(m);
}

unsigned int sim_faults_left(struct sim_machine *m)
{
	unsigned int n = 0;

	sim_lock(m);
	for (unsigned int i = 0; i < SIM_FAULTS; i++)
		n += m->sh->fault[i].kind != SIM_FAULT_NONE;
	sim_unlock(m);
	return n;
}

uint64_t sim_op_calls(struct sim_machine *m, enum sim_op op)
{
	uint64_t n;

	sim_lock(m);
	n = m->sh->calls[op];
	sim_unlock(m);
	return n;
}

uint64_t sim_op_elements(struct sim_machine *m, enum sim_op op)
{
	uint64_t n;

	sim_lock(m);
	n = m->sh->elements[op];
	sim_unlock(m);
	return n;
}

void sim_fault_spare(struct sim_machine *m, pid_t pid)
{
	sim_lock(m);
	m->sh->spared = pid;
	sim_unlock(m);
}

void sim_plant(struct sim_machine *m, enum sim_plant plant, uint64_t one_in)
{
	sim_lock(m);
	m->sh->plant = one_in ? plant : SIM_PLANT_NONE;
	m->sh->plant_in = one_in;
	m->sh->plant_seen = 0;
	sim_unlock(m);
}

bool sim_plant_due_locked(struct sim_shared *sh, enum sim_plant plant)
{
	if (sh->plant != plant || plant == SIM_PLANT_NONE)
		return false;
	SIM_SET(sh, sh->plant_seen, sh->plant_seen + 1);
	return sh->plant_seen % sh->plant_in == 0;
}

uint32_t sim_plant_frame_locked(struct sim_shared *sh, uint32_t frame)
{
	const struct sim_frame *f = &sh->frame[frame];
	const struct sim_dom *d;
	uint32_t pfn;

	if (f->dma != SIM_DMA_NO || !sim_plant_due_locked(sh, SIM_PLANT_NEIGHBOUR_FRAME))
		return frame;
	d = sim_dom_get(sh, f->owner);
	pfn = f->pfn ? f->pfn - 1 : 1;
	return d && d->p2m[pfn] != SIM_NONE ? d->p2m[pfn] : frame;
}
