/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor: is this machine fit for it, and the command that mends what is not. */
#include "doctor.h"

#include "survey/features.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const status_name[] = { "fine", "WRONG", "?" };
static const char *const status_json[] = { "fine", "wrong", "unknown" };

void about(struct doctor *dr, const char *subject)
{
	snprintf(dr->subject, sizeof(dr->subject), "%s", subject);
}

void finding(struct doctor *dr, enum status status, const char *mend, const char *fmt, ...)
{
	json_object *o = json_object_new_object();
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dr->wrong += status == WRONG;
	json_object_object_add(o, "check", json_object_new_string(dr->subject));
	json_object_object_add(o, "status", json_object_new_string(status_json[status]));
	json_object_object_add(o, "text", json_object_new_string(text));
	json_object_object_add(o, "mend", json_object_new_string(mend ? mend : ""));
	json_object_array_add(dr->findings, o);
	if (dr->o->json)
		return;
	printf("%-5s  %-10s %s\n", status_name[status], dr->subject, text);
	if (mend)
		printf("       %-10s -> %s\n", "", mend);
}

/* -- host and versions -- */

static void check_host(struct doctor *dr)
{
	about(dr, "host");
	switch (dr->m.host) {
	case HOST_PV_DOM0:
		finding(dr, FINE, NULL, "a PV dom0");
		break;
	case HOST_PVH_DOM0:
		finding(dr, WRONG, "boot Xen without dom0=pvh",
			"a PVH dom0, which nobody has tried");
		break;
	case HOST_DOMU:
		finding(dr, WRONG, "run it in dom0", "a guest of Xen, which may not name machine "
						     "memory");
		break;
	case HOST_PLAIN:
		finding(dr, WRONG, "boot Xen, or see 'xvshim demo'", "there is no Xen here");
		break;
	default:
		finding(dr, UNKNOWN, "mount -t xenfs xenfs /proc/xen",
			"under Xen, but whether it is dom0 cannot be read");
	}
}

/* The library of the toolstack has no stable ABI: it must be of Xen's own release. */
static void check_library(struct doctor *dr)
{
	static const char name[] = "libxenctrl.so.";
	char maps[65536], version[16];
	const char *at;

	tree_read(&dr->m.tree, maps, sizeof(maps), "proc/self/maps");
	at = dr->m.tree.live ? strstr(maps, name) : NULL;
	if (!at)
		return;
	snprintf(version, sizeof(version), "%.*s", (int)strspn(at + strlen(name), "0123456789."),
		 at + strlen(name));
	if (dr->m.version[0] && strncmp(version, dr->m.version, strcspn(version, ".") + 3))
		finding(dr, WRONG, "build it on the release it is to run on",
			"libxenctrl is of Xen %s, the hypervisor of %s", version, dr->m.version);
	else
		finding(dr, FINE, NULL, "libxenctrl of Xen %s", version);
}

static void check_versions(struct doctor *dr)
{
	about(dr, "versions");
	if (dr->m.version[0])
		finding(dr, FINE, NULL, "Xen %s, kernel %s", dr->m.version, dr->m.kernel);
	else if (dr->m.xen)
		finding(dr, UNKNOWN, dr->m.root ? NULL : "run it as root",
			"kernel %s; Xen's version cannot be read", dr->m.kernel);
	check_library(dr);
	for (unsigned int i = 0; i < dr->m.nr_notes; i++)
		finding(dr, UNKNOWN, NULL, "%s", dr->m.note[i]);
}

/* -- the kernel -- */

static bool config_has(const char *config, const char *option)
{
	char line[80];

	snprintf(line, sizeof(line), "\n%s=y", option);
	return strstr(config, line);
}

/* Of the running kernel; the caller's to free(). NULL: nowhere to be read. */
static char *read_config(struct doctor *dr)
{
	enum { MAX = 1024 * 1024 };
	char *text = malloc(MAX);
	size_t n = 0;
	FILE *gunzip;

	if (!text)
		return NULL;
	if (tree_read(&dr->m.tree, text, MAX, "boot/config-%s", dr->m.kernel) > 0 ||
	    tree_read(&dr->m.tree, text, MAX, "proc/config") > 0)
		return text;
	gunzip = dr->m.tree.live ? popen("gzip -dc /proc/config.gz 2>/dev/null", "re") : NULL;
	if (gunzip) {
		n = fread(text, 1, MAX - 1, gunzip);
		pclose(gunzip);
	}
	text[n] = '\0';
	if (n)
		return text;
	free(text);
	return NULL;
}

/* A driver of dom0 works on a device that cannot know of grants: then nothing is forced. */
static const char *works_without_grants(struct doctor *dr)
{
	for (unsigned int i = 0; i < dr->nr_devices; i++) {
		const struct survey_device *d = &dr->device[i];

		if (d->virtio_driver[0] && d->known & FEATURE_ACCESS_PLATFORM &&
		    !(d->features & FEATURE_ACCESS_PLATFORM))
			return d->address;
	}
	return NULL;
}

