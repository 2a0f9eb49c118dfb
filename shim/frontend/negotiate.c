// SPDX-License-Identifier: GPL-2.0
/*
 * What the two sides agree on through the store, before a page is shared.
 *
 * A mode of protection is a row of the table below; the first that this guest wants and the back
 * end offers is picked. So it is with the addressings. For a device that is restored it is what it
 * was before, or nothing: its memory was set up for that.
 */
#include <linux/ctype.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <xen/xen.h>

#include "front.h"

#define XVS_NODE_MAX 256

static const struct xvs_mode modes[] = {
	{ "strict", XVS_PROTECTION_STRICT },
	{ "pool", XVS_PROTECTION_POOL, .copies = true, .copies_all = true },
	{ "lazy", XVS_PROTECTION_LAZY, .copies = true, .keeps = true },
	{ "adaptive", XVS_PROTECTION_ADAPTIVE, .copies = true },
};

static const struct xvs_addressing_word {
	const char *word;
	u32 value;    /* enum xvs_addressing */
	bool pv_only; /* a translated guest has no p2m of its own */
} addressings[] = {
	{ "grant", XVS_ADDRESSING_GRANT },
	{ "p2m", XVS_ADDRESSING_P2M, .pv_only = true },
};

static char *addressing = "grant";
module_param(addressing, charp, 0444);
MODULE_PARM_DESC(addressing, "Wanted addressings, best first: grant, p2m (default grant)");

static char *protection = "adaptive,strict";
module_param(protection, charp, 0444);
MODULE_PARM_DESC(protection, "Wanted protections, best first: strict, pool, lazy, adaptive (default adaptive,strict)");

/* A node of the back end, at most XVS_NODE_MAX bytes; the caller frees it. */
static char *node_read(struct xvs_front *f, const char *key)
{
	unsigned int len;
	char *text = xenbus_read(XBT_NIL, f->xbdev->otherend, key, &len);

	if (!IS_ERR(text) && (len > XVS_NODE_MAX || strlen(text) != len)) {
		kfree(text);
		text = ERR_PTR(-EINVAL);
	}
	return text;
}

static bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);
	const char *end;

	for (;; list = end + 1) {
		end = strchrnul(list, ',');
		if (end - list == len && !memcmp(list, word, len))
			return true;
		if (!*end)
			return false;
	}
}

/* Does the node of the back end list this word? 0, -EOPNOTSUPP, or another error. */
static int offers(struct xvs_front *f, const char *key, const char *word)
{
	char *offered = node_read(f, key);
	int ret;

	if (IS_ERR(offered))
		return PTR_ERR(offered);
	ret = list_has(offered, word) ? 0 : -EOPNOTSUPP;
	kfree(offered);
	return ret;
}

/* The n-th word of a list and its length; NULL: there is none. */
static const char *nth_word(const char *list, unsigned int n, size_t *len)
{
	const char *end;

	for (;; list = end + 1) {
		end = strchrnul(list, ',');
		*len = end - list;
		if (!n--)
			return list;
		if (!*end)
			return NULL;
	}
}

static bool is_word(const char *at, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(at, word, len);
}

/* The n-th of the wanted protections; NULL: there is none, an error pointer: not known. */
static const struct xvs_mode *wanted_mode(unsigned int n)
{
	size_t len;
	const char *at = nth_word(protection, n, &len);
	int i;

	for (i = 0; at && i < ARRAY_SIZE(modes); i++)
		if (is_word(at, len, modes[i].word))
			return &modes[i];
	return at ? ERR_PTR(-EINVAL) : NULL;
}

/* The same for addressings. */
static const struct xvs_addressing_word *wanted_addressing(unsigned int n)
{
	size_t len;
	const char *at = nth_word(addressing, n, &len);
	int i;

	for (i = 0; at && i < ARRAY_SIZE(addressings); i++)
		if (is_word(at, len, addressings[i].word))
			return &addressings[i];
	return at ? ERR_PTR(-EINVAL) : NULL;
}

int xvs_negotiate_check(void)
{
	const struct xvs_addressing_word *word;
	const struct xvs_mode *mode;
	unsigned int n;

	for (n = 0; (mode = wanted_mode(n)); n++) {
		if (!IS_ERR(mode) && n < ARRAY_SIZE(modes))
			continue;
		pr_err("xvshim_front: protection=%s is not a list of strict, pool, lazy, adaptive\n",
		       protection);
		return -EINVAL;
	}
	for (n = 0; (word = wanted_addressing(n)); n++) {
		if (!IS_ERR(word) && n < ARRAY_SIZE(addressings))
			continue;
		pr_err("xvshim_front: addressing=%s is not a list of grant, p2m\n", addressing);
		return -EINVAL;
	}
	return 0;
}

