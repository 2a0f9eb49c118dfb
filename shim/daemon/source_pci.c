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

/* Is what has the address now what had it when it was taken? */
static bool pci_source_present(const struct source *src)
{
	uint64_t now;

	return pci_exists(bdf_of(src)) && !pci_instance(bdf_of(src), &now) &&
	       (!src->instance || src->instance == now);
}

static int pci_source_check(struct source *src, struct source_facts *facts, char *why, size_t size)
{
	struct xpci_info info = { 0 };
	int rc = xpci_check(bdf_of(src), &info, why, size), looked;

	if (!rc) {
		rc = pci_instance(bdf_of(src), &src->instance);
		if (rc)
			snprintf(why, size, "%s: %s", src->text, strerror(-rc));
	}
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

/*
 * Who takes it back finds it where it left it, or on the way there: `earlier` stays what it is then.
 */
static int take_function(struct source *src, unsigned int flags, char *why, size_t size)
{
	struct xvs_pci *pci;
	int rc;

	if (src->priv)
		return 0;
	if (src->instance && pci_exists(bdf_of(src)) && !pci_source_present(src)) {
		snprintf(why, size, "%s: what has this address now is another device", src->text);
		return -ENODEV;
	}
	rc = xvs_pci_take(bdf_of(src), flags, &pci, why, size);
	if (rc)
		return rc;
	src->priv = pci;
	if (*xvs_pci_driver(pci) && strcmp(xvs_pci_driver(pci), UIO_DRIVER))
		snprintf(src->earlier, sizeof(src->earlier), "%s", xvs_pci_driver(pci));
	return 0;
}

static int pci_source_take(struct source *src, bool take, char *why, size_t size)
{
	char now[PCI_NAME_SIZE];

	if (!take && !src->priv && !pci_driver(bdf_of(src), now) && !strcmp(now, UIO_DRIVER)) {
		snprintf(why, size, "%s: held by " UIO_DRIVER ", perhaps for another program: "
				    "--take takes it from there", src->text);
		return -EBUSY;
	}
	return take_function(src, take ? XVS_PCI_RESUME | XVS_PCI_UNBIND : 0, why, size);
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
	int rc = take_function(src, XVS_PCI_RESUME, why, size);

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
	if (!pci_source_present(src))
		return 0;
	return xvs_pci_give_back(bdf_of(src), src->earlier, why, size);
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
