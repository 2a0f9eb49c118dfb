/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The grant-table stress test behind `xvshim gntstress`.
 *
 * A keeper (the caller's process) owns the DMA memory and the journal; a worker, forked from
 * it, issues the operations. The keeper kills the worker, or the other side, at moments of its
 * choice, and cleans up through the journal as xvshimd would. What differs between Xen and the
 * simulation is a struct stress_world.
 */
#ifndef XVS_STRESS_STRESS_H
#define XVS_STRESS_STRESS_H

#include "hv/hv.h"
#include "stress/compare.h"
#include "stress/stats.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define STRESS_BATCH 1024u

enum stress_kind {
	STRESS_DEVMAP,
	STRESS_DEVMAP_RO,
	STRESS_HOSTMAP,
	STRESS_HOSTMAP_RO,
	STRESS_COPY_FROM,
	STRESS_COPY_TO,
	STRESS_COPY_ACROSS,
	STRESS_RW_OF_RO,
	STRESS_BAD,
	STRESS_TWICE,
	STRESS_REVOKE,
	STRESS_RENEW,
	STRESS_RESTAMP,
	STRESS_MAPTRACK,
	STRESS_GNTALLOC,
	STRESS_FRAMES,
	STRESS_SUBPAGE,
	STRESS_TRANSITIVE,
	STRESS_KINDS,
};

struct stress_mix {
	uint32_t weight[STRESS_KINDS];
};

const char *stress_kind_name(enum stress_kind kind);
const char *stress_kind_what(enum stress_kind kind);
/* alone: the tables are this run's own, and may be filled up without being asked to. */
void stress_mix_default(struct stress_mix *mix, bool alone);
/*
 * "name=weight,...": the kinds named and no other; "default" stands for what is in *mix.
 * -EINVAL and why in words.
 */
int stress_mix_parse(const char *text, struct stress_mix *mix, char *why, size_t size);

/* What Xen itself counts; a leak is what is more of it afterwards. */
struct stress_books {
	uint64_t handles; /* device maps of the other side's pages that dom0 holds */
	uint64_t pages;   /* host maps and others */
	uint64_t grants;  /* entries the other side has in use */
	uint64_t zombies; /* domains that cannot go */
	char text[400];   /* as counted, for the report */
};

enum {
	STRESS_CAN_PEEK = 1,     /* bytes at a machine address can be read */
	STRESS_CAN_SEE_PINS = 2, /* a pin for writing can be told from one for reading */
	STRESS_STRICT_END = 4,   /* a revocation says so when the page is still in use */
	STRESS_CAN_V2 = 16, /* the other side's table is of version 2, and can be written to */
	STRESS_BOOKS_OF_PEER = 8, /* the books are of the present other side alone */
};

/* Where it runs. Everything but open is called in the keeper alone. */
struct stress_world {
	const char *name;
	unsigned int can;
	uint16_t domid; /* whose pages they are; it may change with kill_peer */
	bool loopback;
	char journal[200]; /* file; "": anonymous memory */
	struct hv *(*open)(struct stress_world *w, unsigned int caps, int *err);
	/*
	 * The other side, ready to serve; and its end, in good order or by force. After an end by
	 * force start_peer first sees that it is really gone: all its pages were given back by then.
	 */
	int (*start_peer)(struct stress_world *w, char *why, size_t size);
	void (*stop_peer)(struct stress_world *w);
	void (*kill_peer)(struct stress_world *w);
	/* In the worker: where bytes of n machine pages can be read and written. */
	int (*peek)(struct stress_world *w, struct hv *hv, const maddr_t *maddr, unsigned int n,
		    void **page);
	void (*unpeek)(struct stress_world *w, struct hv *hv, unsigned int n);
	bool (*pinned_for_write)(struct stress_world *w, maddr_t maddr);
	int (*audit)(struct stress_world *w, struct stress_books *books);
	void *priv;
};

struct stress_config {
	struct stress_mix mix;
	uint64_t seed;
	uint64_t ops;          /* 0: no limit */
	unsigned int duration; /* s, 0: no limit */
	unsigned int batch;    /* largest */
	unsigned int pairs;    /* not the mix, but so many turns of compare.h; 0: the mix */
	bool chaos;
	unsigned int kill_ms;  /* chaos: a kill in that time on average */
	unsigned int kills;    /* chaos: the run ends after so many; 0: no limit */
	unsigned int peer_in;  /* one kill in so many is one of the other side as well; 0: none */
	FILE *progress;        /* NULL: none */
	const volatile sig_atomic_t *interrupt; /* ends the run in good order; may be NULL */
};

struct stress_result {
	bool passed;
	char story[2000]; /* what went wrong */
	struct stats kind[STRESS_KINDS];
	uint64_t ops, rounds, sequence; /* sequence: a digest of all operations in order */
	uint64_t checked;               /* bytes compared */
	uint64_t ns;
	unsigned int kills, peer_kills, recovered, reused, late;
	struct stress_books before, after;
	struct compare compare;
};

/* 0, whatever was found, or a negative errno and why in result->story: it could not run. */
int stress_run(struct stress_world *w, const struct stress_config *config,
	       struct stress_result *result);

/*
 * Gives back what a keeper that was killed left in its journal. -EBUSY: it lives.
 */
int stress_take_over(struct stress_world *w, unsigned int *pages);

#endif
