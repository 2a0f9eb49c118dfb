/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other side of the stress test: a grant server. It runs where the pages belong, in a
 * domU (xvshim-gntserver), in dom0 for loopback, or in a process of the simulation; the code is
 * the same, only the way to grant pages differs.
 *
 * It publishes the references of two shared pages in the store. The first is a mailbox with one
 * request at a time, the second carries an array with it.
 */
#ifndef XVS_STRESS_SERVER_H
#define XVS_STRESS_SERVER_H

#include "hv/frames.h"

#include <stdatomic.h>
#include <stdbool.h>

#define SERVER_MAGIC 0x53475658u
#define SERVER_VERSION 2
#define SERVER_NODE "data/xvshim-gnt" /* below the domain's path: "REF REF PID" */
#define SERVER_BOX_PAGES 2
#define SERVER_REGIONS 10
#define SERVER_REGION_PAGES 96u
#define SERVER_ARGS (XVS_FRAME_SIZE / 4)

enum server_cmd {
	SERVER_HELLO = 1, /* nothing */
	SERVER_SHARE,     /* grant a region of n pages, stamped with gen; out: arg[i] = reference */
	SERVER_REVOKE,    /* end a region, n: pages of it that are mapped; -EBUSY: to be asked again */
	SERVER_STAMP,     /* write the pages of a region: arg[i] = generation */
	SERVER_CHECK,     /* compare: arg[3i..] = ref, gen, writer; gen 0: not to be looked at */
	SERVER_RESET,     /* end all regions; -EBUSY as above */
	SERVER_EXHAUST,   /* grant until refused; out: count pages, status why; all ended again */
};

/* What an exhaustion runs into. */
enum { EXHAUST_GNTALLOC, EXHAUST_FRAMES };

struct server_box {
	uint32_t magic, version;
	_Atomic uint32_t request, response; /* equal: idle. Written by the tool, the server */
	uint32_t cmd, region, n, readonly, to, owner, gen;
	int32_t status;
	uint32_t count;
	uint32_t deferred; /* pages whose grant was ended while mapped, and may still be in the table */
	char story[400];
};
_Static_assert(sizeof(struct server_box) <= XVS_FRAME_SIZE, "one page");

/*
 * Linux takes a grant that is ended while it is mapped out of its table later, by a timer, ten a
 * second (seen with 6.1), whenever the mapping goes. Asked for more it fills its table with them.
 */
#define SERVER_DEFERRED_A_SECOND 10u
#define SERVER_DEFERRED_MAX 2048u /* at a time; a table has 32768 entries by default */

/* How this side grants pages of its own. */
struct server_pages {
	/* n pages, contiguous at *va, zeroed */
	int (*share)(void *priv, uint16_t to, unsigned int n, bool readonly, uint32_t *ref,
		     void **va);
	/* -EBUSY: mapped by the other side, nothing was done */
	int (*unshare)(void *priv, void *va, unsigned int n, const uint32_t *ref);
	/* Makes the grant table the limit, or the allocator again. -EOPNOTSUPP: not here */
	int (*lift_limit)(void *priv, bool lift);
	/* Tells the tool where the mailbox is; NULL: there is none any more */
	int (*publish)(void *priv, const char *value);
	void *priv;
};

/* Serves domain `to` until *stop is set. A negative errno: it cannot begin. */
int server_run(const struct server_pages *pages, uint16_t to, const _Atomic bool *stop);

#endif
