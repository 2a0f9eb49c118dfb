/* SPDX-License-Identifier: MIT */
/* Reads 32 bytes from a nested virtio-rng: cc virtio_rng.c $(pkg-config --cflags --libs xvshim) */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xvshim/xvshim.h>

/* Offsets in the memory that the device is given; the data has a page of its own. */
enum { BYTES = 32, DESC = 0, AVAIL = 0x400, USED = 0x800, DATA = 0x1000, SIZE = 0x2000 };

/* The structure of a type ("Virtio Structure PCI Capabilities"), mapped, or NULL. */
static volatile void *find(struct xvs_pci *pci, uint8_t type, uint32_t *multiplier)
{
	struct virtio_pci_notify_cap c;
	volatile void *bar;
	uint8_t pos = 0;
	int rc = xvs_pci_config_read(pci, PCI_CAPABILITY_LIST, &pos, 1);

	for (int i = 0; !rc && pos && i < 48; i++, pos = c.cap.cap_next) {
		rc = xvs_pci_config_read(pci, pos, &c, sizeof(c));
		if (rc || c.cap.cap_vndr != PCI_CAP_ID_VNDR || c.cap.cfg_type != type)
			continue;
		*multiplier = c.notify_off_multiplier;
		return xvs_pci_bar(pci, c.cap.bar, &bar) ? NULL : (volatile char *)bar + c.cap.offset;
	}
	return NULL;
}

static int start(struct xvs_pci *pci, volatile struct virtio_pci_common_cfg *c, uint64_t rings)
{
	uint8_t ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
	uint32_t want = 1u << (VIRTIO_F_VERSION_1 - 32) | 1u << (VIRTIO_F_ACCESS_PLATFORM - 32);
	int rc = xvs_pci_reset(pci);

	c->device_status = ok & ~VIRTIO_CONFIG_S_FEATURES_OK;
	c->device_feature_select = c->guest_feature_select = 1;
	c->guest_feature = c->device_feature & want;
	c->device_status = ok;
	if (rc || c->device_status != ok)
		return rc ? rc : -EOPNOTSUPP;
	c->queue_select = 0, c->queue_size = 8;
	c->queue_desc_lo = (uint32_t)(rings + DESC), c->queue_desc_hi = rings >> 32;
	c->queue_avail_lo = (uint32_t)(rings + AVAIL), c->queue_avail_hi = rings >> 32;
	c->queue_used_lo = (uint32_t)(rings + USED), c->queue_used_hi = rings >> 32;
	c->queue_enable = 1;
	c->device_status = ok | VIRTIO_CONFIG_S_DRIVER_OK;
	return xvs_pci_bus_master(pci, true);
}

/* How many bytes the device wrote. The addresses are the machine's, the pointer is ours. */
static int fill(struct xvs_pci *pci, char *m, uint64_t rings, uint64_t data)
{
	uint32_t multiplier = 0;
	volatile struct vring_used *used = (void *)(m + USED);
	volatile struct virtio_pci_common_cfg *c = find(pci, VIRTIO_PCI_CAP_COMMON_CFG, &multiplier);
	volatile uint16_t *doorbell = find(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, &multiplier);
	int rc = c && doorbell ? start(pci, c, rings) : -ENODEV;

	memset(m + DATA, 0xaa, BYTES);
	*(struct vring_desc *)(m + DESC) = (struct vring_desc){ data, BYTES, VRING_DESC_F_WRITE, 0 };
	((struct vring_avail *)(m + AVAIL))->idx = 1; /* its element 0 says descriptor 0 */
	__sync_synchronize(); /* the ring before the doorbell */
	if (!rc)
		doorbell[c->queue_notify_off * multiplier / 2] = 0;
	for (time_t end = time(NULL) + 5; !rc && !used->idx;)
		rc = time(NULL) > end ? -ETIMEDOUT : 0;
	__sync_synchronize(); /* the index before what it stands for */
	return rc ? rc : (int)used->ring[0].len;
}

int main(int argc, char **argv)
{
	char why[XVS_WHY_SIZE] = "usage: virtio_rng SSSS:BB:DD.F";
	struct xvs_pci *pci = NULL;
	struct xvs_dma *dma = NULL;
	struct xvs *xvs = NULL;
	uint64_t rings, data = 0;
	int n;

	if (argc != 2 || xvs_pci_take(argv[1], XVS_PCI_UNBIND, &pci, why, sizeof(why)))
		return fprintf(stderr, "%s\n", why), 1;
	if (!(n = xvs_open(XVS_MEMORY, &xvs)) && !(n = xvs_dma_alloc(xvs, SIZE, &dma)) &&
	    !(n = xvs_dma_maddr(dma, 0, DATA, &rings, NULL)) &&
	    !(n = xvs_dma_maddr(dma, DATA, BYTES, &data, NULL)))
		n = fill(pci, xvs_dma_va(dma), rings, data);
	n < 0 ? fprintf(stderr, "%s\n", strerror(-n)) :
		printf("%d bytes at machine address 0x%llx:", n, (unsigned long long)data);
	for (int i = 0; i < BYTES && n >= 0; i++)
		printf(" %02x", ((unsigned char *)xvs_dma_va(dma))[DATA + i]);
	if (xvs_pci_release(pci, why, sizeof(why))) /* it might still write: all stays pinned */
		return fprintf(stderr, "%s\n", why), 1;
	xvs_dma_free(dma);
	return xvs_close(xvs), puts("") < 0 || n != BYTES;
}
