/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * docs/security.md, rings and descriptors: what test_ring.c and test_session.c do not show already.
 */
#include "bus/control.h"
#include "check_main.h"
#include "hostile.h"
#include "ring/chain.h"
#include "ring/shadow.h"
#include "watched.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define DISK_SECTORS 8192

/* -- 1: what is read changes right after it was read -- */

START_TEST(hazard_01_descriptors_are_read_once)
{
	struct vring_desc *table = watched_open(), indirect;
	struct guest_ring ring = { .desc = table, .size = 8 };
	struct chain_desc out[8];
	unsigned int n;

	table[3] = (struct vring_desc){ 0x1111, 16, NEXT, 5 };
	table[5] = (struct vring_desc){ 0x2222, 512, NEXT | WRITE, 1 };
	table[1] = (struct vring_desc){ 0x3333, 1, WRITE, 7 };
	watched_start(table, 8);
	ck_assert_ptr_null(chain_walk_ring(&ring, 3, &indirect, out, 8, &n));
	watched_stop();
	ck_assert_uint_eq(watched_most(), 1);
	ck_assert_uint_eq(n, 3);
	ck_assert(out[0].daddr == 0x1111 && out[0].len == 16 && !out[0].writable);
	ck_assert(out[1].daddr == 0x2222 && out[1].len == 512 && out[1].writable);
	ck_assert(out[2].daddr == 0x3333 && out[2].len == 1 && out[2].writable);
	watched_close(table);
}
END_TEST

START_TEST(hazard_01_indices_and_heads_are_read_once)
{
	struct vring_avail *avail = watched_open();
	struct guest_ring ring = { .avail = avail, .size = 8 };

	avail->idx = 2;
	avail->ring[0] = 6;
	avail->ring[1] = 4;
	watched_start(avail, 2);
	ck_assert_int_eq(guest_ring_waiting(&ring), 2);
	ck_assert_uint_eq(guest_ring_head(&ring, 0), 6);
	ck_assert_uint_eq(guest_ring_head(&ring, 1), 4);
	watched_stop();
	ck_assert_uint_eq(watched_most(), 1);
	watched_close(avail);
}
END_TEST

START_TEST(hazard_01_queue_entry_is_read_once)
{
	struct xvs_control_page *page = watched_open();
	struct control c = { .page = page };
	struct xvs_queue copy;

	page->queue[2] = (struct xvs_queue){ .size = 64, .evtchn = 9, .desc_addr = 0x1000,
					     .driver_addr = 0x2000, .device_addr = 0x3000 };
	watched_start(page, 8);
	control_queue(&c, 2, &copy);
	watched_stop();
	ck_assert_uint_eq(watched_most(), 1);
	ck_assert(copy.size == 64 && copy.evtchn == 9 && copy.desc_addr == 0x1000 &&
		  copy.driver_addr == 0x2000 && copy.device_addr == 0x3000);
	watched_close(page);
}
END_TEST

/* Its number is looked at first and then copied with the rest: the first look counts. */
START_TEST(hazard_01_request_is_read_once)
{
	struct xvs_control_page *page = watched_open();
	struct xvs_request req;
	struct control c;

	page->req = (struct xvs_request){ .seq = 7, .op = XVS_OP_SET_CONFIG };
	page->req.u.config.offset = 32;
	page->req.u.config.len = 1;
	control_open(&c, page, false);
	watched_start(page, 4);
	ck_assert(control_take(&c, &req));
	watched_stop();
	ck_assert_uint_eq(req.seq, 7);
	ck_assert(req.op == XVS_OP_SET_CONFIG && req.u.config.offset == 32 &&
		  req.u.config.len == 1);
	ck_assert_uint_eq(watched_reads(offsetof(struct xvs_control_page, req.op)), 0);
	ck_assert_uint_eq(watched_reads(offsetof(struct xvs_control_page, req.u)), 1);
	watched_close(page);
}
END_TEST

