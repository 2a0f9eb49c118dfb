/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stress test of grant tables: it passes on a sound simulation, and finds each planted
 * fault. Hazards 16, 18, 19, 20, 21, 31, 40 and 48 are what its operations are about.
 */
#include "check_main.h"

#include "mem/journal.h"
#include "stress/books_xen.h"
#include "stress/pattern.h"
#include "stress/world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENOUGH 10000000u /* operations in which a fault of one in 10^5 must have shown */

static struct stress_world *world;
static struct stress_result res;

static void setup(void)
{
	int err = 0;

	world = world_sim_new(1, &err);
	ck_assert_ptr_nonnull(world);
}

static void teardown(void)
{
	world_sim_free(world);
}

static struct stress_config config_of(uint64_t seed, uint64_t ops)
{
	struct stress_config c = { .seed = seed, .ops = ops, .batch = STRESS_BATCH,
				   .kill_ms = 50, .peer_in = 3 };

	stress_mix_default(&c.mix, true);
	return c;
}

static void run(const struct stress_config *c)
{
	int rc = stress_run(world, c, &res);

	ck_assert_msg(!rc, "cannot run: %d: %s", rc, res.story);
}

static void expect_pass(void)
{
	ck_assert_msg(res.passed, "%s", res.story);
	ck_assert_uint_eq(res.after.handles, 0);
	ck_assert_uint_eq(res.after.pages, 0);
	ck_assert_uint_eq(res.after.grants, 0);
}

START_TEST(test_million)
{
	struct stress_config c = config_of(1, 1000000);

	run(&c);
	expect_pass();
	ck_assert_uint_ge(res.ops, c.ops);
	for (int i = 0; i < STRESS_KINDS; i++)
		ck_assert_msg(res.kind[i].rounds || !c.mix.weight[i], "never: %s",
			      stress_kind_name((enum stress_kind)i));
	ck_assert_uint_gt(res.checked, 1000000);
}
END_TEST

START_TEST(test_same_seed)
{
	struct stress_config c = config_of(5, 50000);
	uint64_t first;

	run(&c);
	first = res.sequence;
	run(&c);
	ck_assert_uint_eq(res.sequence, first);
	c.seed = 6;
	run(&c);
	ck_assert_uint_ne(res.sequence, first);
	expect_pass();
}
END_TEST

/* Each operation alone, in batches of one and of all sizes. */
START_TEST(test_each_kind)
{
	struct stress_config c = config_of(3, 300);

	if (!c.mix.weight[_i])
		return; /* of version 2 tables, which the simulation has not */
	memset(&c.mix, 0, sizeof(c.mix));
	c.mix.weight[_i] = 1;
	c.batch = 1;
	run(&c);
	expect_pass();
	c.batch = STRESS_BATCH;
	c.ops = 5000;
	run(&c);
	expect_pass();
}
END_TEST

/* 20, 31, 48: the worker is killed, and the guest, and nothing is left of either. */
START_TEST(test_chaos)
{
	struct stress_config c = config_of((uint64_t)_i, 0);

	c.chaos = true;
	c.kills = 40;
	run(&c);
	expect_pass();
	ck_assert_uint_ge(res.kills, c.kills);
	ck_assert_uint_gt(res.peer_kills, 0);
	ck_assert_uint_gt(res.recovered, 0);
}
END_TEST

static void plant(enum sim_plant what, uint64_t one_in, uint64_t seed)
{
	struct stress_config c = config_of(seed, ENOUGH);

	sim_plant(world_sim_machine(world), what, one_in);
	run(&c);
	ck_assert_msg(!res.passed, "not found in %llu operations", (unsigned long long)res.ops);
}

START_TEST(test_finds_leak)
{
	plant(SIM_PLANT_LEAK_HANDLE, 100000, (uint64_t)_i);
	ck_assert_msg(strstr(res.story, "leak"), "%s", res.story);
	ck_assert_uint_gt(res.after.handles, 0);
}
END_TEST

/* By Xen's count alone: no operation that would stumble over it. */
START_TEST(test_finds_leak_by_count)
{
	struct stress_config c = config_of(1, 200000);

	memset(&c.mix, 0, sizeof(c.mix));
	c.mix.weight[STRESS_DEVMAP] = 1;
	c.chaos = true; /* the guest dies at the end of each worker: only Xen can tell */
	c.peer_in = 1;
	c.kill_ms = 200;
	sim_plant(world_sim_machine(world), SIM_PLANT_LEAK_HANDLE, 100000);
	run(&c);
	ck_assert(!res.passed);
	ck_assert_msg(strstr(res.story, "leak") || strstr(res.story, "zombie"), "%s", res.story);
}
END_TEST

