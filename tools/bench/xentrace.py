# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts of hypercalls by domain out of a file of xentrace(8), Xen's own trace.

Records are as xen/include/public/trace.h has them: a word of event number (28 bits), number of
extra words (3) and whether a time stamp follows (1). Traced are the classes PV entry and
scheduling: which domain a hypercall is of follows from what its processor was switched to."""

import collections
import struct

CPU_CHANGE = 0x0001F003
LOST_RECORDS = 0x0001F001
RUNSTATE_CHANGE = 0x00021001
RUNNING = 0
PV_HYPERCALL = 0x0020100D
PV_PAGE_FAULT = 0x00201004

IRET, GRANT_TABLE_OP, EVENT_CHANNEL_OP = 23, 20, 32
MMU_UPDATE, UPDATE_VA_MAPPING, MMUEXT_OP = 1, 14, 26
GRANT_COMMANDS = {0: "map", 1: "unmap", 5: "copy", 7: "unmap_and_replace"}


class Lost(Exception):
    """The trace has holes, so its counts are too low."""


def records(data):
    """(event, extra words) of each record."""
    at = 0
    while at + 4 <= len(data):
        head, = struct.unpack_from("<I", data, at)
        extra, stamped = head >> 28 & 7, head >> 31
        at += 4 + 8 * stamped
        if at + 4 * extra > len(data):
            return # cut off where the tracer was ended
        yield head & 0x0FFFFFFF, struct.unpack_from(f"<{extra}I", data, at)
        at += 4 * extra


def count_hypercall(counts, words):
    call = words[0] & 0xFFFFF
    if call == IRET:
        return # how a PV kernel returns to its user space: no request for anything
    if call in (MMU_UPDATE, UPDATE_VA_MAPPING, MMUEXT_OP):
        counts["mmu_calls"] += 1 # mostly programs that start and end
        return
    counts["hypercalls"] += 1
    if call == EVENT_CHANNEL_OP:
        counts["event_calls"] += 1
    elif call == GRANT_TABLE_OP and len(words) >= 3:
        counts["grant_calls"] += 1
        counts["grant_ops"] += words[2]
        counts["grant_" + GRANT_COMMANDS.get(words[1], "other")] += words[2]


def count(data):
    """{domain: Counter}; keys hypercalls (those for page tables apart),
    event_calls, grant_calls, grant_ops, grant_map, ..."""
    domains = collections.defaultdict(collections.Counter)
    running, cpu = {}, None
    for event, words in records(data):
        if event == CPU_CHANGE:
            cpu = words[0]
        elif event == LOST_RECORDS:
            raise Lost("Xen's trace buffers were too small")
        elif event & ~0xFF0 == RUNSTATE_CHANGE and event >> 4 & 3 == RUNNING:
            running[cpu] = words[0] >> 16
        elif event == PV_HYPERCALL and cpu in running:
            count_hypercall(domains[running[cpu]], words)
        elif event & ~0x100 == PV_PAGE_FAULT and cpu in running:
            domains[running[cpu]]["page_faults"] += 1
    return domains
