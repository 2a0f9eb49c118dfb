/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains as a person names them. */
#ifndef XVS_DAEMON_DOMAIN_H
#define XVS_DAEMON_DOMAIN_H

#include "hv/hv.h"

/* Name or number. -ESRCH and one line in why: there is no such domain. */
int domain_resolve(struct hv *hv, const char *text, uint16_t *domid, char *why, size_t size);

/* Empty when it has none. */
void domain_name(struct hv *hv, uint16_t domid, char *name, size_t size);

#endif
