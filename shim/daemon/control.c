/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"

#include "daemon/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PAUSE 0.2       /* seconds before another look at a client there was no descriptor for */
#define IDLE_LIMIT 30.0 /* seconds a client may be silent and keep its place */

struct client {
	struct client *next;
	struct keeper *keeper;
	int fd;
	bool busy;   /* a request goes on */
	bool broken; /* to be dropped when the caller is done with it */
	size_t in_len, out_len, out_size;
	char in[CONTROL_LINE];
	char *out;
	ev_io io;
	ev_timer idle;
};

struct control {
	int fd;
	unsigned int nclients;
	struct client *clients;
	ev_io io;
	ev_timer pause; /* until io is listened to again */
	struct log_limit limit;
};

/* -- sending -- */

static void set_events(struct client *c)
{
	/* A busy client is read from as well: its end takes its request back. */
	int events = EV_READ | (c->out_len ? EV_WRITE : 0);

	ev_io_stop(c->keeper->loop, &c->io);
	ev_io_set(&c->io, c->fd, events);
	ev_io_start(c->keeper->loop, &c->io);
}

static void flush(struct client *c)
{
	ssize_t n = 0;

	if (c->out_len)
		n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		c->broken = true;
	if (n > 0) {
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	set_events(c);
}

static bool make_room(struct client *c, size_t more)
{
	size_t size = c->out_len + more;
	char *out;

	if (size > CONTROL_BACKLOG)
		return false;
	if (size <= c->out_size)
		return true;
	out = realloc(c->out, size);
	if (!out)
		return false;
	c->out = out;
	c->out_size = size;
	return true;
}

static void send_line(struct client *c, const char *text)
{
	size_t len = strlen(text);

	if (!c->broken && make_room(c, len + 1)) {
		memcpy(c->out + c->out_len, text, len);
		c->out[c->out_len + len] = '\n';
		c->out_len += len + 1;
		flush(c);
	} else {
		/* Dropped by its own event, never under the caller's feet. */
		c->broken = true;
		ev_feed_event(c->keeper->loop, &c->io, EV_READ);
	}
}

/* Drops the reference. instead: where there is no memory for it; NULL: nothing is sent then. */
static void send_object(struct client *c, json_object *o, const char *instead)
{
	const char *text = NULL;

	if (object_complete())
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	text = text ? text : instead;
	if (text)
		send_line(c, text);
	json_object_put(o);
}

void client_progress(struct client *c, const char *text)
{
	json_object *o = object_new();

	object_add(o, "progress", json_object_new_string(text));
	send_object(c, o, NULL);
}

/* After its answer, for sending takes back what is fed here. */
static void end_request(struct client *c)
{
	/* The next one may have come already. */
	if (c->busy && c->in_len)
		ev_feed_event(c->keeper->loop, &c->io, EV_WRITE);
	c->busy = false;
	ev_timer_again(c->keeper->loop, &c->idle);
}

static void finish(struct client *c, json_object *o)
{
	send_object(c, o, "{\"ok\":false,\"error\":\"xvshimd is out of memory\"}");
	end_request(c);
}

void client_fail(struct client *c, const char *text)
{
	json_object *o = object_new();

	object_add(o, "ok", json_object_new_boolean(false));
	object_add(o, "error", json_object_new_string(text));
	finish(c, o);
}

void client_ok(struct client *c, json_object *o)
{
	if (o) {
		object_add(o, "ok", json_object_new_boolean(true));
		finish(c, o);
		return;
	}
	send_line(c, "{\"ok\":true}");
	end_request(c);
}

void client_set_busy(struct client *c)
{
	c->busy = true;
	ev_timer_stop(c->keeper->loop, &c->idle);
}

/* -- receiving -- */

static void drop(struct client *c)
{
	struct control *control = c->keeper->control;
	struct client **p = &control->clients;

	jobs_client_gone(c->keeper, c);
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	control->nclients--;
	ev_io_stop(c->keeper->loop, &c->io);
	ev_timer_stop(c->keeper->loop, &c->idle);
	close(c->fd);
	free(c->out);
	free(c);
}

static void take_line(struct client *c, const char *line)
{
	json_object *request = json_tokener_parse(line);

	if (!json_object_is_type(request, json_type_object))
		client_fail(c, "a request is one JSON object on one line");
	else
		request_handle(c->keeper, c, request);
	json_object_put(request);
}

static void take_lines(struct client *c)
{
	char *end;

	while (!c->broken && !c->busy && (end = memchr(c->in, '\n', c->in_len))) {
		size_t len = (size_t)(end - c->in) + 1;

		*end = '\0';
		take_line(c, c->in);
		c->in_len -= len;
		memmove(c->in, c->in + len, c->in_len);
	}
	if (c->in_len == sizeof(c->in))
		c->broken = true; /* a line without an end */
}

static void receive(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->broken = true;
		return;
	}
	c->in_len += (size_t)n;
	take_lines(c);
}

