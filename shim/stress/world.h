/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The places where the stress test can run. */
#ifndef XVS_STRESS_WORLD_H
#define XVS_STRESS_WORLD_H

#include "hv/sim.h"
#include "stress/stress.h"

/* A machine of its own. sim_machine of it, to plant faults; NULL and *err. */
struct stress_world *world_sim_new(uint64_t seed, int *err);
struct sim_machine *world_sim_machine(struct stress_world *w);
void world_sim_free(struct stress_world *w);

/*
 * A domU that runs xvshim-gntserver, by name or number; or, domain NULL, dom0 with itself.
 * restart: a command that destroys the domU and makes it again, for chaos; NULL: never.
 */
struct stress_world *world_xen_new(const char *domain, const char *restart, const char *run_dir,
				   char *why, size_t size);
void world_xen_free(struct stress_world *w);

#endif
