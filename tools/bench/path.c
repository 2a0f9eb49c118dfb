/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * B2 to B5: descriptors through the session. The clock runs while the session works, from the
 * guest's available ring to the shadow ring and from the shadow's used ring to the guest's; it
 * stands while the guest posts and the device completes.
 *
 *   packets   chains of one descriptor of 76 bytes (virtio-net header and 64 bytes)
 *             --pages N: the guest's memory; --spots N: how many of its pages are used, in
 *             random order; --apart N: how far one is from the next, by default spread evenly
 *   requests  block requests of --bytes N, header and status in pages of their own, indirect
 *             --copy 1: the guest's copy into or out of its pool is counted as well, once a byte
 * Both: --batch N posted at once; --keep 1: pages stay mapped (protection lazy), 0: strict.
 */
#include "null.h"
#include "serve.h"
#include "session/internal.h"

#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#define PACKET_LEN 76u
#define GUEST_FEATURES                                                                            \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                          \
	 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define SEGS_MAX 126u   /* pages of data a chain may have: seg_max of a queue of 256 */
#define DATA_PAGES 256u /* a request takes its data from these */

struct path {
	struct null_machine m;
	struct journal journal;
	struct session *s;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint32_t *ref; /* references of the data, in the order they are used */
	uint64_t refs, next_ref;
	uint64_t keep; /* bit of the data's addresses */
	unsigned int batch, chains; /* chains: of a request */
	uint64_t units;             /* a round is worth */
	uint64_t bytes;             /* of a request */
	char *pool, *data;          /* NULL: no copies */
	uint64_t pool_at, data_at;
};

static struct path path;

static uint64_t daddr(uint32_t ref, uint32_t offset)
{
	return XVS_DADDR_GRANT | (uint64_t)ref << XVS_DADDR_GREF_SHIFT | offset;
}

/* Of data; rings are never kept. */
static uint64_t buffer(const struct path *p, uint32_t ref, uint32_t offset)
{
	return daddr(ref, offset) | p->keep;
}

static void ask(struct path *p, uint32_t op, uint64_t value)
{
	struct xvs_control_page *page = null_page(&p->m, NULL_REF_CTRL);

	page->req.op = op;
	page->req.u.features = value;
	page->req.seq++;
	session_serve_control(p->s);
	if (page->rsp.seq != page->req.seq || page->rsp.result)
		bench_fail("operation %u of the driver: result %d", op, page->rsp.result);
}

