# SPDX-License-Identifier: GPL-2.0-or-later
# Fragment of the top-level Makefile.am: the fuzz targets.
#
# A target is one function that takes an input. With --enable-fuzz clang's libFuzzer calls it, else
# replay.c with the files of its corpus, as a test: the targets are never only somebody's with clang.

FUZZ_SECONDS = 10
FUZZ_TARGETS = chain control device front journal nodes p2m session state text

fuzz_programs = fuzz_chain fuzz_control fuzz_device fuzz_front fuzz_journal fuzz_nodes \
	fuzz_p2m fuzz_session fuzz_state fuzz_text
check_PROGRAMS += $(fuzz_programs)
EXTRA_DIST += tests/fuzz/run tests/fuzz/corpus
if FUZZ
fuzz_main =
else
fuzz_main = tests/fuzz/replay.c
TESTS += $(fuzz_programs)
endif

# racing/ stands before shim/, so that util/shared.h is the one that announces each access.
fuzz_flags = -I$(top_srcdir)/tests/fuzz/racing -I$(top_srcdir)/tests/fuzz $(AM_CPPFLAGS)
fuzz_link = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)

# What the targets with a session run, compiled for them. The simulation counts as the world they
# are in: libFuzzer is not to look for paths through it.
check_LIBRARIES = libfuzzed.a
libfuzzed_a_SOURCES = \
	shim/bus/control.c shim/hv/hv.c shim/mem/hold_table.c shim/mem/journal.c \
	shim/mem/kept.c shim/mem/p2m_cache.c shim/mem/p2m_pins.c shim/mem/pins.c shim/policy/policy.c \
	shim/policy/print.c shim/policy/rules.c shim/policy/types.c \
	shim/ring/chain.c shim/ring/shadow.c shim/session/gather.c shim/session/harvest.c \
	shim/session/keep.c shim/session/lost.c shim/session/p2m.c shim/session/queue.c \
	shim/session/requests.c shim/session/session.c \
	shim/session/submit.c shim/session/translate.c shim/util/log.c tests/fuzz/racing/util/shared.h
libfuzzed_a_CPPFLAGS = $(fuzz_flags)
libfuzzed_a_CFLAGS = $(AM_CFLAGS) $(FUZZ_STEP_CFLAGS)
fuzz_world = libsim.a libfuzzed.a

fuzz_session_SOURCES = tests/fuzz/session.c tests/fuzz/fuzz.h tests/fuzz/world.h $(fuzz_main)
fuzz_session_CPPFLAGS = $(fuzz_flags)
fuzz_session_CFLAGS = $(AM_CFLAGS) $(FUZZ_STEP_CFLAGS)
fuzz_session_LDFLAGS = $(fuzz_link)
fuzz_session_LDADD = $(fuzz_world)

fuzz_control_SOURCES = tests/fuzz/control.c tests/fuzz/fuzz.h tests/fuzz/world.h $(fuzz_main)
fuzz_control_CPPFLAGS = $(fuzz_flags)
fuzz_control_CFLAGS = $(AM_CFLAGS) $(FUZZ_STEP_CFLAGS)
fuzz_control_LDFLAGS = $(fuzz_link)
fuzz_control_LDADD = $(fuzz_world)

fuzz_device_SOURCES = tests/fuzz/device.c tests/fuzz/fuzz.h tests/fuzz/world.h $(fuzz_main)
fuzz_device_CPPFLAGS = $(fuzz_flags)
fuzz_device_CFLAGS = $(AM_CFLAGS) $(FUZZ_STEP_CFLAGS)
fuzz_device_LDFLAGS = $(fuzz_link)
fuzz_device_LDADD = $(fuzz_world)

fuzz_journal_SOURCES = tests/fuzz/journal.c tests/fuzz/fuzz.h tests/fuzz/world.h $(fuzz_main)
fuzz_journal_CPPFLAGS = $(fuzz_flags)
fuzz_journal_CFLAGS = $(AM_CFLAGS) $(FUZZ_STEP_CFLAGS)
fuzz_journal_LDFLAGS = $(fuzz_link)
fuzz_journal_LDADD = $(fuzz_world)

fuzz_p2m_SOURCES = tests/fuzz/p2m.c tests/fuzz/fuzz.h tests/fuzz/world.h $(fuzz_main)
fuzz_p2m_CPPFLAGS = $(fuzz_flags)
fuzz_p2m_CFLAGS = $(AM_CFLAGS) $(FUZZ_STEP_CFLAGS)
fuzz_p2m_LDFLAGS = $(fuzz_link)
fuzz_p2m_LDADD = $(fuzz_world)

