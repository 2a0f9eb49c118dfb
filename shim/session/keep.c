/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that stay mapped between requests, and when they go: on request of the front end, by
 * age, and to make room for others.
 */
#include "session/internal.h"

static int drop(struct session *s, uint64_t before, unsigned int left)
{
	int n = kept_drop(&s->kept, before, left);

	if (n < 0) {
		session_break(s, "pages cannot be unmapped: %s", strerror(-n));
		return n;
	}
	if (n)
		stat_add(&s->st->unmap_calls, ((unsigned int)n + JOURNAL_BATCH - 1) / JOURNAL_BATCH);
	stat_add(&s->st->unmap_pages, (unsigned int)n);
	stat_add(&s->st->keep_dropped, (unsigned int)n);
	atomic_store_explicit(&s->st->kept, s->kept.n, memory_order_relaxed);
	return 0;
}

int session_release(struct session *s)
{
	stat_add(&s->st->releases, 1);
	return drop(s, UINT64_MAX, 0);
}

/*
 * A quarter at once, so that the hypercall is shared by many. Those that were used since the last
 * time stay, if there are enough others.
 */
void session_keep_room(struct session *s)
{
	unsigned int left = s->kept.max * 3 / 4;

	if (!s->kept.full)
		return;
	s->kept.full = false;
	if (!drop(s, s->kept.mark, left) && s->kept.n > left)
		drop(s, UINT64_MAX, left);
	s->kept.mark = s->batch.no;
}

int session_keep_age(struct session *s, uint64_t now_us)
{
	uint64_t period = (uint64_t)s->p.keep_ms * 1000;

	if (!period || (!s->kept.n && !s->kept.table_n)) {
		s->age_at = 0;
		return -1;
	}
	if (!s->age_at) { /* these are the first */
		s->age_at = now_us + period;
		s->age_batch = s->batch.no;
	} else if (now_us >= s->age_at) {
		drop(s, s->age_batch, 0);
		s->age_at = now_us + period;
		s->age_batch = s->batch.no;
	}
	return (int)((s->age_at - now_us) / 1000 + 1);
}
