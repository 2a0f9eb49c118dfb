/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a device holds, in the order it is taken: state file, source, DMA memory, journal. It is
 * let go the other way round, so that at every moment a killed keeper leaves enough behind:
 * a state file means "give the source back", a journal means "reset the device and unmap".
 */
#include "daemon/keeper.h"

#include "policy/types.h"
#include "session/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(struct kdev *d, int rc, const char *what)
{
	snprintf(d->error, sizeof(d->error), "%s: %s", what, strerror(-rc));
	return rc;
}

int kdev_check_type(struct kdev *d)
{
	const struct vtype *type = vtype_find(d->src.dev->device_id);

	d->device_id = d->src.dev->device_id;
	if (policy_type(d->device_id) == TYPE_SERVED)
		return 0;
	snprintf(d->error, sizeof(d->error), "virtio type %u (%s) cannot be given to a guest: %s",
		 d->device_id, vtype_name(d->device_id),
		 type && type->refuse ? type->refuse : "it is not known");
	return -EOPNOTSUPP;
}

/* journal_create() under another name, so that a journal in place always knows its DMA. */
int kdev_fresh_journal(struct kdev *d)
{
	char path[RUN_PATH_SIZE], fresh[RUN_PATH_SIZE + 4];
	struct journal j;
	int rc;

	keeper_path(d->keeper, path, d, "journal");
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	unlink(fresh);
	rc = journal_create(&j, fresh);
	if (rc)
		return fail(d, rc, fresh);
	rc = journal_set_dma(&j, &d->dma);
	if (!rc && rename(fresh, path))
		rc = -errno;
	if (rc) {
		unlink(fresh);
		journal_close(&j);
		return fail(d, rc, "the journal");
	}
	if (d->journal.data)
		journal_close(&d->journal);
	d->journal = j;
	/* What the last session left there is nothing to the next. */
	memset(d->dma.va, 0, (size_t)d->dma.npages * XVS_FRAME_SIZE);
	return 0;
}

int kdev_open_dma(struct kdev *d)
{
	unsigned int npages = session_dma_pages(d->src.dev);
	int rc;

	if (npages > JOURNAL_DMA_PAGES_MAX)
		return fail(d, -E2BIG, "the device's queues need more DMA memory than allowed");
	rc = xvs_dma_alloc(d->keeper->xvs, (size_t)npages * XVS_FRAME_SIZE, &d->memory);
	if (rc)
		return fail(d, rc, "no DMA memory (see the limit of module xen_gntalloc)");
	d->dma = *xvs_dma_pages(d->memory);
	return 0;
}

void kdev_drop_dma(struct kdev *d)
{
	if (!d->memory)
		return;
	/* In this order: the next keeper must never unmap a handle that is somebody else's by
	 * then. Killed in between, a few pages of our own stay pinned, no guest's. */
	if (d->journal.data)
		journal_forget_dma(&d->journal);
	xvs_dma_free(d->memory);
	d->memory = NULL;
	memset(&d->dma, 0, sizeof(d->dma));
}

static void drop_journal(struct kdev *d)
{
	char path[RUN_PATH_SIZE];

	if (d->journal.data)
		journal_close(&d->journal);
	memset(&d->journal, 0, sizeof(d->journal));
	keeper_path(d->keeper, path, d, "journal");
	unlink(path);
}

static int open_source(struct kdev *d)
{
	const struct kdev *other = keeper_find_source(d->keeper, d->src.text);
	struct source_facts facts = { 0 };
	int rc;

	/* A toolstack may have written what attach would have refused. */
	if (other && other != d) {
		snprintf(d->error, sizeof(d->error), "%s is already given to domain %u",
			 d->src.text, other->domid);
		return -EBUSY;
	}
	if (!d->adopted) {
		rc = kdev_decide_source(d, &facts, d->error, sizeof(d->error));
		if (rc)
			return rc;
		snprintf(d->src.earlier, sizeof(d->src.earlier), "%s", facts.driver);
		rc = statefile_write(d);
		if (rc)
			return fail(d, rc, d->keeper->conf.run_dir);
	}
	d->taken = true; /* half taken counts: giving back is idempotent */
	rc = d->src.ops->take(&d->src, d->take || d->adopted, d->error, sizeof(d->error));
	if (!rc && !d->src.dev)
		rc = d->src.ops->open(&d->src, d->error, sizeof(d->error));
	if (!rc)
		rc = source_reset(&d->src, d->error, sizeof(d->error));
	return rc;
}

int kdev_read_allow(struct kdev *d, char *why, size_t size)
{
	d->allow = d->keeper->conf.allow;
	return nodes_read_allow(d->keeper->hv, d->be, &d->allow, why, size);
}

/* Of one that is new. A file that names the wrong domain would have the next keeper remove it. */
static int read_identity(struct kdev *d)
{
	int rc = 0;

	if (!d->adopted)
		rc = kdev_domain_identity(d->keeper->hv, d->domid, d->identity,
					  sizeof(d->identity));
	return rc ? fail(d, rc, "the store refused the domain's 'vm'") : 0;
}

int kdev_open(struct kdev *d)
{
	int rc = kdev_read_allow(d, d->error, sizeof(d->error));

	if (!rc)
		rc = read_identity(d);
	if (!rc)
		rc = open_source(d);
	if (!rc)
		rc = kdev_check_type(d);
	if (!rc)
		rc = kdev_decide_offer(d, d->error, sizeof(d->error));
	if (!rc && !d->dma.va)
		rc = kdev_open_dma(d);
	if (!rc)
		rc = kdev_fresh_journal(d);
	if (rc)
		kdev_release(d);
	return rc;
}

int kdev_let_go(struct kdev *d, char *why, size_t size)
{
	struct hv *hv = d->keeper->hv;
	int rc;

	if (!d->journal.data)
		return 0;
	rc = source_reset(&d->src, why, size);
	if (rc)
		return rc;
	rc = kdev_end_holder(d, why, size);
	if (rc)
		return rc;
	rc = journal_recover(&d->journal, hv, d->dma.va ? &d->dma : NULL);
	if (rc < 0) {
		snprintf(why, size, "pages of the guest could not be unmapped: %s", strerror(-rc));
		return rc;
	}
	if (rc)
		log_line(LOG_INFO, "%s: device reset, then %d pages unmapped", d->name, rc);
	if (d->dma.va)
		return 0;
	rc = journal_release_dma(&d->journal, hv);
	if (rc < 0) {
		snprintf(why, size, "DMA memory could not be unpinned: %s", strerror(-rc));
		return rc;
	}
	return 0;
}

void kdev_release(struct kdev *d)
{
	char why[160];

	if (!d->taken)
		return;
	/* One for which no worker could be started holds nothing. */
	if (kdev_end_holder(d, why, sizeof(why)))
		log_line(LOG_WARN, "%s: %s", d->name, why);
	kdev_drop_dma(d);
	drop_journal(d);
	if (d->src.dev)
		d->src.ops->close(&d->src);
	d->taken = false;
	if (d->src.ops->release(&d->src, d->not_given_back, sizeof(d->not_given_back)))
		log_line(LOG_WARN, "%s: giving it back: %s", d->name, d->not_given_back);
	else
		d->not_given_back[0] = '\0';
	statefile_remove(d);
}
