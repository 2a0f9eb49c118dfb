/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "front": what the guest's module reads of a hostile back end: the nodes in the store, the
 * control page, the mirror of config space and the answers in the mailbox. The module's own files,
 * compiled for user space; the back end may write at each look at the shared page.
 *
 * In half of the inputs the back end keeps to the protocol for config space, and then no copy that
 * a driver gets may be of two generations.
 */
#include "kernel.h"

#include "fuzz.h"

/* Linux is not built with these. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "frontend/control.c"
#include "frontend/negotiate.c"
#include "frontend/transport.c"
#pragma GCC diagnostic pop

unsigned long jiffies;
struct workqueue_struct *xvs_wq;

static struct fuzz input;
static struct xvs_front *front;
static bool honest, started;
static unsigned int quiet; /* the back end does nothing for so many of its turns */
static unsigned int written; /* bytes of the next config that an honest one wrote */

/* -- the back end -- */

/* One store to config space or its generation. A version's bytes are all its number. */
static void write_config(struct xvs_control_page *c)
{
	u32 gen = c->info.config_generation;

	if (!(gen & 1)) {
		c->info.config_generation = gen + 1;
		written = 0;
	} else if (written < c->info.config_len && written < XVS_CONFIG_MAX) {
		c->config[written++] = (u8)((gen + 1) / 2);
	} else {
		c->info.config_generation = gen + 1;
	}
}

static void scribble(struct xvs_control_page *c)
{
	u8 where = fuzz_u8(&input);
	unsigned int at = where < 0x80 ? where : where < 0xc0 ? 0x400 + (where & 63) * 4u :
			  fuzz_u16(&input) % (PAGE_SIZE - 4);
	unsigned int n = 1 + fuzz_below(&input, 4);
	u8 bytes[4];

	fuzz_bytes(&input, bytes, n);
	(memcpy)((u8 *)c + at, bytes, n);
}

void fuzz_back(void)
{
	u8 what;

	if (!front || !front->ctrl || !started || quiet)
		quiet -= quiet > 0;
	else if (fuzz_more(&input)) {
		what = fuzz_u8(&input);
		if (what & 0x80)
			quiet = what & 31;
		else if (honest)
			for (what &= 15; what; what--)
				write_config(front->ctrl);
		else
			scribble(front->ctrl);
	}
}

/* It may answer, rightly or not. */
void fuzz_back_wait(void)
{
	struct xvs_control_page *c = front->ctrl;
	u8 how = fuzz_u8(&input);

	if (!c)
		return;
	if (honest && (c->info.config_generation & 1))
		for (int i = 0; i < XVS_CONFIG_MAX + 2 && c->info.config_generation & 1; i++)
			write_config(c);
	if (how & 1) {
		c->rsp.result = how & 2 ? -(int)fuzz_u8(&input) : how & 4 ? (int)fuzz_u32(&input) : 0;
		c->rsp.status = fuzz_u8(&input);
		c->rsp.seq = c->req.seq + (how & 8 ? fuzz_u8(&input) : 0);
	}
	fuzz_back();
}

void *fuzz_memcpy(void *to, const void *from, size_t n)
{
	const u8 *page = front && front->ctrl ? (const u8 *)front->ctrl : NULL, *at = from;
	size_t half = n / 2;

	if (!page || at < page || at >= page + PAGE_SIZE)
		return (memcpy)(to, from, n);
	fuzz_back();
	(memcpy)(to, from, half);
	fuzz_back();
	(memcpy)((u8 *)to + half, (const u8 *)from + half, n - half);
	return to;
}

/* Nodes: sound ones but where the input has others. */
char *xenbus_read(struct xenbus_transaction t, const char *dir, const char *node, unsigned int *len)
{
	const char *sound = !strcmp(node, XVS_KEY_VERSIONS) ? "1" :
			    !strcmp(node, XVS_KEY_DEVICE_ID) ? "2" :
			    !strcmp(node, XVS_KEY_ADDRESSING_OFFERED) ? "grant" : "strict,lazy";
	u8 form = fuzz_u8(&input);
	char *text;

	(void)t;
	(void)dir;
	if ((form & 7) == 1)
		return ERR_PTR(form & 8 ? -ENOENT : -EIO);
	if ((form & 7) != 2) {
		*len = (unsigned int)strlen(sound);
		return strdup(sound);
	}
	*len = fuzz_u8(&input) * (form & 8 ? 4u : 1u);
	text = malloc(*len + 1);
	FUZZ_CHECK(text, "out of memory");
	fuzz_bytes(&input, text, *len);
	text[*len] = '\0';
	return text;
}

