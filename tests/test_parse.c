/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon reads, at its edges: settings, nodes of the store, state files, words. */
#include "check_main.h"
#include "daemon/keeper.h"
#include "hv/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(hazard_25_sources)
{
	static const char *const bad[] = { "pci:0000:g0:04.0", "pci:0000:00-04.0", "pci:0000:00:0g.0",
					   "pci:0000:00:04-0", "pci:0000:00:04./", "pci:00000:0:04.0",
					   "pci:0000:00:04.00", "pci:00:04.00" };
	char source[SOURCE_MAX];
	uint32_t devid;
	uint16_t domid;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(parse_source(bad[i], true, source) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(parse_device_path("00000003/0", &domid, &devid), -EINVAL);
	ck_assert_int_eq(parse_device_path("0000003/0", &domid, &devid), 0);
	ck_assert_uint_eq(domid, 3);
}
END_TEST

START_TEST(hazard_25_addresses)
{
	uint64_t v;

	ck_assert_int_eq(parse_address("0Xabcd", &v), 0);
	ck_assert_uint_eq(v, 0xabcd);
	ck_assert_int_eq(parse_address("0", &v), 0);
	ck_assert_uint_eq(v, 0);
	ck_assert_int_eq(parse_address("", &v), -EINVAL);
	ck_assert_int_eq(parse_address("x1", &v), -EINVAL);
}
END_TEST

/* A number from elsewhere has no word, and none is read past the end of a table for it. */
START_TEST(words_of_numbers_that_have_none)
{
	ck_assert_str_eq(addressing_word(XVS_ADDRESSING_P2M), "p2m");
	ck_assert_str_eq(addressing_word((enum xvs_addressing)0), "");
	ck_assert_str_eq(addressing_word((enum xvs_addressing)3), "");
	ck_assert_str_eq(protection_word(XVS_PROTECTION_ADAPTIVE), "adaptive");
	ck_assert_str_eq(protection_word((enum xvs_protection)0), "");
	ck_assert_str_eq(protection_word((enum xvs_protection)5), "");
	ck_assert_str_eq(xb_name(XB_CLOSED), "Closed");
	ck_assert_str_eq(xb_name((enum xb_state)9), "invalid");
	ck_assert_str_eq(xb_name((enum xb_state)-1), "invalid");
}
END_TEST

/* -- settings -- */

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

START_TEST(settings_and_their_bounds)
{
	static const char *const bad[] = { "detach-timeout = 3601\n", "restart-limit = 1001\n",
					   "keep-pages = 4097\n", "addressing = all\n" };
	struct conf conf;
	char why[400] = "";

	ck_assert_int_eq(read_conf("detach-timeout = 7\nrestart-limit = 0\nattach-timeout = 3600\n"
				   "log-level = error\nkeep-pages = 5",
				   &conf, why, sizeof(why)),
			 0);
	ck_assert_uint_eq(conf.detach_timeout, 7);
	ck_assert_uint_eq(conf.restart_limit, 0);
	ck_assert_uint_eq(conf.attach_timeout, 3600);
	ck_assert_int_eq(conf.log_level, LOG_ERROR);
	ck_assert_uint_eq(conf.allow.keep_pages, 5);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		ck_assert_int_eq(read_conf(bad[i], &conf, why, sizeof(why)), -EINVAL);
		ck_assert_ptr_nonnull(strstr(why, " line 1: "));
	}
}
END_TEST

/* Half a line may well be a setting, and another one than was meant. */
START_TEST(settings_too_long)
{
	static char text[600];
	struct conf conf;
	char why[400] = "";

	memset(text, ' ', sizeof(text) - 1);
	memcpy(text + 505, "poll-us = 12\n", 14);
	ck_assert_int_eq(read_conf(text, &conf, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "line 1: the line is too long"));
	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "run-dir = /", 11);
	text[10 + sizeof(conf.run_dir)] = '\0';
	ck_assert_int_eq(read_conf(text, &conf, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "not an absolute path of less than"));
	text[10 + sizeof(conf.run_dir) - 1] = '\0'; /* all but one byte, which ends it */
	ck_assert_int_eq(read_conf(text, &conf, why, sizeof(why)), 0);
	ck_assert_uint_eq(strlen(conf.run_dir), sizeof(conf.run_dir) - 1);
}
END_TEST

