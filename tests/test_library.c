/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libxvshim as a program sees it: the public header, on a simulated machine. */
#include <xvshim/xvshim.h>

#include "check_main.h"
#include "library_stage.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define ALL (XVS_MEMORY | XVS_OWN | XVS_GRANTS)

START_TEST(test_open_arguments)
{
	struct xvs *xvs = NULL;

	ck_assert_int_eq(xvs_open(0, &xvs), -EINVAL);
	ck_assert_int_eq(xvs_open(8, &xvs), -EINVAL);
	ck_assert_int_eq(xvs_open(XVS_MEMORY, NULL), -EINVAL);
	if (access("/proc/xen", F_OK)) {
		int rc = xvs_open(XVS_MEMORY, &xvs);

		ck_assert_msg(rc == -ENODEV || rc == -ENOSYS, "%d", rc);
	}
	ck_assert_ptr_null(xvs);
	xvs_close(NULL);
	xvs_dma_free(NULL);
	xvs_pci_close(NULL);
	ck_assert_str_eq(xvs_version(), PACKAGE_VERSION);
}
END_TEST

START_TEST(test_parts)
{
	struct xvs *memory = stage_open(XVS_MEMORY), *own = stage_open(XVS_OWN);
	struct xvs_grant g = { .gref = stage_grant(false), .domid = STAGE_GUEST };
	struct xvs_dma *dma;
	uint64_t maddr;

	ck_assert_int_eq(xvs_grant_map(memory, &g, 1), -EINVAL);
	ck_assert_int_eq(xvs_translate(memory, &g, 1, &maddr, NULL), -EINVAL);
	ck_assert_int_eq(xvs_translate_pfn(memory, 0, &maddr), -EINVAL);
	ck_assert_int_eq(xvs_dma_alloc(own, PAGE, &dma), -EINVAL);
	ck_assert_int_eq(xvs_grant_unmap(own, &g, 1), -EINVAL);
	xvs_close(memory);
	xvs_close(own);
}
END_TEST

START_TEST(test_memory)
{
	struct xvs *xvs = stage_open(XVS_MEMORY);
	struct xvs_dma *dma;
	uint64_t first, maddr;
	unsigned char *va;
	size_t part = 0;

	ck_assert_int_eq(xvs_dma_alloc(xvs, 0, &dma), -EINVAL);
	ck_assert_int_eq(xvs_dma_alloc(xvs, SIZE_MAX, &dma), -EINVAL);
	ck_assert_int_eq(xvs_dma_alloc(xvs, PAGE, NULL), -EINVAL);
	ck_assert_int_eq(xvs_dma_alloc(xvs, 2 * PAGE + 1, &dma), 0);
	ck_assert_uint_eq(xvs_dma_size(dma), 3 * PAGE);
	ck_assert_uint_eq(stage_memory_held(), 3);
	va = xvs_dma_va(dma);
	for (size_t i = 0; i < 3 * PAGE; i += 64) {
		ck_assert_uint_eq(va[i], 0);
		va[i] = (unsigned char)(i / 64);
	}
	for (size_t i = 0; i < 3 * PAGE; i += 64) {
		ck_assert_int_eq(xvs_dma_maddr(dma, i, 64, &maddr, NULL), 0);
		ck_assert_uint_eq(stage_peek(maddr), (unsigned char)(i / 64));
		ck_assert(stage_reaches(maddr, 64, true));
	}
	/* Pages do not touch in the machine: an answer ends with its page. */
	ck_assert_int_eq(xvs_dma_maddr(dma, 100, 2 * PAGE, &first, &part), 0);
	ck_assert_uint_eq(part, PAGE - 100);
	ck_assert_int_eq(xvs_dma_maddr(dma, 100, 2 * PAGE, &maddr, NULL), -EXDEV);
	ck_assert_int_eq(xvs_dma_maddr(dma, 0, PAGE, &maddr, &part), 0);
	ck_assert_uint_eq(maddr, first - 100);
	ck_assert_uint_eq(part, PAGE);
	ck_assert_int_eq(xvs_dma_maddr(dma, 3 * PAGE, 1, &maddr, NULL), -ERANGE);
	ck_assert_int_eq(xvs_dma_maddr(dma, 3 * PAGE - 1, 2, &maddr, NULL), -ERANGE);
	ck_assert_int_eq(xvs_dma_maddr(dma, 1, SIZE_MAX, &maddr, NULL), -ERANGE);
	ck_assert_int_eq(xvs_dma_maddr(dma, 0, 0, &maddr, NULL), -EINVAL);
	xvs_dma_free(dma);
	ck_assert_uint_eq(stage_memory_held(), 0);
	ck_assert(!stage_reaches(first, 64, true));
	xvs_close(xvs);
}
END_TEST

