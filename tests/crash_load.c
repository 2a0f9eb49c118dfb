/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crash_load.h"

#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 4096u
#define SECTORS (BLOCK / 512)
#define BLOCKS 64u
#define RUN 3u /* blocks a request */
#define MAGIC 0x6b636f6c42737658ull

struct stamp {
	uint64_t magic, number, generation, checksum;
};

struct block {
	uint32_t asked;          /* the newest generation that the guest has written */
	_Atomic uint32_t told;   /* of which it was told that it is done */
	uint32_t stored;         /* the newest that the disk has; the disk's thread alone */
	bool busy;               /* a request under way covers it */
};

struct op {
	struct sim_blk_req *req;
	uint32_t type;
	unsigned int first, n;
	struct sim_sg sg[16];
	unsigned int nsg;
	uint32_t before[BLOCKS]; /* a flush: what the guest had been told of */
};

static struct {
	pthread_t thread;
	uint64_t rng;
	unsigned int depth, n;
	struct op op[LOAD_DEPTH]; /* the oldest first */
	struct block block[BLOCKS];
	_Atomic bool stop, failed;
	_Atomic uint64_t completed, flushes;
	pthread_mutex_t lock; /* of the story: two threads may find something */
	char story[200];
} load = { .lock = PTHREAD_MUTEX_INITIALIZER };

__attribute__((format(printf, 1, 2))) static void found(const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&load.lock);
	if (!atomic_load(&load.failed)) {
		va_start(ap, fmt);
		vsnprintf(load.story, sizeof(load.story), fmt, ap);
		va_end(ap);
		atomic_store(&load.failed, true);
	}
	pthread_mutex_unlock(&load.lock);
}

const char *load_story(void)
{
	return atomic_load(&load.failed) ? load.story : NULL;
}

uint64_t load_completed(void)
{
	return atomic_load(&load.completed);
}

uint64_t load_flushes(void)
{
	return atomic_load(&load.flushes);
}

uint16_t load_used_index(void)
{
	return __atomic_load_n(&sim_guest_ring(stage.guest, 0)->used->idx, __ATOMIC_ACQUIRE);
}

static uint32_t any(uint32_t below)
{
	load.rng = load.rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(load.rng >> 33) % below;
}

/* -- blocks -- */

static uint64_t checksum(const void *block)
{
	const uint64_t *word = (const uint64_t *)block + sizeof(struct stamp) / 8;
	const uint64_t *end = (const uint64_t *)block + BLOCK / 8;
	uint64_t sum = 0xcbf29ce484222325ull;

	for (; word < end; word++)
		sum = (sum ^ *word) * 0x100000001b3ull;
	return sum;
}

static void stamp_block(uint64_t *block, uint32_t number, uint32_t generation)
{
	struct stamp *s = (struct stamp *)block;
	uint64_t x = (uint64_t)generation << 32 | (number + 1);

	for (unsigned int i = sizeof(*s) / 8; i < BLOCK / 8; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		block[i] = x;
	}
	*s = (struct stamp){ MAGIC, number, generation, checksum(block) };
}

/* The generation of a sound block, 0 of one that was never written; -1: it is neither. */
static int64_t generation_of(const void *block, uint32_t number)
{
	static const uint8_t zeros[BLOCK];
	struct stamp s;

	memcpy(&s, block, sizeof(s));
	if (!s.magic)
		return memcmp(block, zeros, BLOCK) ? -1 : 0;
	if (s.magic != MAGIC || s.number != number || s.checksum != checksum(block))
		return -1;
	return (int64_t)s.generation;
}