START_TEST(settings_that_cannot_be_read)
{
	struct conf conf, before;
	char why[400] = "";

	conf_defaults(&conf);
	before = conf;
	ck_assert_int_eq(conf_read(&conf, "/tmp", 0, why, sizeof(why)), -EIO);
	ck_assert_str_eq(why, "/tmp: cannot be read");
	ck_assert_int_eq(conf_read(&conf, "/dev/null/x", 0, why, sizeof(why)), -ENOTDIR);
	ck_assert_mem_eq(&conf, &before, sizeof(conf));
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

/* A node that is missing or kept back by the store is named as what it is. */
START_TEST(frontend_nodes_that_are_not_there)
{
	static const char *const node[][2] = { { "version", "1" }, { "ctrl-ref", "8" },
					       { "event-channel", "9" }, { "addressing", "grant" },
					       { "protection", "strict" } };
	struct fe_nodes nodes = { 0 };
	char fe[PATH_SIZE], why[200], path[PATH_SIZE + 32], part[100];

	path_frontend(fe, 1, 0);
	for (unsigned int i = 0; i < 5; i++) {
		for (unsigned int j = 0; j < 5; j++)
			ck_assert_int_eq(node_put(hv, 0, fe, node[j][0], node[j][1]), 0);
		sim_fault_set(machine, SIM_OP_STORE_READ, i + 1, -EIO);
		ck_assert_int_eq(nodes_read_frontend(hv, fe, &nodes, why, sizeof(why)), -EIO);
		snprintf(part, sizeof(part), "the store refused '%s'", node[i][0]);
		ck_assert_msg(strstr(why, part) != NULL, "%s", why);
		snprintf(path, sizeof(path), "%s/%s", fe, node[i][0]);
		ck_assert_int_eq(hv->ops->store_rm(hv, 0, path), 0);
		ck_assert_int_eq(nodes_read_frontend(hv, fe, &nodes, why, sizeof(why)), -ENOENT);
		snprintf(part, sizeof(part), "did not write its node '%s'", node[i][0]);
		ck_assert_msg(strstr(why, part) != NULL, "%s", why);
	}
}
END_TEST

/* Whoever writes or reads several nodes stops at the first that the store refuses. */
START_TEST(store_that_refuses)
{
	static const char *const value[4] = { "grant", "strict", "1", "1" };
	char be[PATH_SIZE], why[200], text[NODE_MAX + 1];
	enum xb_state state = XB_CLOSED;
	struct allow allow;

	allow_defaults(&allow);
	path_backend(be, 0, 1, 0);
	for (unsigned int i = 1; i <= 4; i++) {
		sim_fault_set(machine, SIM_OP_STORE_WRITE, i, -EACCES);
		ck_assert_int_eq(nodes_write_offers(hv, be, 2, allow.addressing, allow.protection),
				 -EACCES);
		ck_assert_uint_eq(sim_faults_left(machine), 0);
		sim_fault_set(machine, SIM_OP_STORE_WRITE, i, -EACCES);
		ck_assert_int_eq(nodes_write_allow(hv, 0, be, value), -EACCES);
		ck_assert_uint_eq(sim_faults_left(machine), 0);
	}
	ck_assert_int_eq(node_get(hv, be, "keep-ms-allowed", text), -ENOENT);
	ck_assert_int_eq(nodes_write_allow(hv, 0, be, value), 0);
	sim_fault_set(machine, SIM_OP_STORE_READ, 2, -EACCES);
	ck_assert_int_eq(nodes_read_allow(hv, be, &allow, why, sizeof(why)), -EACCES);
	ck_assert_ptr_nonnull(strstr(why, "the store refused 'protection-allowed'"));
	sim_fault_set(machine, SIM_OP_STORE_READ, 1, -EACCES);
	ck_assert_int_eq(node_get_state(hv, be, &state), -EACCES);
	ck_assert_int_eq(state, XB_CLOSED);
	/* what is no text does not get into a log: neither bytes below nor above it */
	ck_assert_int_eq(node_put(hv, 0, be, "error", "a\x7f\xc3\xa4" "b"), 0);
	node_get_text(hv, be, "error", text, sizeof(text));
	ck_assert_str_eq(text, "a???b");
}
END_TEST

/* -- state files -- */

#define STATE(version, domid, devid, identity, source, earlier)                                 \
	"{\"version\":" version ",\"domid\":" domid ",\"devid\":" devid ",\"identity\":" identity \
	",\"source\":" source ",\"earlier\":" earlier "}"

static char run_dir[] = "/tmp/xvshim-parse-XXXXXX";
static char path[RUN_PATH_SIZE], source[SOURCE_MAX], earlier[SOURCE_DRIVER_MAX];
static struct keeper k;
static struct kdev d;

static void make_dir(void)
{
	ck_assert_ptr_nonnull(mkdtemp(run_dir));
	memset(&k, 0, sizeof(k));
	d = (struct kdev){ .keeper = &k, .domid = 7, .devid = 3, .identity = "/vm/1" };
	snprintf(k.conf.run_dir, sizeof(k.conf.run_dir), "%s", run_dir);
	keeper_path(&k, path, &d, "json");
}

static void remove_dir(void)
{
	unlink(path);
	ck_assert_int_eq(rmdir(run_dir), 0); /* not with another file in it */
}

static int read_state(const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
	return statefile_read(path, &d, source, earlier);
}

/* Each is sound but for one thing. */
START_TEST(state_files_that_are_wrong)
{
	static const char *const bad[] = {
		STATE("1", "32752", "0", "\"\"", "\"a\"", "\"\""),
		STATE("1", "\"1\"", "0", "\"\"", "\"a\"", "\"\""),
		STATE("1", "-1", "0", "\"\"", "\"a\"", "\"\""),
		STATE("2", "1", "0", "\"\"", "\"a\"", "\"\""),
		STATE("1", "1", "65536", "\"\"", "\"a\"", "\"\""),
		STATE("1", "1", "-1", "\"\"", "\"a\"", "\"\""),
		STATE("1", "1", "0", "7", "\"a\"", "\"\""),
		STATE("1", "1", "0", "\"\"", "null", "\"\""),
		STATE("1", "1", "0", "\"\"", "\"a\"", "[]"),
		"{\"version\":1,\"domid\":1,\"devid\":0,\"identity\":\"\",\"source\":\"a\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(read_state(bad[i]) == -EINVAL, "%s", bad[i]);
	ck_assert_uint_eq(d.domid, 7); /* nothing was taken from these */
	ck_assert_int_eq(read_state(STATE("1", "32751", "65535", "\"x\"", "\"a\"", "\"b\"")), 0);
	ck_assert_uint_eq(d.domid, 32751);
	ck_assert_uint_eq(d.devid, 65535);
	ck_assert_str_eq(d.identity, "x");
	ck_assert_str_eq(source, "a");
	ck_assert_str_eq(earlier, "b");
}
END_TEST

/* The state file that is there stays whole, and no other one is left. */
START_TEST(state_file_that_cannot_be_written)
{
	struct kdev back = { 0 };
	struct rlimit limit, none;

	ck_assert_int_eq(statefile_write(&d), 0);
	strcpy(d.identity, "/vm/2");
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	ck_assert_int_eq(statefile_write(&d), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(statefile_read(path, &back, source, earlier), 0);
	ck_assert_str_eq(back.identity, "/vm/1");
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0); /* a name that cannot be taken */
	ck_assert_int_eq(statefile_write(&d), -EISDIR);
	rmdir(path);
	snprintf(k.conf.run_dir, sizeof(k.conf.run_dir), "%s/none", run_dir);
	ck_assert_int_eq(statefile_write(&d), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("parse");
	TCase *parts = tcase_create("parts"), *nodes = tcase_create("nodes"),
	      *state = tcase_create("state");

	tcase_add_test(parts, hazard_25_sources);
	tcase_add_test(parts, hazard_25_addresses);
	tcase_add_test(parts, words_of_numbers_that_have_none);
	tcase_add_test(parts, settings_and_their_bounds);
	tcase_add_test(parts, settings_too_long);
	tcase_add_test(parts, settings_that_cannot_be_read);
	tcase_add_checked_fixture(nodes, open_machine, close_machine);
	tcase_add_test(nodes, frontend_nodes_that_are_not_there);
	tcase_add_test(nodes, store_that_refuses);
	tcase_add_checked_fixture(state, make_dir, remove_dir);
	tcase_add_test(state, state_files_that_are_wrong);
	tcase_add_test(state, state_file_that_cannot_be_written);
	suite_add_tcase(suite, parts);
	suite_add_tcase(suite, nodes);
	suite_add_tcase(suite, state);
	return check_main(suite);
}
