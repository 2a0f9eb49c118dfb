/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated machine: event channels and the store. */
#include "sim_fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

START_TEST(test_evtchn)
{
	uint32_t gport, port, got;
	int fd = hv->ops->evtchn_fd(hv);

	ck_assert_int_eq(sim_evtchn_alloc(m, GUEST, BACK, &gport), 0);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, 44, gport, &port), -ESRCH);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport + 1, &port), -EINVAL);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &port), 0);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &got), -EINVAL);
	/* Xen raises one at the bind. */
	ck_assert(readable(fd));
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 1);
	ck_assert_uint_eq(got, port);
	ck_assert(!readable(fd));
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 0);
	/* Masked until unmask; two events are one. */
	sim_evtchn_send(m, GUEST, gport);
	sim_evtchn_send(m, GUEST, gport);
	ck_assert(!readable(fd));
	ck_assert_int_eq(hv->ops->evtchn_unmask(hv, port), 0);
	ck_assert(readable(fd));
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 1);
	ck_assert_int_eq(hv->ops->evtchn_unmask(hv, port), 0);
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 0);
	ck_assert_int_eq(hv->ops->evtchn_notify(hv, port), 0);
	ck_assert_int_eq(sim_evtchn_wait(m, GUEST, gport, 0), 1);
	ck_assert_int_eq(sim_evtchn_wait(m, GUEST, gport, 0), 0);
	/* Closed by the back end, it can be bound again. An event that waits stays, as in Linux. */
	sim_evtchn_send(m, GUEST, gport);
	ck_assert_int_eq(hv->ops->evtchn_unbind(hv, port), 0);
	ck_assert(readable(fd));
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 1);
	ck_assert_uint_eq(got, port);
	ck_assert(!readable(fd));
	ck_assert_int_eq(hv->ops->evtchn_unbind(hv, port), -EINVAL);
	ck_assert(!sim_evtchn_bound(m, GUEST, gport));
	ck_assert_int_eq(sim_evtchn_send(m, GUEST, gport), 0);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &port), 0);
	ck_assert_int_eq(sim_evtchn_close(m, GUEST, gport), 0);
	ck_assert_int_eq(hv->ops->evtchn_notify(hv, port), 0);
	ck_assert_int_eq(hv->ops->evtchn_unbind(hv, port), 0);
}
END_TEST

/* Events that nobody reads, of ports that went: the list has an end. */
START_TEST(test_evtchn_runs_over)
{
	uint32_t gport, port, got;

	ck_assert_int_eq(sim_evtchn_alloc(m, GUEST, BACK, &gport), 0);
	for (unsigned int i = 0; i < 64; i++) {
		ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &port), 0);
		ck_assert_int_eq(hv->ops->evtchn_unbind(hv, port), 0);
	}
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 1);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &port), 0);
	ck_assert_int_eq(hv->ops->evtchn_unbind(hv, port), 0);
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), 1);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &port), 0);
		ck_assert_int_eq(hv->ops->evtchn_unbind(hv, port), 0);
	}
	ck_assert_int_eq(hv->ops->evtchn_pending(hv, &got), -EFBIG);
}
END_TEST

static void *late_send(void *arg)
{
	usleep(20000);
	hv->ops->evtchn_notify(hv, *(uint32_t *)arg);
	return NULL;
}

START_TEST(test_evtchn_wakes)
{
	uint32_t gport, port;
	pthread_t t;

	sim_evtchn_alloc(m, GUEST, BACK, &gport);
	ck_assert_int_eq(hv->ops->evtchn_bind(hv, GUEST, gport, &port), 0);
	ck_assert_int_eq(sim_evtchn_wait(m, GUEST, gport, 10), 0);
	pthread_create(&t, NULL, late_send, &port);
	ck_assert_int_eq(sim_evtchn_wait(m, GUEST, gport, 5000), 1);
	pthread_join(t, NULL);
	hv->ops->evtchn_unbind(hv, port);
}
END_TEST

struct fired {
	int n;
	char path[8][128], token[8][32];
};

static void on_fire(void *arg, const char *path, const char *token)
{
	struct fired *f = arg;

	snprintf(f->path[f->n % 8], 128, "%s", path);
	snprintf(f->token[f->n % 8], 32, "%s", token);
	f->n++;
}

static int dispatch(struct hv *h, struct fired *f)
{
	memset(f, 0, sizeof(*f));
	ck_assert_int_eq(h->ops->store_dispatch(h, on_fire, f), 0);
	return f->n;
}

START_TEST(test_store)
{
	char **names, *value;
	unsigned int n;

	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/a/b", &value), -ENOENT);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/a/b/c", "1"), 0);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/a/b/d", "2"), 0);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/a/bb", "3"), 0);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/a/b/c", &value), 0);
	ck_assert_str_eq(value, "1");
	free(value);
	ck_assert_int_eq(hv->ops->store_list(hv, 0, "/a/b", &names, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(names[0], "c");
	free(names);
	ck_assert_int_eq(hv->ops->store_list(hv, 0, "/a/b/c", &names, &n), 0);
	ck_assert_uint_eq(n, 0);
	free(names);
	ck_assert_int_eq(hv->ops->store_list(hv, 0, "/nope", &names, &n), -ENOENT);
	ck_assert_int_eq(hv->ops->store_rm(hv, 0, "/a/b"), 0);
	ck_assert_int_eq(hv->ops->store_rm(hv, 0, "/a/b"), -ENOENT);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/a/b/c", &value), -ENOENT);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/a/bb", &value), 0);
	free(value);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "/a//b", "1"), -EINVAL);
	ck_assert_int_eq(hv->ops->store_write(hv, 0, "own", "me"), 0);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/local/domain/0/own", &value), 0);
	free(value);
}
END_TEST

