/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus/control.h"

#include "util/shared.h"

#include <stddef.h>

void control_open(struct control *c, void *page, bool resume)
{
	c->page = page;
	c->answered = resume ? shared_read(&c->page->rsp.seq) : 0;
	/* Whatever the guest made of the old value: an even one to go on from. */
	c->generation = resume ? (shared_read(&c->page->info.config_generation) + 1) & ~1u : 0;
}

static void copy_in(void *dst, const void *src, unsigned int words)
{
	uint32_t *to = dst;
	const uint32_t *from = src;

	for (unsigned int i = 0; i < words; i++)
		shared_write(&to[i], from[i]);
}

void control_identify(struct control *c, const struct xvs_device_info *info)
{
	const unsigned int magic = offsetof(struct xvs_device_info, magic) / 4;

	_Static_assert(offsetof(struct xvs_device_info, magic) == 0, "magic comes first");
	copy_in((uint32_t *)&c->page->info + magic + 1, (const uint32_t *)info + magic + 1,
		sizeof(*info) / 4 - 1);
	shared_write_release(&c->page->info.magic, info->magic);
}

bool control_waiting(const struct control *c)
{
	uint32_t seq = shared_read_acquire(&c->page->req.seq);

	return seq && seq != c->answered;
}

bool control_take(struct control *c, struct xvs_request *req)
{
	uint32_t seq = shared_read_acquire(&c->page->req.seq); /* pairs with the guest's release */

	if (!seq || seq == c->answered)
		return false;
	shared_copy_out(req, &c->page->req, sizeof(*req));
	req->seq = seq; /* the one decided on, whatever the copy holds by now */
	return true;
}

void control_answer(struct control *c, const struct xvs_request *req, int result, uint32_t status)
{
	struct xvs_response *rsp = &c->page->rsp;

	control_set_status(c, status);
	shared_write(&rsp->result, result);
	shared_write(&rsp->status, status);
	c->answered = req->seq;
	shared_write_release(&rsp->seq, req->seq);
}

void control_set_status(struct control *c, uint32_t status)
{
	shared_write(&c->page->info.device_status, status);
}

static bool config_equal(const struct control *c, const uint8_t *config, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		if (shared_read(&c->page->config[i]) != config[i])
			return false;
	return true;
}

void control_set_config(struct control *c, const void *config, unsigned int len)
{
	const uint8_t *from = config;

	/* A take-over is no change: the driver would look at its disk anew. */
	if (config_equal(c, config, len))
		return;
	shared_write(&c->page->info.config_generation, c->generation + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE); /* odd before the first byte changes */
	for (unsigned int i = 0; i < len; i++)
		shared_write(&c->page->config[i], from[i]);
	c->generation += 2;
	shared_write_release(&c->page->info.config_generation, c->generation);
}

void control_queue(const struct control *c, unsigned int index, struct xvs_queue *copy)
{
	shared_copy_out(copy, &c->page->queue[index], sizeof(*copy));
}

void control_set_queue(struct control *c, unsigned int index, uint16_t size_max, bool enabled)
{
	struct xvs_queue *q = &c->page->queue[index];

	shared_write(&q->size_max, size_max);
	shared_write_release(&q->enabled, enabled);
}
