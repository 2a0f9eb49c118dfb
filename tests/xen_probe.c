/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xen_probe [pci:BDF] [dom:DOMID]: tries hv/xen on the Xen it runs on, and on request a nested
 * virtio-blk and a PV guest. Prints ok or FAIL lines; exit status 0 when all are ok. To be run in
 * dom0, as root, with a device that may be taken: it is given back at the end.
 * xen_probe check:BDF: only says what xpci_check says. bench: only times maps of grants. pattern:N
 * and p2m:DOMID:PFN,...: see
 * xen_probe_p2m.c.
 */
#include "xen_probe.h"

#include "dev/virtio_pci.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALL_CAPS (HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_STORE | HV_CAP_DOMAIN | HV_CAP_DMA | \
		  HV_CAP_P2M)

static unsigned int failures;

bool probe_check(bool cond, const char *format, ...)
{
	va_list ap;

	fputs(cond ? "ok   " : "FAIL ", stdout);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	/* Children that are forked must not print it once more. */
	fflush(stdout);
	failures += !cond;
	return cond;
}

bool probe_need(int rc, const char *what)
{
	if (rc < 0)
		probe_check(false, "%s: %s", what, strerror(-rc));
	return rc >= 0;
}

double probe_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int only_check(const char *bdf)
{
	struct xpci_info info;
	char why[160] = "";
	int rc = xpci_check(bdf, &info, why, sizeof(why));

	printf("%d %s\n", rc, rc ? why : "");
	printf("%04x:%04x type %u driver '%s' consumer '%s'\n", info.vendor, info.device,
	       info.virtio_type, info.driver, info.consumer);
	return rc ? 1 : 0;
}

static int only_p2m(char *arg)
{
	int err;
	struct hv *hv = hv_open(hv_xen(), ALL_CAPS, &err);
	char *pfns = strchr(arg, ':');

	if (!hv || !pfns)
		return 1;
	*pfns = '\0';
	probe_p2m(hv, (uint16_t)strtoul(arg, NULL, 10), pfns + 1);
	hv_close(hv);
	return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct hv *hv;
	int err;

	if (argc > 1 && !strncmp(argv[1], "check:", 6))
		return only_check(argv[1] + 6);
	if (argc > 1 && !strncmp(argv[1], "pattern:", 8))
		return probe_pattern((unsigned int)strtoul(argv[1] + 8, NULL, 10));
	if (argc > 1 && !strncmp(argv[1], "p2m:", 4))
		return only_p2m(argv[1] + 4);
	hv = hv_open(hv_xen(), ALL_CAPS, &err);
	if (!probe_check(hv, "open with all capabilities: %s", strerror(-err)))
		return 1;
	if (argc > 1 && !strcmp(argv[1], "bench")) {
		probe_bench(hv);
		hv_close(hv);
		return failures ? 1 : 0;
	}
	probe_services(hv);
	probe_dma(hv);
	probe_grants(hv);
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "pci:", 4))
			probe_pci(hv, argv[i] + 4);
		else if (!strncmp(argv[i], "dom:", 4))
			probe_guest(hv, (uint16_t)strtoul(argv[i] + 4, NULL, 10));
	}
	hv_close(hv);
	printf("%s: %u failures\n", failures ? "FAIL" : "ok", failures);
	return failures ? 1 : 0;
}
