/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Target "state": what an earlier keeper left in the run directory, a state file and a journal,
 * whole, damaged, cut off or anybody's words, is read by the next one. It takes up what is sound
 * and nothing else, remembers it as it stood there, and never takes half a file for a whole. How a
 * journal that was accepted is recovered from, the target "journal" shows; the keeper around it is
 * names here.
 */
#include "fuzz.h"

#include "daemon/keeper.h"
#include "daemon/object.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define DOMID 7u
#define DEVID 3u
#define DEVICES 2u

static struct keeper k;
static struct kdev *device[DEVICES];
static unsigned int devices;
static const char *said[5]; /* by the world: identity, source, states; NULL: there is none */
static int refusal;         /* of the store, at every read; 0: none */
static bool gone;

/* -- the keeper and the store, as far as they are asked -- */

const struct source_ops source_pci = { .prefix = "pci:" };

void keeper_path(const struct keeper *keeper, char path[RUN_PATH_SIZE], const struct kdev *d,
		 const char *kind)
{
	snprintf(path, RUN_PATH_SIZE, "%s/dev-%u-%u.%s", keeper->conf.run_dir, d->domid, d->devid,
		 kind);
}

struct kdev *keeper_find(struct keeper *keeper, uint16_t domid, uint32_t devid)
{
	(void)keeper;
	for (unsigned int i = 0; i < devices; i++)
		if (device[i]->domid == domid && device[i]->devid == devid)
			return device[i];
	return NULL;
}

struct kdev *kdev_new(struct keeper *keeper, uint16_t domid, uint32_t devid)
{
	struct kdev *d = devices < DEVICES ? calloc(1, sizeof(*d)) : NULL;

	FUZZ_CHECK(d, "a device more than there are files");
	d->keeper = keeper;
	d->domid = domid;
	d->devid = devid;
	d->journal.fd = -1;
	device[devices++] = d;
	return d;
}

void kdev_free(struct kdev *d)
{
	for (unsigned int i = 0; i < devices; i++)
		if (device[i] == d)
			device[i] = device[--devices];
	journal_close(&d->journal);
	ev_timer_stop(k.loop, &d->timer);
	free(d);
}

void kdev_mark(struct kdev *d)
{
	d->dirty = true;
}

void kdev_want(struct kdev *d, enum kd_goal goal)
{
	d->goal = goal;
}

void keeper_kick(struct keeper *keeper)
{
	(void)keeper;
}

bool keeper_domain_gone(struct keeper *keeper, uint16_t domid)
{
	(void)keeper;
	(void)domid;
	return gone;
}

int kdev_domain_identity(struct hv *hv, uint16_t domid, char *identity, size_t size)
{
	(void)hv;
	(void)domid;
	snprintf(identity, size, "%s", said[0] ? said[0] : "");
	return refusal;
}

void node_remove_empty(struct hv *hv, const char *dir)
{
	(void)hv;
	(void)dir;
}

static int store_read(struct hv *hv, uint32_t t, const char *path, char **value)
{
	const char *key = strrchr(path, '/');
	const char *text = !strcmp(key, "/" XVS_KEY_SOURCE) ? said[1] :
			   strcmp(key, "/state") ? said[4] :
						   said[strstr(path, "/backend/") ? 2 : 3];

	(void)hv;
	(void)t;
	if (refusal || !text)
		return refusal ? refusal : -ENOENT;
	*value = strdup(text);
	return *value ? 0 : -ENOMEM;
}

static const struct hv_ops ops = { .name = "fuzz", .store_read = store_read };
static struct hv hv = { .ops = &ops };

/* -- the run directory -- */

static char dir[40], state[RUN_PATH_SIZE], journal[RUN_PATH_SIZE], fresh[RUN_PATH_SIZE];

static void clear(void)
{
	unlink(state);
	unlink(journal);
	unlink(fresh);
}

static void remove_dir(void)
{
	clear();
	rmdir(dir);
}

