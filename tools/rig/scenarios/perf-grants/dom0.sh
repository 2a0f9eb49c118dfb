#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Eleven turns for each size of batch. What the kernel does for libxengnttab is counted by probes
# on the functions of dom0's kernel that make the grant hypercalls; in a run of its own, since
# probes take time.
set -euo pipefail

out=$RIG_SHARE/compare
tracing=/sys/kernel/tracing
probes=(gnttab_map_refs set_foreign_p2m_mapping gnttab_unmap_refs clear_foreign_p2m_mapping)

figures() {
	jq -r '.compare | "figure: B10 batch \(.batch): device \(.device.median | floor) cycles/s (\(.device.min | floor) to \(.device.max | floor)), libxengnttab one by one \(.one_by_one.median | floor) (\(.one_by_one.min | floor) to \(.one_by_one.max | floor)), in a batch \(.library_batch.median | floor)",
		"figure: B10 batch \(.batch): device / one by one \(.device_to_one_by_one.median * 100 | floor / 100) (\(.device_to_one_by_one.min * 100 | floor / 100) to \(.device_to_one_by_one.max * 100 | floor / 100)), \(.pairs) pairs; device / library batch \(.device_to_library_batch.median * 100 | floor / 100); \(.device.hypercalls * .batch / .device.pages * 100 | floor / 100) hypercalls a batch"' "$1"
}

rig-wait serving 120
for batch in 1 8 64 512; do
	xvshim gntstress guest --compare 11 --batch "$batch" --json >"$out-$batch.json"
	figures "$out-$batch.json"
done

mount -t tracefs tracefs "$tracing" 2>/dev/null || true
for probe in "${probes[@]}"; do
	echo "p:$probe $probe" >>"$tracing/kprobe_events" || echo "no probe on $probe"
done
for probe in "${probes[@]}"; do
	echo 1 >"$tracing/events/kprobes/$probe/enable" || true
done
xvshim gntstress guest --compare 1 --batch 64 --json >"$out-probed.json"
jq -r '.compare | "pages: device \(.device.pages), one by one \(.one_by_one.pages), batch \(.library_batch.pages)"' "$out-probed.json"
cat "$tracing/kprobe_profile"
rig-signal stop