START_TEST(test_translate)
{
	struct xvs *xvs = stage_open(XVS_MEMORY | XVS_OWN);
	const char *three;
	struct xvs_dma *dma;
	uint64_t maddr, same;
	char *va, here;
	size_t part;

	ck_assert_int_eq(xvs_dma_alloc(xvs, 2 * PAGE, &dma), 0);
	va = xvs_dma_va(dma);
	ck_assert_int_eq(xvs_dma_maddr(dma, PAGE + 12, 5, &maddr, NULL), 0);
	ck_assert_int_eq(xvs_translate(xvs, va + PAGE + 12, 5, &same, NULL), 0);
	ck_assert_uint_eq(maddr, same);
	ck_assert_int_eq(xvs_translate(xvs, va, 0, &maddr, NULL), -EINVAL);
	ck_assert_int_eq(xvs_translate(xvs, &here, 1, &maddr, NULL), -EFAULT);
	ck_assert_int_eq(xvs_translate(xvs, va, SIZE_MAX, &maddr, NULL), -EFAULT);
	/* What is good of it is told, unless all was wanted. */
	ck_assert_int_eq(xvs_translate(xvs, va + PAGE, 1 << 20, &maddr, &part), 0);
	ck_assert_uint_eq(part, PAGE);
	xvs_dma_free(dma);

	three = stage_touching();
	ck_assert_int_eq(xvs_translate(xvs, three + 8, 2 * PAGE - 8, &maddr, NULL), 0);
	ck_assert_int_eq(xvs_translate(xvs, three + PAGE, 1, &same, NULL), 0);
	ck_assert_uint_eq(maddr + PAGE - 8, same);
	ck_assert_int_eq(xvs_translate(xvs, three + 8, 3 * PAGE - 8, &maddr, &part), 0);
	ck_assert_uint_eq(part, 2 * PAGE - 8);
	ck_assert_int_eq(xvs_translate(xvs, three + 8, 2 * PAGE - 7, &maddr, NULL), -EXDEV);
	stage_touching_done(three);
	xvs_close(xvs);
}
END_TEST

#define MANY 420u /* more than one hypercall takes */

START_TEST(test_grants)
{
	struct xvs *xvs = stage_open(XVS_GRANTS);
	struct xvs_grant g[MANY];

	for (unsigned int i = 0; i < MANY; i++)
		g[i] = (struct xvs_grant){ .gref = stage_grant(false), .domid = STAGE_GUEST };
	ck_assert_int_eq(xvs_grant_map(xvs, g, MANY), 0);
	ck_assert_uint_eq(stage_grants_held(), MANY);
	for (unsigned int i = 0; i < MANY; i++) {
		ck_assert_int_eq(g[i].error, 0);
		ck_assert(g[i].handle != XVS_NO_HANDLE);
		ck_assert(stage_reaches(g[i].maddr, PAGE, true));
	}
	ck_assert_int_eq(xvs_grant_unmap(xvs, g, MANY), 0);
	ck_assert_uint_eq(stage_grants_held(), 0);
	for (unsigned int i = 0; i < MANY; i++)
		ck_assert_uint_eq(g[i].handle, XVS_NO_HANDLE);
	ck_assert_int_eq(xvs_grant_unmap(xvs, g, MANY), 0);
	ck_assert_int_eq(xvs_grant_unmap(xvs, NULL, 0), 0);
	xvs_close(xvs);
	ck_assert_uint_eq(stage_memory_held(), 0);
}
END_TEST

START_TEST(test_grants_in_part)
{
	struct xvs *xvs = stage_open(XVS_GRANTS);
	struct xvs_grant g[5] = {
		{ .gref = stage_grant(false), .domid = STAGE_GUEST },
		{ .gref = 0xffffff, .domid = STAGE_GUEST },
		{ .gref = stage_grant(true), .domid = STAGE_GUEST },
		{ .gref = stage_grant(true), .domid = STAGE_GUEST, .flags = XVS_GRANT_READONLY },
		{ .gref = stage_grant_elsewhere(), .domid = STAGE_GUEST },
	};

	ck_assert_int_eq(xvs_grant_map(xvs, g, 5), -ENOENT);
	ck_assert_int_eq(g[0].error, 0);
	ck_assert_int_eq(g[1].error, -ENOENT);
	ck_assert_int_eq(g[2].error, -EIO);
	ck_assert_int_eq(g[3].error, 0);
	ck_assert_int_eq(g[4].error, -EIO);
	ck_assert_uint_eq(g[1].handle, XVS_NO_HANDLE);
	ck_assert(stage_reaches(g[3].maddr, PAGE, false) && !stage_reaches(g[3].maddr, 1, true));
	ck_assert_uint_eq(stage_grants_held(), 2);
	ck_assert_int_eq(xvs_grant_unmap(xvs, g, 5), 0);
	ck_assert_uint_eq(stage_grants_held(), 0);

	g[3].flags = 2;
	ck_assert_int_eq(xvs_grant_map(xvs, g, 4), -EINVAL);
	ck_assert_int_eq(xvs_grant_map(xvs, g, 0), -EINVAL);
	/* Another's handle number, or one that was given back, is refused by Xen and kept. */
	g[0].handle = 0x7fff;
	ck_assert_int_lt(xvs_grant_unmap(xvs, g, 1), 0);
	ck_assert_uint_eq(g[0].handle, 0x7fff);
	xvs_close(xvs);
}
END_TEST

