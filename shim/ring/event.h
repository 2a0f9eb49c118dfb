/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event fields of split rings, on either side. */
#ifndef XVS_RING_EVENT_H
#define XVS_RING_EVENT_H

#include <stdint.h>

/*
 * A value for used_event or avail_event that no step from idx on reaches: with
 * VIRTIO_F_EVENT_IDX there is no flag for "none" ("Used Buffer Notification Suppression"). Half of all
 * indices away, which is farther than a ring is long, whether the other side looks back or ahead.
 */
static inline uint16_t ring_event_never(uint16_t idx)
{
	return (uint16_t)(idx + 0x8000u);
}

#endif