static void begin(void)
{
	const struct kdev name = { .domid = DOMID, .devid = DEVID };

	if (dir[0])
		return;
	log_set_level((enum log_level)0);
	snprintf(dir, sizeof(dir), "%s/xvshim-fuzz-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	FUZZ_CHECK(mkdtemp(dir), "%s cannot be made", dir);
	atexit(remove_dir);
	snprintf(k.conf.run_dir, sizeof(k.conf.run_dir), "%s", dir);
	k.hv = &hv;
	k.loop = ev_loop_new(EVBACKEND_SELECT);
	FUZZ_CHECK(k.loop, "no loop");
	keeper_path(&k, state, &name, "json");
	keeper_path(&k, journal, &name, "journal");
	keeper_path(&k, fresh, &name, "json.new");
}

static void put_file(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	FUZZ_CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n, "%s cannot be written", path);
	close(fd);
}

/* -- state files -- */

/* A member of the file: a number, a text, or something that does not belong there. */
static json_object *any_value(struct fuzz *f, uint8_t form)
{
	json_object *v;
	char *text;

	switch (form) {
	case 0:
		return json_object_new_int64((int64_t)fuzz_u64(f));
	case 1:
		return json_object_new_int(fuzz_u8(f));
	case 2:
		return json_object_new_double((double)fuzz_u32(f) / 16);
	case 3:
		return NULL;
	default:
		text = fuzz_text(f);
		v = json_object_new_string(text);
		free(text);
		return v;
	}
}

/* Members as they should be, but for some. */
static char *assembled(struct fuzz *f)
{
	static const char *const keys[] = { "version", "domid", "devid", "identity", "source",
					    "earlier", "instance" };
	json_object *o = json_object_new_object();
	char *text;

	for (unsigned int i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		static const int number[] = { 1, DOMID, DEVID };
		static const char *const word[] = { "/vm/1", "pci:0000:00:04.0", "virtio-pci" };
		uint8_t form = fuzz_u8(f);

		if (form < 0xc0)
			json_object_object_add(o, keys[i],
					       i < 3 ? json_object_new_int(number[i]) :
					       i < 6 ? json_object_new_string(word[i - 3]) :
						       json_object_new_int64(0x100001234));
		else if (form < 0xf8)
			json_object_object_add(o, keys[i], any_value(f, form & 7));
	}
	text = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	FUZZ_CHECK(text, "out of memory");
	json_object_put(o);
	return text;
}

static void check_same(const struct kdev *a, const struct kdev *b, const char *sa, const char *sb,
		       const char *da, const char *db)
{
	FUZZ_CHECK(a->domid == b->domid && a->devid == b->devid, "another device");
	FUZZ_CHECK(!strcmp(a->identity, b->identity), "another domain: '%s', '%s'", a->identity,
		   b->identity);
	FUZZ_CHECK(a->src.instance == b->src.instance, "another instance");
	FUZZ_CHECK(!strcmp(sa, sb) && !strcmp(da, db), "another source: '%s' '%s', '%s' '%s'", sa,
		   da, sb, db);
}

/* What was read, written, is read the same. */
static void write_again(const struct kdev *d, const char *source, const char *earlier)
{
	char source2[SOURCE_MAX], earlier2[SOURCE_DRIVER_MAX], path[RUN_PATH_SIZE];
	struct kdev again = *d, back = { 0 };

	again.keeper = &k;
	snprintf(again.src.text, sizeof(again.src.text), "%s", source);
	snprintf(again.src.earlier, sizeof(again.src.earlier), "%s", earlier);
	keeper_path(&k, path, &again, "json");
	FUZZ_CHECK(!statefile_write(&again), "it cannot be written");
	FUZZ_CHECK(!statefile_read(path, &back, source2, earlier2), "it cannot be read again");
	check_same(d, &back, source, source2, earlier, earlier2);
	if (strcmp(path, state))
		statefile_remove(&again);
}

static json_object *member(json_object *o, const char *key, json_type type)
{
	json_object *v = NULL;

	FUZZ_CHECK(json_object_object_get_ex(o, key, &v) && json_object_is_type(v, type),
		   "'%s' is not there, or no such thing", key);
	return v;
}