static int pick_addressing(struct xvs_front *f)
{
	const struct xvs_addressing_word *word;
	unsigned int n;
	int ret = -EOPNOTSUPP;

	if (f->restoring)
		return offers(f, XVS_KEY_ADDRESSING_OFFERED, f->agreed.addressing_word);
	for (n = 0; (word = wanted_addressing(n)); n++) {
		if (word->pv_only && !xen_pv_domain())
			continue;
		ret = offers(f, XVS_KEY_ADDRESSING_OFFERED, word->word);
		f->agreed.addressing = word->value;
		f->agreed.addressing_word = word->word;
		if (ret != -EOPNOTSUPP)
			break;
	}
	return ret;
}

static int pick_mode(struct xvs_front *f)
{
	unsigned int n;
	int ret = -EOPNOTSUPP;

	if (f->restoring)
		return offers(f, XVS_KEY_PROTECTION_OFFERED, f->agreed.mode->word);
	for (n = 0; (f->agreed.mode = wanted_mode(n)); n++) {
		ret = offers(f, XVS_KEY_PROTECTION_OFFERED, f->agreed.mode->word);
		if (ret != -EOPNOTSUPP)
			break;
	}
	return ret;
}

/* Decimal digits alone; kstrtouint() would take a sign and a newline as well. */
static int number_read(struct xvs_front *f, const char *key, u32 *value)
{
	char *text = node_read(f, key);
	const char *c;
	int ret;

	if (IS_ERR(text))
		return PTR_ERR(text);
	for (c = text; isdigit(*c); c++)
		;
	ret = *c || c == text ? -EINVAL : kstrtou32(text, 10, value);
	kfree(text);
	return ret;
}

int xvs_negotiate(struct xvs_front *f, const char **what)
{
	u32 device_id = 0;
	int ret;

	*what = XVS_KEY_VERSIONS;
	ret = offers(f, XVS_KEY_VERSIONS, __stringify(XVS_VERSION));
	if (ret)
		return ret;
	*what = XVS_KEY_DEVICE_ID;
	ret = number_read(f, XVS_KEY_DEVICE_ID, &device_id);
	if (ret)
		return ret;
	if (!device_id) /* reserved by virtio: no device */
		return -EINVAL;
	if (f->restoring && device_id != f->agreed.device_id)
		return -EOPNOTSUPP;
	f->agreed.device_id = device_id;
	*what = XVS_KEY_ADDRESSING_OFFERED;
	ret = pick_addressing(f);
	if (ret)
		return ret;
	*what = XVS_KEY_PROTECTION_OFFERED;
	return pick_mode(f);
}

static int publish_once(struct xvs_front *f)
{
	const char *dir = f->xbdev->nodename;
	struct xenbus_transaction xbt;
	int ret;

	ret = xenbus_transaction_start(&xbt);
	if (ret)
		return ret;
	ret = xenbus_printf(xbt, dir, XVS_KEY_VERSION, "%u", XVS_VERSION) ?:
	      xenbus_printf(xbt, dir, XVS_KEY_ADDRESSING, "%s", f->agreed.addressing_word) ?:
	      xenbus_printf(xbt, dir, XVS_KEY_PROTECTION, "%s", f->agreed.mode->word) ?:
	      xenbus_printf(xbt, dir, XVS_KEY_ADDRESSING_WANTED, "%s", addressing) ?:
	      xenbus_printf(xbt, dir, XVS_KEY_PROTECTION_WANTED, "%s", protection) ?:
	      xenbus_printf(xbt, dir, XVS_KEY_CTRL_REF, "%u", f->ctrl_ref) ?:
	      xenbus_printf(xbt, dir, XVS_KEY_CTRL_PORT, "%u", f->ctrl_port);
	if (ret) {
		xenbus_transaction_end(xbt, 1);
		return ret;
	}
	return xenbus_transaction_end(xbt, 0);
}

/* -EAGAIN means that another writer got in between; that is not let go on for ever. */
int xvs_publish(struct xvs_front *f)
{
	int tries = 100;
	int ret;

	do {
		ret = publish_once(f);
	} while (ret == -EAGAIN && --tries);
	return ret;
}
