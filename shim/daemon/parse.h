/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Strict readers of what stands in the store, in the configuration and on the command line.
 * A guest writes some of it: anything but the exact form is refused. 0 or -EINVAL (-ERANGE for
 * a number that is too large); nothing is written on an error.
 */
#ifndef XVS_DAEMON_PARSE_H
#define XVS_DAEMON_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xvshim/protocol.h>

#define NODE_MAX 256 /* bytes of a node's value */
#define SOURCE_MAX 64

/* Decimal digits and nothing else. */
int parse_number(const char *text, uint64_t max, uint64_t *value);

int parse_addressing(const char *word, enum xvs_addressing *addressing);
int parse_protection(const char *word, enum xvs_protection *protection);

/* SSSS:BB:DD.F in lower case. A person may leave the segment out: short_ok. */
int parse_bdf(const char *text, bool short_ok, char bdf[13]);

/* A source, "pci:SSSS:BB:DD.F", in its full form. */
int parse_source(const char *text, bool short_ok, char source[SOURCE_MAX]);

/* "F/N", at the end of a path of the store. */
int parse_device_path(const char *tail, uint16_t *domid, uint32_t *devid);

/* An address: decimal, or hexadecimal with 0x. */
int parse_address(const char *text, uint64_t *value);

#endif
