/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulated machine: domains that die, processes that die, faults on demand. */
#include "sim_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* 20, 31: a page of a dead domain stays until it is unmapped, then is poisoned. */
START_TEST(test_zombie)
{
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);
	struct hv_map_op held = *map_one(ref, HV_MAP_DEVICE);
	struct hv_dominfo info;
	struct sim_audit a;
	uint8_t *va = sim_maddr_va(m, held.maddr, 1);

	*va = 42;
	ck_assert_int_eq(sim_domain_kill(m, GUEST), 0);
	ck_assert_int_eq(*va, 42);
	ck_assert_int_eq(hv->ops->dom_info(hv, GUEST, &info), 0);
	ck_assert(info.dying);
	ck_assert_uint_eq(info.nr_pages, 1);
	ck_assert_int_eq(sim_domain_add(m, GUEST, 10, false), -EEXIST);
	ck_assert_int_eq(map_one(ref, HV_MAP_DEVICE)->status, SIM_GNTST_GENERAL_ERROR);
	sim_audit(m, SIM_ANY, &a);
	ck_assert_uint_eq(a.zombies, 1);
	ck_assert_int_eq(unmap_one(0xffff, held.maddr), SIM_GNTST_BAD_HANDLE);
	ck_assert_int_eq(unmap_one(held.handle, held.maddr), 0);
	ck_assert_int_eq(*va, 0xd5);
	ck_assert_int_eq(hv->ops->dom_info(hv, GUEST, &info), -ESRCH);
	*va = 1;
	sim_audit(m, SIM_ANY, &a);
	ck_assert_uint_eq(a.late_writes, 1);
	*va = 0xd5;
	ck_assert_int_eq(sim_domain_add(m, GUEST, 10, false), 0);
}
END_TEST

/* 22: ballooned out under a map. */
START_TEST(test_balloon)
{
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);
	struct hv_map_op *op = map_one(ref, HV_MAP_DEVICE);
	uint8_t *va = sim_maddr_va(m, op->maddr, 1);

	*va = 9;
	ck_assert_int_eq(sim_balloon_out(m, GUEST, pfn), 0);
	ck_assert_int_eq(sim_balloon_out(m, GUEST, pfn), -ENOENT);
	ck_assert_int_eq(*va, 9);
	ck_assert_int_eq(unmap_one(op->handle, op->maddr), 0);
	ck_assert_int_eq(*va, 0xd5);
	ck_assert_int_eq(map_one(ref, HV_MAP_DEVICE)->status, SIM_GNTST_GENERAL_ERROR);
}
END_TEST

START_TEST(test_faults)
{
	struct hv_dominfo info;
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);
	void *va;

	ck_assert_int_eq(sim_fault_set(m, SIM_OP_HOST_MAP, 2, -ENOMEM), 0);
	ck_assert_int_eq(hv->ops->host_map(hv, GUEST, &ref, 1, true, &va), 0);
	ck_assert_int_eq(hv->ops->host_unmap(hv, va, 1), 0);
	ck_assert_uint_eq(sim_faults_left(m), 1);
	ck_assert_int_eq(hv->ops->host_map(hv, GUEST, &ref, 1, true, &va), -ENOMEM);
	ck_assert_uint_eq(sim_faults_left(m), 0);
	ck_assert_int_eq(hv->ops->host_map(hv, GUEST, &ref, 1, true, &va), 0);
	ck_assert_int_eq(hv->ops->host_unmap(hv, va, 1), 0);
	sim_fault_set(m, SIM_OP_DOM_INFO, 1, -EIO);
	sim_fault_clear(m);
	ck_assert_int_eq(hv->ops->dom_info(hv, GUEST, &info), 0);
	ck_assert_uint_eq(sim_op_calls(m, SIM_OP_HOST_MAP), 3);
	for (int op = 0; op < SIM_OP_COUNT; op++)
		ck_assert_ptr_nonnull(sim_op_name((enum sim_op)op));
	ck_assert_int_eq(sim_fault_set(m, SIM_OP_COUNT, 1, -EIO), -EINVAL);
}
END_TEST

