/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For LD_PRELOAD of xl: the domain that it makes gets the number in the environment's RIG_DOMID. Xen
 * gives a number away that is asked for and free; xl has no way to ask. By themselves the numbers
 * come round after 32752 domains.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

/* As libxenctrl has it. Its header stays out of the tests, and nothing in here looks inside. */
int xc_domain_create(void *xch, uint32_t *domid, void *config);

int xc_domain_create(void *xch, uint32_t *domid, void *config)
{
	const char *chosen = getenv("RIG_DOMID");
	int (*real)(void *, uint32_t *, void *);

	*(void **)&real = dlsym(RTLD_NEXT, "xc_domain_create");
	if (!real)
		return -1;
	if (chosen)
		*domid = (uint32_t)strtoul(chosen, NULL, 10);
	return real(xch, domid, config);
}