/* The device is as little trusted. */
START_TEST(hazard_01_used_elements_are_read_once)
{
	struct vring_used *used = watched_open();
	maddr_t maddr[64] = { { 0x1000 } };
	static _Alignas(4096) unsigned char mem[64][4096];
	struct hv_dma dma = { .va = mem, .npages = 64, .maddr = maddr };
	struct shadow_seg seg = { { 0x9000 }, 16, true };
	struct shadow_chain chain = { .guest_head = 3, .writable = 16 }, got;
	struct shadow_ring s;
	uint32_t len;

	ck_assert_uint_le(shadow_dma_pages(), 64);
	shadow_init(&s, &dma, 0, 8, false, false);
	shadow_add(&s, &seg, 1, &chain);
	shadow_publish(&s);
	s.used = used;
	used->idx = 1;
	used->ring[0] = (struct vring_used_elem){ .id = 0, .len = 16 };
	watched_start(used, 2);
	ck_assert_int_eq(shadow_waiting(&s), 1);
	ck_assert_int_eq(shadow_take(&s, &got, &len), 0);
	watched_stop();
	ck_assert_uint_eq(watched_most(), 1);
	ck_assert(got.guest_head == 3 && len == 16);
	watched_close(used);
}
END_TEST

/* -- the whole path -- */

static struct stage st;

static const struct session_stats *stats(void)
{
	return &st.journal.data->stats;
}

static void up(const struct check_config *dev, const struct sim_guest_config *guest)
{
	struct check_config d = dev ? *dev : (struct check_config){ 0 };

	d.sectors = DISK_SECTORS;
	stage_up(&st, &d, guest);
	stage_start(&st, false);
	ck_assert_int_eq(sim_guest_start(st.guest), 0);
}

static void push(uint16_t head)
{
	sim_guest_push(st.guest, 0, head);
	sim_guest_kick(st.guest, 0);
}

static void put(unsigned int i, uint64_t daddr, uint32_t len, uint16_t flags, uint16_t next)
{
	hostile_desc(&st)[i] = (struct vring_desc){ daddr, len, flags, next };
}

/* The chain at head completes; its status byte, at gpa, is what it ends with. */
static void expect_status(uint16_t head, uint64_t gpa, uint8_t status, uint32_t used)
{
	struct vring_used_elem e;
	uint8_t now = 0xff;

	ck_assert_int_eq(sim_mem_write(st.machine, STAGE_GUEST, gpa, &now, 1), 0);
	push(head);
	ck_assert_int_eq(sim_guest_pop(st.guest, 0, 30000, &e), 0);
	ck_assert_uint_eq(e.id, head);
	ck_assert_uint_eq(e.len, used);
	ck_assert_int_eq(sim_mem_read(st.machine, STAGE_GUEST, gpa, &now, 1), 0);
	ck_assert_uint_eq(now, status);
	ck_assert_uint_eq(atomic_load(&stats()->broken), 0);
}

/* B: the line names the queue, wherever in a batch it is found out. */
START_TEST(hazard_03_05_08_reason_names_the_queue)
{
	struct check_config d = { .num_queues = 2 };
	struct vring_desc nested = { .addr = XVS_DADDR_GRANT, .len = 16, .flags = INDIRECT };
	struct vring_desc *desc;
	uint64_t gpa;

	up(&d, NULL);
	gpa = hostile_pages(&st, 1);
	for (unsigned int i = 0; i < 4; i++) {
		static const char *const part[] = { "not a grant", "cannot be mapped",
						    "cannot be read", "within an indirect table" };

		desc = sim_guest_ring(st.guest, 1)->desc;
		desc[0] = (struct vring_desc){ XVS_DADDR_GRANT | 0xfff123000ull, 16, 0, 0 };
		if (i == 0)
			desc[0].addr = 0x1000;
		if (i >= 2)
			desc[0].flags = INDIRECT;
		if (i == 3) {
			sim_mem_write(st.machine, STAGE_GUEST, gpa, &nested, sizeof(nested));
			desc[0].addr = hostile_expose(&st, gpa, 16, true);
		}
		sim_guest_push(st.guest, 1, 0);
		sim_guest_kick(st.guest, 1);
		hostile_expect_broken(&st, 1, part[i]);
	}
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_05_indirect_with_next_and_nested)
{
	struct vring_desc nested = { .addr = XVS_DADDR_GRANT, .len = 16, .flags = INDIRECT };
	uint64_t gpa;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	sim_mem_write(st.machine, STAGE_GUEST, gpa, &nested, sizeof(nested));
	put(0, hostile_expose(&st, gpa, 16, true), 16, INDIRECT | NEXT, 1);
	push(0);
	hostile_expect_broken(&st, 0, "within a chain");
	put(0, hostile_expose(&st, gpa, 16, true), 16, INDIRECT, 0);
	push(0);
	hostile_expect_broken(&st, 0, "within an indirect table");
	stage_down_broken(&st);
}
END_TEST