START_TEST(test_finds_writable)
{
	plant(SIM_PLANT_RO_AS_RW, 100000, (uint64_t)_i);
	ck_assert_msg(strstr(res.story, "read-only"), "%s", res.story);
}
END_TEST

START_TEST(test_finds_neighbour)
{
	plant(SIM_PLANT_NEIGHBOUR_FRAME, 100000, (uint64_t)_i);
	ck_assert_msg(strstr(res.story, "wrong byte"), "%s", res.story);
	ck_assert_msg(strstr(res.story, "expected: page of domain 3"), "%s", res.story);
	ck_assert_msg(strstr(res.story, "found: "), "%s", res.story);
}
END_TEST

/* Every way by which a fault can show finds it without the others. */
START_TEST(test_finds_alone)
{
	static const struct {
		enum sim_plant what;
		enum stress_kind kind;
	} pair[] = {
		{ SIM_PLANT_LEAK_HANDLE, STRESS_DEVMAP },
		{ SIM_PLANT_LEAK_HANDLE, STRESS_TWICE },
		{ SIM_PLANT_LEAK_HANDLE, STRESS_REVOKE },
		{ SIM_PLANT_RO_AS_RW, STRESS_DEVMAP_RO },
		{ SIM_PLANT_RO_AS_RW, STRESS_HOSTMAP_RO },
		{ SIM_PLANT_RO_AS_RW, STRESS_RW_OF_RO },
		{ SIM_PLANT_NEIGHBOUR_FRAME, STRESS_DEVMAP },
		{ SIM_PLANT_NEIGHBOUR_FRAME, STRESS_DEVMAP_RO },
		{ SIM_PLANT_NEIGHBOUR_FRAME, STRESS_HOSTMAP },
		{ SIM_PLANT_NEIGHBOUR_FRAME, STRESS_HOSTMAP_RO },
		{ SIM_PLANT_NEIGHBOUR_FRAME, STRESS_COPY_FROM },
	};
	struct stress_config c = config_of(2, 40000);

	for (size_t i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		memset(&c.mix, 0, sizeof(c.mix));
		c.mix.weight[pair[i].kind] = 1;
		sim_plant(world_sim_machine(world), pair[i].what, 23);
		run(&c);
		ck_assert_msg(!res.passed, "%d not found by %s", pair[i].what,
			      stress_kind_name(pair[i].kind));
		teardown();
		setup();
	}
}
END_TEST

/* Copies that go wrong are seen by those who read the pages. */
START_TEST(test_finds_wrong_copy)
{
	struct stress_config c = config_of(2, 100000);

	memset(&c.mix, 0, sizeof(c.mix));
	c.mix.weight[_i] = 4;
	c.mix.weight[STRESS_RESTAMP] = 1;
	sim_plant(world_sim_machine(world), SIM_PLANT_NEIGHBOUR_FRAME, 997);
	run(&c);
	ck_assert(!res.passed);
	ck_assert_msg(strstr(res.story, "wrong byte"), "%s", res.story);
}
END_TEST

static void keeper_process(void)
{
	struct stress_config c = config_of(9, 0);

	c.duration = 60;
	stress_run(world, &c, &res);
	_exit(1);
}

/* 48: the keeper as well is killed, in the middle; the next one finds its journal. */
START_TEST(test_take_over)
{
	static const struct timespec nap = { .tv_nsec = 300000000 };
	struct journal j = { .fd = -1 };
	unsigned int pages = 0;
	struct sim_audit a;
	char text[300];
	int status;
	pid_t pid;

	snprintf(world->journal, sizeof(world->journal), "/tmp/test_gntstress.%d", (int)getpid());
	pid = fork();
	if (!pid)
		keeper_process();
	while (journal_open(&j, world->journal) || !j.data->dma_pages)
		journal_close(&j);
	journal_close(&j);
	nanosleep(&nap, NULL); /* any moment from there on will do */
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(stress_take_over(world, &pages), 0);
	ck_assert_int_eq(access(world->journal, F_OK), -1);
	sim_audit(world_sim_machine(world), 0, &a);
	sim_audit_text(&a, text, sizeof(text));
	ck_assert_msg(!a.device_handles && !a.host_pages && !a.dma_pages && !a.opens, "%s", text);
	ck_assert_int_eq(stress_take_over(world, &pages), -ENOENT);
}
END_TEST

