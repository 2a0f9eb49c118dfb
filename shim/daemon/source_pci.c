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

/*
 * What the policy makes of it. Types are refused by name elsewhere, and the rest of what it can
 * say no to is the host: a PVH dom0, or bits that cannot be read where they matter.
 */
static int ask_policy(const char *bdf, const char **reason, char *why, size_t size)
{
	struct survey_machine m;
	struct survey_device d;
	int rc = survey_open(&m, NULL);

	if (rc) {
		snprintf(why, size, "%s: cannot be looked at: %s", bdf, strerror(-rc));
		return rc;
	}
	rc = survey_pci(&m, bdf, &d);
	survey_close(&m);
	if (rc) {
		snprintf(why, size, "%s: cannot be looked at: %s", bdf, strerror(-rc));
		return rc;
	}
	if (d.decision.verdict != VERDICT_SERVE && d.decision.decided != FACT_TYPE) {
		snprintf(why, size, "%s: %s: %s", bdf, policy_verdict_name(d.decision.verdict),
			 d.decision.reason);
		return -EOPNOTSUPP;
	}
	*reason = d.decision.reason;
	return 0;
}

static int pci_source_check(struct source *src, bool take, struct source_facts *facts, char *why,
			    size_t size)
{
	struct xpci_info info = { 0 };
	int rc = xpci_check(bdf_of(src), &info, why, size);

	facts->device_id = info.virtio_type;
	snprintf(facts->driver, sizeof(facts->driver), "%s", info.driver);
	if (!rc)
		rc = ask_policy(info.bdf, &facts->reason, why, size);
	if (rc || take || !info.driver[0] || !strcmp(info.driver, UIO_DRIVER))
		return rc;
	snprintf(why, size,
		 "%s is held by this domain's driver %s; nothing uses it: --take takes it from "
		 "there",
		 src->text, info.driver);
	return -EBUSY;
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
	.take = pci_source_take,
	.open = pci_source_open,
	.close = pci_source_close,
	.release = pci_source_release,
	.present = pci_source_present,
	.owns = pci_source_owns,
};
