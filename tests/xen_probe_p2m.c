/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another domain's p2m on a real Xen. In the guest `xen_probe pattern:N` fills N pages, prints
 * their pfns, and says later whether a mark arrived; in dom0 `xen_probe p2m:DOMID:PFN,...` finds
 * these pages by the guest's own table, compares every byte and leaves the mark.
 */
#include "xen_probe.h"

#include "mem/p2m_pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES_MAX 64u
#define WORDS (XVS_FRAME_SIZE / sizeof(uint64_t))
#define MARK 0x6b72616d20656874ull
#define ROUNDS 200

static uint64_t word(uint64_t pfn, unsigned int i)
{
	return pfn << 20 ^ (uint64_t)i * 0x9e3779b97f4a7c15ull;
}

/* -- in the guest -- */

static int own_pfn(int pagemap, const void *va, uint64_t *pfn)
{
	uint64_t entry;

	if (pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)va / XVS_FRAME_SIZE * 8)) !=
		    sizeof(entry) ||
	    !(entry >> 63))
		return -1;
	*pfn = entry & ((1ull << 55) - 1);
	return *pfn ? 0 : -1;
}

int probe_pattern(unsigned int n)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	uint64_t *page, pfn;
	char line[16];

	n = n < PAGES_MAX ? n : PAGES_MAX;
	page = mmap(NULL, n * XVS_FRAME_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	if (pagemap < 0 || page == MAP_FAILED)
		return 1;
	for (unsigned int i = 0; i < n; i++) {
		if (own_pfn(pagemap, page + i * WORDS, &pfn))
			return 1;
		for (unsigned int k = 0; k < WORDS; k++)
			page[i * WORDS + k] = word(pfn, k);
		printf("%s%lu", i ? "," : "", (unsigned long)pfn);
	}
	printf("\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	return *(volatile uint64_t *)page == MARK ? 0 : 2;
}

/* -- in dom0 -- */

struct p2m_probe {
	struct hv *hv;
	struct p2m_pins pins;
	struct hold_table table;
	uint64_t pfn[PAGES_MAX];
	int use[PAGES_MAX];
	unsigned int n;
};

static void parse_pfns(struct p2m_probe *b, const char *text)
{
	char *end;

	while (*text && b->n < PAGES_MAX) {
		b->pfn[b->n++] = strtoull(text, &end, 10);
		text = *end ? end + 1 : end;
	}
}

static void probe_entries(struct p2m_probe *b)
{
	uint64_t there = 0, differ = 0, hole = 0;
	struct hv_p2m *p2m = b->pins.p2m;
	double t0 = probe_now_us();
	mfn_t mfn;

	for (pfn_t pfn = { 0 }; pfn.n < p2m->npfns; pfn.n++) {
		int rc = hv_p2m_read(b->hv, p2m, pfn, &mfn);

		there += !rc;
		differ += !rc && mfn.n != pfn.n;
		hole = rc == -ENXIO ? pfn.n : hole;
	}
	probe_check(there && differ == there, "p2m of %lu pfns, %lu there, %.3f us each",
		    (unsigned long)p2m->npfns, (unsigned long)there,
		    (probe_now_us() - t0) / (double)p2m->npfns);
	t0 = probe_now_us();
	for (int i = 0; i < 100000; i++)
		hv_p2m_read(b->hv, p2m, (pfn_t){ b->pfn[0] }, &mfn);
	probe_check(mfn.n, "a warm look-up: %.4f us", (probe_now_us() - t0) / 100000);
	probe_check(p2m_pins_add(&b->pins, (pfn_t){ p2m->npfns }, false) == -EFAULT &&
			    b->pins.fault.kind == P2M_FAULT_BEYOND, "a pfn beyond: refused");
	if (hole)
		probe_check(p2m_pins_add(&b->pins, (pfn_t){ hole }, false) == -EFAULT &&
				    b->pins.fault.kind == P2M_FAULT_ABSENT,
			    "a pfn without memory: refused");
}

static int pin_all(struct p2m_probe *b, bool writable)
{
	int rc = p2m_pins_begin(&b->pins, 0);

	for (unsigned int i = 0; !rc && i < b->n; i++) {
		b->use[i] = p2m_pins_add(&b->pins, (pfn_t){ b->pfn[i] }, writable);
		rc = b->use[i] < 0 ? b->use[i] : 0;
	}
	return rc ? rc : p2m_pins_map(&b->pins);
}

static int drop_all(struct p2m_probe *b)
{
	for (unsigned int i = 0; i < b->n; i++)
		p2m_pins_drop(&b->pins, (uint16_t)b->use[i]);
	return p2m_pins_flush(&b->pins);
}

static void probe_content(struct p2m_probe *b)
{
	unsigned int bad = 0;
	int rc;

	rc = pin_all(b, false);
	if (!probe_check(!rc, "%u pages held: %s", b->n, strerror(-rc)))
		return;
	for (unsigned int i = 0; i < b->n; i++) {
		uint16_t slot = p2m_pins_slot(&b->pins, (uint16_t)b->use[i]);
		const uint64_t *page = hold_table_va(&b->table, slot);

		for (unsigned int k = 0; k < WORDS; k++)
			bad += page[k] != word(b->pfn[i], k);
	}
	probe_check(!bad, "and hold what the guest wrote: %u words differ", bad);
	probe_check(!drop_all(b) && b->table.held == b->n, "they stay when nobody uses them");
}

static void probe_rounds(struct p2m_probe *b, bool writable)
{
	double map = 0, drop = 0, t0;
	int rc = 0;

	for (int i = 0; !rc && i < ROUNDS; i++) {
		t0 = probe_now_us();
		rc = pin_all(b, writable);
		map += probe_now_us() - t0;
		t0 = probe_now_us();
		rc = rc ? rc : drop_all(b);
		drop += probe_now_us() - t0;
	}
	probe_check(!rc, "%u pages for %s: %.1f us a batch, %.1f us to let go: %s", b->n,
		    writable ? "writing" : "reading", map / ROUNDS, drop / ROUNDS, strerror(-rc));
}

static void probe_mark(struct p2m_probe *b)
{
	int rc = pin_all(b, true);
	volatile uint64_t *mark;

	if (!probe_check(!rc, "held for writing: %s", strerror(-rc)))
		return;
	mark = (void *)hold_table_va(&b->table, p2m_pins_slot(&b->pins, (uint16_t)b->use[0]));
	*mark = MARK;
	probe_check(!drop_all(b) && !b->table.held, "and let go after it");
}

/* What Xen is there for. */
static void probe_refusals(struct p2m_probe *b)
{
	struct hold_pin pin[3] = { { .slot = 0 }, { .slot = 1, .mfn = { (1ull << 40) - 1 } },
				   { .slot = 2, .mfn = { 0xfee00 }, .flags = HOLD_WRITABLE } };
	struct hv_dma dma;
	int rc;

	if (!probe_need(b->hv->ops->dma_alloc(b->hv, 1, &dma), "dma_alloc"))
		return;
	pin[0].mfn = mfn_of(dma.maddr[0]);
	rc = b->table.hold.change(&b->table.hold, NULL, 0, pin, 3);
	probe_check(!rc && pin[0].err < 0 && pin[1].err < 0 && pin[2].err < 0 && !b->table.held,
		    "frames of dom0, of nobody, of the interrupt controller: refused, %d %d %d",
		    pin[0].err, pin[1].err, pin[2].err);
	b->hv->ops->dma_free(b->hv, &dma);
}

void probe_p2m(struct hv *hv, uint16_t domid, const char *pfns)
{
	struct p2m_probe *b = calloc(1, sizeof(*b));
	struct hv_p2m *p2m;
	int rc;

	if (!b)
		return;
	b->hv = hv;
	parse_pfns(b, pfns);
	hold_table_init(&b->table, hv, domid);
	rc = hv->ops->p2m_open(hv, domid, &p2m);
	if (!rc)
		rc = p2m_pins_open(&b->pins, hv, p2m, &b->table.hold, HOLD_SLOTS);
	if (probe_check(!rc && b->n, "p2m of domain %u: %s", domid, strerror(-rc))) {
		probe_need(p2m_pins_begin(&b->pins, 0), "p2m_pins_begin");
		probe_entries(b);
		probe_content(b);
		probe_rounds(b, false);
		probe_mark(b);
		probe_rounds(b, true);
		probe_check(!p2m_pins_release(&b->pins) && !b->table.held, "all let go");
		probe_refusals(b);
		p2m_pins_close(&b->pins);
		hv->ops->p2m_close(hv, p2m);
	}
	free(b);
}