/* A header for a read of the first sector at gpa, room for data at 1024 and status at 2048. */
static void put_header(uint64_t gpa, uint32_t type)
{
	struct virtio_blk_outhdr hdr = { .type = type };

	ck_assert_int_eq(sim_mem_write(st.machine, STAGE_GUEST, gpa, &hdr, sizeof(hdr)), 0);
}

/* An edge may cut a descriptor in two. */
START_TEST(hazard_05_table_over_a_page_edge_works)
{
	struct vring_desc t[3];
	uint64_t gpa, table, daddr;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	table = hostile_pages(&st, 2) + XVS_FRAME_SIZE - 24;
	put_header(gpa, VIRTIO_BLK_T_IN);
	daddr = hostile_expose(&st, gpa, 4096, false);
	t[0] = (struct vring_desc){ daddr, 16, NEXT, 1 };
	t[1] = (struct vring_desc){ daddr + 1024, 512, WRITE | NEXT, 2 };
	t[2] = (struct vring_desc){ daddr + 2048, 1, WRITE, 0 };
	sim_mem_write(st.machine, STAGE_GUEST, table, t, sizeof(t));
	put(0, hostile_expose(&st, table, sizeof(t), true), sizeof(t), INDIRECT, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_OK, 513);
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_10_header_in_pieces_works)
{
	uint64_t gpa, daddr;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 2) + XVS_FRAME_SIZE - 8; /* and over a page edge */
	put_header(gpa, VIRTIO_BLK_T_IN);
	daddr = hostile_expose(&st, gpa, 4096, false);
	for (uint16_t i = 0; i < 16; i++)
		put(i, daddr + i, 1, NEXT, (uint16_t)(i + 1));
	put(16, daddr + 1024, 511, WRITE | NEXT, 17);
	put(17, daddr + 1535, 1, WRITE | NEXT, 18);
	put(18, daddr + 2048, 1, WRITE, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_OK, 513);
	/* one buffer for all that is read, one for all that is written */
	put(0, daddr, 16, NEXT, 1);
	put(1, daddr + 1536, 513, WRITE, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_OK, 513);
	/* a write whose data follows its header in the same buffer */
	put_header(gpa, VIRTIO_BLK_T_OUT);
	put(0, daddr, 16 + 512, NEXT, 1);
	put(1, daddr + 2048, 1, WRITE, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_OK, 1);
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_10_header_missing_or_short_fails_alone)
{
	uint64_t gpa, daddr;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	put_header(gpa, VIRTIO_BLK_T_IN);
	daddr = hostile_expose(&st, gpa, 4096, false);
	put(0, daddr + 2048, 1, WRITE, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_IOERR, 1);
	put(0, daddr, 15, NEXT, 1);
	put(1, daddr + 2048, 1, WRITE, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_IOERR, 1);
	stage_io(&st, 0, 8, 4096, 3);
	stage_down_broken(&st);
}
END_TEST

/* Without a place for a status there is nothing to say but that it is done. */
START_TEST(hazard_10_no_place_for_a_status)
{
	struct vring_used_elem e;
	uint64_t gpa;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	put(0, hostile_expose(&st, gpa, 16, true), 16, 0, 0);
	push(0);
	ck_assert_int_eq(sim_guest_pop(st.guest, 0, 30000, &e), 0);
	ck_assert_uint_eq(e.len, 0);
	stage_io(&st, 0, 8, 4096, 3);
	stage_down_broken(&st);
}
END_TEST

START_TEST(hazard_11_more_in_flight_than_the_ring)
{
	struct sim_ring *r;

	up(NULL, NULL);
	check_dev_pause(st.dev, true);
	put(0, hostile_expose(&st, hostile_pages(&st, 1), 16, true), 16, 0, 0);
	hostile_submit(&st, 0);
	r = sim_guest_ring(st.guest, 0);
	/* as many as the ring has entries, were not one of them in flight */
	__atomic_store_n(&r->avail->idx, (uint16_t)(r->avail->idx + r->size), __ATOMIC_RELEASE);
	sim_guest_kick(st.guest, 0);
	hostile_expect_broken(&st, 0, "runs ahead");
	stage_down_broken(&st);
}
END_TEST