static void on_client(struct ev_loop *loop, ev_io *io, int events)
{
	struct client *c = io->data;

	(void)loop;
	if (!c->broken && events & EV_READ)
		receive(c);
	if (!c->broken && events & EV_WRITE)
		flush(c);
	if (!c->broken && !c->busy && c->in_len)
		take_lines(c);
	if (c->broken)
		drop(c);
}

static void on_idle(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	drop(timer->data);
}

static void add_client(struct keeper *k, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->keeper = k;
	c->fd = fd;
	c->next = k->control->clients;
	k->control->clients = c;
	k->control->nclients++;
	ev_io_init(&c->io, on_client, fd, EV_READ);
	ev_timer_init(&c->idle, on_idle, 0., IDLE_LIMIT);
	c->io.data = c->idle.data = c;
	ev_io_start(k->loop, &c->io);
	ev_timer_again(k->loop, &c->idle);
}

static void on_pause_end(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct control *control = timer->data;

	(void)events;
	ev_io_start(loop, &control->io);
}

/* The client is still there: without a pause this would be all that the keeper does. */
static void no_client(struct keeper *k, int rc)
{
	struct control *control = k->control;

	if (rc == -EAGAIN || rc == -EINTR || rc == -ECONNABORTED)
		return;
	log_limited(&control->limit, LOG_WARN, "a client has to wait: %s", strerror(-rc));
	ev_io_stop(k->loop, &control->io);
	ev_timer_set(&control->pause, PAUSE, 0.);
	ev_timer_start(k->loop, &control->pause);
}

static void on_connect(struct ev_loop *loop, ev_io *io, int events)
{
	static const char full[] = "{\"ok\":false,\"error\":\"too many clients, try again\"}\n";
	struct keeper *k = io->data;
	int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)loop;
	(void)events;
	if (fd < 0) {
		no_client(k, -errno);
		return;
	}
	if (k->control->nclients < CONTROL_CLIENTS) {
		add_client(k, fd);
		return;
	}
	(void)!send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* The lock is ours, so a socket of that name is nobody's any more. */
int control_socket_open(struct keeper *k, char *why, size_t size)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control *control = calloc(1, sizeof(*control));
	mode_t old;
	int rc;

	if (!control) {
		snprintf(why, size, "out of memory");
		return -ENOMEM;
	}
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control", k->conf.run_dir);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(addr.sun_path);
	old = umask(0177);
	rc = control->fd < 0 || bind(control->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
			     listen(control->fd, CONTROL_CLIENTS) ?
		     -errno :
		     0;
	umask(old);
	if (rc) {
		snprintf(why, size, "%s: %s", addr.sun_path, strerror(-rc));
		if (control->fd >= 0)
			close(control->fd);
		free(control);
		return rc;
	}
	k->control = control;
	control->limit = (struct log_limit){ .seconds = 10, .burst = 1 };
	ev_timer_init(&control->pause, on_pause_end, 0., 0.);
	control->pause.data = control;
	ev_io_init(&control->io, on_connect, control->fd, EV_READ);
	control->io.data = k;
	ev_io_start(k->loop, &control->io);
	return 0;
}

void control_socket_close(struct keeper *k)
{
	struct control *control = k->control;
	char path[RUN_PATH_SIZE];

	/* drop() takes each out of the list, by a pointer that the analyzer does not follow. */
	while (control->clients)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		drop(control->clients);
	ev_io_stop(k->loop, &control->io);
	ev_timer_stop(k->loop, &control->pause);
	close(control->fd);
	snprintf(path, sizeof(path), "%s/control", k->conf.run_dir);
	unlink(path);
	free(control);
	k->control = NULL;
}
