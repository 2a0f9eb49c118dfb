/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where faults are injected beside the simulation: the device, the C library, json-c. */
#include "faults_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

_Thread_local bool faults_inside;
struct faults_shared *faults_shared;

/* Counts one call; the errno to fail with, or 0. */
static int due(struct fault_counts *c, unsigned int op)
{
	uint64_t nth;

	if (!faults_inside || !faults_shared || !atomic_load(&faults_shared->armed))
		return 0;
	nth = atomic_fetch_add(&c->calls[op], 1) + 1;
	for (unsigned int i = 0; i < FAULTS_MAX; i++) {
		const struct fault *f = &c->fault[i];

		if (f->nth == nth && f->op == op) {
			atomic_fetch_add(&faults_shared->fired, 1);
			return f->code;
		}
	}
	return 0;
}

/* -- the device -- */

static const char *const dev_names[FAULT_DEV_OPS] = {
	[DEV_RESET] = "reset",	       [DEV_CONFIG_READ] = "config_read",
	[DEV_CONFIG_WRITE] = "config_write", [DEV_QUEUE_ENABLE] = "queue_enable",
	[DEV_IRQ_ACK] = "irq_ack",
};

static struct {
	struct xdev dev;
	struct xdev *real;
} proxy;

#define REAL proxy.real->ops
#define DEV_DUE(op) due(&faults_shared->dev, op)

static int dev_reset(struct xdev *dev)
{
	int rc = DEV_DUE(DEV_RESET);

	(void)dev;
	return rc ? rc : REAL->reset(proxy.real);
}

static uint8_t dev_get_status(struct xdev *dev)
{
	(void)dev;
	return REAL->get_status(proxy.real);
}

static void dev_set_status(struct xdev *dev, uint8_t status)
{
	(void)dev;
	REAL->set_status(proxy.real, status);
}

static uint64_t dev_get_features(struct xdev *dev)
{
	(void)dev;
	return REAL->get_features(proxy.real);
}

static void dev_set_features(struct xdev *dev, uint64_t features)
{
	(void)dev;
	REAL->set_features(proxy.real, features);
}

static int dev_config_read(struct xdev *dev, unsigned int off, void *buf, unsigned int len)
{
	int rc = DEV_DUE(DEV_CONFIG_READ);

	(void)dev;
	return rc ? rc : REAL->config_read(proxy.real, off, buf, len);
}

static int dev_config_write(struct xdev *dev, unsigned int off, const void *buf, unsigned int len)
{
	int rc = DEV_DUE(DEV_CONFIG_WRITE);

	(void)dev;
	return rc ? rc : REAL->config_write(proxy.real, off, buf, len);
}

static uint16_t dev_queue_size_max(struct xdev *dev, unsigned int index)
{
	(void)dev;
	return REAL->queue_size_max(proxy.real, index);
}

static int dev_queue_enable(struct xdev *dev, unsigned int index, uint16_t size, maddr_t desc,
			    maddr_t driver, maddr_t device)
{
	int rc = DEV_DUE(DEV_QUEUE_ENABLE);

	(void)dev;
	return rc ? rc : REAL->queue_enable(proxy.real, index, size, desc, driver, device);
}

static void dev_notify(struct xdev *dev, unsigned int index)
{
	(void)dev;
	REAL->notify(proxy.real, index);
}

static int dev_irq_fd(struct xdev *dev)
{
	(void)dev;
	return REAL->irq_fd(proxy.real);
}

static int dev_irq_ack(struct xdev *dev)
{
	int rc = DEV_DUE(DEV_IRQ_ACK);

	(void)dev;
	return rc ? rc : REAL->irq_ack(proxy.real);
}

static void dev_close(struct xdev *dev)
{
	(void)dev;
}

static const struct xdev_ops dev_ops = {
	.reset = dev_reset,
	.get_status = dev_get_status,
	.set_status = dev_set_status,
	.get_features = dev_get_features,
	.set_features = dev_set_features,
	.config_read = dev_config_read,
	.config_write = dev_config_write,
	.queue_size_max = dev_queue_size_max,
	.queue_enable = dev_queue_enable,
	.notify = dev_notify,
	.irq_fd = dev_irq_fd,
	.irq_ack = dev_irq_ack,
	.close = dev_close,
};

struct xdev *faults_dev(struct xdev *dev)
{
	proxy.real = dev;
	proxy.dev = *dev;
	proxy.dev.ops = &dev_ops;
	return &proxy.dev;
}

/* -- functions -- */

static const char *const sys_names[FAULT_SYS_OPS] = {
	[SYS_MALLOC] = "malloc",
	[SYS_CALLOC] = "calloc",
	[SYS_REALLOC] = "realloc",
	[SYS_STRDUP] = "strdup",
	[SYS_MMAP] = "mmap",
	[SYS_FORK] = "fork",
	[SYS_SOCKETPAIR] = "socketpair",
	[SYS_SOCKET] = "socket",
	[SYS_OPEN] = "open",
	[SYS_RENAME] = "rename",
	[SYS_JSON_OBJECT] = "json_object_new_object",
	[SYS_JSON_ARRAY] = "json_object_new_array",
	[SYS_JSON_STRING] = "json_object_new_string",
	[SYS_JSON_INT] = "json_object_new_int",
	[SYS_JSON_BOOLEAN] = "json_object_new_boolean",
	[SYS_JSON_TEXT] = "json_object_to_json_string_ext",
	[SYS_JSON_ADD] = "json_object_object_add",
	[SYS_JSON_PARSE] = "json_tokener_parse",
};

