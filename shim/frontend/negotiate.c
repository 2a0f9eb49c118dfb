// SPDX-License-Identifier: GPL-2.0
/*
 * What the two sides agree on through the store, before a page is shared.
 *
 * New modes of protection and kinds of addressing are rows of the tables below; the first row
 * that the back end offers is picked.
 */
#include <linux/ctype.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "front.h"

#define XVS_NODE_MAX 256

struct xvs_word {
	const char *word;
	u32 value;
};

static const struct xvs_word addressings[] = {
	{ "grant", XVS_ADDRESSING_GRANT },
};

static const struct xvs_mode modes[] = {
	{ "strict", XVS_PROTECTION_STRICT, &xvs_strict_dma_ops },
};

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

/* Index of the first of @n words, @stride bytes apart, that the node lists; or an error. */
static int pick(struct xvs_front *f, const char *key, const void *words, int n, size_t stride)
{
	char *offered = node_read(f, key);
	int i;

	if (IS_ERR(offered))
		return PTR_ERR(offered);
	for (i = 0; i < n; i++)
		if (list_has(offered, *(const char *const *)(words + i * stride)))
			break;
	kfree(offered);
	return i < n ? i : -EOPNOTSUPP;
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
	static const char *const versions[] = { __stringify(XVS_VERSION) };
	int ret;

	*what = XVS_KEY_VERSIONS;
	ret = pick(f, XVS_KEY_VERSIONS, versions, ARRAY_SIZE(versions), sizeof(versions[0]));
	if (ret < 0)
		return ret;
	*what = XVS_KEY_DEVICE_ID;
	ret = number_read(f, XVS_KEY_DEVICE_ID, &f->agreed.device_id);
	if (ret)
		return ret;
	if (!f->agreed.device_id) /* reserved by virtio: no device */
		return -EINVAL;
	*what = XVS_KEY_ADDRESSING_OFFERED;
	ret = pick(f, XVS_KEY_ADDRESSING_OFFERED, addressings, ARRAY_SIZE(addressings),
		   sizeof(addressings[0]));
	if (ret < 0)
		return ret;
	f->agreed.addressing = addressings[ret].value;
	f->agreed.addressing_word = addressings[ret].word;
	*what = XVS_KEY_PROTECTION_OFFERED;
	ret = pick(f, XVS_KEY_PROTECTION_OFFERED, modes, ARRAY_SIZE(modes), sizeof(modes[0]));
	if (ret < 0)
		return ret;
	f->agreed.mode = &modes[ret];
	return 0;
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