/* In the disk's thread. The guest is told only after the disk is through with it. */
static void on_wrote(void *arg, uint64_t sector, const void *data, uint64_t len)
{
	_Alignas(8) uint8_t copy[BLOCK];

	(void)arg;
	for (uint64_t at = 0; at + BLOCK <= len; at += BLOCK) {
		uint32_t number = (uint32_t)(sector / SECTORS + at / BLOCK);
		struct block *b = &load.block[number % BLOCKS];
		int64_t generation;

		memcpy(copy, (const uint8_t *)data + at, BLOCK);
		generation = generation_of(copy, number);
		if (generation <= 0)
			found("block %u reached the disk damaged", number);
		else if (generation <= atomic_load(&b->told))
			found("generation %lld of block %u was written again after the guest had been "
			      "told of %u", (long long)generation, number, atomic_load(&b->told));
		else if (generation < b->stored)
			found("generation %lld of block %u was written over %u",
			      (long long)generation, number, b->stored);
		else
			b->stored = (uint32_t)generation;
	}
}

/* -- requests -- */

static bool free_run(unsigned int first, unsigned int n)
{
	for (unsigned int i = first; i < first + n; i++)
		if (load.block[i].busy)
			return false;
	return true;
}

static void occupy(const struct op *op, bool busy)
{
	for (unsigned int i = op->first; i < op->first + op->n; i++)
		load.block[i].busy = busy;
}

static bool fill(struct op *op)
{
	_Alignas(8) uint8_t data[RUN * BLOCK];

	if (sim_sg_alloc(stage.guest, (size_t)op->n * BLOCK, BLOCK, 16, op->sg, &op->nsg))
		return false;
	if (op->type != VIRTIO_BLK_T_OUT)
		return true;
	for (unsigned int i = 0; i < op->n; i++)
		stamp_block((uint64_t *)(data + (size_t)i * BLOCK), op->first + i,
			    load.block[op->first + i].asked + 1);
	return !sim_sg_fill(stage.guest, op->sg, op->nsg, data);
}

static bool submit(struct op *op)
{
	int err = 0;

	if (op->n && !fill(op)) {
		found("no memory for a request");
		return false;
	}
	if (op->type == VIRTIO_BLK_T_FLUSH)
		for (unsigned int i = 0; i < BLOCKS; i++)
			op->before[i] = atomic_load(&load.block[i].told);
	if (op->type == VIRTIO_BLK_T_OUT) /* the disk may have it before the next line has run */
		for (unsigned int i = 0; i < op->n; i++)
			load.block[op->first + i].asked++;
	op->req = sim_blk_submit(stage.guest, 0, op->type, (uint64_t)op->first * SECTORS, op->sg,
				 op->nsg, &err);
	if (op->req) {
		occupy(op, true);
		return true;
	}
	if (op->type == VIRTIO_BLK_T_OUT)
		for (unsigned int i = 0; i < op->n; i++)
			load.block[op->first + i].asked--;
	sim_sg_free(stage.guest, op->sg, op->nsg);
	if (err != -ENOSPC)
		found("a request was not taken: %d", err);
	return false;
}

/* One more request, if a place for it is found. */
static bool add_one(void)
{
	struct op *op = &load.op[load.n];
	unsigned int kind = any(20);

	*op = (struct op){ .n = 1 + any(RUN) };
	op->first = any(BLOCKS - op->n + 1);
	if (kind < 3) {
		op->type = VIRTIO_BLK_T_FLUSH;
		op->first = op->n = 0;
	} else {
		op->type = kind < 13 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		if (!free_run(op->first, op->n))
			return false;
	}
	if (!submit(op))
		return false;
	load.n++;
	return true;
}

static void check_read(const struct op *op)
{
	_Alignas(8) uint8_t data[RUN * BLOCK];

	if (sim_sg_fetch(stage.guest, op->sg, op->nsg, data)) {
		found("the data of a read cannot be read");
		return;
	}
	for (unsigned int i = 0; i < op->n; i++) {
		uint32_t number = op->first + i, told = atomic_load(&load.block[number].told);
		int64_t generation = generation_of(data + (size_t)i * BLOCK, number);

		if (generation != told)
			found("block %u has generation %lld, the guest was told of %u", number,
			      (long long)generation, told);
	}
}

