/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and the daemon as JSON. */
#include "daemon/control.h"
#include "daemon/domain.h"

#include "policy/types.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* NULL: nobody has said it yet. */
static void add_text(json_object *o, const char *key, const char *text)
{
	object_add(o, key, json_object_new_string(text ? text : ""));
}

static void add_number(json_object *o, const char *key, uint64_t n)
{
	object_add(o, key, json_object_new_uint64(n));
}

static void add_double(json_object *o, const char *key, double v)
{
	char text[32];

	snprintf(text, sizeof(text), "%.2f", v);
	object_add(o, key, json_object_new_double_s(v, text));
}

#define ADD(field) add_number(o, #field, atomic_load_explicit(&s->field, memory_order_relaxed))

static void add_reason(json_object *o, struct session_stats *s)
{
	char reason[sizeof(s->reason)];
	uint32_t seq;

	/* The worker may be writing it, or have died while it was. */
	for (int i = 0; i < 100; i++) {
		seq = atomic_load_explicit(&s->reason_seq, memory_order_acquire);
		memcpy(reason, s->reason, sizeof(reason));
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && seq == atomic_load(&s->reason_seq))
			break;
	}
	for (size_t i = 0; i < sizeof(reason); i++)
		if (reason[i] && (reason[i] < ' ' || reason[i] > '~'))
			reason[i] = '?';
	reason[sizeof(reason) - 1] = '\0';
	add_text(o, "broken_reason", reason);
}

static json_object *report_counters(struct journal *j)
{
	struct session_stats *s = &j->data->stats;
	json_object *o = object_new();
	uint64_t batches = atomic_load(&s->batches);

	ADD(batches);
	ADD(chains);
	ADD(descs);
	ADD(indirect);
	ADD(pages);
	ADD(bytes_read);
	ADD(bytes_written);
	ADD(completions);
	ADD(harvests);
	ADD(map_calls);
	ADD(map_pages);
	ADD(unmap_calls);
	ADD(unmap_pages);
	ADD(copy_calls);
	ADD(copy_ops);
	ADD(guest_notifies);
	ADD(guest_kicks);
	ADD(dev_notifies);
	ADD(dev_irqs);
	ADD(polls_hit);
	ADD(polls_missed);
	ADD(stalls);
	ADD(broken);
	ADD(resumed);
	ADD(failed);
	ADD(inflight);
	ADD(driver_status);
	ADD(max_batch_hypercalls);
	ADD(kept);
	ADD(keep_hits);
	ADD(keep_added);
	ADD(keep_dropped);
	ADD(table_reads);
	ADD(releases);
	ADD(p2m_requests);
	ADD(p2m_stale);
	ADD(p2m_beyond);
	ADD(p2m_absent);
	ADD(p2m_refused);
	add_double(o, "hypercalls_per_batch",
		   batches ? (double)(atomic_load(&s->map_calls) + atomic_load(&s->unmap_calls)) /
				     (double)batches :
			     0);
	add_number(o, "leaked_handles", atomic_load(&j->data->leaked));
	add_number(o, "pages_mapped", journal_live(j));
	add_reason(o, s);
	return o;
}

/* Of the nested device; empty: not known yet. */
static void add_addresses(json_object *o, const struct kdev *d)
{
	const struct decision *c = &d->decision;

	add_text(o, "addresses", d->looked ? policy_nested_name(c->nested) : "");
	add_text(o, "addresses_reason", d->looked ? c->reason : "");
	add_text(o, "barriers", d->looked ? policy_barriers_name(c->barriers) : "");
	add_text(o, "barriers_reason", d->looked ? c->barriers_reason : "");
}

