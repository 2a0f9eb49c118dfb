/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attach and detach take several turns of the loop. A job names its device by generation, so
 * that it never acts on another one, and ends in exactly one last line to its client.
 */
#include "daemon/jobs.h"

#include "daemon/domain.h"
#include "policy/types.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNDO_LIMIT 10.0 /* seconds to take back what did not work */
#define FORCE_LIMIT 5   /* seconds a guest has to let go of what is taken from it */

struct job {
	struct job *next;
	struct keeper *keeper;
	struct client *client; /* NULL: it went away */
	uint64_t generation;
	bool attach, undoing, done;
	bool force, removing; /* the guest is not waited for for long; its time is over */
	char said[160]; /* the last progress line */
	char why[300];  /* it fails for */
	ev_timer limit;
	bool late;
	unsigned int timeout;
};

static void job_end(struct job *job, const char *error, json_object *answer)
{
	if (job->done)
		return;
	job->done = true;
	ev_timer_stop(job->keeper->loop, &job->limit);
	if (error)
		log_line(LOG_INFO, "%s: %s", job->attach ? "attach" : "detach", error);
	if (!job->client)
		json_object_put(answer);
	else if (error)
		client_fail(job->client, error);
	else
		client_ok(job->client, answer);
	job->client = NULL;
}

static void say(struct job *job, const char *text)
{
	if (!job->client || !strcmp(job->said, text))
		return;
	snprintf(job->said, sizeof(job->said), "%s", text);
	client_progress(job->client, text);
}

static void on_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct job *job = timer->data;

	(void)loop;
	(void)events;
	job->late = true;
	keeper_kick(job->keeper);
}

static void set_limit(struct job *job, double seconds)
{
	job->late = false;
	ev_timer_stop(job->keeper->loop, &job->limit);
	ev_timer_set(&job->limit, seconds, 0.);
	ev_timer_start(job->keeper->loop, &job->limit);
}

static void take_away(struct job *job, struct kdev *d, double seconds)
{
	job->force = true;
	set_limit(job, seconds);
	kdev_force(d);
}

/* Is it too late? What is taken by force is removed first, whatever the guest does. */
static bool too_late(struct job *job, struct kdev *d)
{
	if (!job->late || !job->force || job->removing)
		return job->late;
	job->removing = true;
	set_limit(job, UNDO_LIMIT);
	kdev_want(d, GOAL_REMOVE);
	return d->held[0];
}

static struct job *job_new(struct keeper *k, struct client *c, struct kdev *d, bool attach,
			   unsigned int timeout)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->keeper = k;
	job->client = c;
	job->generation = d->generation;
	job->attach = attach;
	job->timeout = timeout;
	ev_timer_init(&job->limit, on_limit, 0., 0.);
	job->limit.data = job;
	set_limit(job, timeout);
	job->next = k->jobs;
	k->jobs = job;
	client_set_busy(c);
	return job;
}

/* -- attach -- */

/* The guest's driver as the worker last saw it; VIRTIO_CONFIG_S_*. */
static uint32_t driver_status(const struct kdev *d)
{
	return d->journal.data ? atomic_load(&d->journal.data->stats.driver_status) : 0;
}

static bool connected(const struct kdev *d)
{
	return d->state == KD_CONNECTED && d->fe_state == XB_CONNECTED;
}

/* Both ends are there, but the guest has nothing that drives the device. */
static void no_driver(const struct job *job, const struct kdev *d, char *why, size_t size)
{
	struct driver_decision driver = kdev_decide_driver(d);
	char name[64];

	domain_name(d->keeper->hv, d->domid, name, sizeof(name));
	snprintf(why, size, "domain '%s' has no working driver for virtio-%s: %s", name,
		 vtype_name(d->device_id),
		 driver.agreement == AGREE_REFUSE ? driver.reason
		 : job->late			  ? "none started in time"
						  : "it gave up (see the guest's kernel log)");
}

static void undo(struct job *job, struct kdev *d)
{
	job->undoing = true;
	say(job, "did not work, taking it back");
	/* A keeper that is started before it is done finds that it was not to be. */
	(void)node_put_number(job->keeper->hv, 0, d->be, "online", 0);
	take_away(job, d, FORCE_LIMIT);
}