const char *faults_op_name(enum fault_kind kind, unsigned int op)
{
	if (kind == FAULT_DEV)
		return op < FAULT_DEV_OPS ? dev_names[op] : NULL;
	if (kind == FAULT_SYS)
		return op < FAULT_SYS_OPS ? sys_names[op] : NULL;
	return op < SIM_OP_COUNT ? sim_op_name((enum sim_op)op) : NULL;
}

/* As the function itself would: errno and what it returns. */
static bool sys_fails(enum fault_sys_op op)
{
	int rc = faults_inside && faults_shared ? due(&faults_shared->sys, op) : 0;

	if (rc)
		errno = -rc;
	return rc;
}

/* The linker's names. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
void *__real_mmap(void *va, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *va, size_t len, int prot, int flags, int fd, off_t off);
pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_socketpair(int domain, int type, int protocol, int pair[2]);
int __wrap_socketpair(int domain, int type, int protocol, int pair[2]);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_close(int fd);
int __wrap_close(int fd);
json_object *__real_json_object_new_object(void);
json_object *__wrap_json_object_new_object(void);
json_object *__real_json_object_new_array(void);
json_object *__wrap_json_object_new_array(void);
json_object *__real_json_object_new_string(const char *s);
json_object *__wrap_json_object_new_string(const char *s);
json_object *__real_json_object_new_int(int32_t n);
json_object *__wrap_json_object_new_int(int32_t n);
json_object *__real_json_object_new_boolean(json_bool b);
json_object *__wrap_json_object_new_boolean(json_bool b);
const char *__real_json_object_to_json_string_ext(json_object *o, int flags);
const char *__wrap_json_object_to_json_string_ext(json_object *o, int flags);
int __real_json_object_object_add(json_object *o, const char *key, json_object *v);
int __wrap_json_object_object_add(json_object *o, const char *key, json_object *v);
json_object *__real_json_tokener_parse(const char *text);
json_object *__wrap_json_tokener_parse(const char *text);

void *__wrap_malloc(size_t size)
{
	return sys_fails(SYS_MALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return sys_fails(SYS_CALLOC) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return sys_fails(SYS_REALLOC) ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	return sys_fails(SYS_STRDUP) ? NULL : __real_strdup(s);
}

/* What replaces a mapping of one's own does not fail: the simulation relies on that. */
void *__wrap_mmap(void *va, size_t len, int prot, int flags, int fd, off_t off)
{
	if (!(flags & MAP_FIXED) && sys_fails(SYS_MMAP))
		return MAP_FAILED;
	return __real_mmap(va, len, prot, flags, fd, off);
}

pid_t __wrap_fork(void)
{
	return sys_fails(SYS_FORK) ? -1 : __real_fork();
}

int __wrap_socketpair(int domain, int type, int protocol, int pair[2])
{
	return sys_fails(SYS_SOCKETPAIR) ? -1 : __real_socketpair(domain, type, protocol, pair);
}

int __wrap_socket(int domain, int type, int protocol)
{
	return sys_fails(SYS_SOCKET) ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (sys_fails(SYS_OPEN))
		return -1;
	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return __real_open(path, flags, mode);
}

int __wrap_rename(const char *from, const char *to)
{
	return sys_fails(SYS_RENAME) ? -1 : __real_rename(from, to);
}

int __wrap_close(int fd)
{
	int rc = __real_close(fd);

	if (rc && errno == EBADF && faults_inside && faults_shared)
		faults_failed("descriptor %d is closed, which is not open", fd);
	return rc;
}

json_object *__wrap_json_object_new_object(void)
{
	return sys_fails(SYS_JSON_OBJECT) ? NULL : __real_json_object_new_object();
}

json_object *__wrap_json_object_new_array(void)
{
	return sys_fails(SYS_JSON_ARRAY) ? NULL : __real_json_object_new_array();
}

json_object *__wrap_json_object_new_string(const char *s)
{
	return sys_fails(SYS_JSON_STRING) ? NULL : __real_json_object_new_string(s);
}

json_object *__wrap_json_object_new_int(int32_t n)
{
	return sys_fails(SYS_JSON_INT) ? NULL : __real_json_object_new_int(n);
}

json_object *__wrap_json_object_new_boolean(json_bool b)
{
	return sys_fails(SYS_JSON_BOOLEAN) ? NULL : __real_json_object_new_boolean(b);
}

const char *__wrap_json_object_to_json_string_ext(json_object *o, int flags)
{
	return sys_fails(SYS_JSON_TEXT) ? NULL : __real_json_object_to_json_string_ext(o, flags);
}

/* It does not take the value over then. */
int __wrap_json_object_object_add(json_object *o, const char *key, json_object *v)
{
	return sys_fails(SYS_JSON_ADD) ? -1 : __real_json_object_object_add(o, key, v);
}

json_object *__wrap_json_tokener_parse(const char *text)
{
	return sys_fails(SYS_JSON_PARSE) ? NULL : __real_json_tokener_parse(text);
}
