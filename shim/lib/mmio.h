/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registers of a device: little endian, each access exactly as wide as it says. */
#ifndef XVS_LIB_MMIO_H
#define XVS_LIB_MMIO_H

#include <endian.h>
#include <stdint.h>

static inline uint8_t mmio_read8(const volatile void *p)
{
	return *(const volatile uint8_t *)p;
}

static inline uint16_t mmio_read16(const volatile void *p)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the capabilities were all there. */
	return le16toh(*(const volatile uint16_t *)p);
}

static inline uint32_t mmio_read32(const volatile void *p)
{
	return le32toh(*(const volatile uint32_t *)p);
}

static inline void mmio_write8(volatile void *p, uint8_t v)
{
	*(volatile uint8_t *)p = v;
}

static inline void mmio_write16(volatile void *p, uint16_t v)
{
	*(volatile uint16_t *)p = htole16(v);
}

static inline void mmio_write32(volatile void *p, uint32_t v)
{
	*(volatile uint32_t *)p = htole32(v);
}

#endif
