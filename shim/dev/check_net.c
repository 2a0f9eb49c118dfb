/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checking device as a network card whose cable leads back to itself: what is sent on the
 * odd queue arrives on the even one before it. virtio 1.x, "Network Device".
 */
#include "dev/check_priv.h"

#include <stdlib.h>
#include <string.h>

void check_net_config(struct check_dev *d)
{
	struct virtio_net_config *c = (struct virtio_net_config *)d->regs->config;

	_Static_assert(sizeof(d->regs->config) >= sizeof(*c), "room for the config space");
	memcpy(c->mac, "\x02xvsim", sizeof(c->mac));
	c->max_virtqueue_pairs = (uint16_t)(d->cfg.num_queues / 2);
	d->dev.config_len = offsetof(struct virtio_net_config, mtu);
}

static struct check_req *check_net_buffer(struct check_dev *d, unsigned int queue)
{
	struct check_req **at = &d->inflight, *r;

	while (*at && (*at)->queue != queue)
		at = &(*at)->next;
	r = *at;
	if (r)
		*at = r->next;
	return r;
}

/* Sends: the packet goes into the next buffer of the receive queue, or is lost without one. */
void check_net_complete(struct check_dev *d, struct check_req *tx)
{
	struct check_req *rx = check_net_buffer(d, tx->queue - 1);
	uint64_t len = tx->readable;
	uint8_t *packet;

	if (rx) {
		packet = malloc(len ? len : 1);
		if (!packet)
			abort();
		len = check_copy(d, tx, false, 0, packet, len);
		if (check_recheck(d, rx, "at its completion")) {
			len = check_copy(d, rx, true, 0, packet, len);
			if (check_recheck(d, rx, "before it was published"))
				check_publish(d, rx, (uint32_t)len);
		}
		free(packet);
		d->regs->stats.inflight--;
		check_req_free(rx);
	}
	if (check_recheck(d, tx, "before it was published"))
		check_publish(d, tx, 0);
}
