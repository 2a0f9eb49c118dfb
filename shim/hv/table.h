/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The grant table of another domain as its owner sees it: for the stress test, which makes such
 * entries of its grant server's as that domain's kernel has no way to make. An entry must be the
 * caller's in fact: nobody else may use it, or end it, before table_restore().
 */
#ifndef XVS_HV_TABLE_H
#define XVS_HV_TABLE_H

#include <stdint.h>

struct table;

/* Version of the table, 1 or 2; or a negative errno. */
int table_version(uint16_t domid);

/* NULL and a negative errno. */
struct table *table_open(uint16_t domid, int *err);
void table_close(struct table *t);

/*
 * The entry becomes a grant of len bytes of its page from offset on; or one that hands on gref
 * of domain from, who granted it to the owner. For version 2 alone. -EINVAL: the entry is not
 * a plain grant; -EBUSY: another one was not restored.
 */
int table_make_sub_page(struct table *t, uint32_t gref, uint16_t offset, uint16_t len);
int table_make_transitive(struct table *t, uint32_t gref, uint16_t from, uint32_t from_gref);
void table_restore(struct table *t);

#endif
