#!/bin/sh
# The first and only program of the machine that snapshots-test.sh makes: loads the modules, runs the tests, ends it.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LVM_SUPPRESS_FD_WARNINGS=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o size=2500m tmpfs /tmp
mount -t tmpfs tmpfs /run
ln -sf /proc/self/mounts /etc/mtab
ip link set lo up
while read -r module; do
    insmod "$module" || echo "module $module was not taken"
done </modules/order

ok() { echo "ok      $*"; }
bad() { echo "FAILED  $*"; }

# One test after the other: they share the loop devices. The helper of one of them is no claim of its own.
/volume_snapshot --include-ignored --test-threads=1 >/tmp/tests 2>&1
sed -n 's/^test \(.*\) \.\.\. \(ok\|FAILED\)$/\2 \1/p' /tmp/tests | grep -v a_process_that_dies | while read -r outcome name; do
    case $outcome in
    ok) ok "$name" ;;
    *) bad "$name" ;;
    esac
done
grep -q '^test result: ok' /tmp/tests || { bad "all tests of the snapshots"; cat /tmp/tests; }

# Two files that belong together are written one after the other, again and again; between them in the backup's order lies
# much else. A restore shows how far they were apart.
export NIGHTKEEP_PASSPHRASE=snapshots

# The agent with the rights that its unit leaves it, and no others.
agent() {
    /usr/sbin/setpriv --no-new-privs --bounding-set "-all,$(tr ' ' , </rights)" /usr/bin/nightkeep-agent "$@"
}

write_on() {
    n=0
    while [ -e /tmp/go-on ]; do
        n=$((n + 1))
        echo $n >/srv/1-first.new && mv /srv/1-first.new /srv/1-first
        echo $n >/srv/3-last.new && mv /srv/3-last.new /srv/3-last
    done
}

# Backs /srv up by a policy while somebody writes; sets how, apart.
back_up() {
    : >/tmp/go-on
    write_on &
    writer=$!
    until [ -s /srv/3-last ]; do sleep 0.1; done
    agent backup --json --vault file:///tmp/vault --state-dir /tmp/state --snapshots "$1" /srv >/tmp/backup 2>&1
    code=$?
    rm /tmp/go-on
    wait $writer
    how=$(sed -n 's/.*"snapshot_method":"\([^"]*\)".*/\1/p' /tmp/backup)
    rm -rf /tmp/restored
    agent restore --vault file:///tmp/vault --state-dir /tmp/state --target /tmp/restored latest >>/tmp/backup 2>&1
    apart=$(($(cat /tmp/restored/srv/1-first) - $(cat /tmp/restored/srv/3-last)))
    [ $apart -ge 0 ] || apart=$((-apart))
}

# On the filesystem at /srv: what a snapshot is for, beside what happens without one.
try() {
    dd if=/dev/urandom of=/srv/2-between bs=1M count=64 2>/dev/null
    back_up required
    if [ $code -eq 0 ] && [ "$how" = "$2" ] && [ $apart -le 1 ]; then
        ok "$1: two files written together are restored as they were at one moment ($how)"
    else
        bad "$1: two files written together are restored as they were at one moment (code $code, $how, $apart apart)"
        cat /tmp/backup
    fi
    back_up never
    if [ $code -eq 0 ] && [ "$how" = live ] && [ $apart -gt 1 ]; then
        ok "$1: read live they are $apart writings apart"
    else
        bad "$1: read live they are apart (code $code, $how, $apart apart)"
    fi
    if [ -z "$(ls -A /tmp/state/snapshots 2>/dev/null)" ]; then ok "$1: nothing is left"; else bad "$1: nothing is left"; fi
    rm -f /srv/*
}

if agent backup --help | grep -q -- --snapshots; then
    mkdir -p /srv
    agent init --vault file:///tmp/vault --state-dir /tmp/state >/tmp/backup 2>&1 || cat /tmp/backup
    truncate -s 1500M /tmp/disk
    device=$(/usr/sbin/losetup --find --show /tmp/disk)
    { pvcreate --yes "$device" && vgcreate --yes group "$device" && lvcreate --yes --monitor n -L 600M -n data group; } >/dev/null
    mkfs.xfs -q /dev/group/data && /usr/sbin/mount /dev/group/data /srv
    try LVM lvm
    umount /srv
    lvremove --yes --force group/data >/dev/null && vgremove group >/dev/null
    mkfs.btrfs -q -f "$device" && /usr/sbin/mount "$device" /srv
    try btrfs btrfs
    umount /srv
else
    echo "NOT RUN: this agent knows no volume snapshots at its command line"
fi

echo "the machine ends"
sync
poweroff -f
