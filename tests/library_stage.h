/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The library on a simulated machine, for tests that otherwise know its public header alone. */
#ifndef XVS_TESTS_LIBRARY_STAGE_H
#define XVS_TESTS_LIBRARY_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xvs;

#define STAGE_GUEST 3

void stage_setup(void);
/* Fails if the domain of the library holds anything. */
void stage_teardown(void);

struct xvs *stage_open(unsigned int parts);
/* The same in a child process, whose handles are its own; NULL on failure. */
struct xvs *stage_open_child(unsigned int parts);

/* Pages that the library's domain holds for devices: grants of others, and its own memory. */
unsigned int stage_grants_held(void);
unsigned int stage_memory_held(void);

/* A page of the guest, granted to the library's domain or to another. */
uint32_t stage_grant(bool readonly);
uint32_t stage_grant_elsewhere(void);
/* Would Xen let a device do this? */
bool stage_reaches(uint64_t maddr, size_t len, bool write);
/* The byte at a machine address. */
unsigned char stage_peek(uint64_t maddr);

/* Two own pages that touch in the machine, mapped side by side, and a third that does not. */
const void *stage_touching(void);
void stage_touching_done(const void *va);

/* The next call of the hypervisor to map, or element n of it, fails. */
void stage_fail_map(int err);
void stage_fail_map_element(unsigned int nth);

#endif
