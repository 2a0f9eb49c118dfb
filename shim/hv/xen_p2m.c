/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From an address of this process to its machine frame. The kernel tells the pfn; the mfn stands
 * in the domain's linear p2m, which the kernel publishes for tools through the shared info page:
 * the root of a page table (p2m_cr3) and the table's virtual address there (p2m_vaddr).
 */
#include "hv/xen.h"
#include "util/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN ((1ull << 55) - 1)

#define PTE_PRESENT 1ull
#define PTE_LARGE (1ull << 7)
#define PTE_FRAME(pte) (((pte) >> XVS_FRAME_SHIFT) & ((1ull << 40) - 1))
#define PT_LEVELS 4

/* Look-ups in a row that met a change of the table. */
#define MAX_CHANGES 16

int xen_self_pfn(struct hv *hv, const void *va, pfn_t *pfn)
{
	struct xen_priv *x = xen_priv(hv);
	off_t off = (uintptr_t)va / XVS_FRAME_SIZE * sizeof(uint64_t);
	uint64_t entry;
	ssize_t got;

	if (x->p2m.pagemap < 0)
		return -EBADF;
	got = pread(x->p2m.pagemap, &entry, sizeof(entry), off);
	if (got < 0)
		return -errno;
	if (got != sizeof(entry) || !(entry & PAGEMAP_PRESENT))
		return -EFAULT;
	pfn->n = entry & PAGEMAP_PFN;
	/* Without CAP_SYS_ADMIN the kernel shows zero for every frame. */
	return pfn->n ? 0 : -EACCES;
}

/* The shared info page changes under us. Its generation is read before what it is about, and after. */
#if defined(__x86_64__)

static uint64_t generation(const struct xen_p2m *p2m)
{
	return shared_read_acquire(&p2m->shared->arch.p2m_generation);
}

static void drop_leaf(struct xen_priv *x, uint64_t i)
{
	if (x->p2m.leaf[i])
		xen_unmap_frame(x, x->p2m.leaf[i]);
	x->p2m.leaf[i] = NULL;
}

static void drop_leaves(struct xen_priv *x)
{
	for (uint64_t i = 0; i < x->p2m.nr_leaves; i++)
		drop_leaf(x, i);
	free(x->p2m.leaf);
	x->p2m.leaf = NULL;
	x->p2m.nr_leaves = 0;
}

/* Empties the cache and makes it fit the domain's size of now. */
static int renew(struct xen_priv *x)
{
	uint64_t max_pfn = shared_read(&x->p2m.shared->arch.max_pfn);
	uint64_t n = max_pfn / HV_P2M_LEAF + 1;

	drop_leaves(x);
	x->p2m.generation = generation(&x->p2m);
	x->p2m.leaf = calloc(n, sizeof(*x->p2m.leaf));
	if (!x->p2m.leaf)
		return -ENOMEM;
	x->p2m.nr_leaves = n;
	return 0;
}

static int read_pte(struct xen_priv *x, uint16_t domid, uint64_t table, unsigned int index,
		    uint64_t *frame)
{
	int rc;
	const uint64_t *ptes = xen_map_frame(x, domid, table, &rc);
	uint64_t pte;

	if (!ptes)
		return rc;
	pte = shared_read(&ptes[index]);
	xen_unmap_frame(x, ptes);
	/* A PV domain has no large pages; one here means that we are lost. */
	if (!(pte & PTE_PRESENT) || (pte & PTE_LARGE))
		return -ENXIO;
	*frame = PTE_FRAME(pte);
	return 0;
}

int xen_p2m_leaf_frame(struct xen_priv *x, uint16_t domid, const shared_info_t *shared,
		       uint64_t leaf, uint64_t *frame)
{
	uint64_t va = shared_read(&shared->arch.p2m_vaddr) + leaf * XVS_FRAME_SIZE;

	*frame = PTE_FRAME(shared_read(&shared->arch.p2m_cr3));
	for (int level = PT_LEVELS - 1; level >= 0; level--) {
		/* The lowest level's PAT bit stands where others say "large". */
		unsigned int shift = XVS_FRAME_SHIFT + 9 * (unsigned int)level;
		int rc = read_pte(x, domid, *frame, va >> shift & 511, frame);

		if (rc)
			return rc;
	}
	return 0;
}

