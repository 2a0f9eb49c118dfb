/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "chain": walking chains of an arbitrary ring and of indirect tables, decoding addresses,
 * and the shadow ring with what a device returns. Compared with a slow walk that follows the
 * specification's words; memory is of just the size it has to be, so the sanitizer sees a step
 * beside it. Between any two reads one field may change.
 */
#include "fuzz.h"

#include "mem/daddr.h"
#include "ring/chain.h"
#include "ring/shadow.h"

#define MAX_PAGES 64u /* of DMA memory */

static struct {
	unsigned int left; /* reads until it happens; 0: it does not */
	void *at;
	uint64_t value;
	unsigned int size;
} race;

void fuzz_shared(const volatile void *p, unsigned int n)
{
	(void)p;
	(void)n;
	if (race.left && !--race.left)
		memcpy(race.at, &race.value, race.size);
}

/* -- chains -- */

/* Few bytes for what matters, so that a whole table fits into a short input. */
static void take_desc_in(struct fuzz *f, struct vring_desc *d)
{
	uint8_t form = fuzz_u8(f);

	d->flags = form & 7;
	d->next = fuzz_u8(f);
	if (form & 0x80)
		d->next |= 0xff00;
	d->len = fuzz_u8(f) * (form & 0x40 ? 0x01010101u : 16u);
	d->addr = XVS_DADDR_GRANT | (uint64_t)fuzz_u8(f) << XVS_DADDR_GREF_SHIFT;
	if (form & 0x20)
		d->addr = fuzz_u64(f);
}

/* What the specification says of a chain. Follows at most `most` links. */
static bool chain_is_good(const struct vring_desc *table, unsigned int entries, unsigned int head,
			  unsigned int most, bool in_table, bool *indirect, unsigned int *n)
{
	unsigned int i = head;

	*indirect = false;
	for (*n = 0; *n < most; i = table[i].next) {
		if (i >= entries)
			return false;
		if (table[i].flags & VRING_DESC_F_INDIRECT) {
			*indirect = true;
			return !in_table && !*n && !(table[i].flags & VRING_DESC_F_NEXT) &&
			       table[i].len;
		}
		++*n;
		if (!(table[i].flags & VRING_DESC_F_NEXT))
			return true;
	}
	return false;
}

static void check_same(const struct vring_desc *table, unsigned int head,
		       const struct chain_desc *out, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++, head = table[head].next)
		FUZZ_CHECK(out[i].daddr == table[head].addr && out[i].len == table[head].len &&
			   out[i].writable == !!(table[head].flags & VRING_DESC_F_WRITE),
			   "descriptor %u of the chain", i);
}

/* A chain's descriptors as a session goes through them. */
static void check_form(const struct chain_desc *d, unsigned int n)
{
	uint64_t readable = 0, writable = 0;
	struct chain_sum sum = { 0 };
	bool good = true;
	unsigned int i;

	for (i = 0; i < n && !chain_check_next(&d[i], &sum); i++) {
		*(d[i].writable ? &writable : &readable) += d[i].len;
		good &= d[i].len && (d[i].writable || !writable);
	}
	FUZZ_CHECK(good, "a chain of a bad form passed");
	if (i == n && !chain_check_sum(&sum))
		FUZZ_CHECK(readable <= UINT32_MAX && writable <= UINT32_MAX, "its length overflows");
}

static void check_address(uint64_t daddr, uint32_t len, bool keep)
{
	struct gref_range r;
	bool kept;

	if (daddr_decode(daddr, len, keep ? XVS_DADDR_KEEP : 0, &r, &kept))
		return;
	FUZZ_CHECK(len && daddr >> 63, "%#llx, %u bytes", (unsigned long long)daddr, len);
	FUZZ_CHECK(!kept || keep, "KEEP was not agreed on");
	FUZZ_CHECK((uint64_t)r.npages << 12 >= (uint64_t)r.offset + len &&
		   (uint64_t)(r.npages - 1) << 12 < (uint64_t)r.offset + len,
		   "%u bytes at offset %u are not %u pages", len, r.offset, r.npages);
	FUZZ_CHECK(r.gref + (uint64_t)r.npages - 1 <= UINT32_MAX, "references wrap around");
}