/* Everything that is taken from it stands there, in its own type; a text may be cut off. */
static void check_members(const struct kdev *d, const char *source, const char *earlier)
{
	json_object *o = json_object_from_file(state), *v;
	const char *text;

	FUZZ_CHECK(json_object_get_int64(member(o, "version", json_type_int)) == 1, "version");
	FUZZ_CHECK(json_object_get_int64(member(o, "domid", json_type_int)) == d->domid &&
		   json_object_get_int64(member(o, "devid", json_type_int)) == d->devid,
		   "domain %u device %u", d->domid, d->devid);
	FUZZ_CHECK(json_object_object_get_ex(o, "instance", &v) ?
			   json_object_is_type(v, json_type_int) &&
				   (uint64_t)json_object_get_int64(v) == d->src.instance :
			   !d->src.instance, "instance %llu", (unsigned long long)d->src.instance);
	text = json_object_get_string(member(o, "identity", json_type_string));
	FUZZ_CHECK(!strncmp(text, d->identity, sizeof(d->identity) - 1), "identity '%s'", text);
	text = json_object_get_string(member(o, "source", json_type_string));
	FUZZ_CHECK(!strncmp(text, source, SOURCE_MAX - 1), "source '%s'", text);
	text = json_object_get_string(member(o, "earlier", json_type_string));
	FUZZ_CHECK(!strncmp(text, earlier, SOURCE_DRIVER_MAX - 1), "driver '%s'", text);
	json_object_put(o);
}

/* Returns whether it was accepted. */
static bool try_read(void)
{
	char source[SOURCE_MAX], earlier[SOURCE_DRIVER_MAX];
	struct kdev d, was;
	int rc;

	memset(&d, 0xa5, sizeof(d));
	was = d;
	memset(source, 0xa5, sizeof(source));
	memset(earlier, 0xa5, sizeof(earlier));
	rc = statefile_read(state, &d, source, earlier);
	FUZZ_CHECK(!rc || rc == -EINVAL, "unexpected error %d", rc);
	if (rc) {
		FUZZ_CHECK(!memcmp(&d, &was, sizeof(d)), "something was written on an error");
		return false;
	}
	FUZZ_CHECK(d.domid <= 0x7fef && d.devid <= 0xffff, "domain %u device %u", d.domid, d.devid);
	FUZZ_CHECK(memchr(d.identity, 0, sizeof(d.identity)) && memchr(source, 0, sizeof(source)) &&
		   memchr(earlier, 0, sizeof(earlier)), "a text without end");
	check_members(&d, source, earlier);
	memcpy(was.identity, d.identity, sizeof(d.identity));
	was.domid = d.domid;
	was.devid = d.devid;
	was.src.instance = d.src.instance;
	FUZZ_CHECK(!memcmp(&d, &was, sizeof(d)), "more was written than the four");
	return true;
}

/* A file that ends too early, wherever, is none. */
static void try_cut(const char *text, size_t n)
{
	put_file(state, text, n);
	FUZZ_CHECK(!try_read(), "%zu bytes of '%s' are taken for the whole", n, text);
}

/* -- journals -- */

static void put_journal(struct fuzz *f)
{
	static struct journal_data d;
	uint8_t form = fuzz_u8(f);
	uint64_t value;

	if (form < 0x40)
		return;
	if (form < 0x80) { /* of any size up to a page, of any words */
		fuzz_bytes(f, &d, 64);
		put_file(journal, &d, form < 0x60 ? form & 31 : (form & 31) * 128u);
		return;
	}
	memset(&d, 0, sizeof(d));
	d.magic = JOURNAL_MAGIC;
	d.version = JOURNAL_VERSION;
	d.size = sizeof(d);
	for (unsigned int i = 0; i < JOURNAL_PINS; i++)
		d.pin[i].handle = HV_HANDLE_NONE;
	for (unsigned int i = 0; i < (form & 3u); i++) {
		value = fuzz_u64(f);
		memcpy((char *)&d + fuzz_u8(f) % 25, &value, 8);
	}
	put_file(journal, &d, sizeof(d) - (form >= 0xe0 ? form & 31u : 0));
}