static bool pv;

bool xen_pv_domain(void)
{
	return pv;
}

/* -- of queue.c, which is about the kernel's rings -- */

int xvs_find_vqs(struct virtio_device *vdev, unsigned int nvqs, struct virtqueue *vqs[],
		 XVS_FIND_VQS_ARGS, struct irq_affinity *desc)
{
	(void)vdev, (void)nvqs, (void)vqs, (void)xvs_cb, (void)xvs_name, (void)xvs_ctx, (void)desc;
	return 0;
}

void xvs_del_vqs(struct virtio_device *vdev)
{
	(void)vdev;
}

void xvs_synchronize_cbs(struct virtio_device *vdev)
{
	(void)vdev;
}

int xvs_set_vq_affinity(struct virtqueue *vq, const struct cpumask *mask)
{
	(void)vq, (void)mask;
	return 0;
}

/* -- the checks -- */

static void check_front(const struct xvs_front *f)
{
	FUZZ_CHECK(f->config_len <= XVS_CONFIG_MAX, "config of %u bytes", f->config_len);
	FUZZ_CHECK((f->features & XVS_FEATURES_NEEDED) == XVS_FEATURES_NEEDED, "features %#llx",
		   (unsigned long long)f->features);
	FUZZ_CHECK(!(f->config_gen & 1), "a generation that is not stable");
	for (int i = 0; i < (int)XVS_MAX_QUEUES; i++)
		FUZZ_CHECK(f->queue[i].size_max <= XVS_QUEUE_SIZE_MAX, "queue %d has %u", i,
			   f->queue[i].size_max);
	FUZZ_CHECK(!f->mailbox.n && !f->config_lock.n, "a lock is still held");
	for (u32 i = 0; honest && i < f->config_len; i++)
		FUZZ_CHECK(f->config[i] == (u8)(f->config_gen / 2), "byte %u of generation %u is %u",
			   i, f->config_gen, f->config[i]);
}

static void check_agreed(const struct xvs_front *f)
{
	FUZZ_CHECK(f->agreed.device_id && f->agreed.mode && f->agreed.addressing_word &&
		   f->agreed.addressing, "an agreement on nothing");
	FUZZ_CHECK(pv || !xvs_is_p2m(f), "p2m without a p2m");
}

/* What a sound back end fills in. */
static void fill_page(struct xvs_front *f)
{
	struct xvs_control_page *c = f->ctrl;
	u8 form = fuzz_u8(&input);

	c->info = (struct xvs_device_info){
		.magic = XVS_MAGIC, .version = XVS_VERSION, .device_id = f->agreed.device_id,
		.num_queues = 1 + form % XVS_MAX_QUEUES, .config_len = form, .vendor_id = 1,
		.device_features = XVS_FEATURES_NEEDED, .addressing = f->agreed.addressing,
		.protection = f->agreed.mode->value };
	for (int i = 0; i < (int)XVS_MAX_QUEUES; i++)
		c->queue[i].size_max = XVS_QUEUE_SIZE_MAX;
}

static void config_access(struct virtio_device *v)
{
	unsigned int offset = fuzz_u16(&input), len = fuzz_u8(&input);
	void *buf = malloc(len);

	offset = offset & 0x8000 ? fuzz_u32(&input) : offset % 0x480;
	FUZZ_CHECK(buf || !len, "out of memory");
	memset(buf, 0xaa, len);
	if (fuzz_u8(&input) & 1)
		v->config->set(v, offset, buf, len);
	else
		v->config->get(v, offset, buf, len);
	free(buf);
}