/* A keeper killed while it makes its journal must not stop all later ones; another file must. */
START_TEST(test_take_over_unfinished)
{
	unsigned int pages = 1;
	struct journal j;
	FILE *f;

	snprintf(world->journal, sizeof(world->journal), "/tmp/test_gntstress.%d", (int)getpid());
	f = fopen(world->journal, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	ck_assert_int_eq(stress_take_over(world, &pages), 0);
	ck_assert_uint_eq(pages, 0);
	ck_assert_int_eq(access(world->journal, F_OK), -1);

	ck_assert_int_eq(journal_create(&j, world->journal), 0);
	j.data->magic = 0;
	journal_close(&j);
	ck_assert_int_eq(stress_take_over(world, &pages), 0);
	ck_assert_int_eq(access(world->journal, F_OK), -1);

	ck_assert_int_eq(journal_create(&j, world->journal), 0);
	j.data->version++;
	journal_close(&j);
	ck_assert_int_eq(stress_take_over(world, &pages), -EINVAL);
	ck_assert_int_eq(unlink(world->journal), 0);
}
END_TEST

START_TEST(test_mix)
{
	struct stress_mix mix;
	char why[200] = "";

	ck_assert_int_eq(stress_mix_parse("devmap=3,copy-to", &mix, why, sizeof(why)), 0);
	ck_assert_uint_eq(mix.weight[STRESS_DEVMAP], 3);
	ck_assert_uint_eq(mix.weight[STRESS_COPY_TO], 1);
	ck_assert_uint_eq(mix.weight[STRESS_DEVMAP_RO], 0);
	stress_mix_default(&mix, false);
	ck_assert_uint_eq(mix.weight[STRESS_FRAMES] + mix.weight[STRESS_MAPTRACK], 0);
	ck_assert_int_eq(stress_mix_parse("default,frames=2,revoke=0", &mix, why, sizeof(why)), 0);
	ck_assert_uint_eq(mix.weight[STRESS_FRAMES], 2);
	ck_assert_uint_eq(mix.weight[STRESS_REVOKE], 0);
	ck_assert_uint_gt(mix.weight[STRESS_DEVMAP], 1);
	ck_assert_int_eq(stress_mix_parse("default=2", &mix, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(stress_mix_parse("devmap=0", &mix, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(stress_mix_parse("", &mix, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(stress_mix_parse("dev=1", &mix, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(stress_mix_parse("devmap=", &mix, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(stress_mix_parse("devmap=1x", &mix, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(stress_mix_parse("transitive=1", &mix, why, sizeof(why)), 0);
}
END_TEST

static int count_in(const char *text, uint16_t domid, struct stress_books *b)
{
	FILE *f = fmemopen((void *)text, strlen(text), "r");
	int rc;

	ck_assert_ptr_nonnull(f);
	rc = books_of_log(f, domid, b);
	fclose(f);
	return rc;
}

#define DUMP_BEGIN "(XEN) gnttab_usage_print_all [ key 'g' pressed\n"
#define DUMP_END "(XEN) gnttab_usage_print_all ] done\n"
#define DUMP_OF(n) "(XEN) grant-table for remote d" #n " (v1)\n"
#define HOST_MAP "(XEN) [0x001]      0 0x7ec01 0x00000002          0 0x07ec01 0x19\n"
#define DEVICE_MAP "(XEN) [0x008]      0 0x7e8d8 0x00010000          0 0x07e8d8 0x19\n"
#define OTHERS_MAP "(XEN) [0x009]      2 0x7e8d9 0x00010000          2 0x07e8d9 0x19\n"

/* The newest dump counts; one without its head must not pass for "nothing in use". */
START_TEST(test_books)
{
	static const char whole[] = DUMP_BEGIN DUMP_OF(0) DEVICE_MAP DUMP_OF(1) HOST_MAP DEVICE_MAP
		DEVICE_MAP OTHERS_MAP DUMP_OF(12) HOST_MAP DUMP_END;
	struct stress_books b;

	ck_assert_int_eq(count_in(whole, 1, &b), 0);
	ck_assert_uint_eq(b.grants, 3);
	ck_assert_uint_eq(b.handles, 2);
	ck_assert_uint_eq(b.pages, 1);
	ck_assert_int_eq(count_in(DUMP_BEGIN DUMP_OF(1) HOST_MAP DUMP_END
				  DUMP_BEGIN DUMP_OF(1) DEVICE_MAP DUMP_END HOST_MAP, 1, &b), 0);
	ck_assert_uint_eq(b.grants, 1);
	ck_assert_uint_eq(b.handles, 1);
	ck_assert_int_eq(count_in(whole + strlen(DUMP_BEGIN), 1, &b), -ENOBUFS);
	ck_assert_int_eq(count_in(whole + sizeof(whole) - sizeof(DUMP_END), 1, &b), -ENOBUFS);
	ck_assert_int_eq(count_in(DUMP_BEGIN DUMP_OF(1) HOST_MAP, 1, &b), -ENODATA);
	ck_assert_int_eq(count_in("(XEN) something else\n", 1, &b), -ENODATA);
}
END_TEST

/* Any one byte that is wrong, anywhere. */
START_TEST(test_pattern)
{
	const struct pattern p = { .owner = 3, .ref = 77, .gen = 5, .writer = PATTERN_TOOL };
	struct pattern other = p;
	uint8_t page[XVS_FRAME_SIZE];
	char story[500];

	pattern_write(page, &p);
	ck_assert_int_eq(pattern_find_wrong(page, 0, sizeof(page), &p), -1);
	ck_assert_int_eq(pattern_find_wrong(page + 256, 256, 256, &p), -1);
	for (unsigned int i = 0; i < sizeof(page); i++) {
		page[i] ^= 0x10;
		ck_assert_int_eq(pattern_find_wrong(page, 0, sizeof(page), &p), (int)i);
		page[i] ^= 0x10;
	}
	other.gen++;
	ck_assert_int_ge(pattern_find_wrong(page, 0, sizeof(page), &other), 0);
	ck_assert_int_ge(pattern_find_wrong(page + 2048, 2048, 8, &other), 0);
	pattern_story(page, 0, 20, &other, story, sizeof(story));
	ck_assert_msg(strstr(story, "generation 6") && strstr(story, "generation 5"), "%s", story);
}
END_TEST

START_TEST(test_percentiles)
{
	struct stats s = { 0 };

	ck_assert_uint_eq(stats_percentile(&s, 500), 0);
	for (unsigned int i = 1; i <= 1000; i++)
		stats_add(&s, 1, i * 1000);
	ck_assert_uint_ge(stats_percentile(&s, 500), 500000);
	ck_assert_uint_le(stats_percentile(&s, 500), 500000 * 17 / 16);
	ck_assert_uint_ge(stats_percentile(&s, 990), 990000);
	ck_assert_uint_eq(stats_percentile(&s, 1000), 1000000);
	for (uint64_t ns = 1; ns < 1ull << 40; ns = ns * 3 / 2 + 1) {
		memset(&s, 0, sizeof(s));
		stats_add(&s, 1, ns);
		ck_assert_uint_eq(stats_percentile(&s, 500), ns);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gntstress");
	TCase *tc = tcase_create("simulation");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 180);
	tcase_add_test(tc, test_million);
	tcase_add_test(tc, test_same_seed);
	tcase_add_loop_test(tc, test_each_kind, 0, STRESS_KINDS);
	tcase_add_loop_test(tc, test_chaos, 1, 3);
	tcase_add_loop_test(tc, test_finds_leak, 1, 4);
	tcase_add_test(tc, test_finds_leak_by_count);
	tcase_add_loop_test(tc, test_finds_writable, 1, 4);
	tcase_add_loop_test(tc, test_finds_neighbour, 1, 4);
	tcase_add_test(tc, test_finds_alone);
	tcase_add_loop_test(tc, test_finds_wrong_copy, STRESS_COPY_TO, STRESS_COPY_ACROSS + 1);
	tcase_add_test(tc, test_take_over);
	tcase_add_test(tc, test_take_over_unfinished);
	tcase_add_test(tc, test_mix);
	tcase_add_test(tc, test_books);
	tcase_add_test(tc, test_pattern);
	tcase_add_test(tc, test_percentiles);
	suite_add_tcase(s, tc);
	return check_main(s);
}