static void check_grant_dma(struct doctor *dr, const char *config)
{
	bool force = config_has(config, "CONFIG_XEN_VIRTIO_FORCE_GRANT");
	const char *works = works_without_grants(dr);

	if (!force && !config_has(config, "CONFIG_XEN_VIRTIO"))
		finding(dr, FINE, NULL,
			"CONFIG_XEN_VIRTIO is off: no grant DMA for dom0's own virtio drivers");
	else if (works)
		finding(dr, FINE, NULL,
			"CONFIG_XEN_VIRTIO is on, but dom0 is exempt: its driver works on %s "
			"without grants",
			works);
	else
		finding(dr, WRONG,
			"boot a kernel with CONFIG_XEN_VIRTIO off, or one that exempts dom0",
			"%s is on: this kernel may force grant DMA on a PV dom0 (several 6.x do), "
			"and then dom0's own virtio drivers fail on nested devices; devices that "
			"xvshimd takes are not concerned",
			force ? "CONFIG_XEN_VIRTIO_FORCE_GRANT" : "CONFIG_XEN_VIRTIO");
}

static void check_kernel(struct doctor *dr)
{
	char *config = read_config(dr);

	about(dr, "kernel");
	if (!config) {
		finding(dr, UNKNOWN, NULL, "its configuration is neither in /boot nor in "
					   "/proc/config.gz");
		return;
	}
	check_grant_dma(dr, config);
	free(config);
}

/* -- devices, daemon, guests -- */

static void check_devices(struct doctor *dr)
{
	unsigned int served = 0;
	char mend[96];

	about(dr, "devices");
	for (unsigned int i = 0; i < dr->nr_devices; i++) {
		const struct survey_device *d = &dr->device[i];

		served += d->decision.verdict == VERDICT_SERVE;
		if (strcmp(d->driver, "pciback") || d->decision.assignable)
			continue;
		snprintf(mend, sizeof(mend), "xl pci-assignable-remove -r %s", d->address);
		finding(dr, WRONG, mend, "%s may be assigned to a guest, which is not safe: %s",
			d->address, d->decision.assign_reason);
	}
	finding(dr, FINE, NULL, "%u of %u virtio devices can be given to a guest (xvshim probe)",
		served, dr->nr_devices);
}

static void check_guest(struct doctor *dr, json_object *d)
{
	const char *front = field_text(d, "frontend_state"), *error = field_text(d, "error");
	char mend[160];

	snprintf(mend, sizeof(mend), "in the guest: modprobe xvshim_front");
	if (*error)
		finding(dr, WRONG, NULL, "%s of %s: %s", field_text(d, "source"),
			field_text(d, "domain"), error);
	else if (!strcmp(front, "Initialising"))
		finding(dr, WRONG, mend, "%s of %s: the guest has not answered",
			field_text(d, "source"), field_text(d, "domain"));
	else
		finding(dr, FINE, NULL, "%s of %s: front end %s", field_text(d, "source"),
			field_text(d, "domain"), front);
}

static void check_daemon(struct doctor *dr)
{
	json_object *list = dr->daemon ? field(dr->daemon, "devices") : NULL;

	about(dr, "xvshimd");
	if (!dr->daemon)
		finding(dr, WRONG, "systemctl start xvshimd",
			"it does not run, or does not answer");
	else
		finding(dr, FINE, NULL, "runs, pid %" PRIu64,
			field_number(field(dr->daemon, "daemon"), "pid"));
	about(dr, "guests");
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		check_guest(dr, json_object_array_get_idx(list, i));
}

/* Only when there is a socket: no message of its own where there is none. */
static void ask_daemon(struct doctor *dr)
{
	struct options o = *dr->o;
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%.200s/control", o.run_dir);
	if (!dr->m.tree.live || stat(path, &st))
		return;
	o.narg = 0;
	dr->daemon = daemon_ask(&o, request_new("status", &o));
}

static void check_all(struct doctor *dr)
{
	check_host(dr);
	check_versions(dr);
	if (dr->m.host == HOST_PLAIN || dr->m.host == HOST_DOMU)
		return; /* the rest would only repeat it */
	check_kernel(dr);
	check_modules(dr);
	check_limits(dr);
	check_devices(dr);
	if (dr->m.tree.live)
		check_daemon(dr);
}

static void print_answer(struct doctor *dr)
{
	json_object *answer;

	if (!dr->o->json) {
		if (dr->wrong)
			printf("%u wrong\n", dr->wrong);
		else
			puts("nothing wrong");
		json_object_put(dr->findings);
		return;
	}
	answer = json_object_new_object();
	json_object_object_add(answer, "ok", json_object_new_boolean(!dr->wrong));
	json_object_object_add(answer, "findings", dr->findings);
	print_json(answer);
	json_object_put(answer);
}

int cmd_doctor(const struct options *o)
{
	struct doctor dr = { .o = o };
	int rc = survey_open(&dr.m, o->root);

	if (rc)
		return fail("%s: %s", o->root ? o->root : "/", strerror(-rc));
	rc = survey_devices(&dr.m, &dr.device, &dr.nr_devices);
	if (rc) {
		survey_close(&dr.m);
		return fail("%s", strerror(-rc));
	}
	dr.findings = json_object_new_array();
	ask_daemon(&dr);
	check_all(&dr);
	print_answer(&dr);
	json_object_put(dr.daemon);
	free(dr.device);
	survey_close(&dr.m);
	return dr.wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
