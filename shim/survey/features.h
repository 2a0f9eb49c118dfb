/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of virtio's feature bits, as the specification writes them. */
#ifndef XVS_SURVEY_FEATURES_H
#define XVS_SURVEY_FEATURES_H

#include <stdint.h>

#define FEATURE_VERSION_1 (1ull << 32)
#define FEATURE_ACCESS_PLATFORM (1ull << 33)
#define FEATURE_ORDER_PLATFORM (1ull << 36)

/* NULL: a bit without a name for this type. */
const char *feature_name(uint32_t device_id, unsigned int bit);

#endif
