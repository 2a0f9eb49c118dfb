#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The command where there is no Xen: one clear line, the right exit status, a demo that works.
set -u

dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failures=0

# expect STATUS LINES PATTERN COMMAND...: what it says on stderr
expect() {
	status=$1 lines=$2 pattern=$3
	shift 3
	"$@" >"$dir/out" 2>"$dir/err" </dev/null
	got=$?
	if [ "$got" != "$status" ] || [ "$(wc -l <"$dir/err")" != "$lines" ] ||
		! grep -q -e "$pattern" "$dir/err"; then
		echo "FAIL: $*: status $got, expected $status; stderr:"
		cat "$dir/err"
		failures=$((failures + 1))
	fi
}

at="--run-dir $dir/run"

if [ ! -e /proc/xen ]; then
	expect 1 1 'no Xen here' ./xvshim attach guest pci:0000:00:04.0 $at
	expect 1 1 'no Xen here' ./xvshim detach guest $at
	expect 1 1 'no Xen here' ./xvshim list $at
	expect 1 1 'no Xen here' ./xvshim status --json $at
	expect 1 1 'no Xen here' ./xvshim translate pfn 5 $at
	expect 1 1 'no Xen here' ./xvshim gntstress $at
	expect 1 1 'not a Xen domain\|without Xen' ./xvshimd --run-dir "$dir/run"
	[ ! -e "$dir/run" ] || { echo "FAIL: a run directory was left behind"; failures=1; }
fi

expect 2 2 'no such option' ./xvshim attach --nonsense $at
expect 2 1 'no command' ./xvshim nonsense
expect 2 1 'command comes first' ./xvshim --json list
expect 2 1 'takes a number' ./xvshim gntstress --sim --ops 0
expect 1 1 'version 2' ./xvshim gntstress --sim --mix transitive=1
expect 2 1 'no operation' ./xvshim gntstress --sim --mix devmap=1,nonsense=2
expect 2 1 'guest of its own' ./xvshim gntstress --sim guest
expect 2 1 'is for a DOMAIN' ./xvshim gntstress --chaos --restart true
expect 2 1 'number changes' ./xvshim gntstress 7 --chaos --restart true
expect 2 1 'operations of its own' ./xvshim gntstress --sim --compare 3 --chaos
expect 2 1 'takes a number' ./xvshim gntstress --sim --compare 65
expect 2 2 'does not take' ./xvshim list --chaos $at
expect 2 2 'does not take' ./xvshim list --explain 0000:00:10.0 $at
expect 2 1 'PCI address' ./xvshim probe --explain nonsense
expect 2 1 'exclude each other' ./xvshim probe --explain 00:10.0 --assignable 00:10.0
expect 1 1 'no such PCI device' ./xvshim probe --assignable ffff:1f:1f.7
expect 1 1 'No such file' ./xvshim probe --root "$dir/nowhere"
for command in '' attach detach list status translate probe doctor demo gntstress version; do
	./xvshim $command --help | grep -q '^usage: xvshim' ||
		{ echo "FAIL: no usage of '$command'"; failures=1; }
done

./xvshim demo >"$dir/demo" || { echo "FAIL: demo"; cat "$dir/demo"; failures=1; }
grep -q 'addresses shown were changed' "$dir/demo" || failures=1
./xvshim demo --json >"$dir/json" || failures=1
./xvshim gntstress --sim --ops 20000 >"$dir/stress" || { echo "FAIL: gntstress"; cat "$dir/stress"; failures=1; }
grep -q 'no leak, no wrong byte' "$dir/stress" || failures=1
./xvshim gntstress --sim --ops 20000 --json >"$dir/stress.json" || failures=1

# A PV dom0 in a folder: Xen drives an IOMMU, one disk is behind it, one bypasses it.
machine=$dir/machine
config() { # BDF: a modern virtio-blk without capabilities, as a person without privilege sees it
	mkdir -p "$machine/sys/bus/pci/devices/$1/$2" "$machine/sys/bus/virtio/devices"
	printf '\364\032\102\020\006\000\020\000\001\000\000\001' >"$dir/config"
	dd if=/dev/zero bs=52 count=1 2>/dev/null >>"$dir/config"
	mv "$dir/config" "$machine/sys/bus/pci/devices/$1/config"
	ln -s ../../drivers/virtio-pci "$machine/sys/bus/pci/devices/$1/driver"
	ln -s ../../pci "$machine/sys/bus/pci/devices/$1/subsystem"
	ln -s ../drivers/virtio_blk "$machine/sys/bus/pci/devices/$1/$2/driver"
	ln -s "../../pci/devices/$1/$2" "$machine/sys/bus/virtio/devices/$2"
	printf "00000000000000000000000000000000$3\n" >"$machine/sys/bus/pci/devices/$1/$2/features"
}
config 0000:00:10.0 virtio0 10000000
config 0000:00:11.0 virtio1 11000000
mkdir -p "$machine/sys/hypervisor" "$machine/proc/xen" "$machine/proc/sys/kernel" "$machine/boot" \
	"$machine/sys/module/xen_gntalloc/parameters" "$machine/dev/xen"
