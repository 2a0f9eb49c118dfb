/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small JSON file beside each journal: what the next keeper must know of a device. */
#include "daemon/keeper.h"
#include "daemon/object.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATEFILE_VERSION 1
#define STATEFILE_MAX 4096 /* bytes; ours have some hundred */

static json_object *describe(const struct kdev *d)
{
	json_object *o = object_new();

	object_add(o, "version", json_object_new_int(STATEFILE_VERSION));
	object_add(o, "domid", json_object_new_int(d->domid));
	object_add(o, "devid", json_object_new_int((int)d->devid));
	object_add(o, "identity", json_object_new_string(d->identity));
	object_add(o, "source", json_object_new_string(d->src.text));
	object_add(o, "earlier", json_object_new_string(d->src.earlier));
	object_add(o, "instance", json_object_new_int64((int64_t)d->src.instance));
	return o;
}

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Through a second name: whoever kills us leaves the old file or the new one. */
int statefile_write(const struct kdev *d)
{
	char path[RUN_PATH_SIZE], fresh[RUN_PATH_SIZE + 4];
	json_object *o;
	const char *text;
	int fd, rc;

	keeper_path(d->keeper, path, d, "json");
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	o = describe(d);
	text = object_complete() ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN) : NULL;
	rc = text ? write_all(fd, text) : -ENOMEM;
	json_object_put(o);
	close(fd);
	if (!rc && rename(fresh, path))
		rc = -errno;
	if (rc)
		unlink(fresh);
	return rc;
}

void statefile_remove(const struct kdev *d)
{
	char path[RUN_PATH_SIZE];

	keeper_path(d->keeper, path, d, "json");
	unlink(path);
}

static const char *get_string(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ?
		       json_object_get_string(v) :
		       NULL;
}

static int get_number(json_object *o, const char *key, int max)
{
	json_object *v;
	int64_t n;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
		return -1;
	n = json_object_get_int64(v);
	return n >= 0 && n <= max ? (int)n : -1;
}

/* Of which a file of an earlier version has none: 0. */
static int get_instance(json_object *o, uint64_t *instance)
{
	json_object *v;

	*instance = 0;
	if (!json_object_object_get_ex(o, "instance", &v))
		return 0;
	if (!json_object_is_type(v, json_type_int))
		return -EINVAL;
	*instance = (uint64_t)json_object_get_int64(v);
	return 0;
}

static int take_over(json_object *o, struct kdev *d, char *source, char *earlier)
{
	int domid = get_number(o, "domid", 0x7fef), devid = get_number(o, "devid", 0xffff);
	const char *identity = get_string(o, "identity");
	const char *src = get_string(o, "source");
	const char *driver = get_string(o, "earlier");
	uint64_t instance;

	if (get_number(o, "version", 1000) != STATEFILE_VERSION || domid < 0 || devid < 0 ||
	    !identity || !src || !driver || get_instance(o, &instance))
		return -EINVAL;
	d->domid = (uint16_t)domid;
	d->devid = (uint32_t)devid;
	d->src.instance = instance;
	snprintf(d->identity, sizeof(d->identity), "%s", identity);
	snprintf(source, SOURCE_MAX, "%s", src);
	snprintf(earlier, sizeof(d->src.earlier), "%s", driver);
	return 0;
}

/* The text of a file that is not longer than size - 1. */
static int read_all(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && len < size - 1) {
		n = read(fd, text + len, size - 1 - len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0)
			rc = errno == EISDIR ? -EINVAL : -errno;
	}
	close(fd);
	text[len] = '\0';
	return rc;
}

int statefile_read(const char *path, struct kdev *d, char *source, char *earlier)
{
	char text[STATEFILE_MAX];
	json_object *o;
	int rc = read_all(path, text, sizeof(text));

	if (rc)
		return rc;
	errno = 0;
	o = json_tokener_parse(text);
	if (!o) /* it does not tell what it failed for */
		return errno == ENOMEM ? -ENOMEM : -EINVAL;
	rc = json_object_is_type(o, json_type_object) ? take_over(o, d, source, earlier) : -EINVAL;
	json_object_put(o);
	return rc;
}
