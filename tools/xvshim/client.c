/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command's end of the control socket. */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool runs_on_xen(void)
{
	FILE *file = fopen("/sys/hypervisor/type", "re");
	char type[16] = "";

	if (file) {
		if (!fgets(type, sizeof(type), file))
			type[0] = '\0';
		fclose(file);
	}
	return !strncmp(type, "xen", 3) || !access("/proc/xen/capabilities", F_OK);
}

const char *host_obstacle(void)
{
	static const struct {
		const char *node, *text;
	} modules[] = {
#define MODULE(node, name) \
	{ "/dev/xen/" node, "module " name " is not loaded: modprobe " name }
		MODULE("privcmd", "xen-privcmd"),
		MODULE("evtchn", "xen-evtchn"),
		MODULE("gntdev", "xen-gntdev"),
		MODULE("gntalloc", "xen-gntalloc"),
	};

	if (!runs_on_xen())
		return "no Xen here: run it in dom0, or see 'xvshim demo'";
	if (geteuid())
		return "needs root: try sudo";
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		if (access(modules[i].node, F_OK))
			return modules[i].text;
	return NULL;
}

static int daemon_connect(const struct options *o)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *obstacle;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(o->run_dir) > sizeof(addr.sun_path) - sizeof("/control")) {
		fail("--run-dir is too long for a socket");
		goto err_close;
	}
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s/control", o->run_dir);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	obstacle = errno == EACCES ? "needs root: try sudo" : host_obstacle();
	if (obstacle)
		fail("%s", obstacle);
	else
		fail("xvshimd does not run: start it: systemctl start xvshimd");
err_close:
	if (fd >= 0)
		close(fd);
	return -1;
}

json_object *request_new(const char *cmd, const struct options *o)
{
	const struct {
		const char *key, *value;
	} allow[] = { { "addressing", o->addressing }, { "protection", o->protection },
		      { "keep-pages", o->keep_pages }, { "keep-ms", o->keep_ms } };
	json_object *request = json_object_new_object();

	json_object_object_add(request, "cmd", json_object_new_string(cmd));
	if (o->narg > 0)
		json_object_object_add(request, "domain", json_object_new_string(o->arg[0]));
	if (o->narg > 1)
		json_object_object_add(request, "source", json_object_new_string(o->arg[1]));
	if (o->timeout)
		json_object_object_add(request, "timeout", json_object_new_int((int)o->timeout));
	for (size_t i = 0; i < sizeof(allow) / sizeof(allow[0]); i++)
		if (allow[i].value)
			json_object_object_add(request, allow[i].key,
					       json_object_new_string(allow[i].value));
	if (o->take)
		json_object_object_add(request, "take", json_object_new_boolean(true));
	if (o->force)
		json_object_object_add(request, "force", json_object_new_boolean(true));
	return request;
}

static int send_request(int fd, json_object *request)
{
	const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
	size_t len = strlen(text);
	char *line = malloc(len + 1);
	ssize_t n;

	if (!line)
		return -ENOMEM;
	memcpy(line, text, len);
	line[len] = '\n';
	n = send(fd, line, len + 1, MSG_NOSIGNAL);
	free(line);
	return n == (ssize_t)len + 1 ? 0 : -EPIPE;
}

/*
 * The last line of the answer, or NULL when the daemon hung up before it. Progress is for a
 * person who waits: a script gets the one line that matters.
 */
static json_object *read_answer(FILE *from, bool quiet)
{
	json_object *o, *answer = NULL;
	char *line = NULL;
	size_t size = 0;

	while (!answer && getline(&line, &size, from) > 0) {
		o = json_tokener_parse(line);
		if (json_object_is_type(o, json_type_object) && field(o, "ok")) {
			answer = o;
			continue;
		}
		if (!quiet && isatty(STDERR_FILENO) && *field_text(o, "progress"))
			fprintf(stderr, "xvshim: %s\n", field_text(o, "progress"));
		json_object_put(o);
	}
	free(line);
	return answer;
}

json_object *daemon_ask(const struct options *o, json_object *request)
{
	json_object *answer = NULL;
	int fd = daemon_connect(o), rc;
	FILE *from;

	if (fd < 0) {
		json_object_put(request);
		return NULL;
	}
	rc = send_request(fd, request);
	json_object_put(request);
	from = fdopen(fd, "r");
	if (!rc && from)
		answer = read_answer(from, o->json);
	if (from)
		fclose(from);
	else
		close(fd);
	if (!answer) {
		fail("xvshimd hung up: see journalctl -u xvshimd");
		return NULL;
	}
	if (json_object_get_boolean(field(answer, "ok")))
		return answer;
	fail("%s", field_text(answer, "error"));
	json_object_put(answer);
	return NULL;
}

json_object *field(json_object *o, const char *key)
{
	json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

const char *field_text(json_object *o, const char *key)
{
	json_object *v = field(o, key);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

uint64_t field_number(json_object *o, const char *key)
{
	json_object *v = field(o, key);

	return v ? json_object_get_uint64(v) : 0;
}

int print_json(json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	return EXIT_SUCCESS;
}
