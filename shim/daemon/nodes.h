/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nodes of docs/protocol.md, "XenStore nodes": paths, strict reads, writes. */
#ifndef XVS_DAEMON_NODES_H
#define XVS_DAEMON_NODES_H

#include "daemon/allow.h"
#include "daemon/parse.h"
#include "hv/hv.h"

#define PATH_SIZE 96 /* of a device's directory */

/* XenbusState of Xen's io/xenbus.h. Unknown stands for a node that is not there as well. */
enum xb_state {
	XB_UNKNOWN,
	XB_INITIALISING,
	XB_INITWAIT,
	XB_INITIALISED,
	XB_CONNECTED,
	XB_CLOSING,
	XB_CLOSED,
	XB_RECONFIGURING,
	XB_RECONFIGURED,
};

const char *xb_name(enum xb_state state);

void path_backend_root(char path[PATH_SIZE], uint16_t self);
void path_backend(char path[PATH_SIZE], uint16_t self, uint16_t domid, uint32_t devid);
void path_frontend(char path[PATH_SIZE], uint16_t domid, uint32_t devid);

/* -ENOENT no such node, -EMSGSIZE longer than NODE_MAX, -EILSEQ no string, else what the store
 * said. */
int node_get(struct hv *hv, const char *dir, const char *key, char value[NODE_MAX + 1]);
/* As above; -EINVAL or -ERANGE when it is not a number up to max. */
int node_get_number(struct hv *hv, const char *dir, const char *key, uint64_t max,
		    uint64_t *value);
/* A missing node reads as XB_UNKNOWN. */
int node_get_state(struct hv *hv, const char *dir, enum xb_state *state);
/* A node meant for people: printable characters only, empty when there is none. */
void node_get_text(struct hv *hv, const char *dir, const char *key, char *text, size_t size);

int node_put(struct hv *hv, uint32_t t, const char *dir, const char *key, const char *value);
int node_put_number(struct hv *hv, uint32_t t, const char *dir, const char *key, uint64_t value);

/* Is it the fault of whoever wrote the node, and not of the store? */
static inline bool node_is_malformed(int rc)
{
	return rc == -22 /* EINVAL */ || rc == -34 /* ERANGE */ || rc == -90 /* EMSGSIZE */ ||
	       rc == -84 /* EILSEQ */;
}

/* What the front end says at step 2. */
struct fe_nodes {
	uint32_t ctrl_ref, ctrl_port;
	enum xvs_addressing addressing;
	enum xvs_protection protection;
	/* what it would have liked, best first; for people */
	char wanted_addressing[ALLOW_WORDS], wanted_protection[ALLOW_WORDS];
};

/*
 * Reads them; whether what they pick is offered is the policy's to say. node_is_malformed() errors
 * and -ENOENT: the guest's fault, one line in why.
 */
int nodes_read_frontend(struct hv *hv, const char *fe, struct fe_nodes *nodes, char *why,
			size_t size);

/*
 * What the toolstack wrote down for this device; nodes that are not there leave *allow as it is.
 * write: value by value, as allow_set() takes them; NULL: not given.
 */
int nodes_read_allow(struct hv *hv, const char *be, struct allow *allow, char *why, size_t size);
extern const char *const nodes_allow_keys[4];
int nodes_write_allow(struct hv *hv, uint32_t t, const char *be, const char *const value[4]);

/* What a back end offers, before it goes to InitWait. Sets: bit n is value n. */
int nodes_write_offers(struct hv *hv, const char *be, uint32_t device_id, unsigned int addressing,
		       unsigned int protection);

#endif
