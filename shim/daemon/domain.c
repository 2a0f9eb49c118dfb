/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain.h"

#include "daemon/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void domain_name(struct hv *hv, uint16_t domid, char *name, size_t size)
{
	char dir[PATH_SIZE];

	snprintf(dir, sizeof(dir), "/local/domain/%u", domid);
	node_get_text(hv, dir, "name", name, size);
}

static int find_name(struct hv *hv, const char *text, uint16_t *domid)
{
	char **names = NULL, name[NODE_MAX + 1];
	unsigned int n = 0;
	uint64_t id;
	int rc = hv->ops->store_list(hv, 0, "/local/domain", &names, &n);

	if (rc)
		return rc;
	rc = -ESRCH;
	for (unsigned int i = 0; i < n && rc; i++) {
		if (parse_number(names[i], 0x7fef, &id))
			continue;
		domain_name(hv, (uint16_t)id, name, sizeof(name));
		if (!strcmp(name, text)) {
			*domid = (uint16_t)id;
			rc = 0;
		}
	}
	free(names);
	return rc;
}

int domain_resolve(struct hv *hv, const char *text, uint16_t *domid, char *why, size_t size)
{
	struct hv_dominfo info;
	uint64_t id;
	int rc;

	if (!parse_number(text, 0x7fef, &id)) {
		*domid = (uint16_t)id;
		rc = 0;
	} else {
		rc = find_name(hv, text, domid);
	}
	if (!rc)
		rc = hv->ops->dom_info(hv, *domid, &info);
	if (rc == -ESRCH)
		snprintf(why, size, "there is no domain '%.64s' (xl list shows those there are)",
			 text);
	else if (rc)
		snprintf(why, size, "domain '%.64s': %s", text, strerror(-rc));
	else if (info.dying) {
		snprintf(why, size, "domain '%.64s' is shutting down", text);
		rc = -ESRCH;
	}
	return rc;
}
