/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Taking a function from the kernel's driver and giving it back. */
#include "lib/dev_use.h"
#include "lib/pci.h"
#include "lib/uio.h"

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
	if (!pci_exists(bdf)) {
		snprintf(why, size, "%s: no such PCI device", bdf);
		return -ENODEV;
	}
	rc = pci_driver(bdf, now);
	return rc ? refuse(rc, bdf, "cannot read its driver", why, size) : 0;
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

static int check_use(const char *bdf, char *why, size_t size)
{
	char path[4096], name[PCI_NAME_SIZE], reason[64];
	int rc = pci_real_path(bdf, path, sizeof(path));

	if (!rc)
		rc = dev_in_use(path, name, sizeof(name), reason, sizeof(reason));
	if (rc == 1) {
		snprintf(why, size, "%s: in use: %s is %s", bdf, name, reason);
		return -EBUSY;
	}
	return rc ? refuse(rc, bdf, "cannot tell whether it is in use", why, size) : 0;
}

/* May it be taken from the driver that has it now? */
static int allowed(const char *bdf, const char *now, unsigned int flags, char *why, size_t size)
{
	if (!strcmp(now, UIO_DRIVER) && !(flags & XVS_PCI_RESUME)) {
		snprintf(why, size, "%s: " UIO_DRIVER " has it already, perhaps for another program",
			 bdf);
		return -EBUSY;
	}
	if (!*now || !strcmp(now, UIO_DRIVER))
		return 0;
	if (!(flags & XVS_PCI_UNBIND)) {
		snprintf(why, size, "%s: held by the driver %s", bdf, now);
		return -EBUSY;
	}
	return check_use(bdf, why, size);
}

int xvs_pci_take(const char *bdf, unsigned int flags, struct xvs_pci **pci, char *why, size_t size)
{
	char now[PCI_NAME_SIZE];
	bool there;
	int rc;

	if (!bdf || !pci || flags & ~(unsigned int)(XVS_PCI_UNBIND | XVS_PCI_RESUME)) {
		snprintf(why, size, "xvs_pci_take: bad argument");
		return -EINVAL;
	}
	rc = held_by(bdf, now, why, size);
	if (!rc)
		rc = allowed(bdf, now, flags, why, size);
	if (rc)
		return rc;
	there = !strcmp(now, UIO_DRIVER);
	if (!there && !pci_driver_loaded(UIO_DRIVER)) {
		snprintf(why, size, UIO_DRIVER " is not loaded: modprobe " UIO_DRIVER);
		return -ENOENT;
	}
	rc = there ? 0 : move(bdf, now, why, size);
	if (rc)
		return rc;
	rc = pci_open_function(bdf, pci);
	if (rc)
		goto err_give_back;
	memcpy((*pci)->driver, now, sizeof(now));
	return 0;

err_give_back:
	if (!there)
		/* cppcheck-suppress nullPointer ; snprintf() takes NULL where the size is 0 */
		xvs_pci_give_back(bdf, now, NULL, 0);
	return refuse(rc, bdf, "cannot open it through UIO", why, size);
}

int xvs_pci_release(struct xvs_pci *pci, char *why, size_t size)
{
	char bdf[PCI_BDF_SIZE], driver[PCI_NAME_SIZE];
	int rc = xvs_pci_reset(pci), err;

	if (rc == -ETIMEDOUT)
		return refuse(rc, pci->bdf, "it does not confirm its reset", why, size);
	/* What knows no reset is cut off from the bus, which is all that can be done. */
	xvs_pci_bus_master(pci, false);
	memcpy(bdf, pci->bdf, sizeof(bdf));
	memcpy(driver, pci->driver, sizeof(driver));
	xvs_pci_close(pci);
	if (!pci_exists(bdf))
		return 0;
	err = xvs_pci_give_back(bdf, driver, why, size);
	if (err || !rc || rc == -ENODEV || rc == -EOPNOTSUPP)
		return err;
	return refuse(rc, bdf, "given back, but it could not be reset", why, size);
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

int xvs_pci_give_back(const char *bdf, const char *driver, char *why, size_t size)
{
	char now[PCI_NAME_SIZE];
	int rc;

	if (!bdf || !driver) {
		snprintf(why, size, "xvs_pci_give_back: bad argument");
		return -EINVAL;
	}
	if (*driver && !pci_name_ok(driver)) {
		snprintf(why, size, "%s: not the name of a driver: %.32s", bdf, driver);
		return -EINVAL;
	}
	rc = held_by(bdf, now, why, size);
	if (rc)
		return rc;
	if (*now && strcmp(now, UIO_DRIVER)) {
		if (!strcmp(now, driver)) {
			rc = pci_lift_override(bdf, UIO_DRIVER);
			return rc ? refuse(rc, bdf, "cannot clear driver_override", why, size) : 0;
		}
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