static void use(struct xvs_front *f)
{
	struct virtio_device *v = &f->vd->vdev;
	const struct virtio_config_ops *ops = v->config;
	u8 status;

	switch (fuzz_below(&input, 6)) {
	case 0:
		config_access(v);
		break;
	case 1:
		control_irq(f->ctrl_irq, f);
		break;
	case 2:
		ops->set_status(v, fuzz_u8(&input));
		break;
	case 3:
		ops->reset(v);
		FUZZ_CHECK(!ops->get_status(v), "a status after a reset");
		break;
	case 4:
		v->features = ops->get_features(v);
		if (!ops->finalize_features(v))
			FUZZ_CHECK(!(v->features & ~f->features), "features not offered");
		break;
	default:
		status = ops->get_status(v);
		FUZZ_CHECK(!(status & ~0x40 & ~f->status), "status %#x", status);
		(void)ops->generation(v);
	}
	check_front(f);
}

/*
 * The domain is saved, and another back end fills in what it likes. Whatever it is: what the driver
 * built on stays, until the driver has it all again.
 */
static void try_restore(struct xvs_front *f)
{
	static u8 shown[XVS_CONFIG_MAX];
	const struct xvs_agreed agreed = f->agreed;
	const u32 config_len = f->config_start_len;
	const char *what = NULL;
	struct virtio_device *v = &f->vd->vdev;
	u8 bytes[XVS_CONFIG_MAX] = { 0 };

	v->config->reset(v);
	memcpy(shown, f->config_start, sizeof(shown));
	xvs_control_close(f);
	started = false;
	f->stage = XVS_FRESH;
	f->restoring = f->frozen = true;
	f->queue[0].size = 64;
	if (!xvs_negotiate(f, &what) && !xvs_control_open(f)) {
		fill_page(f);
		started = true;
		if (!xvs_control_check(f, &what)) {
			FUZZ_CHECK(!(v->features & ~f->features), "features are missing");
			FUZZ_CHECK(f->queue[0].size_max >= 64, "a queue is too short");
		}
		control_irq(f->ctrl_irq, f);
		v->config->set_status(v, VIRTIO_CONFIG_S_DRIVER);
	}
	FUZZ_CHECK(!memcmp(&f->agreed, &agreed, sizeof(agreed)), "another agreement");
	FUZZ_CHECK(f->config_len >= config_len, "a shorter config space");
	v->config->get(v, 0, bytes, config_len);
	FUZZ_CHECK(!memcmp(bytes, shown, config_len), "another config space");
	FUZZ_CHECK(f->queue[0].size == 64, "another queue");
	f->restoring = f->frozen = false;
}

static void try_page(struct xvs_front *f)
{
	const char *wrong = NULL;
	unsigned int steps = 0;

	if (xvs_control_open(f))
		return;
	fill_page(f);
	started = true;
	if (xvs_control_check(f, &wrong)) {
		FUZZ_CHECK(wrong, "refused without a reason");
	} else {
		check_front(f);
		f->stage = XVS_LIVE;
		FUZZ_CHECK(!xvs_vdev_register(f), "register");
		while (fuzz_more(&input) && steps++ < 60)
			use(f);
		if (fuzz_more(&input))
			try_restore(f);
	}
	xvs_control_close(f);
	started = false;
	xvs_vdev_unregister(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct xenbus_device xbdev = { .nodename = "device/x/0", .otherend = "backend/x/0" };
	static char pool[] = "pool,lazy", grant[] = "grant", p2m[] = "p2m,grant";
	static struct xvs_front f;
	static char *usual;
	const char *what = NULL;
	u8 form;

	if (!usual)
		usual = protection; /* the module's default */
	input = (struct fuzz){ data, data + size };
	form = fuzz_u8(&input);
	memset(&f, 0, sizeof(f));
	f.xbdev = &xbdev;
	front = &f;
	honest = form & 1;
	pv = form & 2;
	protection = usual;
	quiet = written = 0;
	jiffies = 0;
	FUZZ_CHECK(!xvs_negotiate_check(), "the defaults are refused");
	if (form & 4)
		protection = pool;
	addressing = form & 8 ? p2m : grant;
	if (xvs_negotiate(&f, &what)) {
		FUZZ_CHECK(what, "refused without a reason");
	} else {
		check_agreed(&f);
		try_page(&f);
	}
	front = NULL;
	return 0;
}
