/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all fuzz targets share: taking values out of an input, and the way to say that something
 * is wrong. An input that is used up goes on as zeros, so that every input is a valid one.
 */
#ifndef XVS_TESTS_FUZZ_H
#define XVS_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For a loop of the target's own, of which libFuzzer has nothing to learn. */
#ifdef __clang__
#define FUZZ_QUIET __attribute__((no_sanitize("coverage")))
#else
#define FUZZ_QUIET
#endif

/* The name is libFuzzer's. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A finding. Both libFuzzer and replay.c tell which input it was. */
#define FUZZ_CHECK(condition, ...)                                                                 \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not true: %s: ", __FILE__, __LINE__, #condition);  \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct fuzz {
	const uint8_t *at, *end;
};

static inline bool fuzz_more(const struct fuzz *f)
{
	return f->at < f->end;
}

static inline uint8_t fuzz_u8(struct fuzz *f)
{
	return fuzz_more(f) ? *f->at++ : 0;
}

static inline uint16_t fuzz_u16(struct fuzz *f)
{
	uint16_t low = fuzz_u8(f);

	return (uint16_t)(low | fuzz_u8(f) << 8);
}

static inline uint32_t fuzz_u32(struct fuzz *f)
{
	uint32_t low = fuzz_u16(f);

	return low | (uint32_t)fuzz_u16(f) << 16;
}

static inline uint64_t fuzz_u64(struct fuzz *f)
{
	uint64_t low = fuzz_u32(f);

	return low | (uint64_t)fuzz_u32(f) << 32;
}

/* 0 to n - 1, of one byte. */
static inline unsigned int fuzz_below(struct fuzz *f, unsigned int n)
{
	return fuzz_u8(f) % n;
}

static inline void fuzz_bytes(struct fuzz *f, void *to, size_t n)
{
	size_t there = (size_t)(f->end - f->at);

	there = there < n ? there : n;
	if (there)
		memcpy(to, f->at, there);
	memset((uint8_t *)to + there, 0, n - there);
	f->at += there;
}

/* A string up to the next zero byte or the end, in memory of its own and of just its size. */
static inline char *fuzz_text(struct fuzz *f)
{
	size_t left = (size_t)(f->end - f->at), n = left ? strnlen((const char *)f->at, left) : 0;
	char *text = malloc(n + 1);

	FUZZ_CHECK(text, "out of memory");
	if (n)
		memcpy(text, f->at, n);
	text[n] = '\0';
	f->at += n < left ? n + 1 : n;
	return text;
}

#endif
