/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd.h"

#include "daemon/conf.h"
#include "daemon/parse.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command commands[] = {
	{ "attach", "DOMAIN pci:BDF [--take] [--protection LIST] [--timeout S] ...", "give a nested device to a guest",
	  "DOMAIN is a name or a number, BDF an address as lspci -D shows it.\n"
	  "Returns when the guest can use the device. What did not work is taken back.\n"
	  "  --take       take the device from this domain's driver; refused while a disk\n"
	  "               or network interface of it is in use\n"
	  "  --timeout S  seconds the guest may take (60)\n"
	  "What the guest is allowed, over the settings of xvshim.conf(5):\n"
	  "  --addressing LIST  grant, p2m; p2m is for PV guests you trust\n"
	  "  --protection LIST  strict, pool, lazy, adaptive; the guest picks one of them\n"
	  "  --keep-pages N     pages of the guest that may stay mapped between requests\n"
	  "  --keep-ms N        give those back that were not used for so long; 0: never\n",
	  OPT_TAKE | OPT_TIMEOUT | OPT_ALLOW, 2, 2, cmd_attach },
	{ "detach", "DOMAIN [pci:BDF] [--force] [--timeout S]", "take a device back",
	  "The guest lets go first; then the device goes back to its earlier driver.\n"
	  "  --force      requests that the guest has in flight end in an error, and when\n"
	  "               its time is over the device is taken, whatever the guest does\n"
	  "  --timeout S  seconds the guest may take (10; with --force 5)\n",
	  OPT_FORCE | OPT_TIMEOUT, 1, 2, cmd_detach },
	{ "list", "", "devices that are attached", "", 0, 0, 0, cmd_list },
	{ "status", "[DOMAIN [pci:BDF]]", "counters and health of daemon and devices", "", 0, 0, 2,
	  cmd_status },
	{ "translate", "pfn N | DOMAIN ADDRESS [LENGTH] | DOMAIN --recent",
	  "addresses, as the data path translates them",
	  "  pfn N                     a frame of this domain: its machine frame\n"
	  "  DOMAIN ADDRESS [LENGTH]   a descriptor address of a guest: the granted pages are\n"
	  "                            mapped for a device, shown and unmapped again\n"
	  "  DOMAIN --recent           the last translations of the guest's workers\n"
	  "Numbers are decimal, or hexadecimal with 0x.\n",
	  OPT_RECENT, 1, 3, cmd_translate },
	{ "probe", "[--explain BDF | --assignable BDF] [--root DIR]",
	  "virtio devices of this machine, and what is decided for each",
	  "Which addresses each takes, whether attach could take it, whether it could be assigned to\n"
	  "a guest as it is, and why. Changes nothing; works on Xen or not, as root or not.\n"
	  "  --explain BDF      every fact of one device, and which of them decided\n"
	  "  --assignable BDF   exit status 0: safe to assign to a guest, 1: not, or not known; for\n"
	  "                     toolstacks\n"
	  "  --root DIR         a copy of another machine's /sys, /proc and /boot, and as xl-info\n"
	  "                     the output of its xl info\n",
	  OPT_PROBE | OPT_ROOT, 0, 0, cmd_probe },
	{ "doctor", "[--root DIR]", "is this machine fit for it, and what mends it",
	  "One line a finding, the command that mends it below. What cannot be read is marked ?\n"
	  "and is not wrong. Exit status 0: fine, 1: something is wrong.\n"
	  "  --root DIR         as for probe, and with /dev/xen; the daemon is not asked\n",
	  OPT_ROOT, 0, 0, cmd_doctor },
	{ "demo", "", "the whole data path in a simulation, on any Linux",
	  "A guest, a virtio disk that takes machine addresses only, and what lies between,\n"
	  "in one process. Data is written and read back, each address is shown.\n",
	  0, 0, 0, cmd_demo },
	{ "gntstress", "[DOMAIN] [--sim] [--chaos] [--duration S] [--ops N] ...",
	  "a stress test of grant tables, on Xen or in the simulation",
	  "Maps, copies and revokes pages that a grant server grants: xvshim-gntserver in DOMAIN,\n"
	  "without DOMAIN dom0 itself (loopback), with --sim a guest of the simulation. Every page\n"
	  "names its owner, reference and generation, every read checks it. Ends with 1 at the\n"
	  "first wrong byte, or if more is held afterwards than before by Xen's own count.\n"
	  "  --sim            in the simulation; needs no Xen and no privilege\n"
	  "  --mix K=W,...    these operations by weight; see xvshim(8) for their names\n"
	  "  --batch N        largest batch, 1 to 1024 (1024)\n"
	  "  --ops N          end after N operations, each on one page\n"
	  "  --duration S     end after S seconds (60, if there is no --ops)\n"
	  "  --seed N         the same seed gives the same sequence (1)\n"
	  "  --chaos          kill the tool's worker and the other side at random moments\n"
	  "  --restart CMD    makes the domU again, which --chaos then destroys now and then\n"
	  "  --compare N      no mix, but N times in turn: maps for a device, libxengnttab's maps\n"
	  "  --quiet          no progress line\n",
	  OPT_STRESS, 0, 1, cmd_gntstress },
	{ "version", "", "version of command, daemon and protocol", "", 0, 0, 0, cmd_version },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