/* What the guest asked for, what it may have, what was agreed on; empty: not known yet. */
static void add_modes(json_object *o, const struct kdev *d)
{
	bool agreed = d->state >= KD_STARTING && d->state <= KD_RECOVER;
	const struct decision *c = &d->decision;
	bool p2m = d->allow.addressing >> XVS_ADDRESSING_P2M & 1;
	char words[ALLOW_WORDS];

	add_text(o, "addressing", agreed ? addressing_word(d->nodes.addressing) : "");
	add_text(o, "addressing_reason", agreed ? c->addressing_reason : "");
	add_text(o, "protection", agreed ? protection_word(d->nodes.protection) : "");
	add_text(o, "protection_reason", agreed ? c->protection_reason : "");
	allow_addressing_words(d->allow.addressing, words);
	add_text(o, "addressing_allowed", words);
	allow_protection_words(d->allow.protection, words);
	add_text(o, "protection_allowed", words);
	allow_addressing_words(c->offered_addressing, words);
	add_text(o, "addressing_offered", words);
	add_text(o, "p2m_reason", p2m && c->offered_addressing ? c->p2m_reason : "");
	add_text(o, "addressing_wanted", agreed ? d->nodes.wanted_addressing : "");
	add_text(o, "protection_wanted", agreed ? d->nodes.wanted_protection : "");
	add_text(o, "driver_reason", agreed && d->nodes.addressing ? kdev_decide_driver(d).reason : "");
	add_number(o, "keep_pages", d->allow.keep_pages);
	add_number(o, "keep_ms", d->allow.keep_ms);
}

json_object *report_device(struct kdev *d, bool counters)
{
	json_object *o = object_new();
	char name[64];

	domain_name(d->keeper->hv, d->domid, name, sizeof(name));
	add_number(o, "domid", d->domid);
	add_text(o, "domain", name);
	add_number(o, "device", d->devid);
	add_text(o, "source", d->src.text);
	add_text(o, "type", d->device_id ? vtype_name(d->device_id) : "");
	add_text(o, "state", kdev_state_name(d->state));
	add_text(o, "backend_state", xb_name(d->xb_written));
	add_text(o, "frontend_state", xb_name(d->fe_state));
	add_addresses(o, d);
	add_modes(o, d);
	add_number(o, "worker", (uint64_t)d->worker.pid);
	add_text(o, "error", d->error[0] ? d->error : d->held);
	if (!counters)
		return o;
	add_text(o, "earlier_driver", d->src.earlier);
	add_number(o, "restarts", d->restarts_total);
	add_number(o, "dma_pages", d->dma.npages);
	add_text(o, "held", d->held);
	if (d->journal.data) {
		add_number(o, "epoch", atomic_load(&d->journal.data->epoch));
		object_add(o, "counters", report_counters(&d->journal));
	}
	return o;
}

json_object *report_trace(struct kdev *d)
{
	json_object *o = report_device(d, false), *list = object_new_list(), *e;
	struct session_stats *s;
	char text[32];

	object_add(o, "trace", list);
	if (!d->journal.data)
		return o;
	s = &d->journal.data->stats;
	for (uint32_t next = atomic_load(&s->trace_next), i = 0; i < JOURNAL_TRACE; i++) {
		struct journal_trace t = s->trace[(next + i) % JOURNAL_TRACE];

		if (!t.len)
			continue;
		e = object_new();
		snprintf(text, sizeof(text), "0x%016llx", (unsigned long long)t.daddr);
		add_text(e, "daddr", text);
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)t.maddr);
		add_text(e, "maddr", text);
		add_number(e, "len", t.len);
		add_number(e, "queue", t.queue);
		add_text(e, "access", t.writable ? "device writes" : "device reads");
		object_append(list, e);
	}
	return o;
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n > 3 ? n - 3 : 0; /* . and .. and the folder itself */
}

static uint64_t rss_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long long total, resident = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &total, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

json_object *report_daemon(struct keeper *k)
{
	json_object *o = object_new();
	char text[128];

	add_number(o, "pid", (uint64_t)getpid());
	add_number(o, "uptime_s", (uint64_t)(ev_now(k->loop) - k->started));
	add_number(o, "rss_kib", rss_kib());
	add_number(o, "descriptors", count_fds());
	add_number(o, "devices", HASH_COUNT(k->devices));
	if (!k->hv->ops->version(k->hv, text, sizeof(text)))
		add_text(o, "hypervisor", text);
	return o;
}