echo xen >"$machine/sys/hypervisor/type"
echo PV >"$machine/sys/hypervisor/guest_type"
echo control_d >"$machine/proc/xen/capabilities"
echo 6.1.0 >"$machine/proc/sys/kernel/osrelease"
printf 'xen_version : 4.17.5\nvirt_caps : pv hvm pv_directio\n' >"$machine/xl-info"
echo 100 >"$machine/sys/module/xen_gntalloc/parameters/limit"
printf '# kernel\nCONFIG_XEN=y\nCONFIG_XEN_VIRTIO=y\nCONFIG_XEN_VIRTIO_FORCE_GRANT=y\n' \
	>"$machine/boot/config-6.1.0"

# says STATUS PATTERN COMMAND...: what it says on stdout
says() {
	status=$1 pattern=$2
	shift 2
	"$@" >"$dir/out" 2>&1 </dev/null
	got=$?
	if [ "$got" != "$status" ] || ! grep -q -e "$pattern" "$dir/out"; then
		echo "FAIL: $*: status $got, expected $status and '$pattern':"
		cat "$dir/out"
		failures=$((failures + 1))
	fi
}

says 0 'PV dom0, Xen 4.17.5, IOMMU in use: yes' ./xvshim probe --root "$machine"
says 0 'because *bit 33 is not offered: it bypasses' ./xvshim probe --root "$machine"
says 0 '^0000:00:11.0: safe' ./xvshim probe --root "$machine" --assignable 0000:00:11.0
says 1 '^0000:00:10.0: not safe: bit 33' ./xvshim probe --root "$machine" --assignable 00:10.0
says 0 'serve, because bit 33 is offered' ./xvshim probe --root "$machine" --explain 00:11.0
says 0 'addresses *bus = machine' ./xvshim probe --root "$machine" --explain 00:11.0
says 1 'fine *host *a PV dom0' ./xvshim doctor --root "$machine"
# Its own driver works on a device that knows no grants, so nothing is forced on this dom0.
says 1 'fine *kernel *CONFIG_XEN_VIRTIO is on, but dom0 is exempt' ./xvshim doctor --root "$machine"
rm "$machine/sys/bus/pci/devices/0000:00:10.0/virtio0/driver"
says 1 'WRONG *kernel *CONFIG_XEN_VIRTIO_FORCE_GRANT is on' ./xvshim doctor --root "$machine"
says 1 '-> modprobe xen-gntdev' ./xvshim doctor --root "$machine"
says 1 'WRONG *limits *xen_gntalloc: 0 of 100' ./xvshim doctor --root "$machine"
echo '# CONFIG_XEN_VIRTIO is not set' >"$machine/boot/config-6.1.0"
says 1 'fine *kernel *CONFIG_XEN_VIRTIO is off' ./xvshim doctor --root "$machine"
ln -sfn ../../drivers/pciback "$machine/sys/bus/pci/devices/0000:00:10.0/driver"
says 1 'WRONG *devices *0000:00:10.0 may be assigned' ./xvshim doctor --root "$machine"
rm -r "$machine/sys/bus/pci/devices/0000:00:10.0"
echo 4096 >"$machine/sys/module/xen_gntalloc/parameters/limit"
mkdir -p "$machine/sys/bus/pci/drivers/uio_pci_generic"
: >"$machine/dev/xen/privcmd" >"$machine/dev/xen/gntdev"
: >"$machine/dev/xen/gntalloc" >"$machine/dev/xen/evtchn"
says 0 'nothing wrong' ./xvshim doctor --root "$machine"
./xvshim doctor --root "$machine" --json >"$dir/doctor.json" || failures=$((failures + 1))
./xvshim probe --root "$machine" --json >"$dir/probe.json" || failures=$((failures + 1))
# This machine, whatever it is.
[ -e /proc/xen ] || says 1 'WRONG *host *there is no Xen here' ./xvshim doctor
says 0 'kernel' ./xvshim probe
./xvshim probe --json >"$dir/here.json" || failures=$((failures + 1))

if command -v python3 >/dev/null; then
	python3 -m json.tool "$dir/doctor.json" >/dev/null || { echo "FAIL: JSON of doctor"; failures=1; }
	python3 - "$dir/probe.json" "$dir/here.json" <<-'END' || { echo "FAIL: JSON of probe"; failures=1; }
		import json, sys
		machine, here = (json.load(open(name)) for name in sys.argv[1:])
		[disk] = machine["devices"]
		assert disk["address"] == "0000:00:11.0" and disk["decision"]["assignable"]
		assert "ACCESS_PLATFORM" in disk["feature_names"]
		assert isinstance(here["devices"], list)
	END
	python3 -m json.tool "$dir/json" >/dev/null || { echo "FAIL: JSON of the demo"; failures=1; }
	python3 -m json.tool "$dir/stress.json" >/dev/null ||
		{ echo "FAIL: JSON of gntstress"; failures=1; }
fi

# Every option that a command's help names is completed.
if command -v bash >/dev/null; then
	for command in attach detach list status translate probe doctor demo gntstress; do
		offered=$(bash -c '. "$1"; COMP_WORDS=(xvshim "$2" --) COMP_CWORD=2; _xvshim
			echo " ${COMPREPLY[*]} "' - "$srcdir/tools/xvshim/completion.bash" "$command")
		for option in $(./xvshim "$command" --help | grep -o -e '--[a-z][a-z-]*' | sort -u); do
			case $offered in
			*" $option "*) ;;
			*) echo "FAIL: $command $option is not completed"; failures=1 ;;
			esac
		done
	done
fi

[ "$failures" = 0 ] || exit 1
