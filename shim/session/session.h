/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One guest device in service: guest rings on one side, the nested device on the other.
 *
 *   guest ring -> pop -> chain -> translate -> shadow ring -> nested device
 *   guest ring <- publish <- unmap <- harvest <- shadow ring <- nested device
 *
 * A session lives in a worker process (or a thread, in a simulation) and is driven by one
 * thread. It believes nothing in guest memory and nothing the device returns.
 */
#ifndef XVS_SESSION_SESSION_H
#define XVS_SESSION_SESSION_H

#include "dev/dev.h"
#include "hv/hv.h"
#include "mem/journal.h"

struct session;

struct session_params {
	struct hv *hv;           /* GRANT and EVTCHN, P2M for that addressing; of this process */
	struct xdev *dev;        /* reset; nobody else drives it */
	struct hv_dma *dma;      /* session_dma_pages(dev) pages, recorded in the journal */
	struct journal *journal; /* fresh, or recovered with resume */
	uint16_t domid;
	uint32_t ctrl_ref;
	uint32_t ctrl_port;
	enum xvs_addressing addressing;
	enum xvs_protection protection;
	int holder_fd; /* addressing p2m: a socket to the device's holder, the caller's */
	unsigned int keep_pages; /* pages kept mapped at most, where the protection allows any */
	unsigned int keep_ms;    /* unused for so long to twice that, they are given back; 0: never */
	unsigned int poll_us; /* poll for this long before waiting for an event; 0: never */
	bool resume;          /* take a live device over from a dead worker */
	const char *name;     /* for log lines, e.g. "guest 3 device 0" */
	/* Told the device status after each request that changed it; may be NULL. */
	void (*on_status)(void *arg, uint8_t status);
	void *arg;
};

/* DMA pages a session on this device needs. */
unsigned int session_dma_pages(const struct xdev *dev);

/*
 * Maps the control page, fills it in and binds the control port. With resume also takes up
 * status, queues and chains in flight. Errors: negative errno, nothing is held then; why[] gets
 * one line for a person.
 */
int session_open(struct session **s, const struct session_params *params, char *why, size_t size);

/*
 * Serves until orders_fd, a pipe or a socket, is at its end. Returns 0 then: the device was reset
 * and every page of the guest but the control page is let go; -ETIMEDOUT: the device did not
 * confirm its reset and pages are still mapped and in the journal; other negative errno: the
 * session cannot go on, state as for a dead worker.
 *
 * Anything to read there, which nobody reads, takes the nested device away: it is reset, and what
 * the guest has in flight and what it asks for is answered with an error until the end.
 */
int session_run(struct session *s, int orders_fd);

/* Unmaps the control page and closes the port. */
void session_close(struct session *s);

#endif