START_TEST(test_watches)
{
	int fd = hv->ops->store_fd(hv);
	struct fired f;
	char path[64];

	ck_assert_int_eq(hv->ops->store_watch(hv, "/w", "tok"), 0);
	ck_assert_int_eq(hv->ops->store_watch(hv, "/w", "tok"), -EEXIST);
	ck_assert(readable(fd));
	ck_assert_int_eq(dispatch(hv, &f), 1);
	ck_assert_str_eq(f.path[0], "/w");
	ck_assert(!readable(fd));
	hv->ops->store_write(hv, 0, "/w/x/y", "1");
	hv->ops->store_write(hv, 0, "/w/x/y", "2");
	hv->ops->store_write(hv, 0, "/ww", "no");
	ck_assert_int_eq(dispatch(hv, &f), 1);
	ck_assert_str_eq(f.path[0], "/w/x/y");
	ck_assert_str_eq(f.token[0], "tok");
	/* 27: a flood stays bounded and is not lost. */
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/w/%d", i);
		hv->ops->store_write(hv, 0, path, "");
	}
	ck_assert_int_le(dispatch(hv, &f), 32);
	ck_assert_str_eq(f.path[(f.n - 1) % 8], "/w");
	ck_assert_int_eq(hv->ops->store_unwatch(hv, "/w", "tok"), 0);
	hv->ops->store_write(hv, 0, "/w/x", "3");
	ck_assert(!readable(fd));
	ck_assert_int_eq(hv->ops->store_unwatch(hv, "/w", "tok"), -ENOENT);
	/* Removing a folder tells who watches below it. */
	hv->ops->store_watch(hv, "/w/x/y", "deep");
	dispatch(hv, &f);
	hv->ops->store_rm(hv, 0, "/w");
	ck_assert_int_eq(dispatch(hv, &f), 1);
	ck_assert_str_eq(f.path[0], "/w/x/y");
}
END_TEST

START_TEST(test_special_watches)
{
	struct fired f;

	hv->ops->store_watch(hv, "@introduceDomain", "in");
	hv->ops->store_watch(hv, "@releaseDomain", "out");
	dispatch(hv, &f);
	sim_domain_add(m, 8, 4, true);
	ck_assert_int_eq(dispatch(hv, &f), 1);
	ck_assert_str_eq(f.token[0], "in");
	sim_domain_shutdown(m, 8);
	ck_assert_int_eq(dispatch(hv, &f), 1);
	sim_domain_kill(m, 8);
	ck_assert_int_eq(dispatch(hv, &f), 1);
	ck_assert_str_eq(f.path[0], "@releaseDomain");
}
END_TEST

START_TEST(test_transactions)
{
	uint32_t t;
	char *value;

	hv->ops->store_write(hv, 0, "/t/a", "old");
	ck_assert_int_eq(hv->ops->store_begin(hv, &t), 0);
	ck_assert_int_eq(hv->ops->store_write(hv, t, "/t/a", "new"), 0);
	ck_assert_int_eq(hv->ops->store_write(hv, t, "/t/b", "b"), 0);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/t/a", &value), 0);
	ck_assert_str_eq(value, "old");
	free(value);
	ck_assert_int_eq(hv->ops->store_read(hv, t, "/t/a", &value), 0);
	ck_assert_str_eq(value, "new");
	free(value);
	ck_assert_int_eq(hv->ops->store_end(hv, t, false), 0);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/t/b", &value), 0);
	free(value);
	/* Somebody else changed what it read: again. */
	ck_assert_int_eq(hv->ops->store_begin(hv, &t), 0);
	ck_assert_int_eq(hv->ops->store_read(hv, t, "/t/a", &value), 0);
	free(value);
	hv->ops->store_write(hv, 0, "/t/a", "mine");
	ck_assert_int_eq(hv->ops->store_write(hv, t, "/t/c", "c"), 0);
	ck_assert_int_eq(hv->ops->store_end(hv, t, false), -EAGAIN);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/t/c", &value), -ENOENT);
	ck_assert_int_eq(hv->ops->store_end(hv, t, false), -ENOENT);
	ck_assert_int_eq(hv->ops->store_begin(hv, &t), 0);
	ck_assert_int_eq(hv->ops->store_rm(hv, t, "/t/a"), 0);
	ck_assert_int_eq(hv->ops->store_end(hv, t, true), 0);
	ck_assert_int_eq(hv->ops->store_read(hv, 0, "/t/a", &value), 0);
	free(value);
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&test_evtchn,
		&test_evtchn_runs_over,
		&test_evtchn_wakes,
		&test_store,
		&test_watches,
		&test_special_watches,
		&test_transactions,
	};

	return sim_main("sim-hv", tests, sizeof(tests) / sizeof(tests[0]));
}