static void try_table(struct fuzz *f, const struct vring_desc *indirect, unsigned int max)
{
	unsigned int entries = indirect->len / 16, n, want;
	struct vring_desc *table;
	struct chain_desc *out;
	chain_error why;
	bool nested;

	if (chain_check_indirect(indirect, max))
		return;
	FUZZ_CHECK(entries && entries <= max && indirect->len % 16 == 0, "%u bytes",
		   indirect->len);
	table = malloc(indirect->len);
	out = malloc(entries * sizeof(*out));
	FUZZ_CHECK(table && out, "out of memory");
	for (unsigned int i = 0; i < entries; i++)
		take_desc_in(f, &table[i]);
	why = chain_walk_table(table, entries, out, entries, &n);
	FUZZ_CHECK(!why == chain_is_good(table, entries, 0, entries, true, &nested, &want),
		   "indirect table: %s", why ? why : "taken");
	if (!why) {
		FUZZ_CHECK(n == want, "%u descriptors and not %u", n, want);
		check_same(table, 0, out, n);
		check_form(out, n);
	}
	free(out);
	free(table);
}

static void try_ring(struct fuzz *f)
{
	const uint16_t size = (uint16_t)(1u << fuzz_below(f, 9));
	struct guest_ring r = { .size = size };
	unsigned int max = 1u + fuzz_u8(f), most = size < max ? size : max, n, want;
	uint16_t head = fuzz_u16(f);
	bool racing = fuzz_u8(f) & 1, indirect;
	struct vring_desc *desc = malloc(GUEST_RING_DESC_BYTES(size)), ind;
	struct chain_desc *out = malloc(most * sizeof(*out));
	chain_error why;

	FUZZ_CHECK(desc && out, "out of memory");
	if (racing) {
		race.left = 1u + fuzz_u8(f);
		race.size = 8;
		race.at = (char *)desc + fuzz_u16(f) % (size * 2u) * 8;
		race.value = fuzz_u64(f);
	}
	for (unsigned int i = 0; i < size; i++)
		take_desc_in(f, &desc[i]);
	r.desc = desc;
	why = chain_walk_ring(&r, head, &ind, out, max, &n);
	race.left = 0;
	FUZZ_CHECK(n <= most, "%u descriptors", n);
	if (!racing) {
		bool good = chain_is_good(desc, size, head, most, false, &indirect, &want);

		FUZZ_CHECK(!why == good, "ring: %s", why ? why : "taken");
		if (good && !indirect)
			FUZZ_CHECK(n == want && !ind.len, "%u descriptors and not %u", n, want);
		if (good && !indirect)
			check_same(desc, head, out, n);
	}
	if (!why && ind.len)
		try_table(f, &ind, size);
	else if (!why)
		check_form(out, n);
	for (unsigned int i = 0; i < n; i++)
		check_address(out[i].daddr, out[i].len, i & 1);
	free(out);
	free(desc);
}

/* The two rings of indices. */
static void try_indices(struct fuzz *f)
{
	const uint16_t size = (uint16_t)(1u << fuzz_below(f, 9));
	struct guest_ring r = { .size = size, .last_avail = fuzz_u16(f), .used_idx = fuzz_u16(f),
				.event_idx = fuzz_u8(f) & 1 };
	int n;

	r.avail = malloc(GUEST_RING_AVAIL_BYTES(size));
	r.used = malloc(GUEST_RING_USED_BYTES(size));
	FUZZ_CHECK(r.avail && r.used, "out of memory");
	fuzz_bytes(f, r.avail, GUEST_RING_AVAIL_BYTES(size));
	n = guest_ring_waiting(&r);
	FUZZ_CHECK(n == -EOVERFLOW || (n >= 0 && n <= size), "%d chains wait", n);
	for (int i = 0; i < n; i++)
		(void)guest_ring_head(&r, (unsigned int)i);
	for (unsigned int i = 0; i < size; i++)
		guest_ring_put(&r, (uint16_t)(r.used_idx + i), i, 1);
	guest_ring_publish(&r, (uint16_t)(r.used_idx + size));
	(void)guest_ring_wants_event(&r, (uint16_t)(r.used_idx - size));
	guest_ring_want_kick(&r);
	guest_ring_no_kick(&r);
	free(r.avail);
	free(r.used);
}

