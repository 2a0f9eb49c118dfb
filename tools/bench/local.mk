# SPDX-License-Identifier: GPL-2.0-or-later
# The measured programs, built by `make bench`. Two of them are the session compiled twice: with
# all checks, and without those that refused() marks, to know their price.

bench_programs = bench_lookup bench_path bench_path_unchecked
if HAVE_DPDK
bench_programs += bench_dpdk
endif
if HAVE_CHECK
bench_programs += bench_life
endif
EXTRA_PROGRAMS += $(bench_programs)
bench_serve = tools/bench/serve.c tools/bench/serve.h
bench_lookup_load = tools/bench/lookup.h tools/bench/lookup_load.c
bench_session = shim/bus/control.c shim/mem/hold_client.c shim/mem/hold_table.c shim/mem/journal.c \
	shim/mem/p2m_cache.c shim/mem/p2m_pins.c shim/mem/kept.c shim/mem/pins.c \
	shim/policy/policy.c shim/policy/print.c shim/policy/rules.c shim/policy/types.c \
	shim/ring/chain.c shim/ring/shadow.c shim/session/gather.c \
	shim/session/harvest.c shim/session/keep.c shim/session/loop.c shim/session/lost.c \
	shim/session/p2m.c shim/session/queue.c \
	shim/session/requests.c \
	shim/session/session.c shim/session/submit.c shim/session/translate.c shim/util/log.c \
	shim/hv/hv.c

bench_lookup_SOURCES = tools/bench/lookup.c $(bench_lookup_load) $(bench_serve)
bench_lookup_LDADD = $(shim_libs)

bench_path_SOURCES = tools/bench/path.c tools/bench/null.c tools/bench/null.h $(bench_serve) \
	$(bench_session)
bench_path_CFLAGS = $(AM_CFLAGS)
bench_path_LDADD = $(shim_libs)

bench_path_unchecked_SOURCES = $(bench_path_SOURCES)
bench_path_unchecked_CPPFLAGS = $(AM_CPPFLAGS) -DXVS_BENCH_NO_CHECKS
bench_path_unchecked_CFLAGS = $(AM_CFLAGS) -Wno-unused-function
bench_path_unchecked_LDADD = $(shim_libs)

if HAVE_DPDK
bench_dpdk_SOURCES = tools/bench/dpdk.c tools/bench/dpdk_guest.c tools/bench/dpdk_guest.h \
	$(bench_lookup_load) $(bench_serve)
bench_dpdk_CFLAGS = $(AM_CFLAGS) $(DPDK_CFLAGS) -Wno-undef
bench_dpdk_LDADD = $(DPDK_LIBS)
endif

bench_life_SOURCES = tools/bench/life.c tests/daemon_stage.c tests/daemon_stage.h
bench_life_CPPFLAGS = $(test_flags)
bench_life_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
bench_life_LDADD = $(test_libs)

bench: $(bench_programs)
.PHONY: bench
CLEANFILES += $(bench_programs)
EXTRA_DIST += tools/bench/bench tools/bench/missing.py tools/bench/xen.py tools/bench/xentrace.py
