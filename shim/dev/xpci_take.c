/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking a device from dom0's driver and giving it back. */
#include "dev/uio.h"
#include "dev/virtio_pci.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse(int rc, const char *bdf, const char *what, char *why, size_t size)
{
	snprintf(why, size, "%s: %s: %s", bdf, what, strerror(-rc));
	return rc;
}

static int held_by(const char *bdf, char now[PCI_NAME_SIZE], char *why, size_t size)
{
	char parsed[PCI_BDF_SIZE];
	int rc = pci_bdf_parse(bdf, parsed);

	if (rc) {
		snprintf(why, size, "%.32s: not a PCI address", bdf);
		return rc;
	}
	rc = pci_driver(bdf, now);
	return rc ? refuse(rc, bdf, "no such PCI device", why, size) : 0;
}

/* Ends as it began when it fails. */
static int move(const char *bdf, const char *from, char *why, size_t size)
{
	int rc = pci_override(bdf, UIO_DRIVER);

	if (rc)
		return refuse(rc, bdf, "cannot set driver_override", why, size);
	rc = *from ? pci_unbind(bdf, from) : 0;
	if (rc) {
		refuse(rc, bdf, "its driver does not let it go", why, size);
		goto err_override;
	}
	rc = pci_bind(bdf, UIO_DRIVER);
	if (rc) {
		refuse(rc, bdf, UIO_DRIVER " does not take it", why, size);
		goto err_unbind;
	}
	return 0;

err_unbind:
	/* Before the earlier driver, which would be refused. */
	pci_override(bdf, "");
	if (*from)
		pci_bind(bdf, from);
	return rc;
err_override:
	pci_override(bdf, "");
	return rc;
}

int xpci_take(const char *bdf, bool unbind, char driver[PCI_NAME_SIZE], char *why, size_t size)
{
	char now[PCI_NAME_SIZE];
	int rc = held_by(bdf, now, why, size);

	if (rc)
		return rc;
	if (!strcmp(now, UIO_DRIVER))
		return 0;
	if (*now && !unbind) {
		snprintf(why, size, "%s: held by the driver %s", bdf, now);
		return -EBUSY;
	}
	if (!pci_driver_loaded(UIO_DRIVER)) {
		snprintf(why, size, UIO_DRIVER " is not loaded: modprobe " UIO_DRIVER);
		return -ENOENT;
	}
	rc = move(bdf, now, why, size);
	if (!rc)
		memcpy(driver, now, sizeof(now));
	return rc;
}

static int let_go(const char *bdf, const char *now, char *why, size_t size)
{
	int rc = pci_override(bdf, "");

	if (rc)
		return refuse(rc, bdf, "cannot clear driver_override", why, size);
	if (strcmp(now, UIO_DRIVER))
		return 0;
	rc = pci_unbind(bdf, UIO_DRIVER);
	return rc ? refuse(rc, bdf, UIO_DRIVER " does not let it go", why, size) : 0;
}

int xpci_release(const char *bdf, const char *driver, char *why, size_t size)
{
	char now[PCI_NAME_SIZE];
	int rc;

	if (*driver && !pci_name_ok(driver)) {
		snprintf(why, size, "%s: not the name of a driver: %.32s", bdf, driver);
		return -EINVAL;
	}
	rc = held_by(bdf, now, why, size);
	if (rc)
		return rc;
	if (*now && strcmp(now, UIO_DRIVER)) {
		if (!strcmp(now, driver))
			return 0;
		snprintf(why, size, "%s: held by the driver %s meanwhile", bdf, now);
		return -EBUSY;
	}
	/* It was there before we came. */
	if (!strcmp(driver, UIO_DRIVER))
		return 0;
	rc = let_go(bdf, now, why, size);
	if (rc || !*driver)
		return rc;
	if (!pci_driver_loaded(driver)) {
		snprintf(why, size, "%s: free, but its earlier driver %s is not loaded", bdf,
			 driver);
		return -ENOENT;
	}
	rc = pci_bind(bdf, driver);
	return rc ? refuse(rc, bdf, "its earlier driver does not take it", why, size) : 0;
}
