#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest takes whatever it is offered; what each disk is offered is said at attach.
set -euo pipefail
modes=(strict pool adaptive lazy)
domid=$(xl domid guest)
read -ra bdfs <<<"$RIG_BDFS"

fact() { xvshim status guest "pci:$1" --json | jq -r ".devices[0]$2"; }
count() { fact "$1" ".counters.$2"; }
# count_is DISK COUNTER OPERATOR NUMBER: as of [
count_is() {
	local n
	n=$(count "${bdfs[$1]}" "$2")
	[ "$n" "$3" "$4" ] || { echo "${modes[$1]}: $2 is $n, and not $3 $4"; exit 1; }
}

refused() {
	if xvshim attach guest "pci:${bdfs[0]}" --take --timeout 20 "$@" 2>/tmp/refused; then
		echo "$*: not refused"
		exit 1
	fi
	echo "$*: $(tail -n 1 /tmp/refused)"
}
refused --protection sound
refused --keep-pages 1000000

for i in 0 1 2 3; do
	# Nothing goes by age here, so that what goes has another reason.
	xvshim attach guest "pci:${bdfs[i]}" --take --protection "${modes[i]}" --keep-ms 0 >/dev/null
	got=$(fact "${bdfs[i]}" .protection)
	[ "$got" = "${modes[i]}" ] || { echo "asked for ${modes[i]}, agreed on $got"; exit 1; }
	rig-signal "disk-$i" "${modes[i]}"
done
xvshim status guest | grep -E '^  protection'
echo "verified: strict, pool, adaptive and lazy agreed on, one for each disk of one guest"

for i in 0 1 2 3; do
	rig-wait "sum-$i" 600 >"$RIG_SHARE/sum-$i"
done
rig-wait through 60 >/dev/null
for i in 0 1 2 3; do
	b=${bdfs[i]}
	echo "${modes[i]}: $(count "$b" chains) chains, $(count "$b" pages) pages," \
		"$(count "$b" map_pages) mapped in $(count "$b" map_calls) calls," \
		"$(count "$b" unmap_calls) unmap calls, $(count "$b" copy_calls) copies," \
		"$(count "$b" kept) kept, $(count "$b" keep_hits) hits"
	count_is "$i" leaked_handles -eq 0
	count_is "$i" broken -eq 0
done
count_is 0 kept -eq 0
count_is 0 keep_hits -eq 0
# All through the pool: after its pages came over once, nothing is mapped any more.
count_is 1 map_pages -le 4096
count_is 3 keep_hits -gt 0
echo "verified: strict keeps no page, pool maps only the pool, lazy finds pages again"

# The guest's memory gets short: it asks for its grants.
keeps() { [ "$(count "$lazy" kept)" -gt 64 ]; }
export -f fact count keeps
export before lazy=${bdfs[3]}
rig-until 60 keeps
before=$(count "$lazy" releases)
rig-signal squeeze
rig-wait squeezed 300
asked() { [ "$(count "$lazy" releases)" -gt "$before" ] && [ "$(count "$lazy" kept)" -le 64 ]; }
export -f asked
rig-until 60 asked
echo "verified: memory pressure in the guest made lazy give its pages back ($(count "$lazy" kept) kept)"

for i in 0 1 2 3; do
	xvshim detach guest "pci:${bdfs[i]}"
	rig-signal "gone-$i"
done
rig-wait quiet 60
left=$(rig-grants "$domid")
[ "${left#* }" = 0 ] || { echo "entries in use, device pins after detach: $left"; exit 1; }
echo "verified: after detach Xen's grant dump shows no page mapped for a device"
