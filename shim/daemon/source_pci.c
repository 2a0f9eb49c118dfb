/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "pci:SSSS:BB:DD.F": a nested virtio-pci device of this domain. */
#include "daemon/source.h"

#include "dev/virtio_pci.h"
#include "lib/uio.h"
#include "survey/survey.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(SOURCE_DRIVER_MAX == PCI_NAME_SIZE, "names of drivers");

static const char *bdf_of(const struct source *src)
{
	return src->text + strlen(source_pci.prefix);
}

static int pci_source_facts(struct source *src, struct facts *facts, char *why, size_t size)
{
	struct survey_device d;
	int rc = survey_one(NULL, bdf_of(src), &d);

	if (rc)
		snprintf(why, size, "%s: cannot be looked at: %s", src->text, strerror(-rc));
	else
		*facts = d.facts;
	return rc;
}

static int pci_source_check(struct source *src, struct source_facts *facts, char *why, size_t size)
{
	struct xpci_info info = { 0 };
	int rc = xpci_check(bdf_of(src), &info, why, size), looked;

	/* In use, or without the modern interface: the policy has the word. */
	if (rc && rc != -EBUSY && !(rc == -ENOTSUP && info.transitional && info.virtio_type))
		return rc;
	facts->device_id = info.virtio_type;
	snprintf(facts->driver, sizeof(facts->driver), "%s", info.driver);
	if (rc == -EBUSY)
		snprintf(facts->use, sizeof(facts->use), "%.150s", why);
	looked = pci_source_facts(src, &facts->facts, why, size);
	if (looked)
		return looked;
	if (rc == -EBUSY)
		facts->facts.is[FACT_HOLDER] = HOLDER_IN_USE;
	/* Of two readings the worse counts: this one could not drive it. */
	return rc == -ENOTSUP && facts->facts.is[FACT_TRANSPORT] != TRANSPORT_LEGACY ? rc : 0;
}

static struct xvs_pci *pci_of(const struct source *src)
{
	return src->priv;
}

/* Taken already means taken by an earlier keeper, or by hand: `earlier` stays what it is. */
static int pci_source_take(struct source *src, bool take, char *why, size_t size)
{
	unsigned int flags = XVS_PCI_RESUME | (take ? XVS_PCI_UNBIND : 0);
	struct xvs_pci *pci;
	int rc;

	if (src->priv)
		return 0;
	rc = xvs_pci_take(bdf_of(src), flags, &pci, why, size);
	if (rc)
		return rc;
	src->priv = pci;
	if (strcmp(xvs_pci_driver(pci), UIO_DRIVER))
		snprintf(src->earlier, sizeof(src->earlier), "%s", xvs_pci_driver(pci));
	return 0;
}

static void pci_source_close(struct source *src)
{
	if (src->dev)
		src->dev->ops->close(src->dev);
	xvs_pci_close(pci_of(src));
	src->dev = NULL;
	src->priv = NULL;
}

static int pci_source_open(struct source *src, char *why, size_t size)
{
	int rc = pci_source_take(src, false, why, size);

	if (rc)
		return rc;
	rc = xpci_open(pci_of(src), &src->dev);
	if (!rc)
		return 0;
	snprintf(why, size, "%s: cannot drive it: %s", src->text, strerror(-rc));
	pci_source_close(src);
	return rc;
}

static int pci_source_release(struct source *src, char *why, size_t size)
{
	/* Taken, but never opened. */
	pci_source_close(src);
	if (!pci_exists(bdf_of(src)))
		return 0;
	return xvs_pci_give_back(bdf_of(src), src->earlier, why, size);
}

static bool pci_source_present(const struct source *src)
{
	return pci_exists(bdf_of(src));
}

/* Registers and config space are files in the device's own folder of sysfs. */
static bool pci_source_owns(const struct source *src, int fd, const char *path)
{
	char folder[SOURCE_MAX + 2];

	if (src->dev && fd >= 0 && fd == src->dev->ops->irq_fd(src->dev))
		return true;
	snprintf(folder, sizeof(folder), "/%s/", bdf_of(src));
	return !strncmp(path, "/sys/", 5) && strstr(path, folder);
}

const struct source_ops source_pci = {
	.prefix = "pci:",
	.check = pci_source_check,
	.facts = pci_source_facts,
	.take = pci_source_take,
	.open = pci_source_open,
	.close = pci_source_close,
	.release = pci_source_release,
	.present = pci_source_present,
	.owns = pci_source_owns,
};
