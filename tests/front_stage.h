/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest's module with a back end that is a few functions, on the kernel of kernel.h. What is
 * not built for it is given here: keeping grants, the store, addressing p2m.
 */
#ifndef XVS_TESTS_FRONT_STAGE_H
#define XVS_TESTS_FRONT_STAGE_H

#include "front.h"

extern const struct xvs_mode strict, adaptive, pool, lazy;
extern const struct xvs_mode *mode; /* what will be agreed on */
extern struct xenbus_device xbdev;
extern bool mute, wrong; /* the back end does not answer; it answers nonsense */
extern bool offers_else; /* not what the saved device had */

struct xvs_front *front(void);
struct virtqueue *the_queue(void);

void power_up(void); /* no module yet */
void probe(void);    /* the same, and the module with its device; mode is strict */
void fill_control_page(void);
void backend_state(enum xenbus_state state);
void connect_to_backend(void);
/* Nothing is left but what the back end still has, and nothing was done twice. */
void nothing_is_left(unsigned int kept);
/* The device and the module go, and then the same. */
void unload(unsigned int kept);

#endif