static void check_flush(const struct op *op)
{
	static _Alignas(8) uint8_t disk[BLOCKS * BLOCK];

	check_dev_peek(stage.disk, true, 0, disk, sizeof(disk));
	for (unsigned int i = 0; i < BLOCKS; i++) {
		int64_t generation = generation_of(disk + (size_t)i * BLOCK, i);

		if (generation < op->before[i])
			found("flushed, but block %u has generation %lld and not %u", i,
			      (long long)generation, op->before[i]);
	}
	atomic_fetch_add(&load.flushes, 1);
}

/* Waits for one, the index it has in the list. */
static void finish(unsigned int at)
{
	struct op *op = &load.op[at];
	int status = sim_blk_wait(stage.guest, 0, op->req);

	if (status != VIRTIO_BLK_S_OK) { /* after an error it may still be under way: its pages stay */
		found("a request ended with %d: %s", status,
		      sim_guest_violation(stage.guest) ? sim_guest_violation(stage.guest) : "-");
		return;
	}
	if (op->type == VIRTIO_BLK_T_OUT)
		for (unsigned int i = op->first; i < op->first + op->n; i++)
			atomic_store(&load.block[i].told, load.block[i].asked);
	else if (op->type == VIRTIO_BLK_T_IN)
		check_read(op);
	else
		check_flush(op);
	occupy(op, false);
	sim_sg_free(stage.guest, op->sg, op->nsg);
	atomic_fetch_add(&load.completed, 1);
	memmove(op, op + 1, (--load.n - at) * sizeof(*op));
}

/* The oldest, and all that are done beside it. */
static void finish_some(void)
{
	finish(0);
	for (unsigned int i = 0; i < load.n && !load_story();)
		if (sim_blk_done(stage.guest, 0, load.op[i].req))
			finish(i);
		else
			i++;
}

static void *run(void *arg)
{
	unsigned int want;

	(void)arg;
	while (!atomic_load(&load.stop) && !load_story()) {
		want = 1 + any(load.depth);
		for (unsigned int tries = 0; load.n < want && tries < 2 * want; tries++)
			add_one();
		if (sim_blk_kick(stage.guest, 0))
			found("the back end cannot be notified");
		if (load.n)
			finish_some();
	}
	while (load.n && !load_story())
		finish_some();
	return NULL;
}

void load_prepare(uint64_t seed)
{
	memset(load.block, 0, sizeof(load.block));
	load.rng = seed * 2 + 1;
	load.n = 0;
	atomic_store(&load.failed, false);
	stage_disk.writeback = true;
	stage_disk.wrote = on_wrote;
}

void load_begin(unsigned int depth)
{
	load.depth = depth < LOAD_DEPTH ? depth : LOAD_DEPTH;
	atomic_store(&load.stop, false);
	ck_assert_int_eq(pthread_create(&load.thread, NULL, run, NULL), 0);
}

static void read_all_back(void)
{
	_Alignas(8) uint8_t data[BLOCK];

	if (sim_blk_flush(stage.guest, 0) != VIRTIO_BLK_S_OK)
		found("the last flush failed");
	for (unsigned int i = 0; i < BLOCKS && !load_story(); i++) {
		uint32_t told = atomic_load(&load.block[i].told);

		if (sim_blk_read(stage.guest, 0, (uint64_t)i * SECTORS, data, BLOCK))
			found("block %u cannot be read back", i);
		else if (generation_of(data, i) != told)
			found("at the end block %u has generation %lld and not %u", i,
			      (long long)generation_of(data, i), told);
		check_dev_peek(stage.disk, true, (uint64_t)i * SECTORS, data, BLOCK);
		if (generation_of(data, i) != told)
			found("at the end generation %u of block %u is not durable", told, i);
	}
}

const char *load_end(void)
{
	atomic_store(&load.stop, true);
	pthread_join(load.thread, NULL);
	if (!load_story())
		read_all_back();
	return load_story();
}