/* What journal_open() promises of one that it accepts. */
static void check_journal(const struct journal *j)
{
	const struct journal_data *d = j->data;

	FUZZ_CHECK(d->magic == JOURNAL_MAGIC && d->version == JOURNAL_VERSION &&
		   d->size == sizeof(*d) && d->dma_pages <= JOURNAL_DMA_PAGES_MAX, "no journal");
}

/* -- the next keeper -- */

static void say(struct fuzz *f, char *text[5])
{
	static const char *const usual[] = { "/vm/1", "pci:0000:00:04.0", "4", "4", NULL };
	static const int errors[] = { -EIO, -EAGAIN, -EACCES, -ENOENT };
	uint8_t form = fuzz_u8(f);

	gone = form >= 0xc0;
	refusal = form & 1 && form & 2 ? errors[form >> 2 & 3] : 0;
	for (unsigned int i = 0; i < 5; i++) {
		uint8_t own = fuzz_u8(f);

		text[i] = own > 0xc0 ? fuzz_text(f) : NULL;
		said[i] = text[i] ? text[i] : own < 0x80 ? usual[i] : NULL;
	}
}

static void adopt(bool sound)
{
	char why[300], source[SOURCE_MAX], earlier[SOURCE_DRIVER_MAX], at[RUN_PATH_SIZE];
	struct kdev saved = { 0 };
	int rc = leftover_adopt(&k, why, sizeof(why));

	FUZZ_CHECK(rc || access(fresh, F_OK), "a file half made is still there");
	FUZZ_CHECK(sound || !devices, "a file that is none is taken up");
	FUZZ_CHECK(!rc || memchr(why, 0, sizeof(why)), "no reason");
	for (unsigned int i = 0; i < devices; i++) {
		const struct kdev *d = device[i];

		FUZZ_CHECK(!statefile_read(state, &saved, source, earlier), "it was read before");
		check_same(&saved, d, source, source, earlier, d->src.earlier);
		FUZZ_CHECK(!parse_source(d->src.text, false, source), "source '%s'", d->src.text);
		FUZZ_CHECK(d->adopted && d->taken, "it would not be given back");
		keeper_path(&k, at, d, "journal");
		if (d->journal.data)
			check_journal(&d->journal);
		if (rc)
			continue;
		/* Nothing leads past the reset of a device that may have been given addresses. */
		FUZZ_CHECK((d->state == KD_RECOVER) == !!d->journal.data, "state %d", d->state);
		FUZZ_CHECK(!gone || d->goal == GOAL_REMOVE, "goal %d of a domain that is gone",
			   d->goal);
		/* Two that have no identity cannot be told apart, and then it is the number's. */
		FUZZ_CHECK(d->goal != GOAL_RESUME ||
			   !strncmp(said[0] ? said[0] : "", d->identity, sizeof(d->identity) - 1),
			   "another domain's device is resumed");
	}
	while (devices)
		kdev_free(device[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	uint8_t form = fuzz_u8(&f);
	char *text[5], source[SOURCE_MAX], earlier[SOURCE_DRIVER_MAX], *words = NULL;
	struct kdev d = { 0 };
	bool sound;

	begin();
	clear();
	say(&f, text);
	put_journal(&f);
	if (form & 1) {
		words = assembled(&f);
		put_file(state, words, strlen(words));
	} else {
		put_file(state, f.at, (size_t)(f.end - f.at));
	}
	sound = try_read();
	if (sound && form & 2) {
		FUZZ_CHECK(!statefile_read(state, &d, source, earlier), "not a second time");
		write_again(&d, source, earlier);
	}
	if (sound && words && form & 4)
		try_cut(words, (form >> 3) * strlen(words) / 32);
	else {
		if (form & 8)
			put_file(fresh, "{", 1);
		adopt(sound);
	}
	free(words);
	for (unsigned int i = 0; i < 5; i++)
		free(text[i]);
	clear();
	return 0;
}