fuzz_state_SOURCES = tests/fuzz/state.c tests/fuzz/fuzz.h shim/daemon/leftover.c \
	shim/daemon/nodes.c shim/daemon/allow.c shim/daemon/object.c shim/daemon/parse.c \
	shim/daemon/source.c shim/daemon/statefile.c shim/mem/journal.c shim/policy/policy.c \
	shim/policy/print.c shim/policy/rules.c shim/policy/types.c shim/util/log.c $(fuzz_main)
fuzz_state_CPPFLAGS = $(fuzz_flags)
fuzz_state_CFLAGS = $(AM_CFLAGS) $(FUZZ_CFLAGS)
fuzz_state_LDFLAGS = $(fuzz_link)
fuzz_state_LDADD = $(JSONC_LIBS) $(EV_LIBS)

fuzz_chain_SOURCES = tests/fuzz/chain.c tests/fuzz/fuzz.h shim/ring/chain.c shim/ring/shadow.c \
	$(fuzz_main)
fuzz_chain_CPPFLAGS = $(fuzz_flags)
fuzz_chain_CFLAGS = $(AM_CFLAGS) $(FUZZ_CFLAGS)
fuzz_chain_LDFLAGS = $(fuzz_link)

fuzz_nodes_SOURCES = tests/fuzz/nodes.c tests/fuzz/fuzz.h shim/daemon/allow.c shim/daemon/nodes.c \
	shim/daemon/parse.c shim/policy/policy.c shim/policy/print.c shim/policy/rules.c \
	shim/policy/types.c $(fuzz_main)
fuzz_nodes_CPPFLAGS = $(fuzz_flags)
fuzz_nodes_CFLAGS = $(AM_CFLAGS) $(FUZZ_CFLAGS)
fuzz_nodes_LDFLAGS = $(fuzz_link)

fuzz_text_SOURCES = tests/fuzz/text.c tests/fuzz/fuzz.h shim/daemon/allow.c shim/daemon/conf.c \
	shim/daemon/parse.c shim/lib/pci_sysfs.c shim/lib/virtio_cap.c shim/stress/books_xen.c \
	shim/stress/mix.c shim/survey/iommu_table.c $(fuzz_main)
fuzz_text_CPPFLAGS = $(fuzz_flags)
fuzz_text_CFLAGS = $(AM_CFLAGS) $(FUZZ_CFLAGS)
fuzz_text_LDFLAGS = $(fuzz_link)

# Three of the module's files; the kernel's headers are names for one of ours.
fuzz_front_SOURCES = tests/fuzz/front.c tests/fuzz/fuzz.h tests/fuzz/kernel.h $(fuzz_main)
fuzz_front_CPPFLAGS = -Itests/fuzz/kernel $(fuzz_flags)
fuzz_front_CFLAGS = $(AM_CFLAGS) $(FUZZ_CFLAGS)
fuzz_front_LDFLAGS = $(fuzz_link)
tests/fuzz/fuzz_front-front.$(OBJEXT): tests/fuzz/kernel/made

kernel_headers = linux/ctype.h linux/delay.h linux/device.h linux/dma-direction.h \
	linux/interrupt.h linux/module.h linux/moduleparam.h linux/mutex.h linux/slab.h \
	linux/spinlock.h linux/string.h linux/version.h linux/virtio.h linux/wait.h \
	linux/workqueue.h xen/events.h xen/grant_table.h xen/page.h xen/xen.h xen/xenbus.h
tests/fuzz/kernel/made: $(top_srcdir)/tests/fuzz/local.mk
	$(AM_V_at)$(MKDIR_P) tests/fuzz/kernel/linux tests/fuzz/kernel/xen
	$(AM_V_GEN)for name in $(kernel_headers); do \
		echo '#include "kernel.h"' > tests/fuzz/kernel/$$name || exit 1; \
	done
	$(AM_V_at)echo made > $@

# Each target for so many seconds; what was learned stays in the build folder for the next time.
if FUZZ
fuzz: $(fuzz_programs)
	$(srcdir)/tests/fuzz/run "$(FUZZ_SECONDS)" "$(srcdir)/tests/fuzz/corpus" $(FUZZ_TARGETS)
else
fuzz:
	@echo "this build has no libFuzzer: configure it with CC=clang --enable-fuzz" >&2; exit 1
endif

mostlyclean-local: clean-fuzz clean-coverage
clean-fuzz:
	rm -rf tests/fuzz/kernel fuzz-work

.PHONY: fuzz clean-fuzz