static int map_leaf(struct xen_priv *x, uint64_t leaf)
{
	uint64_t frame;
	int rc = xen_p2m_leaf_frame(x, DOMID_SELF, x->p2m.shared, leaf, &frame);

	if (!rc)
		x->p2m.leaf[leaf] = xen_map_frame(x, DOMID_SELF, frame, &rc);
	return rc;
}

static int decode(uint64_t entry, mfn_t *mfn)
{
	if (entry == ~0ull)
		return -ENXIO;
	if (entry & HV_P2M_FOREIGN)
		return -EXDEV;
	/* Identity: an address of a device, no memory of this domain. */
	if (entry & HV_P2M_IDENTITY)
		return -ENXIO;
	mfn->n = entry;
	return 0;
}

/* -EAGAIN: the table changed meanwhile, what was read means nothing. */
static int look_up(struct xen_priv *x, pfn_t pfn, mfn_t *mfn)
{
	uint64_t leaf = pfn.n / HV_P2M_LEAF;
	uint64_t now = generation(&x->p2m);
	bool warm;
	int rc = 0;

	if (now & 1)
		return -EAGAIN;
	if (now != x->p2m.generation || !x->p2m.leaf)
		rc = renew(x);
	if (rc)
		return rc;
	if (leaf >= x->p2m.nr_leaves)
		return -ENXIO;
	warm = x->p2m.leaf[leaf];
	if (!warm)
		rc = map_leaf(x, leaf);
	if (!rc)
		rc = decode(shared_read_acquire(&x->p2m.leaf[leaf][pfn.n % HV_P2M_LEAF]), mfn);
	if (generation(&x->p2m) != now)
		return -EAGAIN;
	if (rc && warm) {
		drop_leaf(x, leaf);
		return -EAGAIN;
	}
	return rc;
}

int xen_self_p2m(struct hv *hv, pfn_t pfn, mfn_t *mfn)
{
	struct xen_priv *x = xen_priv(hv);
	int rc = -EAGAIN;

	if (x->p2m.pagemap < 0)
		return -EBADF;
	/* A translated domain's own frames are gfns; the mfns behind them nobody tells it. */
	if (!x->p2m.shared)
		return -EOPNOTSUPP;
	for (int i = 0; rc == -EAGAIN && i < MAX_CHANGES; i++)
		rc = look_up(x, pfn, mfn);
	return rc;
}

static int map_shared_info(struct xen_priv *x)
{
	uint64_t frame;
	int rc = xen_shared_info_frame(x, &frame);

	if (rc)
		return rc;
	x->p2m.shared = xen_map_frame(x, DOMID_SELF, frame, &rc);
	if (rc)
		return rc;
	/* A kernel that publishes no linear p2m. */
	if (!shared_read(&x->p2m.shared->arch.p2m_cr3))
		return -EOPNOTSUPP;
	return renew(x);
}

void xen_p2m_close(struct xen_priv *x)
{
	drop_leaves(x);
	if (x->p2m.shared)
		xen_unmap_frame(x, x->p2m.shared);
	if (x->p2m.pagemap >= 0)
		close(x->p2m.pagemap);
}

#else /* every other architecture has translated domains only */

int xen_self_p2m(struct hv *hv, pfn_t pfn, mfn_t *mfn)
{
	(void)hv;
	(void)pfn;
	(void)mfn;
	return -EOPNOTSUPP;
}

static int map_shared_info(struct xen_priv *x)
{
	(void)x;
	return -EOPNOTSUPP;
}

void xen_p2m_close(struct xen_priv *x)
{
	if (x->p2m.pagemap >= 0)
		close(x->p2m.pagemap);
}

#endif

int xen_p2m_open(struct xen_priv *x)
{
	x->p2m.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (x->p2m.pagemap < 0)
		return -errno;
	return x->translated ? 0 : map_shared_info(x);
}
