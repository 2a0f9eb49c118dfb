# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that need the real Xen: scenarios of the rig, and what their samples say."""

import json
import os
import re
import statistics
import subprocess
import tempfile

import xentrace
from missing import NotMeasured

HERE = os.path.dirname(os.path.abspath(__file__))
RIG = os.path.join(os.path.dirname(HERE), "rig", "rig")
RANDOM_1, RANDOM_32, SEQUENTIAL = "randread,4k,1", "randread,4k,32", "read,1m,4"
SIZES = {"512": 512, "4k": 4096, "64k": 65536, "1m": 1 << 20}
PATHS = ("dom0", "blkback", "qdisk", "xvshim")


class Rig:
    """Runs each scenario once; what it left is in a folder that may be given instead."""

    def __init__(self, options):
        self.options = options
        self.folder = options.xen_from or options.xen_keep
        self.done = {}
        if not self.folder:
            self.scratch = tempfile.TemporaryDirectory(prefix="bench-")
            self.folder = self.scratch.name

    def paths(self):
        return ["xvshim"] + [f"xvshim:{mode}" for mode in self.options.modes.split()]

    def share(self, scenario, label=None, **settings):
        """Folder with the results of a scenario."""
        label = label or scenario
        top = os.path.join(self.folder, label)
        share = os.path.join(top, scenario, "share")
        if label not in self.done:
            self.done[label] = self.options.xen_from or self._run(top, scenario, settings)
        if not self.done[label] or not os.path.exists(os.path.join(share, "samples")):
            raise NotMeasured(f"no results of the scenario {scenario}"
                              + (f": {top}/log" if self.options.xen_keep else
                                 "; --xen-keep DIR leaves what it said"))
        return share

    def _run(self, top, scenario, settings):
        if not self.options.xen:
            raise NotMeasured("boots the real Xen, which takes minutes: give --xen")
        os.makedirs(top, exist_ok=True)
        line = [RIG, "test", "--release", "bookworm", "--keep", top, scenario]
        settings["ROUNDS"] = self.options.pairs
        line += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        with open(os.path.join(top, "log"), "w", encoding="utf-8") as log:
            return not subprocess.run(line, stdout=log, stderr=log, check=False).returncode

    def samples(self, *args, **settings):
        with open(os.path.join(self.share(*args, **settings), "samples"), encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def bench(self):
        """Samples of the scenario with all paths in it."""
        others = [path for path in PATHS if path != "xvshim"]
        samples = self.samples("bench", PATHS=" ".join(others + self.paths()))
        return samples

    def guests(self):
        return self.samples("bench-guests", PATHS=" ".join(self.paths() + ["blkback"]))


def by_round(samples, field, **wanted):
    """{round: value} of the samples that are as wanted."""
    found = {s["round"]: s[field] for s in samples
             if field in s and "round" in s and all(s.get(k) == v for k, v in wanted.items())}
    if not found:
        raise NotMeasured("the scenario said nothing of " + " ".join(map(str, wanted.values())))
    return found


def side(name, values, unit):
    return {"name": name, "unit": unit, "median": statistics.median(values),
            "low": min(values), "high": max(values)}


def ratio_row(run, figure, what, ours, other, unit, aim=None, above=True):
    """ours and other: (name, {round: value}); the ratio is ours / other of the same round."""
    rounds = sorted(ours[1].keys() & other[1].keys())
    ratios = [ours[1][r] / other[1][r] for r in rounds]
    ratio = statistics.median(ratios)
    met = None if aim is None else (ratio >= aim if above else ratio <= aim)
    run.rows.append({"figure": figure, "what": what, "ours": side(ours[0], ours[1].values(), unit),
                     "other": side(other[0], other[1].values(), unit), "ratio": ratio,
                     "low": min(ratios), "high": max(ratios), "pairs": len(ratios), "aim": aim,
                     "aim_is": "at least" if above else "at most", "met": met})


MODES = ("strict", "pool", "lazy", "adaptive", "p2m")


def b5(run):
    samples = run.rig.samples("bench-modes")
    for depth in (1, 32):
        for size, number in SIZES.items():
            load = f"randread,{size},{depth}"
            costs = {mode: {r: 1e6 / iops for r, iops in by_round(
                samples, "iops", path=f"xvshim:{mode}", load=load).items()} for mode in MODES}
            for mode, cost in costs.items():
                cpu = by_round(samples, "dom0_us", path=f"xvshim:{mode}", load=load)
                run.rows.append({"figure": "B5",
                                 "what": f"real Xen, {mode}, {number} bytes, depth {depth}",
                                 "ours": side(mode, cost.values(), "us"),
                                 "dom0_us_a_request": statistics.median(cpu.values())})
                run.series.setdefault("size-xen", {}).setdefault(
                    f"{mode}, depth {depth}", []).append(
                        (number, statistics.median(cost.values())))
            # What a guest may have without trusting dom0 with all of its memory.
            best = min(("strict", "pool", "lazy"),
                       key=lambda mode: statistics.median(costs[mode].values()))
            ratio_row(run, "B5", f"real Xen, {number} bytes, depth {depth}: adaptive ÷ {best}",
                      ("adaptive", costs["adaptive"]), (best, costs[best]), "us", 1.05,
                      above=False)


def per_request(share, pair):
    """Counts a request from two runs with different numbers of requests: what fio's start and
    end cost is in both and falls out."""
    few, many = min(pair, key=lambda s: s["ios"]), max(pair, key=lambda s: s["ios"])
    if few["ios"] == many["ios"]:
        raise NotMeasured("needs runs with different numbers of requests")
    counts = {}
    for sign, sample in ((-1, few), (1, many)):
        with open(os.path.join(share, sample["trace"]), "rb") as f:
            domains = xentrace.count(f.read())
        for who, domid in (("dom0", 0), ("domU", sample["guest"])):
            for key, n in domains[domid].items():
                counts[f"{who}_{key}"] = counts.get(f"{who}_{key}", 0) + sign * n
        for key, n in sample.get("counters", {}).items():
            counts[f"daemon_{key}"] = counts.get(f"daemon_{key}", 0) + sign * n
        for key in ("dom0_events", "guest_events", "syscalls"):
            if key in sample:
                counts[key] = counts.get(key, 0) + sign * sample[key]
    requests = many["ios"] - few["ios"]
    return {key: n / requests for key, n in sorted(counts.items())}


# The daemon knows its own; Xen's trace of dom0 also has what other disks of the guest did.
COUNTED = (("grant operations", ("daemon_map_pages", "daemon_unmap_pages", "daemon_copy_ops"),
            ("dom0_grant_ops", "domU_grant_ops")),
           ("grant hypercalls", ("daemon_map_calls", "daemon_unmap_calls", "daemon_copy_calls"),
            ("dom0_grant_calls", "domU_grant_calls")),
           ("events", ("daemon_guest_kicks", "daemon_guest_notifies"),
            ("dom0_events", "guest_events")),
           ("system calls of the worker", ("syscalls",), ()),
           ("hypercalls of dom0", (), ("dom0_hypercalls",)),
           ("hypercalls of the domU", (), ("domU_hypercalls",)))


def counted(counts):
    """(number, name) of what was counted on this path."""
    for name, own, traced in COUNTED:
        keys = own if own and own[0] in counts else traced
        if keys:
            yield sum(counts.get(key, 0) for key in keys), name


def b6(run):
    samples = run.rig.bench()
    share = run.rig.share("bench")
    pairs = {}
    for s in samples:
        if "counted" in s:
            pairs.setdefault((s["load"], s["counted"]), []).append(s)
    if not pairs:
        raise NotMeasured("no traces in the results")
    for (load, path), pair in pairs.items():
        try:
            counts = per_request(share, pair)
        except (xentrace.Lost, NotMeasured, OSError) as error:
            run.missing.append(("B6", f"{load}, {path}", str(error)))
            continue
        run.rows.append({"figure": "B6", "what": f"{load}, {path}: " + ", ".join(
            f"{number:.2f} {name}" for number, name in counted(counts)),
            "load": load, "path": path, "counts": counts})


def b7(run):
    samples = run.rig.bench()
    aims = {("blkback", RANDOM_1): 0.9, ("blkback", RANDOM_32): 1.2, ("qdisk", RANDOM_32): 2}
    for path in run.rig.paths():
        for other in ("blkback", "qdisk"):
            for load in (RANDOM_1, RANDOM_32, SEQUENTIAL):
                try:
                    both(run, "B7", samples, path, other, load, aims.get((other, load)))
                except NotMeasured as why:
                    run.missing.append(("B7", f"{load} ÷ {other}", str(why)))


def both(run, figure, samples, path, other, load, aim):
    ratio_row(run, figure, f"{load}, {path} ÷ {other}",
              (path, by_round(samples, "iops", path=path, load=load)),
              (other, by_round(samples, "iops", path=other, load=load)), "IOPS", aim)
    cpu = [statistics.median(by_round(samples, "dom0_us", path=who, load=load).values())
           for who in (path, other)]
    run.rows[-1]["dom0_us_a_request"] = dict(zip((path, other), cpu))


def b8(run):
    samples = run.rig.bench()
    for path in run.rig.paths():
        for load, aim in ((RANDOM_1, 0.7), (RANDOM_32, 0.9), (SEQUENTIAL, 0.97)):
            both(run, "B8", samples, path, "dom0", load, aim)


def b9(run):
    samples = [s for s in run.rig.guests() if "iops" in s]
    for path in dict.fromkeys(s["path"] for s in samples):
        aims = (1.1, 1.2) if path != "blkback" else (None, None)
        numbers = sorted({s["guests"] for s in samples if s["path"] == path})
        for n in numbers:
            total = by_round(samples, "iops", path=path, guests=n)
            run.series.setdefault("guests", {}).setdefault(path, []).append(
                (n, statistics.median(total.values())))
        most, cpu = numbers[-1], {n: by_round(samples, "dom0_us", path=path, guests=n)
                                  for n in numbers}
        ratio_row(run, "B9", f"{path}: CPU of dom0 a request, {most} guests ÷ 1",
                  (f"{most} guests", cpu[most]), ("1 guest", cpu[1]), "us", aims[0], above=False)
        each = by_round(samples, "each", path=path, guests=most)
        ratio_row(run, "B9", f"{path}: fastest ÷ slowest of {most} guests",
                  ("fastest", {r: max(v) for r, v in each.items()}),
                  ("slowest", {r: min(v) for r, v in each.items()}), "IOPS", aims[1], above=False)


def b10(run):
    samples = run.rig.bench()
    ratio_row(run, "B10", "map and unmap of a page, libxengnttab one by one ÷ batches of 64",
              ("libxengnttab", by_round(samples, "gnttab_us")),
              ("device map", by_round(samples, "device_us")), "us", 10)


def limit_row(run, what, values, unit, aim):
    ours = side(what, values, unit)
    run.rows.append({"figure": "B11", "what": what, "ours": ours, "aim": aim,
                     "aim_is": "at most", "met": None if aim is None else ours["median"] <= aim})


def b11_native(run):
    """In the simulation: without Xen, toolstack and exec."""
    done = subprocess.run([run.program("bench_life"), str(run.options.pairs)], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise NotMeasured("bench_life: " + done.stdout.strip() + done.stderr.strip())
    for verb, what, aim in (("start", "simulation: start to ready", 50),
                            ("attach", "simulation: attach to first block", 1000)):
        limit_row(run, what, [float(v) for v in re.findall(rf"{verb} (.*)", done.stdout)], "ms",
                  aim)


def b11_memory(run, samples):
    for s in samples:
        if "memory" in s:
            n = len(s["workers_kib"])
            limit_row(run, f"real Xen, {s['memory']}: memory a device with {n} attached",
                      [(sum(s["workers_kib"]) + s["keeper_kib"]) / n], "KiB", 4096)


def b11_times(run, samples):
    starts = [s["start_ms"] for s in samples if "start_ms" in s]
    if starts:
        limit_row(run, "real Xen, emulated: exec to ready", starts, "ms", None)
    for path in run.rig.paths() + ["blkback", "qdisk"]:
        times = by_round(samples, "attach_s", attached=path).values()
        limit_row(run, f"real Xen, emulated: {path}, attach to first block",
                  [t * 1e3 for t in times], "ms", None)


def b11(run):
    parts = (("in the simulation", lambda: b11_native(run)),
             ("memory of one device", lambda: b11_memory(run, run.rig.bench())),
             ("times on the real Xen", lambda: b11_times(run, run.rig.bench())),
             ("memory of many devices", lambda: b11_memory(run, run.rig.guests())))
    for what, part in parts:
        try:
            part()
        except NotMeasured as why:
            run.missing.append(("B11", what, str(why)))