START_TEST(test_grants_under_faults)
{
	struct xvs *xvs = stage_open(XVS_GRANTS);
	struct xvs_grant g[3];

	for (unsigned int i = 0; i < 3; i++)
		g[i] = (struct xvs_grant){ .gref = stage_grant(false), .domid = STAGE_GUEST };
	stage_fail_map(-EPERM);
	ck_assert_int_eq(xvs_grant_map(xvs, g, 3), -EPERM);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_int_eq(g[i].error, -EPERM);
		ck_assert_uint_eq(g[i].handle, XVS_NO_HANDLE);
	}
	stage_fail_map_element(2);
	ck_assert_int_eq(xvs_grant_map(xvs, g, 3), -ENOSPC);
	ck_assert_int_eq(g[1].error, -ENOSPC);
	ck_assert_uint_eq(stage_grants_held(), 2);
	ck_assert_int_eq(xvs_grant_unmap(xvs, g, 3), 0);
	ck_assert_uint_eq(stage_grants_held(), 0);
	xvs_close(xvs);
}
END_TEST

/* What a driver writes down for its successor. */
struct note {
	struct xvs_grant pin[2], grant;
};

static void drive_and_die(struct note *note)
{
	struct xvs *xvs = stage_open_child(ALL);
	struct xvs_dma *dma;

	if (!xvs || xvs_dma_alloc(xvs, 2 * PAGE, &dma) || xvs_dma_pins(dma, NULL, 0) != 2 ||
	    xvs_dma_pins(dma, note->pin, 2) != 2 || xvs_grant_map(xvs, &note->grant, 1))
		_exit(1);
	kill(getpid(), SIGKILL);
}

START_TEST(test_successor)
{
	struct note *note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct xvs *xvs;
	int status;
	pid_t pid;

	note->grant = (struct xvs_grant){ .gref = stage_grant(false), .domid = STAGE_GUEST };
	pid = fork();
	if (!pid)
		drive_and_die(note);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "the child: %d", WEXITSTATUS(status));
	/* A late write of the device hits pages that nobody else has; operations need no pin. */
	ck_assert_uint_eq(stage_memory_held(), 2);
	ck_assert_uint_eq(stage_grants_held(), 1);
	ck_assert(stage_reaches(note->pin[1].maddr, PAGE, true));
	xvs = stage_open(XVS_GRANTS);
	ck_assert_int_eq(xvs_grant_unmap(xvs, note->pin, 2), 0);
	ck_assert_int_eq(xvs_grant_unmap(xvs, &note->grant, 1), 0);
	ck_assert_uint_eq(stage_grants_held(), 0);
	xvs_close(xvs);
	ck_assert_uint_eq(stage_memory_held(), 0);
	munmap(note, sizeof(*note));
}
END_TEST

START_TEST(test_pci_arguments)
{
	static const char *const bad[] = { "", "0:4.0", "0000:00:04.8", "0000:00:20.0",
					   "0000:0A:04.0", "../../etc/passwd" };
	char why[XVS_WHY_SIZE];
	struct xvs_pci *pci = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		strcpy(why, "");
		ck_assert_int_eq(xvs_pci_take(bad[i], 0, &pci, why, sizeof(why)), -EINVAL);
		ck_assert_msg(strstr(why, "not a PCI address"), "%s", why);
		ck_assert_int_eq(xvs_pci_give_back(bad[i], "", NULL, 0), -EINVAL);
	}
	ck_assert_int_eq(xvs_pci_take(NULL, 0, &pci, NULL, 0), -EINVAL);
	ck_assert_int_eq(xvs_pci_take("0000:00:04.0", 4, &pci, NULL, 0), -EINVAL);
	ck_assert_int_eq(xvs_pci_take("0000:00:04.0", 0, NULL, NULL, 0), -EINVAL);
	ck_assert_int_eq(xvs_pci_take("ffff:ff:1f.7", XVS_PCI_UNBIND, &pci, why, sizeof(why)),
			 -ENODEV);
	ck_assert_str_eq(why, "ffff:ff:1f.7: no such PCI device");
	ck_assert_int_eq(xvs_pci_give_back("ffff:ff:1f.7", "../x", why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(xvs_pci_give_back("ffff:ff:1f.7", NULL, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(xvs_pci_give_back("ffff:ff:1f.7", "x", why, sizeof(why)), -ENODEV);
	ck_assert_ptr_null(pci);
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&test_open_arguments, &test_parts, &test_memory, &test_translate, &test_grants,
		&test_grants_in_part, &test_grants_under_faults, &test_successor,
		&test_pci_arguments,
	};
	Suite *s = suite_create("library");
	TCase *tc = tcase_create("library");

	tcase_add_checked_fixture(tc, stage_setup, stage_teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, *tests[i]);
	suite_add_tcase(s, tc);
	return check_main(s);
}