static void start_driver(struct path *p)
{
	struct xvs_control_page *page = null_page(&p->m, NULL_REF_CTRL);
	struct xvs_queue *q = &page->queue[0];
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	ask(p, XVS_OP_SET_DEVICE_STATUS, 0);
	ask(p, XVS_OP_SET_DEVICE_STATUS, status);
	ask(p, XVS_OP_SET_DRIVER_FEATURES, GUEST_FEATURES);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	ask(p, XVS_OP_SET_DEVICE_STATUS, status);
	q->size = NULL_RING;
	q->evtchn = 1;
	q->desc_addr = daddr(NULL_REF_DESC, 0);
	q->driver_addr = daddr(NULL_REF_AVAIL, 0);
	q->device_addr = daddr(NULL_REF_USED, 0);
	ask(p, XVS_OP_SET_VQUEUE, 0);
	ask(p, XVS_OP_SET_DEVICE_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void start(struct path *p, uint64_t data_refs)
{
	struct session_params params = {
		.hv = &p->m.hv, .dev = &p->m.dev, .dma = &p->m.dma, .journal = &p->journal,
		.domid = 1, .ctrl_ref = NULL_REF_CTRL, .addressing = XVS_ADDRESSING_GRANT,
		.protection = p->keep ? XVS_PROTECTION_LAZY : XVS_PROTECTION_STRICT,
		.keep_pages = KEPT_PAGES_MAX, .name = "bench",
	};
	char why[160] = "";

	null_open(&p->m, data_refs);
	p->desc = null_page(&p->m, NULL_REF_DESC);
	p->avail = null_page(&p->m, NULL_REF_AVAIL);
	p->used = null_page(&p->m, NULL_REF_USED);
	if (journal_create(&p->journal, NULL) || journal_set_dma(&p->journal, &p->m.dma) ||
	    session_open(&p->s, &params, why, sizeof(why)))
		bench_fail("session: %s", why);
	start_driver(p);
	for (unsigned int i = 0; i < NULL_RING; i++)
		p->avail->ring[i] = (uint16_t)i;
}

static void add_ref(struct path *p, uint32_t ref)
{
	p->ref[p->refs++] = ref;
	if (p2m_cache_set(&p->m.frames, (pfn_t){ ref }, (mfn_t){ 0x200000 + ref }))
		bench_fail("reference %u is out of range", ref);
}

static void shuffle(struct path *p)
{
	uint64_t seed = 7;

	for (uint64_t i = p->refs; i > 1; i--) {
		uint64_t k = bench_random(&seed) % i;
		uint32_t ref = p->ref[i - 1];

		p->ref[i - 1] = p->ref[k];
		p->ref[k] = ref;
	}
}

static void *open_packets(int argc, char **argv)
{
	struct path *p = &path;
	const uint64_t most = P2M_CACHE_MAX_PFNS - NULL_REF_DATA; /* 1 TiB, but for the rings */
	uint64_t asked = bench_arg(argc, argv, "--pages", 1024), pages = asked < most ? asked : most;
	uint64_t spots = bench_arg(argc, argv, "--spots", pages < 1024 ? pages : 1024);
	uint64_t apart = bench_arg(argc, argv, "--apart", spots ? pages / spots : 0);

	p->batch = (unsigned int)bench_arg(argc, argv, "--batch", 32);
	p->keep = bench_arg(argc, argv, "--keep", 0) ? XVS_DADDR_KEEP : 0;
	if (!p->batch || p->batch > NULL_RING || !spots || spots * apart > pages)
		bench_fail("--batch 1 to 256, --spots times --apart at most --pages");
	start(p, pages);
	p->ref = calloc(spots, sizeof(*p->ref));
	if (!p->ref)
		bench_fail("out of memory");
	for (uint64_t i = 0; i < spots; i++)
		add_ref(p, NULL_REF_DATA + (uint32_t)(i * apart));
	shuffle(p);
	p->chains = 1;
	p->units = p->batch;
	return p;
}

static void post_packets(struct path *p)
{
	for (unsigned int i = 0; i < p->batch; i++) {
		unsigned int head = (p->avail->idx + i) % NULL_RING;

		p->desc[head] = (struct vring_desc){ .addr = buffer(p, p->ref[p->next_ref], 0x40),
						     .len = PACKET_LEN };
		p->next_ref = p->next_ref + 1 == p->refs ? 0 : p->next_ref + 1;
	}
	shared_write_release(&p->avail->idx, (uint16_t)(p->avail->idx + p->batch));
}

/* The two halves of a turn, until all that was posted is back. */
static void move(struct path *p, uint64_t *cycles)
{
	uint16_t end = p->avail->idx;

	do {
		uint64_t start = bench_cycles();

		session_submit(p->s);
		*cycles += bench_cycles() - start;
		null_complete(&p->m);
		start = bench_cycles();
		session_harvest(p->s);
		*cycles += bench_cycles() - start;
		if (p->s->broken || p->s->fatal)
			bench_fail("the session gave up: %s", p->s->st->reason);
	} while (shared_read_acquire(&p->used->idx) != end);
}

static void round_packets(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct path *p = arg;

	post_packets(p);
	move(p, cycles);
	*units += p->units;
}

/* Header, data a page each, status. */
static unsigned int fill_table(struct path *p, struct vring_desc *t, uint64_t bytes)
{
	unsigned int n = 0;

	t[n++] = (struct vring_desc){ .addr = buffer(p, p->ref[0], 0), .len = 16 };
	for (unsigned int i = 1; bytes; i++) {
		uint32_t len = bytes < XVS_FRAME_SIZE ? (uint32_t)bytes : XVS_FRAME_SIZE;

		t[n++] = (struct vring_desc){ .addr = buffer(p, p->ref[i % DATA_PAGES], 0),
					      .len = len, .flags = VRING_DESC_F_WRITE };
		bytes -= len;
	}
	t[n++] = (struct vring_desc){ .addr = buffer(p, p->ref[0], 64), .len = 1,
				      .flags = VRING_DESC_F_WRITE };
	for (unsigned int i = 0; i + 1 < n; i++) {
		t[i].flags |= VRING_DESC_F_NEXT;
		t[i].next = (uint16_t)(i + 1);
	}
	return n;
}

#define POOL_BYTES (2u << 20)  /* as the front end's */
#define OTHER_BYTES (64u << 20) /* the drivers' buffers: more than the caches hold */

static void open_copies(struct path *p, uint64_t bytes)
{
	p->bytes = bytes;
	p->pool = calloc(1, POOL_BYTES);
	p->data = calloc(1, OTHER_BYTES);
	if (!p->pool || !p->data)
		bench_fail("out of memory");
	memset(p->data, 1, OTHER_BYTES);
	memset(p->pool, 1, POOL_BYTES);
}

static void copy_requests(struct path *p, uint64_t *cycles)
{
	uint64_t start = bench_cycles();

	for (unsigned int i = 0; i < p->batch; i++) {
		if (p->pool_at + p->bytes > POOL_BYTES)
			p->pool_at = 0;
		if (p->data_at + p->bytes > OTHER_BYTES)
			p->data_at = 0;
		memcpy(p->pool + p->pool_at, p->data + p->data_at, p->bytes);
		p->pool_at += p->bytes;
		p->data_at += p->bytes;
	}
	__asm__ volatile("" : : "r"(p->pool) : "memory");
	*cycles += bench_cycles() - start;
}

static void *open_requests(int argc, char **argv)
{
	struct path *p = &path;
	uint64_t bytes = bench_arg(argc, argv, "--bytes", 4096);
	uint64_t pages = (bytes + XVS_FRAME_MASK) / XVS_FRAME_SIZE;

	p->batch = (unsigned int)bench_arg(argc, argv, "--batch", 32);
	p->keep = bench_arg(argc, argv, "--keep", 0) ? XVS_DADDR_KEEP : 0;
	p->chains = (unsigned int)((pages + SEGS_MAX - 1) / SEGS_MAX);
	if (!p->batch || !bytes || p->batch * p->chains > NULL_RING)
		bench_fail("--batch and --bytes do not fit the ring");
	start(p, DATA_PAGES);
	p->ref = calloc(DATA_PAGES, sizeof(*p->ref));
	if (!p->ref)
		bench_fail("out of memory");
	for (uint32_t i = 0; i < DATA_PAGES; i++)
		add_ref(p, NULL_REF_DATA + i);
	shuffle(p);
	for (unsigned int head = 0; head < NULL_RING; head++) {
		uint32_t ref = NULL_REF_TABLE + 2 * head;
		uint64_t done = (uint64_t)(head % p->chains) * SEGS_MAX * XVS_FRAME_SIZE;
		uint64_t part = bytes - done < SEGS_MAX * XVS_FRAME_SIZE ?
					bytes - done : SEGS_MAX * XVS_FRAME_SIZE;
		unsigned int n = fill_table(p, null_page(&p->m, ref), part);

		p->desc[head] = (struct vring_desc){ .addr = buffer(p, ref, 0),
						     .len = n * (uint32_t)sizeof(*p->desc),
						     .flags = VRING_DESC_F_INDIRECT };
	}
	p->units = p->batch;
	if (bench_arg(argc, argv, "--copy", 0))
		open_copies(p, bytes);
	return p;
}

static void round_requests(void *arg, uint64_t *units, uint64_t *cycles)
{
	struct path *p = arg;

	if (p->pool)
		copy_requests(p, cycles);

	/* heads in turn from 0 on, so that those of a request belong together */
	for (unsigned int i = 0; i < p->batch * p->chains; i++)
		p->avail->ring[(p->avail->idx + i) % NULL_RING] = (uint16_t)i;
	shared_write_release(&p->avail->idx, (uint16_t)(p->avail->idx + p->batch * p->chains));
	move(p, cycles);
	*units += p->units;
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{ "packets", open_packets, round_packets },
		{ "requests", open_requests, round_requests },
		{ 0 },
	};

	return bench_main(cases, argc, argv);
}