static void attach_progress(struct job *job, const struct kdev *d)
{
	char text[160];

	if (d->state == KD_NEW)
		snprintf(text, sizeof(text), "taking %s", d->src.text);
	else if (d->state == KD_INITWAIT)
		snprintf(text, sizeof(text),
			 "%s is open (virtio-%s), waiting for the guest's driver",
			 d->src.text, vtype_name(d->device_id));
	else if (d->state == KD_STARTING)
		snprintf(text, sizeof(text), "the guest answered, starting its worker");
	else if (d->state == KD_CONNECTED)
		snprintf(text, sizeof(text), "waiting for the guest to use the device");
	else
		return;
	say(job, text);
}

static void attach_step(struct job *job, struct kdev *d)
{
	if (job->undoing) {
		if (!d)
			job_end(job, job->why, NULL);
		else if (too_late(job, d)) {
			snprintf(job->why + strlen(job->why), sizeof(job->why) - strlen(job->why),
				 " (still being taken back: xvshim status)");
			job_end(job, job->why, NULL);
		}
		return;
	}
	if (!d) {
		job_end(job, "the domain or its nodes went away meanwhile", NULL);
		return;
	}
	attach_progress(job, d);
	if (connected(d) && (driver_status(d) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		json_object *answer = report_device(d, false);

		if (!object_complete()) { /* it is attached, if there is no memory to say more */
			json_object_put(answer);
			answer = NULL;
		}
		job_end(job, NULL, answer);
	} else if (connected(d) && (job->late || driver_status(d) & VIRTIO_CONFIG_S_FAILED)) {
		no_driver(job, d, job->why, sizeof(job->why));
		undo(job, d);
	} else if (job->late || d->state == KD_FAILED || d->state == KD_CLOSED) {
		toolstack_why_not(d, job->why, sizeof(job->why));
		undo(job, d);
	}
}

/* Is anybody else's device in the way, or the source one that no guest may have? */
static int check_source(struct keeper *k, struct source *src, bool take, char *why, size_t size)
{
	struct source_facts facts = { 0 };
	struct decision decision;
	struct kdev *other = keeper_find_source(k, src->text);

	if (other) {
		snprintf(why, size, "%s is already given to domain %u", src->text, other->domid);
		return -EBUSY;
	}
	return source_check(src, take, &facts, &decision, why, size);
}

/* What the person allows this guest, over the settings; checked before anything is written. */
static int wanted_allow(json_object *request, const char *allow[4], char *why, size_t size)
{
	struct allow check;
	char what[160];

	allow_defaults(&check);
	for (unsigned int i = 0; i < 4; i++) {
		allow[i] = request_string(request, nodes_allow_keys[i]);
		if (!allow[i] || !allow_set(&check, nodes_allow_keys[i], allow[i], what,
					    sizeof(what)))
			continue;
		snprintf(why, size, "%s: %s", nodes_allow_keys[i], what);
		return -EINVAL;
	}
	return 0;
}

static int check_attach(struct keeper *k, json_object *request, uint16_t *domid,
			struct source *src, char *why, size_t size)
{
	const char *domain = request_string(request, "domain");
	const char *source = request_string(request, "source");
	int rc;

	if (!domain || !source) {
		snprintf(why, size, "attach needs 'domain' and 'source'");
		return -EINVAL;
	}
	rc = domain_resolve(k->hv, domain, domid, why, size);
	if (rc)
		return rc;
	if (*domid == k->self) {
		snprintf(why, size, "domain '%.64s' is the one that xvshimd runs in", domain);
		return -EINVAL;
	}
	rc = source_init(src, source, why, size);
	if (rc)
		return rc;
	return check_source(k, src, request_flag(request, "take"), why, size);
}

void job_attach(struct keeper *k, struct client *c, json_object *request)
{
	struct source src;
	const char *allow[4];
	struct kdev *d;
	char why[300];
	uint16_t domid;
	uint32_t devid;

	if (k->quitting) {
		client_fail(c, "xvshimd is stopping");
		return;
	}
	if (wanted_allow(request, allow, why, sizeof(why)) ||
	    check_attach(k, request, &domid, &src, why, sizeof(why)) ||
	    toolstack_create(k, domid, src.text, allow, &devid, why, sizeof(why))) {
		client_fail(c, why);
		return;
	}
	d = keeper_add(k, domid, devid, &src);
	if (!d || !job_new(k, c, d, true,
			   request_number(request, "timeout", 3600, k->conf.attach_timeout))) {
		if (d)
			kdev_want(d, GOAL_REMOVE);
		else
			toolstack_remove(k, domid, devid);
		client_fail(c, "out of memory");
		return;
	}
	d->take = request_flag(request, "take");
	log_line(LOG_INFO, "%s: attaching %s", d->name, d->src.text);
}

/* -- detach -- */

static void detach_step(struct job *job, struct kdev *d)
{
	char text[300], name[64];

	if (!d) {
		job_end(job, job->why[0] ? job->why : NULL, NULL);
		return;
	}
	if (d->state == KD_RECOVER && d->held[0])
		say(job, "waiting for the device to confirm its reset");
	if (!too_late(job, d))
		return;
	domain_name(d->keeper->hv, d->domid, name, sizeof(name));
	if (d->held[0])
		snprintf(text, sizeof(text), "%s; its pages stay held until it does", d->held);
	else if (job->force)
		snprintf(text, sizeof(text), "%s is still being taken back: xvshim status",
			 d->src.text);
	else
		snprintf(text, sizeof(text),
			 "domain '%s' did not let %s go within %u s; it may still do so, or "
			 "take it away with detach --force",
			 name, d->src.text, job->timeout);
	job_end(job, text, NULL);
}

void job_detach(struct keeper *k, struct client *c, json_object *request)
{
	bool force = request_flag(request, "force");
	char why[300];
	unsigned int timeout;
	struct kdev *d;
	struct job *job;
	int rc;

	if (k->quitting) {
		client_fail(c, "xvshimd is stopping");
		return;
	}
	if (!request_string(request, "domain")) {
		client_fail(c, "detach needs 'domain'");
		return;
	}
	d = device_named(k, request, why, sizeof(why));
	if (!d) {
		client_fail(c, why);
		return;
	}
	rc = node_put_number(k->hv, 0, d->be, "online", 0);
	if (rc && rc != -ENOENT && !force) {
		snprintf(why, sizeof(why), "the store refused: %s", strerror(-rc));
		client_fail(c, why);
		return;
	}
	timeout = request_number(request, "timeout", 3600,
				 force ? FORCE_LIMIT : k->conf.detach_timeout);
	job = job_new(k, c, d, false, timeout);
	if (!job) {
		client_fail(c, "out of memory");
		return;
	}
	log_line(LOG_INFO, "%s: detaching %s%s", d->name, d->src.text, force ? " by force" : "");
	d->online = false;
	if (force)
		take_away(job, d, timeout);
	kdev_mark(d);
}

/* -- all of them -- */

void jobs_step(struct keeper *k)
{
	struct job **p = &k->jobs, *job;

	while ((job = *p)) {
		struct kdev *d = keeper_find_generation(k, job->generation);

		if (!job->done && job->attach)
			attach_step(job, d);
		else if (!job->done)
			detach_step(job, d);
		if (!job->done) {
			p = &job->next;
			continue;
		}
		*p = job->next;
		free(job);
	}
}

void jobs_not_given_back(struct keeper *k, uint64_t generation, const char *why)
{
	for (struct job *job = k->jobs; job; job = job->next) {
		size_t used = strlen(job->why);

		if (job->generation != generation || job->done)
			continue;
		snprintf(job->why + used, sizeof(job->why) - used, "%s%s",
			 job->attach ? "; " : "detached, but ", why);
	}
}

void jobs_client_gone(struct keeper *k, struct client *c)
{
	for (struct job *job = k->jobs; job; job = job->next) {
		struct kdev *d;

		if (job->client != c)
			continue;
		job->client = NULL;
		d = keeper_find_generation(k, job->generation);
		if (job->attach && d && !job->undoing && !job->done) {
			snprintf(job->why, sizeof(job->why), "the command was interrupted");
			undo(job, d);
		}
	}
	keeper_kick(k);
}

void jobs_cancel(struct keeper *k)
{
	struct job *job;

	while ((job = k->jobs)) {
		struct kdev *d = keeper_find_generation(k, job->generation);
		const char *why = "xvshimd is stopping; it goes on with this when it is started "
				  "again: xvshim list";

		k->jobs = job->next;
		if (job->attach) { /* it fails, and what fails leaves nothing */
			why = "xvshimd is stopping; what there is of this is taken back when it is "
			      "started again";
			if (d && !job->done)
				(void)node_put_number(k->hv, 0, d->be, "online", 0);
		}
		job_end(job, why, NULL);
		free(job);
	}
}
