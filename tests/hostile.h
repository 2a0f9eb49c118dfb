/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest does that no driver would: raw descriptors, on a stage. Queue 0. */
#ifndef XVS_TESTS_HOSTILE_H
#define XVS_TESTS_HOSTILE_H

#include "stage.h"

struct vring_desc *hostile_desc(struct stage *st);
/* Pages of the guest that nobody uses, side by side; address of the first. */
uint64_t hostile_pages(struct stage *st, unsigned int n);
/* Grants a buffer. */
uint64_t hostile_expose(struct stage *st, uint64_t gpa, uint32_t len, bool readonly);
/* The device is broken, for a reason that begins with "queue N: " and contains part. */
void hostile_wait_broken(struct stage *st, unsigned int queue, const char *part);
/* The same, and nothing is held; after a reset it works again. */
void hostile_expect_broken(struct stage *st, unsigned int queue, const char *part);
/* Puts a chain into the ring and waits until the device has it. */
void hostile_submit(struct stage *st, uint16_t head);
/* Waits until n chains are in flight; nothing completes meanwhile. */
void hostile_wait_inflight(struct stage *st, unsigned int n);

#endif
