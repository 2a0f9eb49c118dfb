# SPDX-License-Identifier: GPL-2.0
# Fragment of the top-level Makefile.am: kernel modules for guests of the rig, which have no
# compiler. Built from a copy, as shim/frontend/local.mk says.

test_kmods = bad_page table_version
test_kmod_sources = tests/kmod/Kbuild $(test_kmods:%=tests/kmod/%.c)
EXTRA_DIST += tests/kmod/Kbuild tests/kmod/bad_page.c tests/kmod/table_version.c

if WITH_KERNEL_DIR
install-rig: install-test-kmods
endif

install-test-kmods: $(test_kmod_sources)
	$(MKDIR_P) test-kmod "$(DESTDIR)$(pkglibexecdir)"
	for f in $(test_kmod_sources); do $(INSTALL_DATA) "$(srcdir)/$$f" test-kmod/ || exit 1; done
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES; \
		$(MAKE) -C "$(KERNEL_DIR)" M="$(abs_builddir)/test-kmod" modules
	for m in $(test_kmods); do \
		$(INSTALL_DATA) "test-kmod/$$m.ko" "$(DESTDIR)$(pkglibexecdir)/" || exit 1; \
	done
.PHONY: install-test-kmods
