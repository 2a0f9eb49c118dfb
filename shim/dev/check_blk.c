/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checking device as a disk: virtio 1.x, "Block Device", in private memory. */
#include "dev/check_priv.h"

#include <stdlib.h>
#include <string.h>

void check_blk_config(struct check_dev *d)
{
	struct virtio_blk_config *c = (struct virtio_blk_config *)d->regs->config;

	_Static_assert(sizeof(d->regs->config) >= sizeof(*c), "room for the config space");
	c->capacity = d->cfg.sectors;
	c->size_max = d->cfg.size_max;
	c->seg_max = d->cfg.seg_max;
	c->blk_size = d->cfg.blk_size;
	c->num_queues = (uint16_t)d->cfg.num_queues;
	d->dev.config_len = sizeof(*c);
}

static bool check_blk_fits(const struct check_dev *d, uint64_t sector, uint64_t len)
{
	const struct virtio_blk_config *c = (const struct virtio_blk_config *)d->regs->config;

	return len % 512 == 0 && sector <= c->capacity && len / 512 <= c->capacity - sector;
}

static void check_blk_wrote(struct check_dev *d, uint64_t sector, uint64_t len)
{
	uint64_t from = sector * 512;

	if (d->dirty_to == d->dirty_from || from < d->dirty_from)
		d->dirty_from = from;
	if (from + len > d->dirty_to)
		d->dirty_to = from + len;
	if (d->cfg.wrote)
		d->cfg.wrote(d->cfg.arg, sector, d->disk + from, len);
}

static uint8_t check_blk_io(struct check_dev *d, const struct check_req *r, bool in,
			    uint64_t sector, uint64_t len)
{
	if (!check_blk_fits(d, sector, len))
		return VIRTIO_BLK_S_IOERR;
	if (!in && d->cfg.readonly)
		return VIRTIO_BLK_S_IOERR;
	check_copy(d, r, in, in ? 0 : sizeof(struct virtio_blk_outhdr), d->disk + sector * 512,
		   len);
	if (!in)
		check_blk_wrote(d, sector, len);
	return VIRTIO_BLK_S_OK;
}

static void check_blk_flush(struct check_dev *d)
{
	if (d->durable && d->dirty_to > d->dirty_from)
		memcpy(d->durable + d->dirty_from, d->disk + d->dirty_from,
		       d->dirty_to - d->dirty_from);
	d->dirty_from = d->dirty_to = 0;
}

static uint8_t check_blk_do(struct check_dev *d, const struct check_req *r, uint32_t *len)
{
	char id[VIRTIO_BLK_ID_BYTES] = "xvshim-check";
	struct virtio_blk_outhdr hdr;

	if (check_copy(d, r, false, 0, &hdr, sizeof(hdr)) != sizeof(hdr))
		return VIRTIO_BLK_S_IOERR;
	switch (hdr.type) {
	case VIRTIO_BLK_T_IN:
		*len = (uint32_t)(r->writable - 1);
		return check_blk_io(d, r, true, hdr.sector, *len);
	case VIRTIO_BLK_T_OUT:
		return check_blk_io(d, r, false, hdr.sector, r->readable - sizeof(hdr));
	case VIRTIO_BLK_T_FLUSH:
		check_blk_flush(d);
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		*len = (uint32_t)(r->writable - 1 < sizeof(id) ? r->writable - 1 : sizeof(id));
		check_copy(d, r, true, 0, id, *len);
		return VIRTIO_BLK_S_OK;
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Serves one request; returns the length for its used element. */
uint32_t check_blk_serve(struct check_dev *d, const struct check_req *r)
{
	uint8_t status;
	uint32_t len = 0;

	/* Without a place for the status there is nothing to say. */
	if (!r->writable)
		return 0;
	if (check_mischief(d, CHECK_LIE)) {
		status = VIRTIO_BLK_S_OK;
		check_copy(d, r, true, r->writable - 1, &status, 1);
		return 0;
	}
	status = check_mischief(d, CHECK_IO_ERROR) ? VIRTIO_BLK_S_IOERR : check_blk_do(d, r, &len);
	if (status != VIRTIO_BLK_S_OK)
		len = 0;
	check_copy(d, r, true, r->writable - 1, &status, 1);
	return len + 1;
}
