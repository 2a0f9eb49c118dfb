/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A main for a fuzz target where there is no libFuzzer: replays files, or all files of folders.
 * Without arguments those of the target's own corpus, which is what `make check` does.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "re");
	uint8_t *data;
	struct stat st;
	size_t n;

	if (!f || fstat(fileno(f), &st)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	data = malloc((size_t)st.st_size + 1);
	n = data ? fread(data, 1, (size_t)st.st_size, f) : 0;
	fclose(f);
	/* in memory of just its size, so that the sanitizer sees who reads past it */
	data = n ? realloc(data, n) : data;
	/* the last line before a finding tells which input it was */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	return 1;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* In the order of their names. Returns how many, or -1. */
static int replay_dir(const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, visible, alphasort), done = 0;
	char file[4096];

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (done >= 0)
			done = replay_file(file) < 0 ? -1 : done + 1;
		free(names[i]);
	}
	free(names);
	return done;
}

static int replay(const char *path)
{
	struct stat st;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return replay_dir(path);
	return replay_file(path);
}

/* tests/fuzz/corpus/TARGET beside the sources, for a program of the name fuzz_TARGET. */
static int replay_own(const char *program)
{
	const char *name = strstr(program, "fuzz_"), *sources = getenv("srcdir"), *next;
	char path[4096];

	while (name && (next = strstr(name + 1, "fuzz_")))
		name = next;
	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", sources ? sources : ".",
		 name ? name + strlen("fuzz_") : "");
	return replay(path);
}

int main(int argc, char **argv)
{
	int total = argc > 1 ? 0 : replay_own(argv[0]);

	for (int i = 1; i < argc; i++) {
		int n = replay(argv[i]);

		if (n < 0)
			return EXIT_FAILURE;
		total += n;
	}
	printf("%d inputs\n", total);
	/* a corpus that is not found would be a test that tests nothing */
	return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
