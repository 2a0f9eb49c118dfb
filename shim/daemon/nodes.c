/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(EINVAL == 22 && ERANGE == 34 && EMSGSIZE == 90 && EILSEQ == 84,
	       "node_is_malformed()");

const char *xb_name(enum xb_state state)
{
	static const char *const names[] = { "absent",	   "Initialising", "InitWait",
					     "Initialised", "Connected",   "Closing",
					     "Closed",	   "Reconfiguring", "Reconfigured" };

	return (unsigned int)state < sizeof(names) / sizeof(names[0]) ? names[state] : "invalid";
}

void path_backend_root(char path[PATH_SIZE], uint16_t self)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/backend/" XVS_DEVICE_KIND, self);
}

void path_backend(char path[PATH_SIZE], uint16_t self, uint16_t domid, uint32_t devid)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/backend/" XVS_DEVICE_KIND "/%u/%u", self, domid,
		 devid);
}

void path_frontend(char path[PATH_SIZE], uint16_t domid, uint32_t devid)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/device/" XVS_DEVICE_KIND "/%u", domid, devid);
}

int node_get(struct hv *hv, const char *dir, const char *key, char value[NODE_MAX + 1])
{
	char path[PATH_SIZE + 32];
	char *text = NULL;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	rc = hv->ops->store_read(hv, 0, path, &text);
	if (rc)
		return rc;
	if (strlen(text) > NODE_MAX)
		rc = -EMSGSIZE;
	else
		memcpy(value, text, strlen(text) + 1);
	free(text);
	return rc;
}

int node_get_number(struct hv *hv, const char *dir, const char *key, uint64_t max,
		    uint64_t *value)
{
	char text[NODE_MAX + 1];
	int rc = node_get(hv, dir, key, text);

	return rc ? rc : parse_number(text, max, value);
}

int node_get_state(struct hv *hv, const char *dir, enum xb_state *state)
{
	uint64_t n = XB_UNKNOWN;
	int rc = node_get_number(hv, dir, "state", XB_RECONFIGURED, &n);

	if (rc && rc != -ENOENT)
		return rc;
	*state = (enum xb_state)n;
	return 0;
}

void node_get_text(struct hv *hv, const char *dir, const char *key, char *text, size_t size)
{
	char value[NODE_MAX + 1];

	text[0] = '\0';
	if (node_get(hv, dir, key, value))
		return;
	for (char *p = value; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	snprintf(text, size, "%s", value);
}

int node_put(struct hv *hv, uint32_t t, const char *dir, const char *key, const char *value)
{
	char path[PATH_SIZE + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	return hv->ops->store_write(hv, t, path, value);
}

int node_put_number(struct hv *hv, uint32_t t, const char *dir, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return node_put(hv, t, dir, key, text);
}

static int bad_node(const char *key, int rc, char *why, size_t size)
{
	if (rc == -ENOENT)
		snprintf(why, size, "the front end did not write its node '%s'", key);
	else if (rc == -EMSGSIZE)
		snprintf(why, size, "the front end's node '%s' is over %d bytes", key, NODE_MAX);
	else if (node_is_malformed(rc))
		snprintf(why, size, "the front end's node '%s' is malformed", key);
	else
		snprintf(why, size, "the store refused '%s': %s", key, strerror(-rc));
	return rc;
}

static int read_number(struct hv *hv, const char *fe, const char *key, uint64_t max,
		       uint32_t *value, char *why, size_t size)
{
	uint64_t n = 0;
	int rc = node_get_number(hv, fe, key, max, &n);

	if (rc)
		return bad_node(key, rc, why, size);
	*value = (uint32_t)n;
	return 0;
}

static int read_words(struct hv *hv, const char *fe, struct fe_nodes *nodes, char *why,
		      size_t size)
{
	char word[NODE_MAX + 1];
	int rc = node_get(hv, fe, XVS_KEY_ADDRESSING, word);

	if (!rc)
		rc = parse_addressing(word, &nodes->addressing);
	if (rc)
		return bad_node(XVS_KEY_ADDRESSING, rc, why, size);
	rc = node_get(hv, fe, XVS_KEY_PROTECTION, word);
	if (!rc)
		rc = parse_protection(word, &nodes->protection);
	if (rc)
		return bad_node(XVS_KEY_PROTECTION, rc, why, size);
	node_get_text(hv, fe, XVS_KEY_ADDRESSING_WANTED, nodes->wanted_addressing, ALLOW_WORDS);
	node_get_text(hv, fe, XVS_KEY_PROTECTION_WANTED, nodes->wanted_protection, ALLOW_WORDS);
	return 0;
}

int nodes_read_frontend(struct hv *hv, const char *fe, struct fe_nodes *nodes, char *why,
			size_t size)
{
	uint32_t version = 0;
	int rc = read_number(hv, fe, XVS_KEY_VERSION, UINT32_MAX, &version, why, size);

	if (rc)
		return rc;
	if (version != XVS_VERSION) {
		snprintf(why, size, "the front end picked version %u, which is not offered",
			 version);
		return -EINVAL;
	}
	rc = read_number(hv, fe, XVS_KEY_CTRL_REF, UINT32_MAX, &nodes->ctrl_ref, why, size);
	if (rc)
		return rc;
	rc = read_number(hv, fe, XVS_KEY_CTRL_PORT, UINT32_MAX, &nodes->ctrl_port, why, size);
	if (rc)
		return rc;
	return read_words(hv, fe, nodes, why, size);
}

const char *const nodes_allow_keys[4] = { "addressing", "protection", "keep-pages", "keep-ms" };

/* In the store they are named apart from what was agreed on. */
static void allow_node(char node[32], const char *key)
{
	snprintf(node, 32, "%s-allowed", key);
}

int nodes_read_allow(struct hv *hv, const char *be, struct allow *allow, char *why, size_t size)
{
	char value[NODE_MAX + 1], node[32], what[128];
	int rc;

	for (unsigned int i = 0; i < 4; i++) {
		allow_node(node, nodes_allow_keys[i]);
		rc = node_get(hv, be, node, value);
		if (rc == -ENOENT)
			continue;
		if (rc) {
			snprintf(why, size, "the store refused '%s': %s", node, strerror(-rc));
			return rc;
		}
		rc = allow_set(allow, nodes_allow_keys[i], value, what, sizeof(what));
		if (rc) {
			snprintf(why, size, "node '%s': %s", node, what);
			return rc;
		}
	}
	return 0;
}

int nodes_write_allow(struct hv *hv, uint32_t t, const char *be, const char *const value[4])
{
	char node[32];
	int rc = 0;

	for (unsigned int i = 0; i < 4 && !rc; i++) {
		allow_node(node, nodes_allow_keys[i]);
		if (value[i])
			rc = node_put(hv, t, be, node, value[i]);
	}
	return rc;
}

int nodes_write_offers(struct hv *hv, const char *be, uint32_t device_id, unsigned int addressing,
		       unsigned int protection)
{
	char words[ALLOW_WORDS];
	int rc = node_put_number(hv, 0, be, XVS_KEY_VERSIONS, XVS_VERSION);

	if (!rc)
		rc = node_put_number(hv, 0, be, XVS_KEY_DEVICE_ID, device_id);
	allow_addressing_words(addressing, words);
	if (!rc)
		rc = node_put(hv, 0, be, XVS_KEY_ADDRESSING_OFFERED, words);
	allow_protection_words(protection, words);
	if (!rc)
		rc = node_put(hv, 0, be, XVS_KEY_PROTECTION_OFFERED, words);
	return rc;
}
