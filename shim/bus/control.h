/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control page of virtio-xenbus: the back end's side of the mailbox, the identity of the
 * device, the mirror of its config space, the queue table. The guest can write any byte of it
 * at any time; what is read is copied once, what is ours is kept in private memory as well.
 */
#ifndef XVS_BUS_CONTROL_H
#define XVS_BUS_CONTROL_H

#include <stdbool.h>
#include <xvshim/protocol.h>

struct control {
	struct xvs_control_page *page;
	uint32_t answered;   /* seq of the last request answered */
	uint32_t generation; /* of the config mirror */
};

/* resume: a request the dead process left unanswered is found again by control_take. */
void control_open(struct control *c, void *page, bool resume);

/* Writes the identity; magic last, so that a front end cannot see half of it. */
void control_identify(struct control *c, const struct xvs_device_info *info);

/* A request that waits: copies it and returns true. */
bool control_take(struct control *c, struct xvs_request *req);
/* Is there one? Without copying it. */
bool control_waiting(const struct control *c);
void control_answer(struct control *c, const struct xvs_request *req, int result,
		    uint32_t status);

void control_set_status(struct control *c, uint32_t status);
/* len at most XVS_CONFIG_MAX. What is there already is not written again. */
void control_set_config(struct control *c, const void *config, unsigned int len);

/* The front end's half of a queue entry, copied. index < XVS_MAX_QUEUES. */
void control_queue(const struct control *c, unsigned int index, struct xvs_queue *copy);
void control_set_queue(struct control *c, unsigned int index, uint16_t size_max, bool enabled);

#endif
