/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The books of the machine, for tests that end with nothing left over. */
#include "hv/sim_priv.h"

#include <stdio.h>
#include <string.h>

static void sim_audit_tracks(struct sim_shared *sh, const struct sim_dom *d, struct sim_audit *a)
{
	for (uint32_t i = 0; i < SIM_TRACKS; i++) {
		const struct sim_track *t = &d->track[i];

		switch (t->kind) {
		case SIM_TRACK_DEVICE:
			a->device_handles += sh->frame[t->frame].dma == SIM_DMA_NO;
			break;
		case SIM_TRACK_HOST:
			a->host_pages++;
			break;
		case SIM_TRACK_FOREIGN:
			a->foreign_pages++;
			break;
		case SIM_TRACK_SELF:
			a->self_pages++;
			break;
		default:
			break;
		}
	}
}

static void sim_audit_dom(struct sim_shared *sh, const struct sim_dom *d, struct sim_audit *a)
{
	sim_audit_tracks(sh, d, a);
	for (uint32_t i = 0; i < SIM_GRANTS; i++)
		a->grants += d->gnt[i].used && sh->frame[d->gnt[i].frame].dma == SIM_DMA_NO;
	for (uint32_t i = 0; i < SIM_PORTS; i++)
		a->ports += d->port[i].state != SIM_PORT_FREE;
}

static void sim_audit_slots(struct sim_shared *sh, uint16_t domid, struct sim_audit *a)
{
	for (unsigned int i = 0; i < SIM_SLOTS; i++)
		a->opens += sh->slot[i].used && (domid == SIM_ANY || sh->slot[i].domid == domid);
	for (unsigned int i = 0; i < SIM_WATCHES; i++)
		a->watches += sh->watch[i].used &&
			      (domid == SIM_ANY || sh->slot[sh->watch[i].slot].domid == domid);
	for (unsigned int i = 0; i < SIM_TXNS; i++)
		a->transactions += sh->txn[i].used &&
				   (domid == SIM_ANY || sh->slot[sh->txn[i].slot].domid == domid);
}

void sim_audit(struct sim_machine *m, uint16_t domid, struct sim_audit *audit)
{
	struct sim_shared *sh = m->sh;

	memset(audit, 0, sizeof(*audit));
	sim_lock(m);
	sim_reap_locked(m);
	for (unsigned int i = 0; i < SIM_DOMS; i++) {
		const struct sim_dom *d = &sh->dom[i];

		audit->zombies += d->state == SIM_DOM_DYING;
		if (d->state != SIM_DOM_NONE && (domid == SIM_ANY || d->domid == domid))
			sim_audit_dom(sh, d, audit);
	}
	sim_audit_slots(sh, domid, audit);
	for (uint32_t i = 0; i < sh->config.frames; i++) {
		const struct sim_frame *f = &sh->frame[i];

		audit->dma_pages += f->dma != SIM_DMA_NO && (domid == SIM_ANY || f->owner == domid);
		audit->late_writes += f->state == SIM_FRAME_POISON && !sim_frame_poison_ok(m, i);
	}
	audit->late_writes += sh->late_writes;
	sim_unlock(m);
}

void sim_audit_text(const struct sim_audit *a, char *text, size_t size)
{
	snprintf(text, size,
		 "device handles %u, host pages %u, foreign pages %u, self pages %u, DMA pages %u, "
		 "grants %u, ports %u, watches %u, transactions %u, opens %u, zombies %u, "
		 "late writes %u",
		 a->device_handles, a->host_pages, a->foreign_pages, a->self_pages, a->dma_pages,
		 a->grants, a->ports, a->watches, a->transactions, a->opens, a->zombies,
		 a->late_writes);
}
