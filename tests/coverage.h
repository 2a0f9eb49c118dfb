/* SPDX-License-Identifier: GPL-2.0-or-later */
/* With --enable-coverage exit() writes down which lines ran; a process that ends by _exit() asks. */
#ifndef XVS_TESTS_COVERAGE_H
#define XVS_TESTS_COVERAGE_H

#ifdef XVS_COVERAGE
void __gcov_dump(void);
#define coverage_keep() __gcov_dump()
#else
#define coverage_keep() ((void)0)
#endif

#endif
