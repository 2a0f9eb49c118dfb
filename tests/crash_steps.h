/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Death between any two stores of the journal. A process of the daemon lets itself be interrupted
 * after each of its instructions (the processor's trap flag) and looks then whether the journal
 * changed: what it holds of handles, chains and publications, and the index of the guest's used ring.
 * After the change it was told it stands still until it is killed.
 */
#ifndef XVS_TESTS_CRASH_STEPS_H
#define XVS_TESTS_CRASH_STEPS_H

#include "mem/journal.h"

#include <stdbool.h>
#include <sys/types.h>

/* The simulation's, but a call of these is one step: no hypercall stores into the journal. */
const struct hv_ops *steps_ops(void);
/* What is looked at; keepers and workers forked from now on know it too. */
void steps_open(const struct journal *j, const uint16_t *used_index);
/* From now on this process is looked at. Returns when it is. */
void steps_begin(pid_t pid, unsigned int nth);
/* It stands still. */
bool steps_reached(void);
/* Since steps_begin(). */
unsigned int steps_changes(void);
uint64_t steps_instructions(void);

#endif
