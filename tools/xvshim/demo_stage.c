/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "demo.h"

#include "session/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES_DOM0 4096
#define PAGES_GUEST 4096

static int say(struct demo *d, const char *what, int rc)
{
	if (!d->why[0])
		snprintf(d->why, sizeof(d->why), "%s: %s", what, strerror(-rc));
	return -1;
}

static void on_violation(void *arg, const char *story)
{
	struct demo *d = arg;

	pthread_mutex_lock(&d->lock);
	if (!d->why[0])
		snprintf(d->why, sizeof(d->why), "%s", story);
	pthread_mutex_unlock(&d->lock);
}

static void on_guest_desc(void *arg, const struct sim_guest_trace *t)
{
	struct demo *d = arg;

	pthread_mutex_lock(&d->lock);
	if (d->nwrote < DEMO_TRACE)
		d->wrote[d->nwrote++] = *t;
	pthread_mutex_unlock(&d->lock);
}

static void on_disk_desc(void *arg, const struct check_trace *t)
{
	struct demo *d = arg;

	pthread_mutex_lock(&d->lock);
	if (d->nsaw < DEMO_TRACE)
		d->saw[d->nsaw++] = *t;
	pthread_mutex_unlock(&d->lock);
}

void demo_trace_again(struct demo *d)
{
	pthread_mutex_lock(&d->lock);
	d->nwrote = 0;
	d->nsaw = 0;
	pthread_mutex_unlock(&d->lock);
}

static void set_ready(struct demo *d, int ready)
{
	pthread_mutex_lock(&d->lock);
	d->ready = ready;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

static int open_session(struct demo *d, struct hv *hv, struct hv_dma *dma, struct session **s)
{
	struct session_params params = {
		.hv = hv,
		.dev = d->disk,
		.dma = dma,
		.journal = &d->journal,
		.domid = DEMO_GUEST,
		.ctrl_ref = sim_guest_ctrl_ref(d->guest),
		.ctrl_port = sim_guest_ctrl_port(d->guest),
		.addressing = XVS_ADDRESSING_GRANT,
		.protection = XVS_PROTECTION_STRICT,
		.poll_us = 20,
		.name = "demo",
	};
	int rc = journal_set_dma(&d->journal, dma);

	return rc ? rc : session_open(s, &params, d->why, sizeof(d->why));
}

/* What a worker does, in a thread: its handle of the hypervisor belongs to it. */
static void *session_thread(void *arg)
{
	struct demo *d = arg;
	struct hv_dma dma = { 0 };
	struct session *s = NULL;
	struct hv *hv;
	int rc;

	hv = sim_hv_open(d->machine, DEMO_DOM0, HV_CAP_GRANT | HV_CAP_EVTCHN | HV_CAP_DMA, &rc);
	if (!hv)
		goto err_ready;
	rc = hv->ops->dma_alloc(hv, session_dma_pages(d->disk), &dma);
	if (rc)
		goto err_close;
	rc = open_session(d, hv, &dma, &s);
	if (rc)
		goto err_dma;
	set_ready(d, 1);
	d->ended = session_run(s, d->stop[0]);
	session_close(s);
	hv->ops->dma_free(hv, &dma);
	hv_close(hv);
	return NULL;

err_dma:
	hv->ops->dma_free(hv, &dma);
err_close:
	hv_close(hv);
err_ready:
	say(d, "the session", rc);
	set_ready(d, -1);
	return NULL;
}

static int start_session(struct demo *d)
{
	int rc;

	if (pipe(d->stop))
		return say(d, "pipe", -1);
	rc = journal_create(&d->journal, NULL);
	if (rc)
		return say(d, "journal", rc);
	rc = pthread_create(&d->thread, NULL, session_thread, d);
	if (rc)
		return say(d, "thread", -rc);
	d->running = true;
	pthread_mutex_lock(&d->lock);
	while (!d->ready)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
	return d->ready > 0 ? 0 : -1;
}

static int make_machine(struct demo *d)
{
	const struct sim_config config = { .seed = 1 };
	int rc;

	d->machine = sim_machine_new(&config, &rc);
	if (!d->machine)
		return say(d, "the simulated machine", rc);
	rc = sim_domain_add(d->machine, DEMO_DOM0, PAGES_DOM0, false);
	if (!rc)
		rc = sim_domain_add(d->machine, DEMO_GUEST, PAGES_GUEST, false);
	return rc ? say(d, "a simulated domain", rc) : 0;
}

static int make_ends(struct demo *d)
{
	const struct check_config disk = { .machine = d->machine,
					   .domid = DEMO_DOM0,
					   .device_id = 2,
					   .sectors = 8192,
					   .seed = 2,
					   .violation = on_violation,
					   .trace = on_disk_desc,
					   .arg = d };
	const struct sim_guest_config guest = { .machine = d->machine,
						.domid = DEMO_GUEST,
						.backend = DEMO_DOM0,
						.seed = 3,
						.violation = on_violation,
						.trace = on_guest_desc,
						.arg = d };
	int rc;

	d->disk = check_dev_open(&disk, &rc);
	if (!d->disk)
		return say(d, "the simulated disk", rc);
	d->guest = sim_guest_new(&guest, &rc);
	return d->guest ? 0 : say(d, "the simulated guest", rc);
}

int demo_begin(struct demo *d)
{
	int rc;

	*d = (struct demo){ .stop = { -1, -1 }, .journal.fd = -1 };
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	if (make_machine(d) || make_ends(d) || start_session(d))
		return -1;
	rc = sim_guest_start(d->guest);
	return rc ? say(d, "the guest's driver", rc) : 0;
}

/* Nothing may be left: a page that stays mapped is a bug, and this is the place to say so. */
static void look_for_leaks(struct demo *d)
{
	struct sim_audit audit;

	sim_audit(d->machine, DEMO_DOM0, &audit);
	if ((audit.device_handles || audit.host_pages || audit.dma_pages) && !d->why[0])
		snprintf(d->why, sizeof(d->why),
			 "left behind: %u handles, %u mappings, %u DMA pages",
			 audit.device_handles, audit.host_pages, audit.dma_pages);
}

int demo_end(struct demo *d)
{
	if (d->guest && d->ready > 0)
		sim_guest_reset(d->guest);
	if (d->stop[1] >= 0)
		close(d->stop[1]);
	if (d->running)
		pthread_join(d->thread, NULL);
	if (d->ended)
		say(d, "the session ended", d->ended);
	if (d->stop[0] >= 0)
		close(d->stop[0]);
	if (d->journal.data)
		journal_close(&d->journal);
	if (d->guest)
		sim_guest_free(d->guest);
	if (d->disk)
		d->disk->ops->close(d->disk);
	if (d->machine) {
		look_for_leaks(d);
		sim_machine_free(d->machine);
	}
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	return d->why[0] ? -1 : 0;
}
