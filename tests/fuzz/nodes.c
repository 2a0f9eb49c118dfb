/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "nodes": a store in which a guest wrote whatever it liked, and what the keeper reads from
 * it. What is taken must be the exact form and within what was offered; a refusal has a reason in
 * one line.
 */
#include "fuzz.h"

#include "daemon/nodes.h"

#include <errno.h>

#define NODES 16

/* The store: nodes by the last part of their path. A value or an error. */
static struct {
	const char *key;
	char *value;
	int err;
} node[NODES];
static unsigned int nodes;

static int store_read(struct hv *hv, uint32_t t, const char *path, char **value)
{
	const char *key = strrchr(path, '/');

	(void)hv;
	FUZZ_CHECK(!t && key, "path '%s'", path);
	for (unsigned int i = 0; i < nodes; i++) {
		if (strcmp(node[i].key, key + 1))
			continue;
		if (node[i].err)
			return node[i].err;
		*value = strdup(node[i].value);
		return *value ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static const struct hv_ops ops = { .name = "fuzz", .store_read = store_read };
static struct hv hv = { .ops = &ops };

static const char *value_of(const char *key)
{
	for (unsigned int i = 0; i < nodes; i++)
		if (!strcmp(node[i].key, key) && !node[i].err)
			return node[i].value;
	return "";
}

/* First those that are there for sure, as a sound guest writes them; then the input's. */
static void fill(struct fuzz *f)
{
	static const char *const keys[] = {
		XVS_KEY_VERSION, XVS_KEY_CTRL_REF, XVS_KEY_CTRL_PORT, XVS_KEY_ADDRESSING,
		XVS_KEY_PROTECTION, XVS_KEY_ADDRESSING_WANTED, XVS_KEY_PROTECTION_WANTED, "state",
		"addressing-allowed", "protection-allowed", "keep-pages-allowed", "keep-ms-allowed",
	};
	static const char *const sound[] = { "1", "8", "3", "grant", "lazy", "p2m,grant", "lazy", "3",
					     "grant", "strict,pool", "17", "0" };
	static const int errors[] = { -ENOENT, -EAGAIN, -EILSEQ, -EACCES };

	for (nodes = 0; nodes < sizeof(keys) / sizeof(keys[0]); nodes++) {
		uint8_t form = fuzz_u8(f);

		node[nodes].key = keys[nodes];
		node[nodes].err = form & 1 && form & 2 ? errors[form >> 2 & 3] : 0;
		if (form & 1)
			node[nodes].value = fuzz_text(f);
		else
			node[nodes].value = strdup(sound[nodes]);
		FUZZ_CHECK(node[nodes].value, "out of memory");
	}
}

static void check_number(const char *key, uint32_t value)
{
	const char *text = value_of(key);

	FUZZ_CHECK(*text && strspn(text, "0123456789") == strlen(text) &&
		   strtoull(text, NULL, 10) == value, "'%s' of '%s' is read as %u", text, key, value);
}

static void check_printable(const char *text, size_t size)
{
	FUZZ_CHECK(memchr(text, '\0', size), "a text without end");
	for (; *text; text++)
		FUZZ_CHECK(*text >= ' ' && *text <= '~', "byte %#x", (unsigned char)*text);
}

static void check_wishes(unsigned int n, const uint8_t *wanted, unsigned int most)
{
	unsigned int seen = 0;

	FUZZ_CHECK(n <= POLICY_WISHES, "%u wishes", n);
	for (unsigned int i = 0; i < n; i++) {
		FUZZ_CHECK(wanted[i] && wanted[i] <= most && !(seen >> wanted[i] & 1), "wish %u",
			   wanted[i]);
		seen |= 1u << wanted[i];
	}
}

/* As the keeper does it: nothing is agreed on that is not offered. */
static void check_agreed(const struct allow *allow, const struct fe_nodes *fe)
{
	struct facts facts = { .addressing = { .allowed = (uint8_t)allow->addressing,
					       .picked = (uint8_t)fe->addressing },
			       .protection = { .allowed = (uint8_t)allow->protection,
					       .picked = (uint8_t)fe->protection } };
	struct choice *a = &facts.addressing, *p = &facts.protection;
	struct decision d;

	a->nr_wanted = (uint8_t)allow_addressing_wishes(fe->wanted_addressing, a->wanted);
	p->nr_wanted = (uint8_t)allow_protection_wishes(fe->wanted_protection, p->wanted);
	check_wishes(a->nr_wanted, a->wanted, XVS_ADDRESSING_P2M);
	check_wishes(p->nr_wanted, p->wanted, XVS_PROTECTION_ADAPTIVE);
	d = policy_decide(&facts);
	FUZZ_CHECK((d.addressing == AGREE_YES) == (d.offered_addressing >> fe->addressing & 1),
		   "addressing %u", fe->addressing);
	FUZZ_CHECK((d.protection == AGREE_YES) == (allow->protection >> fe->protection & 1),
		   "protection %u", fe->protection);
}

static void check_frontend(const struct allow *allow, const struct fe_nodes *fe)
{
	check_number(XVS_KEY_VERSION, XVS_VERSION);
	check_number(XVS_KEY_CTRL_REF, fe->ctrl_ref);
	check_number(XVS_KEY_CTRL_PORT, fe->ctrl_port);
	FUZZ_CHECK(!strcmp(addressing_word(fe->addressing), value_of(XVS_KEY_ADDRESSING)),
		   "addressing '%s'", value_of(XVS_KEY_ADDRESSING));
	FUZZ_CHECK(!strcmp(protection_word(fe->protection), value_of(XVS_KEY_PROTECTION)),
		   "protection '%s'", value_of(XVS_KEY_PROTECTION));
	check_printable(fe->wanted_addressing, sizeof(fe->wanted_addressing));
	check_printable(fe->wanted_protection, sizeof(fe->wanted_protection));
	check_agreed(allow, fe);
}

static void try_frontend(const struct allow *allow)
{
	struct fe_nodes fe;
	char why[160];
	int rc;

	memset(&fe, 0xee, sizeof(fe));
	memset(why, 0, sizeof(why));
	rc = nodes_read_frontend(&hv, "/local/domain/3/device/x/0", &fe, why, sizeof(why));
	if (!rc)
		check_frontend(allow, &fe);
	else
		FUZZ_CHECK(why[0] && memchr(why, '\0', sizeof(why)) && !strchr(why, '\n'),
			   "reason '%s'", why);
}

static void try_allow(struct allow *allow)
{
	char why[160];
	int rc = nodes_read_allow(&hv, "/local/domain/0/backend/x/3/0", allow, why, sizeof(why));

	FUZZ_CHECK(rc || (allow->addressing && allow->protection), "nothing is allowed");
	FUZZ_CHECK(!(allow->addressing & ~6u) && !(allow->protection & ~30u), "bits of no word");
}

static void try_state(void)
{
	enum xb_state state = XB_UNKNOWN;
	int rc = node_get_state(&hv, "/x", &state);

	FUZZ_CHECK(rc || state <= XB_RECONFIGURED, "state %d", (int)state);
	if (!rc && state)
		check_number("state", state);
	FUZZ_CHECK(strlen(xb_name(state)), "state %d has no name", (int)state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	struct allow allow;
	char *small;

	fill(&f);
	allow_defaults(&allow);
	if (fuzz_u8(&f) & 1)
		try_allow(&allow);
	try_frontend(&allow);
	try_state();
	small = malloc(5);
	FUZZ_CHECK(small, "out of memory");
	node_get_text(&hv, "/x", "state", small, 5);
	check_printable(small, 5);
	free(small);
	while (nodes)
		free(node[--nodes].value);
	return 0;
}
