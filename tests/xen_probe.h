/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the parts of xen_probe, which tries the seam and a nested device on a real Xen. */
#ifndef XVS_TESTS_XEN_PROBE_H
#define XVS_TESTS_XEN_PROBE_H

#include "hv/hv.h"

/* Prints one line, ok or FAIL, and counts; returns cond. */
bool probe_check(bool cond, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A step that others need: prints only a failure. */
bool probe_need(int rc, const char *what);
double probe_now_us(void);

void probe_bench(struct hv *hv);
void probe_dma(struct hv *hv);
void probe_grants(struct hv *hv);
void probe_services(struct hv *hv);
void probe_guest(struct hv *hv, uint16_t domid);
/* pfns: decimal, separated by commas. */
void probe_p2m(struct hv *hv, uint16_t domid, const char *pfns);
/* In a guest: exit status. */
int probe_pattern(unsigned int n);
void probe_pci(struct hv *hv, const char *bdf);

#endif