/* -- the shadow ring -- */

/* What was put into the ring and did not come back. */
struct put {
	bool there;
	unsigned int n;
	struct shadow_seg seg[SHADOW_MAX];
};

struct shadows {
	struct shadow_ring s;
	struct hv_dma dma;
	maddr_t maddr[MAX_PAGES];
	struct put put[SHADOW_MAX]; /* by the number that stands in guest_head */
	uint16_t used_idx;
};

static void *at_maddr(const struct shadows *sh, uint64_t maddr, uint64_t len)
{
	for (unsigned int i = 0; i < sh->dma.npages; i++)
		if (maddr - sh->maddr[i].a < XVS_FRAME_SIZE) {
			FUZZ_CHECK(maddr - sh->maddr[i].a + len <= XVS_FRAME_SIZE,
				   "a table over the edge of its page");
			return (char *)sh->dma.va + i * XVS_FRAME_SIZE + (maddr - sh->maddr[i].a);
		}
	FUZZ_CHECK(false, "%#llx is no memory of the ring's", (unsigned long long)maddr);
	return NULL;
}

/* Goes along a chain as the device would; each descriptor is what segments merge to. */
static void check_chain(const struct shadows *sh, uint16_t head, const struct put *p)
{
	const struct vring_desc *table = sh->s.desc, *d = &table[head];
	unsigned int entries = sh->s.size, i = 0, steps = 0;

	if (d->flags & VRING_DESC_F_INDIRECT) {
		entries = d->len / 16;
		table = d = at_maddr(sh, d->addr, d->len);
	}
	for (;; d = &table[d->next]) {
		uint64_t left = d->len, maddr = d->addr;

		FUZZ_CHECK(++steps <= entries && d < table + entries, "chain leaves its table");
		while (left) {
			FUZZ_CHECK(i < p->n && p->seg[i].maddr.a == maddr && p->seg[i].len <= left &&
				   p->seg[i].writable == !!(d->flags & VRING_DESC_F_WRITE),
				   "segment %u of %u", i, p->n);
			maddr += p->seg[i].len;
			left -= p->seg[i++].len;
		}
		if (!(d->flags & VRING_DESC_F_NEXT))
			break;
	}
	FUZZ_CHECK(i == p->n, "%u segments of %u", i, p->n);
}

static void put_chain(struct fuzz *f, struct shadows *sh)
{
	unsigned int n = 1u + fuzz_u8(f) % sh->s.size, tag = 0;
	bool close = fuzz_u8(f) & 1;
	struct shadow_chain chain = { .writable = fuzz_u8(f) };
	struct put *p;

	while (tag < SHADOW_MAX && sh->put[tag].there)
		tag++;
	if (tag == SHADOW_MAX || !shadow_reserve(&sh->s, n))
		return;
	p = &sh->put[tag];
	p->there = true;
	p->n = n;
	for (unsigned int i = 0; i < n; i++)
		p->seg[i] = (struct shadow_seg){
			.maddr = { 0x100000ull * (1 + tag) + i * (close ? 0x100 : 0x200) },
			.len = 0x100, .writable = i * 2 >= n };
	chain.guest_head = (uint16_t)tag;
	shadow_unreserve(&sh->s);
	shadow_add(&sh->s, p->seg, n, &chain);
	check_chain(sh, sh->s.avail->ring[(uint16_t)(sh->s.avail_idx - 1) & (sh->s.size - 1)], p);
}