int fail(const char *fmt, ...)
{
	va_list ap;

	fputs("xvshim: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

static void print_usage(FILE *to)
{
	fputs("usage: xvshim COMMAND [ARGUMENT]...\n"
	      "Nested virtio devices for the guests of this Xen host.\n\n",
	      to);
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\n  xvshim COMMAND --help   more about one of them\n"
	      "  --json                  facts as JSON\n"
	      "  --run-dir DIR           where xvshimd keeps its socket (" CONF_RUN_DIR ")\n"
	      "\nExit status: 0 done, 1 failed, 2 wrong usage.\n",
	      to);
}

static void print_help(const struct command *cmd)
{
	printf("usage: xvshim %s %s%s[--json] [--run-dir DIR]\n%s.\n", cmd->name, cmd->args,
	       *cmd->args ? " " : "", cmd->summary);
	if (*cmd->help)
		printf("\n%s", cmd->help);
}

static int usage_error(const struct command *cmd, const char *what)
{
	fprintf(stderr, "xvshim %s: %s\nusage: xvshim %s %s\n", cmd->name, what, cmd->name,
		cmd->args);
	return EXIT_USAGE;
}

static const struct option long_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "run-dir", required_argument, NULL, 'd' },
	{ "take", no_argument, NULL, OPT_TAKE },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "recent", no_argument, NULL, OPT_RECENT },
	{ "addressing", required_argument, NULL, 'g' },
	{ "protection", required_argument, NULL, 'p' },
	{ "keep-pages", required_argument, NULL, 'k' },
	{ "keep-ms", required_argument, NULL, 'm' },
	{ "mix", required_argument, NULL, 'M' },
	{ "seed", required_argument, NULL, 'S' },
	{ "duration", required_argument, NULL, 'D' },
	{ "ops", required_argument, NULL, 'O' },
	{ "batch", required_argument, NULL, 'B' },
	{ "restart", required_argument, NULL, 'R' },
	{ "compare", required_argument, NULL, 'P' },
	{ "sim", no_argument, NULL, 'X' },
	{ "chaos", no_argument, NULL, 'C' },
	{ "quiet", no_argument, NULL, 'Q' },
	{ "explain", required_argument, NULL, 'e' },
	{ "assignable", required_argument, NULL, 'a' },
	{ "root", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* Those of gntstress; it reads the numbers itself. false: none of them. */
static bool set_stress_option(struct options *o, int c)
{
	switch (c) {
	case 'M':
		o->mix = optarg;
		return true;
	case 'S':
		o->seed = optarg;
		return true;
	case 'D':
		o->duration = optarg;
		return true;
	case 'O':
		o->ops = optarg;
		return true;
	case 'B':
		o->batch = optarg;
		return true;
	case 'R':
		o->restart = optarg;
		return true;
	case 'P':
		o->compare = optarg;
		return true;
	case 'X':
		return o->sim = true;
	case 'C':
		return o->chaos = true;
	case 'Q':
		return o->quiet = true;
	default:
		return false;
	}
}

/* Those of attach; the daemon checks the values. false: none of them. */
static bool set_allow_option(struct options *o, int c)
{
	switch (c) {
	case 'g':
		o->addressing = optarg;
		return true;
	case 'p':
		o->protection = optarg;
		return true;
	case 'k':
		o->keep_pages = optarg;
		return true;
	case 'm':
		o->keep_ms = optarg;
		return true;
	default:
		return false;
	}
}

/* Those of probe and doctor. 0: taken; 1: none of them. */
static int set_probe_option(const struct command *cmd, struct options *o, int c)
{
	unsigned int needs = c == 'r' ? OPT_ROOT : OPT_PROBE;

	if (c != 'e' && c != 'a' && c != 'r')
		return 1;
	if (!(cmd->options & needs))
		return usage_error(cmd, "does not take that option");
	if (c == 'r')
		o->root = optarg;
	else if (c == 'e')
		o->explain = optarg;
	else
		o->assignable = optarg;
	return 0;
}

static int set_option(const struct command *cmd, struct options *o, int c)
{
	uint64_t n;
	int rc = set_probe_option(cmd, o, c);

	if (rc != 1)
		return rc;

	if (c >= 'A' && c <= 'Z' && !(cmd->options & OPT_STRESS))
		return usage_error(cmd, "does not take that option");
	if (c > ' ' && strchr("gpkm", c) && !(cmd->options & OPT_ALLOW))
		return usage_error(cmd, "does not take that option");
	if (set_stress_option(o, c) || set_allow_option(o, c))
		return 0;

	if (c < ' ' && !(cmd->options & (unsigned int)c))
		return usage_error(cmd, "does not take that option");
	switch (c) {
	case 'j':
		o->json = true;
		return 0;
	case 'd':
		o->run_dir = optarg;
		return 0;
	case OPT_TAKE:
		o->take = true;
		return 0;
	case OPT_FORCE:
		o->force = true;
		return 0;
	case OPT_RECENT:
		o->recent = true;
		return 0;
	case OPT_TIMEOUT:
		if (parse_number(optarg, 3600, &n) || !n)
			return usage_error(cmd, "--timeout takes seconds, 1 to 3600");
		o->timeout = (unsigned int)n;
		return 0;
	default:
		return usage_error(cmd, "no such option, or its argument is missing");
	}
}

static int run_command(const struct command *cmd, int argc, char **argv)
{
	struct options o = { .run_dir = CONF_RUN_DIR };
	int c, rc;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) >= 0) {
		if (c == 'h') {
			print_help(cmd);
			return EXIT_SUCCESS;
		}
		rc = set_option(cmd, &o, c);
		if (rc)
			return rc;
	}
	o.arg = argv + optind;
	o.narg = argc - optind;
	if (o.narg < cmd->min_args)
		return usage_error(cmd, "an argument is missing");
	if (o.narg > cmd->max_args)
		return usage_error(cmd, "too many arguments");
	return cmd->run(&o);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	if (name && (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))) {
		print_usage(stdout);
		return EXIT_SUCCESS;
	}
	if (name && (!strcmp(name, "--version") || !strcmp(name, "-V")))
		name = "version";
	for (size_t i = 0; name && i < NR_COMMANDS; i++)
		if (!strcmp(name, commands[i].name))
			return run_command(&commands[i], argc - 1, argv + 1);
	if (!name)
		print_usage(stderr);
	else if (*name == '-')
		fprintf(stderr, "xvshim: the command comes first, then '%s' (xvshim --help)\n", name);
	else
		fprintf(stderr, "xvshim: there is no command '%s' (xvshim --help)\n", name);
	return EXIT_USAGE;
}
