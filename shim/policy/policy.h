/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From facts to a decision: which addresses a nested device takes, what its guest is offered and
 * what the two agree on, and whether the device could be assigned to a guest as it is.
 *
 * Pure: opens nothing, asks nobody, keeps nothing. Every fact is one small number, every rule
 * says which values it accepts, the first rule that fits decides. docs/addressing.md holds the
 * same tables and a test compares the two. What the administrator and the guest say are sets and
 * lists; the few things about these that a rule asks for are facts as well, worked out here.
 *
 * `xvshim probe`, the guard, the keeper (at attach, when it offers, when the guest has picked) and
 * the worker (at FEATURES_OK) all ask here, and nothing else decides any of it.
 *
 * A fact that nobody set is 0, which is "unknown" or the careful value wherever the two differ.
 */
#ifndef XVS_POLICY_POLICY_H
#define XVS_POLICY_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <xvshim/protocol.h>

enum fact {
	/* of the device and the machine */
	FACT_HOST,
	FACT_TRANSPORT,
	FACT_TYPE,
	FACT_PLATFORM,
	FACT_ORDER,
	FACT_VENDOR,
	FACT_IOMMU,
	FACT_FIRMWARE,
	FACT_MEMORY,
	/* of who holds it in dom0 */
	FACT_HOLDER,
	FACT_TAKE,
	/* of the guest */
	FACT_GUEST,
	/* worked out of what the administrator allows and the guest says */
	FACT_P2M,
	FACT_PICKED,
	FACT_PICK_ADDRESSING,
	FACT_PICK_PROTECTION,
	/* of the guest's driver, at FEATURES_OK */
	FACT_DRIVER_VERSION,
	FACT_DRIVER_BIT,
	NR_FACTS,
};

#define FACT_FIRST_OF_HOLDER FACT_HOLDER
#define FACT_FIRST_OF_GUEST FACT_GUEST

enum { HOST_UNKNOWN, HOST_PLAIN, HOST_PV_DOM0, HOST_PVH_DOM0, HOST_DOMU };
/* Transitional: legacy and modern; driven by its modern half. */
enum { TRANSPORT_PCI, TRANSPORT_TRANSITIONAL, TRANSPORT_LEGACY, TRANSPORT_MMIO,
       TRANSPORT_VHOST_USER };
/* Payload: its requests carry addresses of memory. Refused: no entry, or nobody tried it. */
enum { TYPE_REFUSED, TYPE_SERVED, TYPE_PAYLOAD };
/* VIRTIO_F_ACCESS_PLATFORM, bit 33; VIRTIO_F_ORDER_PLATFORM, bit 36. */
enum { BIT_UNKNOWN, BIT_CLEAR, BIT_SET };
/* The vendor of hypervisors' devices, 0x1af4, or a maker of silicon. */
enum { VENDOR_HYPERVISOR, VENDOR_SILICON };
/* Does Xen (without Xen: the kernel) translate what devices address? */
enum { IOMMU_UNKNOWN, IOMMU_OFF, IOMMU_ON };
/* What DMAR or IVRS say of this device. */
enum { FIRMWARE_UNKNOWN, FIRMWARE_NO_TABLE, FIRMWARE_SKIPS, FIRMWARE_COVERS };
/* Does machine memory reach above 16 TiB, a legacy queue's limit? */
enum { MEMORY_UNKNOWN, MEMORY_BELOW, MEMORY_ABOVE };
enum { HOLDER_NONE, HOLDER_DRIVER, HOLDER_IN_USE };
enum { TAKE_NOT_TOLD, TAKE_TOLD };
enum { GUEST_TRANSLATED, GUEST_PV };
enum { P2M_FORBIDDEN, P2M_ALLOWED };
/* The addressing that the guest picked, offered or not; values of enum xvs_addressing. */
enum { PICKED_NOTHING, PICKED_GRANT, PICKED_P2M };
/*
 * How what the guest picked stands to what it is offered and to what it would have liked.
 * Unwished: it does not say what it would have liked. Next: nothing that it wants more is offered.
 * Less: something that it wants more is offered, or it does not want this at all.
 */
enum { PICK_NOT_YET, PICK_NOT_OFFERED, PICK_UNWISHED, PICK_BEST, PICK_NEXT, PICK_LESS };
/* What the guest's driver made of VIRTIO_F_VERSION_1, and of bit 33. */
enum { DRIVER_BIT_NOT_YET, DRIVER_BIT_IGNORED, DRIVER_BIT_ACCEPTED };

