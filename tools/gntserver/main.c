/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvshim-gntserver: runs in a domU and grants pages to `xvshim gntstress` in dom0. */
#include "stress/server_xen.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static _Atomic bool stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = true;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	char why[200] = "";

	if (argc > 1) {
		bool help = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");

		fputs("usage: xvshim-gntserver\n"
		      "Grants pages of this domain to 'xvshim gntstress DOMAIN' in dom0, as that\n"
		      "asks for them, until a signal. Needs root and the module xen-gntalloc.\n",
		      help ? stdout : stderr);
		return help ? 0 : 2;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!server_run_xen(&stop, false, why, sizeof(why)))
		return 0;
	fprintf(stderr, "xvshim-gntserver: %s\n", why);
	return 1;
}
