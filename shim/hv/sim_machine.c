/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine as a whole: its memory, its lock, and the record that makes steps atomic. */
#include "hv/sim_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct sim_undo {
	void *p;
	size_t len;
};

/* A record is a head, the bytes saved, and its length, by which it is found from behind. */
void sim_touch(struct sim_shared *sh, void *p, size_t len)
{
	uint32_t at = sh->undo_len;
	size_t need = (sizeof(struct sim_undo) + len + 7) & ~(size_t)7;
	struct sim_undo rec = { .p = p, .len = len };

	if (need + sizeof(uint64_t) > SIM_UNDO)
		return;
	/* Only the death of a domain is as long as this, and it may stop half way. */
	if (at + need + sizeof(uint64_t) > SIM_UNDO)
		at = 0;
	memcpy(&sh->undo[at], &rec, sizeof(rec));
	memcpy(&sh->undo[at + sizeof(rec)], p, len);
	at += (uint32_t)need;
	memcpy(&sh->undo[at], &need, sizeof(need));
	/* The process may end between any two instructions: record, length, change. */
	atomic_signal_fence(memory_order_seq_cst);
	sh->undo_len = at + (uint32_t)sizeof(uint64_t);
	atomic_signal_fence(memory_order_seq_cst);
}

void sim_commit(struct sim_shared *sh)
{
	atomic_signal_fence(memory_order_seq_cst);
	sh->undo_len = 0;
	atomic_signal_fence(memory_order_seq_cst);
}

static void sim_roll_back(struct sim_shared *sh)
{
	while (sh->undo_len) {
		struct sim_undo rec;
		uint64_t need;
		uint32_t at = sh->undo_len - (uint32_t)sizeof(need);

		memcpy(&need, &sh->undo[at], sizeof(need));
		at -= (uint32_t)need;
		memcpy(&rec, &sh->undo[at], sizeof(rec));
		memcpy(rec.p, &sh->undo[at + sizeof(rec)], rec.len);
		/* Putting back twice does no harm, should this process die as well. */
		atomic_signal_fence(memory_order_seq_cst);
		sh->undo_len = at;
	}
}

void sim_lock(struct sim_machine *m)
{
	if (pthread_mutex_lock(&m->sh->lock) != EOWNERDEAD)
		return;
	sim_roll_back(m->sh);
	pthread_mutex_consistent(&m->sh->lock);
}

void sim_unlock(struct sim_machine *m)
{
	sim_commit(m->sh);
	pthread_mutex_unlock(&m->sh->lock);
}

/* splitmix64 */
uint64_t sim_random_locked(struct sim_shared *sh)
{
	uint64_t z;

	SIM_SET(sh, sh->rng, sh->rng + 0x9e3779b97f4a7c15ull);
	z = sh->rng;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static int sim_lock_init(struct sim_shared *sh)
{
	pthread_mutexattr_t attr;
	int rc;

	rc = pthread_mutexattr_init(&attr);
	if (rc)
		return -rc;
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	rc = pthread_mutex_init(&sh->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return -rc;
}

static uint32_t sim_limit(uint32_t asked, uint32_t dflt, uint32_t max)
{
	uint32_t n = asked ? asked : dflt;

	return n < max ? n : max;
}

static void sim_config_init(struct sim_shared *sh, const struct sim_config *config)
{
	struct sim_config *c = &sh->config;

	if (config)
		*c = *config;
	if (!c->seed)
		c->seed = 1;
	c->frames = sim_limit(c->frames, 16384, SIM_FRAMES);
	c->max_grants = sim_limit(c->max_grants, SIM_GRANTS, SIM_GRANTS);
	c->max_handles = sim_limit(c->max_handles, SIM_TRACKS, SIM_TRACKS);
	c->max_ports = sim_limit(c->max_ports, SIM_PORTS, SIM_PORTS);
	sh->rng = c->seed;
	sh->nfree = c->frames;
	for (uint32_t i = 0; i < c->frames; i++)
		sh->free[i] = i;
}

/* The lists lie behind the frames in the file, which has holes where nothing was written. */
static size_t sim_lists_size(void)
{
	return SIM_DOMS * SIM_LIST * sizeof(uint64_t);
}

static int sim_map_lists(struct sim_machine *m, size_t at)
{
	m->lists = mmap(NULL, sim_lists_size(), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_NORESERVE, m->memfd, (off_t)at);
	if (m->lists != MAP_FAILED)
		return 0;
	m->lists = NULL;
	return -errno;
}

static int sim_map_memory(struct sim_machine *m, uint32_t frames)
{
	size_t size = (size_t)frames << XVS_FRAME_SHIFT;
	int err;

	m->memfd = memfd_create("xvshim-sim", MFD_CLOEXEC);
	if (m->memfd < 0 || ftruncate(m->memfd, (off_t)(size + sim_lists_size())))
		return -errno;
	err = sim_map_lists(m, size);
	if (err)
		return err;
	m->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);
	if (m->ram == MAP_FAILED) {
		m->ram = NULL;
		return -errno;
	}
	m->window = mmap(NULL, (size_t)SIM_WINDOW << XVS_FRAME_SHIFT, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->window == MAP_FAILED) {
		m->window = NULL;
		return -errno;
	}
	return 0;
}

static int sim_make_fds(struct sim_machine *m)
{
	for (int i = 0; i < SIM_SLOTS; i++) {
		m->evt_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (m->evt_fd[i] < 0)
			return -errno;
		m->store_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (m->store_fd[i] < 0)
			return -errno;
	}
	return 0;
}

static struct sim_machine *sim_machine_blank(void)
{
	struct sim_machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->memfd = -1;
	for (int i = 0; i < SIM_SLOTS; i++)
		m->evt_fd[i] = m->store_fd[i] = -1;
	m->sh = mmap(NULL, sizeof(*m->sh), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->sh != MAP_FAILED)
		return m;
	free(m);
	return NULL;
}

struct sim_machine *sim_machine_new(const struct sim_config *config, int *err)
{
	struct sim_machine *m = sim_machine_blank();
	int rc = -ENOMEM;

	if (!m)
		goto err_out;
	sim_config_init(m->sh, config);
	rc = sim_lock_init(m->sh);
	if (rc)
		goto err_free;
	rc = sim_map_memory(m, m->sh->config.frames);
	if (rc)
		goto err_free;
	rc = sim_make_fds(m);
	if (rc)
		goto err_free;
	return m;

err_free:
	sim_machine_free(m);
err_out:
	if (err)
		*err = rc;
	return NULL;
}

void sim_machine_free(struct sim_machine *m)
{
	if (!m)
		return;
	for (int i = 0; i < SIM_SLOTS; i++) {
		if (m->evt_fd[i] >= 0)
			close(m->evt_fd[i]);
		if (m->store_fd[i] >= 0)
			close(m->store_fd[i]);
	}
	if (m->window)
		munmap(m->window, (size_t)SIM_WINDOW << XVS_FRAME_SHIFT);
	if (m->lists)
		munmap(m->lists, sim_lists_size());
	if (m->ram)
		munmap(m->ram, (size_t)m->sh->config.frames << XVS_FRAME_SHIFT);
	if (m->memfd >= 0)
		close(m->memfd);
	munmap(m->sh, sizeof(*m->sh));
	free(m);
}
