/* SPDX-License-Identifier: GPL-2.0-or-later */
/* docs/security.md, hazard 19: the version of the grant table, which all addresses rest on. */
#include "hostile_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TABLE "/sys/module/table_version/parameters/version" /* tests/kmod */

/* What Xen says to another version of the table; a negative errno. */
static int ask_for_version(char version)
{
	int fd = open(TABLE, O_WRONLY | O_CLOEXEC), rc;

	hg_must(fd >= 0);
	rc = write(fd, &version, 1) == 1 ? 0 : -errno;
	close(fd);
	return rc;
}

static char version_now(void)
{
	int fd = open(TABLE, O_RDONLY | O_CLOEXEC);
	char version = 0;

	hg_must(fd >= 0 && read(fd, &version, 1) == 1);
	close(fd);
	return version;
}

/* Xen has one answer while an entry is in use, and the control page is for as long as there is a
 * connection. Asking for the version there is changes nothing, and is no error. */
static void ask_for_versions(unsigned int times)
{
	while (times--) {
		int rc = ask_for_version('2');

		if (rc != -EBUSY)
			printf("version 2 of the table: %s\n", rc ? strerror(-rc) : "granted");
		hg_must(rc == -EBUSY);
		hg_must(!ask_for_version('1'));
		hg_must(version_now() == '1');
	}
}

/* Four requests in flight while the version is asked for, and others that come and go meanwhile.
 * Each sector has bytes of its own, so that a page that moved would show; and none is next to another,
 * for the device would make one request of them, which its throttle lets pass. */
void hg_version(struct hg *g)
{
	unsigned int asked = 0, served = 0;
	struct vring_used_elem e;
	uint64_t end;

	hg_step(g, 19, "throttle", "1");
	for (uint16_t i = 0; i < 4; i++) {
		memset(g->buf[i].va + HG_DATA, 0xa0 + i, 512);
		hg_blk(g, 3u * i, &g->buf[i], HG_WRITE, 2100 + 16u * i, 512);
		hg_push(g, (uint16_t)(3 * i));
	}
	hg_kick(g);
	hg_step(g, 19, "inflight", "1");
	hg_step(g, 19, "note", " ");
	ask_for_versions(100);
	hg_step(g, 19, "noted", " ");
	hg_step(g, 19, "throttle", "0");
	for (unsigned int i = 0; i < 4; i++)
		hg_must(hg_pop(g, HG_PATIENCE, &e));
	for (end = hg_now() + 2000; hg_now() < end; served++) {
		uint16_t i = (uint16_t)(served % 4);

		memset(g->buf[i].va + HG_DATA, 0, 512);
		hg_blk(g, 0, &g->buf[i], HG_READ, 2100 + 16u * i, 512);
		hg_push(g, 0);
		hg_kick(g);
		ask_for_versions(5);
		asked += 5;
		hg_must(hg_pop(g, HG_PATIENCE, &e));
		hg_must(g->buf[i].va[HG_STATUS] == VIRTIO_BLK_S_OK);
		for (unsigned int at = 0; at < 512; at++)
			hg_must(g->buf[i].va[HG_DATA + at] == 0xa0 + i);
	}
	hg_step(g, 19, "served", " ");
	hg_step(g, 19, "hazard", "another version of the table asked for %u times with requests in "
				 "flight: Xen refuses, %u requests verified meanwhile",
		asked + 100, served);
}
