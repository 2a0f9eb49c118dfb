# SPDX-License-Identifier: GPL-2.0-or-later
"""The parsers of tools/bench on records made here and on results of a real run, cut to size."""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(os.path.dirname(HERE), "tools", "bench")
RESULTS = os.path.join(HERE, "bench-results")
sys.path.insert(0, BENCH)

import xentrace  # noqa: E402


def record(event, *words, stamp=None):
    head = event | len(words) << 28 | (stamp is not None) << 31
    data = struct.pack("<I", head)
    if stamp is not None:
        data += struct.pack("<Q", stamp)
    return data + struct.pack(f"<{len(words)}I", *words)


def cpu(n):
    return record(0x1F003, n, 0)


def runs(domain, vcpu=0):
    return record(0x21001 | 1 << 8, domain << 16 | vcpu, stamp=5)


def call(number, *arguments):
    return record(0x20100D, number, *arguments, stamp=7)


class Trace(unittest.TestCase):
    def test_domain_is_what_the_processor_runs(self):
        domains = xentrace.count(cpu(0) + runs(0) + call(32) + cpu(1) + runs(3) + call(29) +
                                 cpu(0) + call(32) + runs(3) + call(32))
        self.assertEqual(dict(domains[0]), {"hypercalls": 2, "event_calls": 2})
        self.assertEqual(dict(domains[3]), {"hypercalls": 2, "event_calls": 1})

    def test_grant_operations_are_counted_with_their_number(self):
        domains = xentrace.count(cpu(0) + runs(0) + call(20 | 0x500000, 0, 7) +
                                 call(20 | 0x500000, 5, 2) + call(20 | 0x500000, 1, 0))
        self.assertEqual(dict(domains[0]), {
            "hypercalls": 3, "grant_calls": 3, "grant_ops": 9, "grant_map": 7, "grant_copy": 2,
            "grant_unmap": 0})

    def test_page_tables_and_returns_are_apart(self):
        domains = xentrace.count(cpu(0) + runs(0) + call(23) + call(1) + call(14) +
                                 record(0x201104, 1, 2, stamp=9))
        self.assertEqual(dict(domains[0]), {"mmu_calls": 2, "page_faults": 1})

    def test_longest_record(self):
        domains = xentrace.count(cpu(0) + runs(0) + call(12, *[0x2000000A] * 6) + call(32))
        self.assertEqual(dict(domains[0]), {"hypercalls": 2, "event_calls": 1})

    def test_unknown_domain_is_not_guessed(self):
        self.assertEqual(xentrace.count(cpu(0) + call(32) + runs(0)), {})

    def test_blocked_is_not_running(self):
        blocks = record(0x21001 | 2 << 4, 4 << 16, stamp=5)
        self.assertEqual(dict(xentrace.count(cpu(0) + runs(0) + blocks + call(32))[0]),
                         {"hypercalls": 1, "event_calls": 1})

    def test_holes_are_told(self):
        with self.assertRaises(xentrace.Lost):
            xentrace.count(cpu(0) + record(0x1F001, 1, 2, 3, 4))

    def test_end_in_a_record(self):
        whole = cpu(0) + runs(0) + call(32)
        for n in range(len(whole)):
            self.assertLessEqual(sum(c["hypercalls"] for c in xentrace.count(whole[:n]).values()), 1)


def sample(path, load, number, **more):
    return dict(path=path, load=load, round=number, **more)


class Results(unittest.TestCase):
    def bench(self, folder, *names):
        with tempfile.TemporaryDirectory() as scratch:
            out = os.path.join(scratch, "out")
            done = subprocess.run([os.path.join(BENCH, "bench"), "--xen-from", folder,
                                   "--json", out, "--build", scratch, *names],
                                  capture_output=True, text=True, check=False)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            self.assertEqual(done.stderr, "")
            with open(out, encoding="utf-8") as f:
                return json.load(f)

    def made_up(self, scenario, samples, *names):
        with tempfile.TemporaryDirectory() as scratch:
            share = os.path.join(scratch, scenario, scenario, "share")
            os.makedirs(share)
            with open(os.path.join(share, "samples"), "w", encoding="utf-8") as f:
                f.writelines(json.dumps(s) + "\n" for s in samples)
            return self.bench(scratch, *names)

    def test_ratio_is_the_median_of_the_rounds(self):
        load = "randread,4k,32"
        samples = [sample(path, load, r, iops=iops, dom0_us=1) for path, each in
                   (("xvshim", (100, 300, 130, 999)), ("blkback", (100, 100, 100)))
                   for r, iops in enumerate(each, 1)]
        row, = self.made_up("bench", samples, "B7")["rows"]
        self.assertEqual((row["low"], row["ratio"], row["high"], row["pairs"], row["met"]),
                         (1, 1.3, 3, 3, True))

    def test_guests(self):
        samples = [sample("xvshim", "l", r, guests=n, each=each, iops=sum(each), dom0_us=us)
                   for n, r, each, us in ((1, 1, [10], 5), (8, 1, [10, 20], 6), (1, 2, [10], 4),
                                          (8, 2, [10, 11], 4))]
        result = self.made_up("bench-guests", samples, "B9")
        cpu, spread = result["rows"]
        self.assertEqual((cpu["low"], cpu["high"], cpu["met"]), (1, 1.2, True))
        self.assertEqual((spread["low"], spread["high"], spread["met"]), (1.1, 2, False))
        self.assertEqual(result["series"]["guests"]["xvshim"], [[1, 10], [8, 25.5]])

    # A run of two rounds with xvshim alone; its qdisk did not come up, traces cut to their start.
    def test_real_run(self):
        result = self.bench(RESULTS, "B6", "B10", "B11")
        rows = {r["what"].partition(":")[0]: r for r in result["rows"]}
        counts = rows["randread,4k,32, xvshim"]["counts"]
        self.assertEqual([counts["daemon_" + key] for key in ("map_pages", "unmap_pages", "copy_ops")],
                         [3, 3, 1])
        self.assertIn("7.00 grant operations", rows["randread,4k,32, xvshim"]["what"])
        self.assertEqual(rows["map and unmap of a page, libxengnttab one by one ÷ batches of 64"]
                         ["met"], True)
        memory = next(r for r in result["rows"] if "memory a device" in r["what"])
        self.assertEqual((memory["ours"]["median"], memory["met"]), (1006 + 921, True))

    def test_what_is_not_there_is_said(self):
        with tempfile.TemporaryDirectory() as scratch:
            result = self.bench(scratch, "B6", "B7", "B8", "B9", "B10", "B11")
            self.assertEqual(result["rows"], [])
            self.assertGreaterEqual(len(result["not_measured"]), 6)

    def test_a_trace_that_is_gone(self):
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(RESULTS, os.path.join(scratch, "r"))
            share = os.path.join(scratch, "r", "bench", "bench", "share")
            for name in os.listdir(share):
                if name.startswith("trace"):
                    os.unlink(os.path.join(share, name))
            result = self.bench(os.path.join(scratch, "r"), "B6")
            self.assertEqual(result["rows"], [])
            self.assertIn("trace", result["not_measured"][0]["why"])


if __name__ == "__main__":
    unittest.main()
