/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a keeper that was killed left: its journal, and by it the pages. */
#include "stress/internal.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define TAKE_OVER_TRIES 300u /* of 10 ms */

/* The worker of a keeper that was killed dies a moment later, and must not be undercut. */
static int wait_for_last(const struct journal *j)
{
	static const struct timespec nap = { .tv_nsec = 10000000 };

	for (unsigned int i = 0; i < TAKE_OVER_TRIES; i++) {
		if (!flock(j->fd, LOCK_EX | LOCK_NB))
			return 0;
		nanosleep(&nap, NULL);
	}
	return -EBUSY;
}

/* One whose maker was killed before it was finished names no page. A maker that lives finishes. */
static int open_left(struct stress_world *w, struct journal *j)
{
	static const struct timespec nap = { .tv_nsec = 10000000 };
	int rc = journal_open(j, w->journal);

	for (unsigned int i = 0; rc == -ENODATA && i < TAKE_OVER_TRIES; i++) {
		nanosleep(&nap, NULL);
		rc = journal_open(j, w->journal);
	}
	if (rc == -ENODATA && unlink(w->journal))
		return -errno;
	return rc;
}

int stress_take_over(struct stress_world *w, unsigned int *pages)
{
	struct journal j = { .fd = -1 };
	struct hv *hv;
	int rc = open_left(w, &j), rc2;

	*pages = 0;
	if (rc)
		return rc == -ENODATA ? 0 : rc;
	rc = wait_for_last(&j);
	if (rc)
		goto out;
	hv = w->open(w, HV_CAP_GRANT | HV_CAP_STORE | HV_CAP_DOMAIN | HV_CAP_DMA, &rc);
	if (!hv)
		goto out;
	rc = journal_recover(&j, hv, NULL);
	if (rc >= 0)
		*pages = (unsigned int)rc;
	rc2 = rc < 0 ? rc : journal_release_dma(&j, hv);
	hv_close(hv);
	rc = rc2;
	if (!rc && !journal_live(&j))
		unlink(w->journal);
out:
	journal_close(&j);
	return rc;
}
