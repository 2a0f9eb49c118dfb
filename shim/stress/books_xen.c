/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stress/books_xen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The dump of which a log shows the lines now. */
struct dump {
	bool begun, done, mine;
};

/*
 * Lines of the dump, one a granted entry that is in use:
 *   [0x008]      0 0x1a2b3c 0x00010000          0 0x...     0x19
 * domain that maps, frame, pins: bits 16 to 31 count device maps. Before the lines of each
 * domain one says "grant-table for remote dN".
 */
static void count_entry(const char *line, struct stress_books *b)
{
	unsigned int ref, holder, pins;
	unsigned long frame;

	if (sscanf(line, "[%x] %u %lx %x", &ref, &holder, &frame, &pins) != 4 || holder)
		return;
	b->grants++;
	if (pins & 0xffff0000u)
		b->handles++;
	else
		b->pages++;
}

static void read_line(const char *line, uint16_t domid, struct dump *d, struct stress_books *b)
{
	const char *at = strstr(line, "grant-table for remote d");

	if (strstr(line, "gnttab_usage_print_all [")) {
		*d = (struct dump){ .begun = true };
		b->handles = b->pages = b->grants = 0;
	}
	if (strstr(line, "gnttab_usage_print_all ]"))
		d->done = true;
	if (at)
		d->mine = strtoul(at + strlen("grant-table for remote d"), NULL, 10) == domid;
	at = strstr(line, "[0x");
	if (d->begun && !d->done && d->mine && at)
		count_entry(at, b);
}

int books_of_log(FILE *log, uint16_t domid, struct stress_books *b)
{
	struct dump d = { 0 };
	char line[512];

	memset(b, 0, sizeof(*b));
	while (fgets(line, sizeof(line), log))
		read_line(line, domid, &d, b);
	if (!d.done)
		return -ENODATA;
	/* An end without its beginning: entries may be missing, and none must be counted as none. */
	if (!d.begun)
		return -ENOBUFS;
	snprintf(b->text, sizeof(b->text),
		 "domain %u: %llu grants in use by dom0, device maps among them %llu", domid,
		 (unsigned long long)b->grants, (unsigned long long)b->handles);
	return 0;
}

static int count_zombies(uint64_t *n)
{
	FILE *f = popen("xl list", "r");
	char line[256];

	*n = 0;
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		*n += !strncmp(line, "(null)", 6);
	return pclose(f) ? -EIO : 0;
}

int books_of_xen(uint16_t domid, struct stress_books *b)
{
	FILE *f = popen("xl debug-keys g && xl dmesg", "r");
	int rc;

	if (!f)
		return -errno;
	rc = books_of_log(f, domid, b);
	if (pclose(f))
		return -EIO;
	return rc ? rc : count_zombies(&b->zombies);
}
