/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's parts by themselves: parsers, settings, device types, nodes, state files. */
#include "check_main.h"
#include "daemon/keeper.h"
#include "daemon/xvshimd.h"
#include "hv/sim.h"
#include "policy/types.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

START_TEST(hazard_25_numbers)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "one",
					   "1\n", "\xd9\xa1" };
	uint64_t n = 77;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(parse_number(bad[i], UINT64_MAX, &n), -EINVAL);
	ck_assert_uint_eq(n, 77);
	ck_assert_int_eq(parse_number("256", 255, &n), -ERANGE);
	ck_assert_int_eq(parse_number("99999999999999999999999", UINT64_MAX, &n), -ERANGE);
	ck_assert_int_eq(parse_number("18446744073709551616", UINT64_MAX, &n), -ERANGE);
	ck_assert_int_eq(parse_number("5", 3, &n), -ERANGE);
	ck_assert_int_eq(parse_number("18446744073709551615", UINT64_MAX, &n), 0);
	ck_assert(n == UINT64_MAX);
	ck_assert_int_eq(parse_number("0", 0, &n), 0);
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(sources)
{
	static const char *const bad[] = { "",
					   "pci:",
					   "pci:0000:00:04",
					   "pci:0000:00:20.0", "pci:0000:00:04.8", "0000:00:04.0",
					   "pci:0000:00:04.0 ", "pci:0000-00-04.0",
					   "pci:../../etc/a.0", "pci:g000:00:04.0" };
	char source[SOURCE_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(parse_source(bad[i], true, source) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(parse_source("pci:0000:00:04.0", false, source), 0);
	ck_assert_str_eq(source, "pci:0000:00:04.0");
	ck_assert_int_eq(parse_source("pci:00:1F.2", true, source), 0);
	ck_assert_str_eq(source, "pci:0000:00:1f.2");
	ck_assert_int_eq(parse_source("pci:00:1f.2", false, source), -EINVAL);
	ck_assert_int_eq(parse_source("pci:0000:00:1F.2", false, source), -EINVAL);
}
END_TEST

START_TEST(device_paths)
{
	uint16_t domid;
	uint32_t devid;

	ck_assert_int_eq(parse_device_path("3/0", &domid, &devid), 0);
	ck_assert_uint_eq(domid, 3);
	ck_assert_uint_eq(devid, 0);
	ck_assert_int_eq(parse_device_path("3", &domid, &devid), -EINVAL);
	ck_assert_int_eq(parse_device_path("/0", &domid, &devid), -EINVAL);
	ck_assert_int_eq(parse_device_path("3/0/state", &domid, &devid), -EINVAL);
	ck_assert_int_eq(parse_device_path("32752/0", &domid, &devid), -EINVAL);
	ck_assert_int_eq(parse_device_path("3/65536", &domid, &devid), -EINVAL);
}
END_TEST

START_TEST(addresses)
{
	uint64_t v;

	ck_assert_int_eq(parse_address("0x8000000000123000", &v), 0);
	ck_assert(v == 0x8000000000123000ull);
	ck_assert_int_eq(parse_address("4096", &v), 0);
	ck_assert_uint_eq(v, 4096);
	ck_assert_int_eq(parse_address("0x", &v), -EINVAL);
	ck_assert_int_eq(parse_address("0x-1", &v), -EINVAL);
	ck_assert_int_eq(parse_address("0x10000000000000000", &v), -EINVAL);
	ck_assert_int_eq(parse_address("0x1g", &v), -EINVAL);
	ck_assert_int_eq(parse_address("0x0x1", &v), -EINVAL); /* strtoull() takes a prefix itself */
}
END_TEST

static int read_conf(const char *text, struct conf *conf, char *why, size_t size)
{
	char path[] = "/tmp/xvshim-test-XXXXXX";
	int fd = mkstemp(path), rc;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	conf_defaults(conf);
	rc = conf_read(conf, path, 1, why, size);
	unlink(path);
	return rc;
}

START_TEST(settings)
{
	char why[400] = "";
	struct conf conf;

	conf_defaults(&conf);
	ck_assert_int_eq(conf.guard, GUARD_WARN);
	ck_assert_int_eq(read_conf("# comment\n\n poll-us = 10 \nlog-level=debug\nguard = enforce\n"
				   "run-dir = /tmp/x",
				   &conf, why, sizeof(why)),
			 0);
	ck_assert_uint_eq(conf.poll_us, 10);
	ck_assert_int_eq(conf.log_level, LOG_DEBUG);
	ck_assert_int_eq(conf.guard, GUARD_ENFORCE);
	ck_assert_str_eq(conf.run_dir, "/tmp/x");
	ck_assert_int_eq(conf_read(&conf, "/nonexistent/x", 0, why, sizeof(why)), 0);
	ck_assert_int_eq(conf_read(&conf, "/nonexistent/x", 1, why, sizeof(why)), -ENOENT);
}
END_TEST

START_TEST(bad_settings_change_nothing)
{
	static const char *const bad[] = { "poll-us = 1\npoll-us = x\n", "poll-us\n",
					   "colour = 1\n",
					   "poll-us = 1000001\n", "log-level = loud\n", "guard = on\n",
					   "run-dir = relative\n", "attach-timeout = 0\n" };
	struct conf conf, defaults;
	char why[400];

	conf_defaults(&defaults);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_int_eq(read_conf(bad[i], &conf, why, sizeof(why)), -EINVAL);
		ck_assert_ptr_nonnull(strstr(why, " line "));
		ck_assert_uint_eq(conf.poll_us, defaults.poll_us);
	}
}
END_TEST

START_TEST(command_line)
{
	char *good[] = { "xvshimd", "-f", "--run-dir", "/tmp/y", "--poll-us=3", NULL };
	char *bad[] = { "xvshimd", "--poll-us", "-3", NULL };
	char *extra[] = { "xvshimd", "now", NULL };
	char *missing[] = { "xvshimd", "--config", "/nonexistent/x", NULL };
	struct conf conf;
	char why[400];

	ck_assert_int_eq(xvshimd_options(5, good, &conf, why, sizeof(why)), 0);
	ck_assert_str_eq(conf.run_dir, "/tmp/y");
	ck_assert_uint_eq(conf.poll_us, 3);
	ck_assert_int_eq(xvshimd_options(3, bad, &conf, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(xvshimd_options(2, extra, &conf, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(xvshimd_options(3, missing, &conf, why, sizeof(why)), -ENOENT);
}
END_TEST

START_TEST(device_types)
{
	static const uint32_t refused[] = { 5, 16, 23, 24, 26, 27 };
	const struct vtype *type;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		type = vtype_find(refused[i]);
		ck_assert_ptr_nonnull(type);
		ck_assert_ptr_nonnull(type->refuse);
	}
	ck_assert_ptr_null(vtype_find(2)->refuse);
	ck_assert_ptr_null(vtype_find(0));
	ck_assert_ptr_null(vtype_find(9999));
	ck_assert_str_eq(vtype_name(9999), "unknown");
	for (uint32_t id = 0; id < 64; id++) {
		type = vtype_find(id);
		/* Bits of the transport are not a type's to pass on ("Reserved Feature Bits"). */
		if (type)
			ck_assert_uint_eq(
				(type->feature_mask | type->feature_add) >> 24 & 0x3ffff, 0);
	}
}
END_TEST

static uint32_t get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

START_TEST(blk_limits)
{
	const struct vtype *blk = vtype_find(2);
	uint8_t config[60] = { 0 };

	blk->limit_config(config, sizeof(config), 0, 256);
	ck_assert_uint_eq(get32(config + 8), 4096);
	ck_assert_uint_eq(get32(config + 12), 126); /* 2 * 126 + 2 + 1 pages */
	/* What the device has stands where it is smaller, and only if it offers it. */
	config[8] = 0, config[9] = 2; /* 512 */
	config[12] = 5;
	blk->limit_config(config, sizeof(config), 1 << 1 | 1 << 2, 256);
	ck_assert_uint_eq(get32(config + 8), 512);
	ck_assert_uint_eq(get32(config + 12), 5);
	blk->limit_config(config, sizeof(config), 0, 256);
	ck_assert_uint_eq(get32(config + 12), 126); /* 2 * 126 + 2 + 1 pages */
	config[34] = 0, config[35] = 1; /* 256 queues */
	blk->limit_config(config, sizeof(config), 1 << 12, 256);
	ck_assert_uint_eq(config[34], XVS_MAX_QUEUES);
	ck_assert_uint_eq(config[35], 0);
	blk->limit_config(config, 8, 0, 256); /* too short for any of it: left alone */
	blk->limit_config(config, sizeof(config), 0, 2);
	ck_assert_uint_eq(get32(config + 12), 1);
}
END_TEST

/* -- nodes, on the store of a simulated machine -- */

static struct sim_machine *machine;
static struct hv *hv;

static void open_machine(void)
{
	const struct sim_config config = { .frames = 4096 };
	int rc;

	machine = sim_machine_new(&config, &rc);
	ck_assert_ptr_nonnull(machine);
	ck_assert_int_eq(sim_domain_add(machine, 0, 512, false), 0);
	ck_assert_int_eq(sim_domain_add(machine, 1, 512, false), 0);
	hv = sim_hv_open(machine, 0, HV_CAP_STORE | HV_CAP_DOMAIN, &rc);
	ck_assert_ptr_nonnull(hv);
}

static void close_machine(void)
{
	hv_close(hv);
	sim_machine_free(machine);
}

static void put_good_nodes(const char *fe)
{
	node_put(hv, 0, fe, "version", "1");
	node_put(hv, 0, fe, "ctrl-ref", "8");
	node_put(hv, 0, fe, "event-channel", "9");
	node_put(hv, 0, fe, "addressing", "grant");
	node_put(hv, 0, fe, "protection", "strict");
}

START_TEST(hazard_25_frontend_nodes)
{
	static const struct {
		const char *key, *value;
	} bad[] = {
		{ "version", "2" },	      { "version", "" },
		{ "ctrl-ref", "-1" },	      { "ctrl-ref", "8 " },
		{ "ctrl-ref", "4294967296" }, { "event-channel", "0x1" },
		{ "addressing", "" },	      { "addressing", "Grant" },
		{ "protection", "lazy," },    { "protection", "none" },
		{ "protection", "strict\n" },
	};
	struct fe_nodes nodes = { 0 };
	char fe[PATH_SIZE], why[200], longest[NODE_MAX + 2];

	path_frontend(fe, 1, 0);
	put_good_nodes(fe);
	ck_assert_int_eq(nodes_read_frontend(hv, fe, &nodes, why, sizeof(why)), 0);
	ck_assert_uint_eq(nodes.ctrl_ref, 8);
	ck_assert_uint_eq(nodes.ctrl_port, 9);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_good_nodes(fe);
		node_put(hv, 0, fe, bad[i].key, bad[i].value);
		why[0] = '\0';
		ck_assert(node_is_malformed(nodes_read_frontend(hv, fe, &nodes, why,
								sizeof(why))));
		ck_assert_int_ne(why[0], 0);
	}
	put_good_nodes(fe);
	memset(longest, '1', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	node_put(hv, 0, fe, "ctrl-ref", longest);
	ck_assert_int_eq(nodes_read_frontend(hv, fe, &nodes, why, sizeof(why)), -EMSGSIZE);
	/* any word that is known; the policy says whether it is offered */
	put_good_nodes(fe);
	node_put(hv, 0, fe, "protection", "lazy");
	node_put(hv, 0, fe, "protection-wanted", "lazy,strict");
	ck_assert_int_eq(nodes_read_frontend(hv, fe, &nodes, why, sizeof(why)), 0);
	ck_assert_int_eq(nodes.protection, XVS_PROTECTION_LAZY);
	ck_assert_str_eq(nodes.wanted_protection, "lazy,strict");
}
END_TEST

START_TEST(what_is_allowed)
{
	static const char *const none[4], *const some[4] = { "p2m,grant", "pool,strict", "77", "0" };
	static const char *const bad[][2] = {
		{ "addressing", "" },	    { "addressing", "grant," }, { "addressing", "all" },
		{ "protection", "strict," }, { "protection", ",strict" }, { "protection", "Strict" },
		{ "keep-pages", "4097" },    { "keep-pages", "-1" },	{ "keep-ms", "1s" },
	};
	struct allow allow, before;
	char be[PATH_SIZE], why[200], words[ALLOW_WORDS];

	allow_defaults(&allow);
	before = allow;
	path_backend(be, 0, 1, 0);
	ck_assert_int_eq(nodes_write_allow(hv, 0, be, none), 0);
	ck_assert_int_eq(nodes_read_allow(hv, be, &allow, why, sizeof(why)), 0);
	ck_assert_mem_eq(&allow, &before, sizeof(allow));
	ck_assert_int_eq(nodes_write_allow(hv, 0, be, some), 0);
	ck_assert_int_eq(nodes_read_allow(hv, be, &allow, why, sizeof(why)), 0);
	allow_addressing_words(allow.addressing, words);
	ck_assert_str_eq(words, "grant,p2m");
	allow_protection_words(allow.protection, words);
	ck_assert_str_eq(words, "strict,pool");
	ck_assert_uint_eq(allow.keep_pages, 77);
	ck_assert_uint_eq(allow.keep_ms, 0);
	before = allow;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_int_eq(allow_set(&allow, bad[i][0], bad[i][1], why, sizeof(why)), -EINVAL);
		ck_assert_int_ne(why[0], 0);
		ck_assert_mem_eq(&allow, &before, sizeof(allow));
	}
	ck_assert_int_eq(allow_set(&allow, "colour", "red", why, sizeof(why)), -ENOENT);
	node_put(hv, 0, be, "protection-allowed", "everything");
	ck_assert_int_eq(nodes_read_allow(hv, be, &allow, why, sizeof(why)), -EINVAL);
}
END_TEST

/* A guest's list may be anything; what is left of it is known words, each once. */
START_TEST(wishes_of_a_guest)
{
	static const struct {
		const char *list;
		unsigned int n;
		uint8_t want[POLICY_WISHES];
	} lists[] = {
		{ "", 0, { 0 } },
		{ ",,", 0, { 0 } },
		{ "all", 0, { 0 } },
		{ "lazy", 1, { XVS_PROTECTION_LAZY } },
		{ "lazy,strict", 2, { XVS_PROTECTION_LAZY, XVS_PROTECTION_STRICT } },
		{ "strict,strict,all,pool,", 2, { XVS_PROTECTION_STRICT, XVS_PROTECTION_POOL } },
		{ "pool,lazy,strict,adaptive,pool", 4,
		  { XVS_PROTECTION_POOL, XVS_PROTECTION_LAZY, XVS_PROTECTION_STRICT,
		    XVS_PROTECTION_ADAPTIVE } },
	};
	uint8_t wanted[POLICY_WISHES];

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		memset(wanted, 0, sizeof(wanted));
		ck_assert_uint_eq(allow_protection_wishes(lists[i].list, wanted), lists[i].n);
		ck_assert_mem_eq(wanted, lists[i].want, sizeof(wanted));
	}
	ck_assert_uint_eq(allow_addressing_wishes("p2m,lazy,grant", wanted), 2);
	ck_assert_uint_eq(wanted[0], XVS_ADDRESSING_P2M);
	ck_assert_uint_eq(wanted[1], XVS_ADDRESSING_GRANT);
}
END_TEST

START_TEST(node_reads)
{
	enum xb_state state = XB_CLOSED;
	char text[32];

	ck_assert_int_eq(node_get_state(hv, "/nowhere", &state), 0);
	ck_assert_int_eq(state, XB_UNKNOWN);
	node_put(hv, 0, "/local/domain/1", "state", "4");
	ck_assert_int_eq(node_get_state(hv, "/local/domain/1", &state), 0);
	ck_assert_int_eq(state, XB_CONNECTED);
	node_put(hv, 0, "/local/domain/1", "state", "9");
	ck_assert(node_is_malformed(node_get_state(hv, "/local/domain/1", &state)));
	node_put(hv, 0, "/local/domain/1", "error", "a\033[2Jb\ttoo long to be taken whole, this");
	node_get_text(hv, "/local/domain/1", "error", text, sizeof(text));
	ck_assert_int_eq(strncmp(text, "a?[2Jb?too", 10), 0);
	ck_assert_uint_eq(strlen(text), sizeof(text) - 1);
}
END_TEST

START_TEST(offers)
{
	char value[NODE_MAX + 1];
	struct allow allow;

	allow_defaults(&allow);
	ck_assert_int_eq(nodes_write_offers(hv, "/local/domain/0/x", 2, allow.addressing,
					    allow.protection), 0);
	ck_assert_int_eq(node_get(hv, "/local/domain/0/x", "versions", value), 0);
	ck_assert_str_eq(value, "1");
	ck_assert_int_eq(node_get(hv, "/local/domain/0/x", "device-id", value), 0);
	ck_assert_str_eq(value, "2");
	ck_assert_int_eq(node_get(hv, "/local/domain/0/x", "addressing-offered", value), 0);
	ck_assert_str_eq(value, "grant");
}
END_TEST

START_TEST(state_files)
{
	static const char *const bad[] = { "", "{", "[]", "{}", "{\"version\":1}",
					   "{\"version\":1,\"domid\":-1,\"devid\":0,"
					   "\"identity\":\"\","
					   "\"source\":\"pci:0000:00:04.0\",\"earlier\":\"\"}" };
	struct keeper k = { .conf.run_dir = "/tmp/xvshim-state-XXXXXX" };
	struct kdev d = { .keeper = &k, .domid = 7, .devid = 3, .identity = "/vm/1" }, back = { 0 };
	char path[RUN_PATH_SIZE], source[SOURCE_MAX], earlier[SOURCE_DRIVER_MAX];
	struct rlimit limit, none;
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(k.conf.run_dir));
	snprintf(d.src.text, sizeof(d.src.text), "pci:0000:00:04.0");
	snprintf(d.src.earlier, sizeof(d.src.earlier), "virtio-pci");
	keeper_path(&k, path, &d, "json");
	ck_assert_int_eq(statefile_write(&d), 0);
	ck_assert_int_eq(statefile_read(path, &back, source, earlier), 0);
	ck_assert_uint_eq(back.domid, 7);
	ck_assert_uint_eq(back.devid, 3);
	ck_assert_str_eq(back.identity, "/vm/1");
	ck_assert_str_eq(source, "pci:0000:00:04.0");
	ck_assert_str_eq(earlier, "virtio-pci");
	/* What cannot be read now is not malformed. */
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(statefile_read(path, &back, source, earlier), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(statefile_read(k.conf.run_dir, &back, source, earlier), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		file = fopen(path, "w");
		fputs(bad[i], file);
		fclose(file);
		ck_assert_int_eq(statefile_read(path, &back, source, earlier), -EINVAL);
	}
	file = fopen(path, "w");
	for (int i = 0; i < 10000; i++)
		fputc('{', file);
	fclose(file);
	ck_assert_int_eq(statefile_read(path, &back, source, earlier), -EINVAL);
	statefile_remove(&d);
	ck_assert_int_eq(statefile_read(path, &back, source, earlier), -ENOENT);
	ck_assert_int_eq(rmdir(k.conf.run_dir), 0);
}
END_TEST

/* -- what a worker says that a guest may have broken -- */

START_TEST(worker_says_too_much)
{
	static struct keeper k;
	static struct kdev d;
	struct worker_msg msg = { .type = WORKER_FAILED, .error = -EIO };
	struct worker *w = &d.worker;
	int pair[2];

	k.loop = ev_loop_new(EVFLAG_AUTO);
	ck_assert_ptr_nonnull(k.loop);
	d.keeper = &k;
	worker_init(&d);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	w->sock = pair[0];
	ev_io_set(&w->io, w->sock, EV_READ);
	ev_io_start(k.loop, &w->io);

	/* What reaches a log or a terminal is one line of characters that can be printed. */
	memset(msg.text, 'x', sizeof(msg.text));
	memcpy(msg.text, "\33[2Ja\nb\377", 8);
	ck_assert_int_eq(send(pair[1], &msg, sizeof(msg), 0), sizeof(msg));
	ev_run(k.loop, EVRUN_NOWAIT);
	ck_assert(w->failed);
	ck_assert_int_eq(strncmp(w->why, "?[2Ja?b?xx", 10), 0);
	ck_assert_uint_eq(strlen(w->why), sizeof(w->why) - 1);

	/* One that goes on is not listened to, and costs nothing any more. */
	for (int i = 0; i < 100; i++) {
		(void)!send(pair[1], &msg, i % 2 ? sizeof(msg) : 3, MSG_DONTWAIT);
		ev_run(k.loop, EVRUN_NOWAIT);
	}
	ck_assert(!ev_is_active(&w->io));
	ck_assert_int_gt(recv(w->sock, &msg, sizeof(msg), MSG_DONTWAIT), 0);
	close(pair[0]);
	close(pair[1]);
	ev_loop_destroy(k.loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon");
	TCase *parts = tcase_create("parts"), *nodes = tcase_create("nodes");

	tcase_add_test(parts, hazard_25_numbers);
	tcase_add_test(parts, worker_says_too_much);
	tcase_add_test(parts, sources);
	tcase_add_test(parts, device_paths);
	tcase_add_test(parts, addresses);
	tcase_add_test(parts, settings);
	tcase_add_test(parts, bad_settings_change_nothing);
	tcase_add_test(parts, command_line);
	tcase_add_test(parts, device_types);
	tcase_add_test(parts, blk_limits);
	tcase_add_test(parts, state_files);
	tcase_add_checked_fixture(nodes, open_machine, close_machine);
	tcase_add_test(nodes, hazard_25_frontend_nodes);
	tcase_add_test(nodes, what_is_allowed);
	tcase_add_test(nodes, wishes_of_a_guest);
	tcase_add_test(nodes, node_reads);
	tcase_add_test(nodes, offers);
	suite_add_tcase(suite, parts);
	suite_add_tcase(suite, nodes);
	return check_main(suite);
}
