# SPDX-License-Identifier: LGPL-2.1-or-later
# Fragment of the top-level Makefile.am: libxvshim. The daemon, the tools and the tests are linked
# with the same code as a convenience library, so none of them needs the shared one at run time.

noinst_LTLIBRARIES = libxvs.la
libxvs_la_SOURCES = \
	include/xvshim/xvshim.h shim/hv/frames.h shim/hv/hv.c shim/hv/hv.h shim/lib/dev_use.c \
	shim/lib/dev_use.h shim/lib/grants.c shim/lib/internal.h shim/lib/memory.c \
	shim/lib/mmio.h shim/lib/open.c shim/lib/pci.c shim/lib/pci.h shim/lib/pci_reset.c \
	shim/lib/pci_sysfs.c shim/lib/pci_sysfs.h shim/lib/pci_take.c shim/lib/uio.c \
	shim/lib/uio.h shim/lib/virtio_cap.c shim/lib/virtio_cap.h \
	shim/util/shared.h
if HAVE_XEN
libxvs_la_SOURCES += \
	shim/hv/xen.c shim/hv/xen.h shim/hv/xen_dma.c shim/hv/xen_domain.c \
	shim/hv/xen_evtchn.c shim/hv/xen_grant.c shim/hv/xen_guest_p2m.c shim/hv/xen_machine.c shim/hv/xen_map.c shim/hv/xen_p2m.c \
	shim/hv/xen_store.c
endif
libxvs_la_CFLAGS = $(XVS_CFLAGS) $(XEN_CFLAGS)

# Current, revision, age: a release that adds functions raises the first and the last and gives
# them a node of their own in the map; the first alone rises with one that breaks programs.
lib_LTLIBRARIES = libxvshim.la
libxvshim_la_SOURCES =
libxvshim_la_LIBADD = libxvs.la $(XEN_LIBS)
libxvshim_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-Wl,--version-script=$(srcdir)/shim/lib/libxvshim.map
libxvshim_la_DEPENDENCIES = libxvs.la shim/lib/libxvshim.map
EXTRA_DIST += shim/lib/libxvshim.map

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = xvshim.pc
xvshim.pc: shim/lib/xvshim.pc.in Makefile
	$(AM_V_GEN)$(substitute) $(srcdir)/shim/lib/xvshim.pc.in > $@
CLEANFILES += xvshim.pc
EXTRA_DIST += shim/lib/xvshim.pc.in

examplesdir = $(docdir)/examples
dist_examples_DATA = tools/examples/virtio_rng.c