/* A device that writes less than there is room for says so, and the rest is as it was. */
START_TEST(hazard_12_used_length_is_what_was_written)
{
	uint8_t page[4096], now[4096];
	uint64_t gpa, daddr;

	up(NULL, NULL);
	gpa = hostile_pages(&st, 1);
	stage_fill(page, sizeof(page), 5);
	ck_assert_int_eq(sim_mem_write(st.machine, STAGE_GUEST, gpa, page, sizeof(page)), 0);
	put_header(gpa, VIRTIO_BLK_T_GET_ID);
	daddr = hostile_expose(&st, gpa, 4096, false);
	put(0, daddr, 16, NEXT, 1);
	put(1, daddr + 1024, 512, WRITE | NEXT, 2);
	put(2, daddr + 2048, 1, WRITE, 0);
	expect_status(0, gpa + 2048, VIRTIO_BLK_S_OK, VIRTIO_BLK_ID_BYTES + 1);
	ck_assert_int_eq(sim_mem_read(st.machine, STAGE_GUEST, gpa, now, sizeof(now)), 0);
	ck_assert_str_eq((char *)now + 1024, "xvshim-check");
	ck_assert_mem_eq(now + 1024 + VIRTIO_BLK_ID_BYTES, page + 1024 + VIRTIO_BLK_ID_BYTES,
			 1024 - VIRTIO_BLK_ID_BYTES);
	ck_assert_mem_eq(now + 2049, page + 2049, 4096 - 2049);
	stage_down_broken(&st);
}
END_TEST

static int request(uint32_t type, uint64_t sector, size_t len)
{
	struct sim_blk_req *req;
	struct sim_sg sg[8];
	unsigned int n;
	int err, status;

	ck_assert_int_eq(sim_sg_alloc(st.guest, len, 4096, 8, sg, &n), 0);
	req = sim_blk_submit(st.guest, 0, type, sector, sg, n, &err);
	ck_assert_ptr_nonnull(req);
	ck_assert_int_eq(sim_blk_kick(st.guest, 0), 0);
	status = sim_blk_wait(st.guest, 0, req);
	sim_sg_free(st.guest, sg, n);
	return status;
}

START_TEST(hazard_13_bad_block_requests_fail_alone)
{
	up(NULL, NULL);
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		ck_assert_int_eq(request(type, DISK_SECTORS, 512), VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(request(type, DISK_SECTORS - 1, 1024), VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(request(type, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(request(type, UINT64_MAX / 512, 4096), VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(request(type, 0, 100), VIRTIO_BLK_S_IOERR);
		ck_assert_int_eq(request(type, DISK_SECTORS - 1, 512), VIRTIO_BLK_S_OK);
	}
	ck_assert_int_eq(request(77, 0, 512), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(atomic_load(&stats()->broken), 0);
	stage_io(&st, 0, 0, 4096, 1);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

START_TEST(hazard_13_write_to_a_readonly_disk)
{
	struct check_config d = { .readonly = true };
	unsigned char *disk;
	size_t size;

	up(&d, NULL);
	disk = check_dev_disk(st.dev, &size);
	disk[100] = 0x5a;
	ck_assert_int_eq(request(VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(disk[100], 0x5a);
	ck_assert_int_eq(request(VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(atomic_load(&stats()->broken), 0);
	ck_assert_int_eq(sim_guest_reset(st.guest), 0);
	stage_down(&st);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hazards of rings");
	TCase *once = tcase_create("once"), *path = tcase_create("path");

	tcase_add_test(once, hazard_01_descriptors_are_read_once);
	tcase_add_test(once, hazard_01_indices_and_heads_are_read_once);
	tcase_add_test(once, hazard_01_queue_entry_is_read_once);
	tcase_add_test(once, hazard_01_request_is_read_once);
	tcase_add_test(once, hazard_01_used_elements_are_read_once);
	suite_add_tcase(suite, once);
	tcase_set_timeout(path, 120);
	tcase_add_test(path, hazard_03_05_08_reason_names_the_queue);
	tcase_add_test(path, hazard_05_indirect_with_next_and_nested);
	tcase_add_test(path, hazard_05_table_over_a_page_edge_works);
	tcase_add_test(path, hazard_10_header_in_pieces_works);
	tcase_add_test(path, hazard_10_header_missing_or_short_fails_alone);
	tcase_add_test(path, hazard_10_no_place_for_a_status);
	tcase_add_test(path, hazard_11_more_in_flight_than_the_ring);
	tcase_add_test(path, hazard_12_used_length_is_what_was_written);
	tcase_add_test(path, hazard_13_bad_block_requests_fail_alone);
	tcase_add_test(path, hazard_13_write_to_a_readonly_disk);
	suite_add_tcase(suite, path);
	return check_main(suite);
}
