#!/usr/bin/env bash
# Volume snapshots on real devices: packaging/linux/snapshots-test.sh TESTS AGENT
#
# TESTS is the test program of agent/platform/tests/volume_snapshot.rs, AGENT the agent. Both run in a machine of their own,
# which qemu emulates, with Debian's kernel and a few programs of this system: containers and small kernels have neither device
# mapper nor the rights. No processor extension is needed. One line per claim; the last line is `N passed, M failed`.
#
# Invariant: the machine itself is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests=$(realpath "$1")
agent=$(realpath "$2")
readonly tests agent
readonly tools=$PWD/target/tools/guest
. packaging/shell.sh
place=$(mktemp -d)
readonly place
trap 'rm -rf --one-file-system "$place"' EXIT

readonly needed=(busybox-static btrfs-progs cpio e2fsprogs kmod lvm2 mount qemu-system-x86 seabios thin-provisioning-tools util-linux xfsprogs)
readonly programs=(blkid btrfs dmsetup losetup lvm mkfs.btrfs mkfs.ext4 mkfs.xfs mount setpriv thin_check umount)
readonly modules=(loop dm-mod dm-snapshot dm-thin-pool btrfs ext4 xfs)
# Emulated on one core of a busy machine, all of it took three minutes.
readonly minutes_max=20

# Debian's smallest kernel, downloaded once.
prepare_kernel() {
    local package
    mkdir -p "$tools"
    if ! compgen -G "$tools/kernel/boot/vmlinuz-*" >/dev/null; then
        package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
        (cd "$tools" && rm -f ./*.deb && apt-get download -q -o APT::Sandbox::User=root "$package" >&2)
        rm -rf "$tools/making"
        dpkg-deb -x "$tools"/*.deb "$tools/making"
        rm -f "$tools"/*.deb
        mv "$tools/making" "$tools/kernel"
    fi
    kernel=$(echo "$tools"/kernel/boot/vmlinuz-*)
    release=${kernel##*/vmlinuz-}
    [ -e "$tools/kernel/lib/modules/$release/modules.dep" ] || depmod -b "$tools/kernel" "$release"
}

# Copies a program with the libraries it is linked to.
take() {
    local from=$1 to=$2 library
    install -D -m 755 "$from" "$root$to"
    while read -r library; do
        [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
    done < <(ldd "$from" 2>/dev/null | grep -oE '/[^ ]+' || true)
}

# What the machine has, as one archive.
make_root() {
    local program module applet
    root=$place/root
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,lib,proc,sys,dev,run,tmp,etc/lvm,modules,root}
    take /bin/busybox /bin/busybox
    for applet in $(/bin/busybox --list); do
        [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
    for program in "${programs[@]}"; do
        rm -f "$root/bin/$program"
        take "$(PATH=/usr/sbin:/sbin:/usr/bin:/bin command -v "$program")" "/usr/sbin/$program"
    done
    for program in lvs vgs pvcreate pvremove vgcreate vgremove lvcreate lvremove; do
        ln -s lvm "$root/usr/sbin/$program"
    done
    take "$tests" /volume_snapshot
    take "$agent" /usr/bin/nightkeep-agent
    # Modules in the order in which they need each other.
    for module in "${modules[@]}"; do
        modprobe -d "$tools/kernel" -S "$release" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
    done | awk '!seen[$0]++' >"$place/modules"
    while read -r module; do
        cp "$module" "$root/modules/"
        echo "/modules/${module##*/}"
    done <"$place/modules" >"$root/modules/order"
    cat >"$root/etc/lvm/lvm.conf" <<'END'
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" use_devicesfile = 0 }
END
    sed -n 's/^CapabilityBoundingSet=//p' packaging/linux/nightkeep-agent.service | tr ' ' '\n' |
        sed 's/^CAP_/+/' | tr 'A-Z\n' 'a-z ' | sed 's/ *$//' >"$root/rights"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    cp packaging/linux/snapshots-guest.sh "$root/init"
    chmod 755 "$root/init"
    (cd "$root" && find . | cpio --quiet -o -H newc) >"$place/root.cpio"
}

# Runs the machine to its end; what it says goes to standard output and into a file.
run_machine() {
    timeout $((minutes_max * 60)) qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 3072 -nodefaults -display none \
        -no-reboot -serial stdio -kernel "$kernel" -initrd "$place/root.cpio" \
        -append 'console=ttyS0 panic=-1 quiet loglevel=3 rdinit=/init' </dev/null |
        tr -d '\r' | tee "$place/said"
}

require "${needed[@]}"
prepare_kernel
make_root
echo "a machine with kernel $release and $(du -sm "$place/root.cpio" | cut -f1) MB of files"
begun=$SECONDS
run_machine || true
passed=$(grep -c '^ok  ' "$place/said" || true)
failed=$(grep -c '^FAILED  ' "$place/said" || true)
if ! grep -q '^the machine ends$' "$place/said"; then
    echo "FAILED  the machine came to its end within $minutes_max minutes"
    failed=$((failed + 1))
fi
echo "the machine ran $((SECONDS - begun)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