START_TEST(test_caps)
{
	int err = 0;
	struct hv *worker = sim_hv_open(m, BACK, HV_CAP_EVTCHN, &err);
	struct hv_dominfo info;

	ck_assert_int_eq(worker->ops->dom_info(worker, GUEST, &info), -EPERM);
	hv_close(worker);
	ck_assert_ptr_null(sim_hv_open(m, 66, CAPS, &err));
	ck_assert_int_eq(err, -ENODEV);
	sim_machine_use(m, GUEST);
	worker = hv_open(hv_sim(), HV_CAP_STORE, &err);
	ck_assert_ptr_nonnull(worker);
	hv_close(worker);
	sim_machine_use(NULL, 0);
	ck_assert_ptr_null(hv_open(hv_sim(), HV_CAP_STORE, &err));
}
END_TEST

/* What a child holds, and what of it outlives it. */
static void child_holds(uint32_t ref, uint32_t gport)
{
	int err = 0;
	struct hv *mine = sim_hv_open(m, BACK, CAPS, &err);
	struct hv_map_op *op = ops_page(4);
	struct hv_dma dma;
	uint32_t port;
	void *va;

	if (!mine || mine->ops->host_map(mine, GUEST, &ref, 1, true, &va) ||
	    mine->ops->evtchn_bind(mine, GUEST, gport, &port) ||
	    mine->ops->store_watch(mine, "/x", "x") || mine->ops->dma_alloc(mine, 2, &dma))
		_exit(1);
	/* The parent's handle is not the child's. */
	if (hv->ops->store_fd(hv) != -EBADF)
		_exit(2);
	*op = (struct hv_map_op){ .flags = HV_MAP_DEVICE, .gref = ref, .domid = GUEST };
	if (mine->ops->gnt_map(mine, op, 1) || op->status)
		_exit(3);
	memcpy(op + 1, dma.handle, 8);
	memcpy(op + 2, dma.maddr, 16);
	kill(getpid(), SIGKILL);
}

START_TEST(test_death_of_a_process)
{
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn), gport, dma_handle[2];
	struct hv_map_op *op = ops_page(4);
	maddr_t dma_maddr[2];
	struct sim_audit a;
	int status;
	pid_t pid;

	sim_evtchn_alloc(m, GUEST, BACK, &gport);
	pid = fork();
	if (!pid)
		child_holds(ref, gport);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "child: %d", WEXITSTATUS(status));
	sim_audit(m, BACK, &a);
	ck_assert_uint_eq(a.opens, 1);
	ck_assert_uint_eq(a.host_pages, 0);
	ck_assert_uint_eq(a.ports, 0);
	ck_assert_uint_eq(a.watches, 0);
	/* The pins are the domain's: they and the memory under them are still there. */
	ck_assert_uint_eq(a.device_handles, 1);
	ck_assert_uint_eq(a.dma_pages, 10);
	ck_assert(!sim_evtchn_bound(m, GUEST, gport));
	ck_assert_int_eq(unmap_one(op->handle, op->maddr), 0);
	memcpy(dma_handle, op + 1, 8);
	memcpy(dma_maddr, op + 2, 16);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(unmap_one(dma_handle[i], dma_maddr[i]), 0);
	sim_audit(m, BACK, &a);
	ck_assert_uint_eq(a.dma_pages, 8);
	ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), 0);
}
END_TEST

static void child_loops(uint32_t ref)
{
	int err = 0;
	struct hv *mine = sim_hv_open(m, BACK, CAPS, &err);
	struct hv_map_op *op = ops_page(4);
	struct hv_unmap_op *un = ops_page(5);

	for (;;) {
		for (int i = 0; i < 16; i++) {
			op[i].flags = HV_MAP_DEVICE;
			op[i].gref = ref;
			op[i].domid = GUEST;
		}
		mine->ops->gnt_map(mine, op, 16);
		for (int i = 0; i < 16; i++) {
			un[i].handle = op[i].handle;
			un[i].maddr = op[i].maddr;
		}
		mine->ops->gnt_unmap(mine, un, 16);
		/* No status is ever 0 but by the hypervisor; the maps are forgotten first. */
		memset(op, 0xff, 16 * sizeof(*op));
		atomic_signal_fence(memory_order_seq_cst);
		memset(un, 0xff, 16 * sizeof(*un));
		atomic_signal_fence(memory_order_seq_cst);
	}
}