/* The device writes some used elements, perhaps wrong ones. */
static void complete(struct fuzz *f, struct shadows *sh)
{
	struct vring_used_elem *e = &sh->s.used->ring[sh->used_idx & (sh->s.size - 1)];

	e->id = fuzz_u8(f);
	if (e->id >= 0xf8)
		e->id = fuzz_u32(f);
	e->len = fuzz_u8(f);
	sh->used_idx = (uint16_t)(sh->used_idx + 1u + (fuzz_u8(f) >= 0xfc ? fuzz_u16(f) : 0));
	sh->s.used->idx = sh->used_idx;
}

static bool take(struct shadows *sh)
{
	struct shadow_chain chain;
	uint32_t len = 0;
	int rc = shadow_waiting(&sh->s) > 0 ? shadow_take(&sh->s, &chain, &len) : -EPROTO;

	if (rc && rc != -EMSGSIZE)
		return false;
	FUZZ_CHECK(chain.guest_head < SHADOW_MAX && sh->put[chain.guest_head].there,
		   "a chain came back that was not put in, or twice");
	FUZZ_CHECK(len <= chain.writable, "%u bytes of %u", len, chain.writable);
	sh->put[chain.guest_head].there = false;
	return !rc;
}

static void check_books(const struct shadows *sh)
{
	unsigned int n = 0, descs = 0;

	for (unsigned int i = 0; i < SHADOW_MAX; i++)
		n += sh->put[i].there;
	for (unsigned int i = 0; i < sh->s.size; i++)
		descs += sh->s.count[i];
	FUZZ_CHECK(n == sh->s.inflight, "%u chains in flight, %u by the ring", n, sh->s.inflight);
	FUZZ_CHECK(descs + sh->s.free_n == sh->s.size, "%u descriptors in use, %u free of %u",
		   descs, sh->s.free_n, sh->s.size);
	FUZZ_CHECK(n || sh->s.big_free_n == SHADOW_BIG_TABLES, "a table is lost");
}

static void try_shadow(struct fuzz *f)
{
	static struct shadows sh;
	static void *memory;
	uint8_t form = fuzz_u8(f);
	bool good = true;

	for (unsigned int i = 0; i < SHADOW_MAX; i++)
		sh.put[i].there = false;
	sh.used_idx = 0;
	sh.dma.npages = shadow_dma_pages();
	FUZZ_CHECK(sh.dma.npages <= MAX_PAGES, "%u pages", sh.dma.npages);
	memory = memory ? memory : aligned_alloc(XVS_FRAME_SIZE, sh.dma.npages * XVS_FRAME_SIZE);
	FUZZ_CHECK(memory, "out of memory");
	sh.dma.va = memory;
	sh.dma.maddr = sh.maddr;
	for (unsigned int i = 0; i < sh.dma.npages; i++)
		sh.maddr[i].a = 0x80000000ull + i * 2ull * XVS_FRAME_SIZE;
	shadow_init(&sh.s, &sh.dma, 0, (uint16_t)(1u << (form & 7)) * (form & 8 ? 2 : 1),
		    form & 16, form & 32);
	while (fuzz_more(f) && good) {
		switch (fuzz_below(f, 5)) {
		case 0:
		case 1:
			put_chain(f, &sh);
			break;
		case 2:
			complete(f, &sh);
			break;
		case 3:
			shadow_want_irq(&sh.s);
			(void)shadow_publish(&sh.s);
			break;
		default:
			while (shadow_pending(&sh.s) && good)
				good = take(&sh);
		}
		check_books(&sh);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };

	switch (fuzz_below(&f, 4)) {
	case 0:
	case 1:
		try_ring(&f);
		break;
	case 2:
		try_indices(&f);
		break;
	default:
		try_shadow(&f);
	}
	return 0;
}
