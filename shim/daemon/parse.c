/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int parse_number(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t n = 0;

	if (!*text)
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		unsigned int digit = (unsigned int)*p - '0';

		if (digit > 9)
			return -EINVAL;
		if (digit > max || n > (max - digit) / 10)
			return -ERANGE;
		n = n * 10 + digit;
	}
	*value = n;
	return 0;
}

int parse_addressing(const char *word, enum xvs_addressing *addressing)
{
	if (!strcmp(word, "grant"))
		*addressing = XVS_ADDRESSING_GRANT;
	else if (!strcmp(word, "p2m"))
		*addressing = XVS_ADDRESSING_P2M;
	else
		return -EINVAL;
	return 0;
}

int parse_protection(const char *word, enum xvs_protection *protection)
{
	static const char *const words[] = {
		[XVS_PROTECTION_STRICT] = "strict",
		[XVS_PROTECTION_POOL] = "pool",
		[XVS_PROTECTION_LAZY] = "lazy",
		[XVS_PROTECTION_ADAPTIVE] = "adaptive",
	};

	for (unsigned int i = 1; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(word, words[i])) {
			*protection = (enum xvs_protection)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool all_hex(const char *text, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!isdigit((unsigned char)text[i]) && !(text[i] >= 'a' && text[i] <= 'f'))
			return false;
	return true;
}

int parse_bdf(const char *text, bool short_ok, char bdf[13])
{
	char full[13];
	size_t len = strnlen(text, 16);

	if (len == 7 && short_ok)
		snprintf(full, sizeof(full), "0000:%.7s", text);
	else if (len == 12)
		snprintf(full, sizeof(full), "%.12s", text);
	else
		return -EINVAL;
	for (char *p = full; short_ok && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (!all_hex(full, 4) || full[4] != ':' || !all_hex(full + 5, 2) || full[7] != ':' ||
	    !all_hex(full + 8, 2) || full[8] > '1' || full[10] != '.' || full[11] < '0' ||
	    full[11] > '7')
		return -EINVAL;
	memcpy(bdf, full, sizeof(full));
	return 0;
}

int parse_source(const char *text, bool short_ok, char source[SOURCE_MAX])
{
	char bdf[13];

	if (strncmp(text, "pci:", 4) || parse_bdf(text + 4, short_ok, bdf))
		return -EINVAL;
	snprintf(source, SOURCE_MAX, "pci:%s", bdf);
	return 0;
}

int parse_device_path(const char *tail, uint16_t *domid, uint32_t *devid)
{
	char first[8];
	const char *slash = strchr(tail, '/');
	uint64_t f, n;

	if (!slash || slash == tail || (size_t)(slash - tail) >= sizeof(first))
		return -EINVAL;
	snprintf(first, sizeof(first), "%.*s", (int)(slash - tail), tail);
	/* Xen keeps 0x7ff0 and above for names of its own. */
	if (parse_number(first, 0x7fef, &f) || parse_number(slash + 1, 0xffff, &n))
		return -EINVAL;
	*domid = (uint16_t)f;
	*devid = (uint32_t)n;
	return 0;
}

int parse_address(const char *text, uint64_t *value)
{
	size_t len;

	if (text[0] != '0' || (text[1] != 'x' && text[1] != 'X'))
		return parse_number(text, UINT64_MAX, value);
	/* strtoull() by itself would take another 0x, and a sign */
	len = strspn(text + 2, "0123456789abcdefABCDEF");
	if (!len || len > 16 || text[2 + len])
		return -EINVAL;
	*value = strtoull(text + 2, NULL, 16);
	return 0;
}