/* 48: killed at any instruction, the record in the operations is what Xen holds. */
START_TEST(test_kill_anywhere)
{
	struct hv_map_op *op = ops_page(4);
	struct hv_unmap_op *un = ops_page(5);
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);

	for (int round = 0; round < 150; round++) {
		unsigned int live = 0;
		struct sim_audit a;
		pid_t pid;

		memset(op, 0xff, 16 * sizeof(*op));
		memset(un, 0xff, 16 * sizeof(*un));
		pid = fork();
		if (!pid)
			child_loops(ref);
		usleep((useconds_t)(500 + round * 37 % 1500));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		sim_audit(m, BACK, &a);
		for (int i = 0; i < 16; i++) {
			bool gone = false;

			if (op[i].status)
				continue;
			for (int k = 0; k < 16; k++)
				gone |= un[k].handle == op[i].handle && !un[k].status;
			if (gone)
				continue;
			live++;
			ck_assert_int_eq(unmap_one(op[i].handle, op[i].maddr), 0);
		}
		ck_assert_uint_eq(a.device_handles, live);
		ck_assert_int_eq(sim_grant_end(m, GUEST, ref, 1), 0);
		ck_assert_int_eq(sim_grant(m, GUEST, pfn, BACK, false, &ref), 0);
	}
}
END_TEST

START_TEST(test_kill_at_an_operation)
{
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);
	struct hv_map_op *op = ops_page(4);

	for (int after = 0; after < 2; after++) {
		struct sim_audit a;
		int status;
		pid_t pid;

		memset(op, 0xff, 16 * sizeof(*op));
		sim_fault_kill(m, SIM_OP_GNT_MAP, 1, after);
		pid = fork();
		if (!pid)
			child_loops(ref);
		waitpid(pid, &status, 0);
		ck_assert(WIFSIGNALED(status));
		ck_assert_uint_eq(sim_faults_left(m), 0);
		sim_audit(m, BACK, &a);
		ck_assert_uint_eq(a.device_handles, after ? 16 : 0);
		for (int i = 0; after && i < 16; i++)
			ck_assert_int_eq(unmap_one(op[i].handle, op[i].maddr), 0);
	}
}
END_TEST

/* A recovering process has its operations in frames it mapped by number. */
START_TEST(test_ops_in_a_self_map)
{
	pfn_t pfn;
	uint32_t ref = granted(false, &pfn);
	mfn_t mfn = mfn_of(ops_mem.maddr[6]);
	struct hv_map_op *op;
	void *va;

	ck_assert_int_eq(hv->ops->self_map(hv, &mfn, 1, true, &va), 0);
	op = va;
	*op = (struct hv_map_op){ .flags = HV_MAP_DEVICE, .gref = ref, .domid = GUEST };
	ck_assert_int_eq(hv->ops->gnt_map(hv, op, 1), 0);
	ck_assert_int_eq(op->status, 0);
	ck_assert_int_eq(unmap_one(op->handle, op->maddr), 0);
	ck_assert_int_eq(hv->ops->self_unmap(hv, va, 1), 0);
}
END_TEST

int main(void)
{
	static const TTest **const tests[] = {
		&test_zombie,
		&test_balloon,
		&test_faults,
		&test_caps,
		&test_death_of_a_process,
		&test_kill_anywhere,
		&test_kill_at_an_operation,
		&test_ops_in_a_self_map,
	};

	return sim_main("sim-kill", tests, sizeof(tests) / sizeof(tests[0]));
}
