# SPDX-License-Identifier: GPL-2.0
# Fragment of the top-level Makefile.am: the guest module.
#
# The kernel's build writes beside the sources it is given, and those may be read-only or
# elsewhere (VPATH, distcheck); so it is given a copy in the build folder. configure.ac sets
# KERNEL_DIR, KMOD_DIR (where to install) and the condition WITH_KERNEL_DIR.

frontend_sources = \
	shim/frontend/Kbuild \
	shim/frontend/compat.h \
	shim/frontend/control.c \
	shim/frontend/dma.c \
	shim/frontend/front.h \
	shim/frontend/grants.c \
	shim/frontend/keep.c \
	shim/frontend/negotiate.c \
	shim/frontend/p2m.c \
	shim/frontend/pool.c \
	shim/frontend/queue.c \
	shim/frontend/shrink.h \
	shim/frontend/transport.c \
	shim/frontend/xenbus.c
frontend_header = include/xvshim/protocol.h

EXTRA_DIST += $(frontend_sources)

# The sources as a tree of their own, in $dir of the shell.
frontend_copy = \
	$(MKDIR_P) "$$dir/include/xvshim" && \
	for f in $(frontend_sources); do \
		$(INSTALL_DATA) "$(srcdir)/$$f" "$$dir/" || exit 1; \
	done && \
	$(INSTALL_DATA) "$(srcdir)/$(frontend_header)" "$$dir/include/xvshim/"

if WITH_KERNEL_DIR
all-local: kmod/xvshim_front.ko
install-exec-local: install-kmod
uninstall-local: uninstall-kmod
endif

# make's own variables (CC=clang, CFLAGS=...) are not the kernel's: they stay out of its build.
kmod/xvshim_front.ko: $(frontend_sources) $(frontend_header)
	$(AM_V_GEN)dir=kmod; $(frontend_copy)
	$(AM_V_at)unset MAKEFLAGS MFLAGS MAKEOVERRIDES; $(MAKE) -C "$(KERNEL_DIR)" M="$(abs_builddir)/kmod" modules

install-kmod: kmod/xvshim_front.ko
	$(MKDIR_P) "$(DESTDIR)$(KMOD_DIR)"
	$(INSTALL_DATA) kmod/xvshim_front.ko "$(DESTDIR)$(KMOD_DIR)/"
	case "$(DESTDIR)$(KMOD_DIR)" in \
	/lib/modules/*) depmod -a "$(KERNEL_RELEASE)" ;; \
	esac

uninstall-kmod:
	rm -f "$(DESTDIR)$(KMOD_DIR)/xvshim_front.ko"

# For machines whose kernel changes: "dkms add/build/install xvshim-front/VERSION" afterwards.
dkms_tree = $(DESTDIR)/usr/src/xvshim-front-$(PACKAGE_VERSION)
install-dkms: shim/frontend/dkms.conf
	dir="$(dkms_tree)"; $(frontend_copy)
	$(INSTALL_DATA) shim/frontend/dkms.conf "$(dkms_tree)/"

clean-local:
	rm -rf kmod test-kmod

.PHONY: install-kmod uninstall-kmod install-dkms