#define POLICY_WISHES 4

/* Of addressings or of protections; values are those of enum xvs_addressing, enum xvs_protection. */
struct choice {
	uint8_t allowed; /* bit n: the administrator allows value n */
	uint8_t picked;  /* by the guest; 0: nothing yet */
	uint8_t nr_wanted;
	uint8_t wanted[POLICY_WISHES]; /* by the guest, best first, each once */
};

struct facts {
	uint8_t is[NR_FACTS];
	struct choice addressing, protection;
};

/* What the addresses in the nested device's ring are. */
enum nested_addressing {
	NESTED_NONE,     /* not ours to drive */
	NESTED_MACHINE,  /* machine addresses; nothing translates them */
	NESTED_IDENTITY, /* bus addresses of Xen's IOMMU, which are machine addresses again */
	NESTED_FRAMES,   /* bus addresses of Xen's IOMMU, which are dom0's own frames */
};

enum verdict { VERDICT_REFUSE, VERDICT_NOT_YET, VERDICT_SERVE };

/* How stores to the ring are ordered before the device may see them. */
enum barriers { BARRIERS_SMP, BARRIERS_STRONG };

enum attach { ATTACH_BUSY, ATTACH_NEEDS_TAKE, ATTACH_READY };

/* Of what the guest says. Open: it has not said it yet. */
enum agreement { AGREE_OPEN, AGREE_REFUSE, AGREE_YES };

/* The reasons are static strings, one sentence each, and name the fact that decided. */
struct decision {
	enum verdict verdict;
	enum fact decided; /* what verdict, nested and reason rest on */
	enum nested_addressing nested;
	enum barriers barriers;
	bool assignable; /* safe to assign to a guest as a PCI device */
	enum attach attach;
	const char *reason, *barriers_reason, *assign_reason, *attach_reason;

	/* The guest's side. Bit n of what is offered: value n; none: it cannot be served. */
	unsigned int offered_addressing, offered_protection;
	const char *p2m_reason; /* for offering p2m or not */
	enum agreement addressing, protection; /* yes: as picked */
	const char *addressing_reason, *protection_reason;
};

struct decision policy_decide(const struct facts *facts);

/* At FEATURES_OK: may the guest's driver go on? */
struct driver_decision {
	enum agreement agreement;
	const char *reason;
};

/*
 * picked: the addressing agreed on. features: what the driver accepts; said: it has said so.
 */
struct driver_decision policy_driver(enum xvs_addressing picked, bool said, uint64_t features);

/* Sets the facts about bits 33 and 36: those of `features` that are among `known`. */
void policy_know_features(struct facts *facts, uint64_t features, uint64_t known);

/* FACT_TYPE of a virtio device type. */
unsigned int policy_type(uint32_t device_id);

/* For messages and tables; value names are short phrases. */
const char *policy_fact_name(enum fact fact);
unsigned int policy_fact_values(enum fact fact);
const char *policy_value_name(enum fact fact, unsigned int value);
const char *policy_nested_name(enum nested_addressing nested);
const char *policy_verdict_name(enum verdict verdict);
const char *policy_barriers_name(enum barriers barriers);
const char *policy_attach_name(enum attach attach);

/* -- for the table in docs/addressing.md and the tests -- */

struct rule {
	uint8_t accept[NR_FACTS]; /* bit n: value n; 0: any */
	uint8_t outcome;          /* of the table's own enumeration */
	uint8_t nested;           /* table "nested" only */
	enum fact decided;        /* the fact that the reason names */
	const char *reason;
};

struct rule_table {
	const char *title;
	const struct rule *rules;
	unsigned int n;
	const char *(*outcome)(const struct rule *rule);
};

enum {
	TABLE_NESTED,
	TABLE_BARRIERS,
	TABLE_ASSIGN,
	TABLE_ATTACH,
	TABLE_P2M,
	TABLE_ADDRESSING,
	TABLE_PROTECTION,
	TABLE_DRIVER,
	NR_TABLES
};
extern const struct rule_table policy_tables[NR_TABLES];

/* The first rule that fits; NULL: none, which the tests show to be impossible. */
const struct rule *policy_match(const struct rule_table *table, const struct facts *facts);

/* PICK_*, of one choice of which the values in `offered` are offered. */
unsigned int policy_pick(const struct choice *choice, unsigned int offered);

/* All tables in Markdown. */
void policy_print(FILE *to);

#endif
