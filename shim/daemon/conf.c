/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/conf.h"

#include "daemon/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void conf_defaults(struct conf *conf)
{
	*conf = (struct conf){
		.run_dir = CONF_RUN_DIR,
		.poll_us = 200,
		.log_level = LOG_INFO,
		.attach_timeout = 60,
		.detach_timeout = 10,
		.restart_limit = 5,
		.guard = GUARD_WARN,
	};
	allow_defaults(&conf->allow);
}

static int set_number(unsigned int *field, const char *value, unsigned int min, unsigned int max,
		      char *why, size_t size)
{
	uint64_t n;

	if (parse_number(value, max, &n) || n < min) {
		snprintf(why, size, "'%s' is not a number from %u to %u", value, min, max);
		return -EINVAL;
	}
	*field = (unsigned int)n;
	return 0;
}

static int set_level(enum log_level *level, const char *value, char *why, size_t size)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = { { "error", LOG_ERROR }, { "warn", LOG_WARN },
		       { "info", LOG_INFO },   { "debug", LOG_DEBUG } };

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcmp(value, levels[i].name)) {
			*level = levels[i].level;
			return 0;
		}
	}
	snprintf(why, size, "'%s' is not a log level: error, warn, info or debug", value);
	return -EINVAL;
}

static int set_guard(enum guard_mode *guard, const char *value, char *why, size_t size)
{
	static const char *const names[] = { "off", "warn", "enforce" };

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(value, names[i])) {
			*guard = (enum guard_mode)i;
			return 0;
		}
	}
	snprintf(why, size, "'%s' is no setting of the guard: off, warn or enforce", value);
	return -EINVAL;
}

static int set_run_dir(struct conf *conf, const char *value, char *why, size_t size)
{
	if (value[0] != '/' || strlen(value) >= sizeof(conf->run_dir)) {
		snprintf(why, size, "'%.100s' is not an absolute path of less than %zu bytes",
			 value, sizeof(conf->run_dir));
		return -EINVAL;
	}
	snprintf(conf->run_dir, sizeof(conf->run_dir), "%s", value);
	return 0;
}

int conf_set(struct conf *conf, const char *key, const char *value, char *why, size_t size)
{
	int rc;

	if (!strcmp(key, "run-dir"))
		return set_run_dir(conf, value, why, size);
	if (!strcmp(key, "poll-us"))
		return set_number(&conf->poll_us, value, 0, 100000, why, size);
	if (!strcmp(key, "log-level"))
		return set_level(&conf->log_level, value, why, size);
	if (!strcmp(key, "attach-timeout"))
		return set_number(&conf->attach_timeout, value, 1, 3600, why, size);
	if (!strcmp(key, "detach-timeout"))
		return set_number(&conf->detach_timeout, value, 1, 3600, why, size);
	if (!strcmp(key, "restart-limit"))
		return set_number(&conf->restart_limit, value, 0, 1000, why, size);
	if (!strcmp(key, "guard"))
		return set_guard(&conf->guard, value, why, size);
	rc = allow_set(&conf->allow, key, value, why, size);
	if (rc != -ENOENT)
		return rc;
	snprintf(why, size, "there is no setting '%.100s'", key);
	return -EINVAL;
}

static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return text;
}

static int read_line(struct conf *conf, char *line, char *why, size_t size)
{
	char *text = trim(line);
	char *equals = strchr(text, '=');

	if (!*text || *text == '#')
		return 0;
	if (!equals) {
		snprintf(why, size, "not of the form 'key = value'");
		return -EINVAL;
	}
	*equals = '\0';
	return conf_set(conf, trim(text), trim(equals + 1), why, size);
}

int conf_read(struct conf *conf, const char *path, int must_exist, char *why, size_t size)
{
	struct conf copy = *conf;
	char line[512], what[256];
	unsigned int number = 0;
	FILE *file = fopen(path, "re");
	int rc = 0;

	if (!file) {
		if (errno == ENOENT && !must_exist)
			return 0;
		rc = -errno;
		snprintf(why, size, "%s: %s", path, strerror(-rc));
		return rc;
	}
	while (!rc && fgets(line, sizeof(line), file)) {
		number++;
		if (!strchr(line, '\n') && !feof(file)) {
			snprintf(what, sizeof(what), "the line is too long");
			rc = -EINVAL;
		} else {
			rc = read_line(&copy, line, what, sizeof(what));
		}
		if (rc)
			snprintf(why, size, "%s line %u: %s", path, number, what);
	}
	if (!rc && ferror(file)) {
		rc = -EIO;
		snprintf(why, size, "%s: cannot be read", path);
	}
	fclose(file);
	if (!rc)
		*conf = copy;
	return rc;
}
