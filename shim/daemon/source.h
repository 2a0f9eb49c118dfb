/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands behind a device, named in the store: "pci:SSSS:BB:DD.F" first. One table of
 * operations a kind, one source file each; nothing outside it knows how a kind is opened.
 *
 * Errors: negative errno and one line in why, with the next step where there is one.
 */
#ifndef XVS_DAEMON_SOURCE_H
#define XVS_DAEMON_SOURCE_H

#include "daemon/parse.h"
#include "dev/dev.h"
#include "policy/policy.h"

#define SOURCE_DRIVER_MAX 64

struct source_facts {
	uint32_t device_id;             /* virtio device type */
	char driver[SOURCE_DRIVER_MAX]; /* that has it now; empty: none */
	char use[160]; /* who uses what stands behind it, a whole line; empty: not known */
	struct facts facts; /* of device, machine and holder */
};

struct source {
	const struct source_ops *ops;
	char text[SOURCE_MAX];
	/* the driver it came from, to give it back to; empty: none */
	char earlier[SOURCE_DRIVER_MAX];
	uint64_t instance; /* which device of that name it was, as the kernel tells; 0: not known */
	struct xdev *dev;  /* NULL: not open */
	void *priv;
};

struct source_ops {
	const char *prefix; /* "pci:" */

	/* Both look and change nothing. check: an error where there is no such device, or none
	 * that could be driven; whether it may be is source_check()'s to say. */
	int (*check)(struct source *src, struct source_facts *facts, char *why, size_t size);
	int (*facts)(struct source *src, struct facts *facts, char *why, size_t size);
	/* Away from its driver; nothing to do when it is away already. */
	int (*take)(struct source *src, bool take, char *why, size_t size);
	/* Sets src->dev. The device was not reset. */
	int (*open)(struct source *src, char *why, size_t size);
	void (*close)(struct source *src);
	/* Back to the driver in `earlier`. The device is closed. Idempotent. */
	int (*release)(struct source *src, char *why, size_t size);
	/* false: the machine has that device no more, so it cannot touch memory either. Another one
	 * may have its name. */
	bool (*present)(const struct source *src);
	/* Does an open file belong to this source? A worker keeps those and no others. */
	bool (*owns)(const struct source *src, int fd, const char *path);
};

/* Kinds that are built in. A test may put its own in front. */
extern const struct source_ops source_pci;
void source_register(const struct source_ops *ops);

/* Fills in a source that is not open. -EINVAL: no such kind, or malformed. */
int source_init(struct source *src, const char *text, char *why, size_t size);

/*
 * Looks at it and asks the policy, with the facts that `xvshim probe` shows: may it be taken? take:
 * from the driver that has it as well. 0; -EOPNOTSUPP: not to be given to a guest; -EBUSY; else what
 * check said.
 */
int source_check(struct source *src, bool take, struct source_facts *facts,
		 struct decision *decision, char *why, size_t size);

/* Resets the device and has that confirmed. 0 as well when there is none to reset. */
int source_reset(struct source *src, char *why, size_t size);

/* Opens it anew for the next worker: the last may have died with the interrupt masked. */
int source_renew(struct source *src, char *why, size_t size);

#endif
