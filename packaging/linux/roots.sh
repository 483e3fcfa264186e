# Throw-away roots of Debian, with and without a running systemd; to be sourced beside packaging/shell.sh.
#
# Wants $place, a folder for them, with packages/ in it. Needs root, and the Debian packages in $needed. Sets $root and $booted.
#
# Invariant: the machine itself is left alone.
readonly needed=(cpio mmdebstrap procps rpm rsync systemd util-linux)
readonly with=curl,openssl,procps,rpm,systemd
readonly debian=$place/debian-with-$with.tar
booted=

if [ "$(id -u)" -ne 0 ]; then
    echo "run this as root: it makes roots and namespaces of its own" >&2
    exit 1
fi

# The roots' common beginning, downloaded once.
prepare_roots() {
    require "${needed[@]}"
    mkdir -p "$place"
    if [ ! -f "$debian" ]; then
        mmdebstrap --quiet --variant=minbase --include="$with" bookworm "$place/making.tar"
        mv "$place/making.tar" "$debian"
    fi
}

# A fresh root of this name, with all packages in /packages.
fresh_root() {
    root=$place/$1
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    tar -C "$root" -xpf "$debian" --xattrs
    cp -r "$place/packages" "$root/packages"
}

# Runs a command in the root, in which nothing else runs.
inside() {
    unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc="$root/proc" chroot "$root" "$@"
}

# The control group hierarchies that systemd uses.
hierarchies() {
    awk '$3 == "cgroup2" || $3 == "cgroup" && $4 ~ /name=systemd/ { print $3, $2 }' /proc/self/mounts
}

# Starts systemd in the root: alone with its processes, network, mounts and control groups, without the rights to load
# modules, set the clock or write the kernel's settings.
boot() {
    local kind at
    : >"$place/booted"
    while read -r kind at; do
        mkdir -p "$at/nightkeep-test"
    done < <(hierarchies)
    hierarchies >"$place/hierarchies"
    cat >"$place/boot.sh" <<'END'
set -e
root=$1 groups=$2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
while read -r kind at; do
    if [ "$kind" = cgroup2 ] && [ "$(wc -l <"$groups")" -eq 1 ]; then
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    elif [ "$kind" = cgroup2 ]; then
        mkdir "$root/sys/fs/cgroup/unified"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    else
        mkdir "$root/sys/fs/cgroup/systemd"
        mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    fi
done <"$groups"
cd "$root"
pivot_root . .
umount -l .
ip link set lo up 2>/dev/null || :
export container=nightkeep-test
exec setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-sys_boot,-syslog,-wake_alarm \
    /lib/systemd/systemd --unit=basic.target --log-target=journal
END
    (
        while read -r kind at; do
            echo $BASHPID >"$at/nightkeep-test/cgroup.procs"
        done <"$place/hierarchies"
        exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child \
            bash "$place/boot.sh" "$root" "$place/hierarchies"
    ) </dev/null >"$place/boot.log" 2>&1 &
    local outer=$!
    for _ in {1..100}; do
        booted=$(pgrep -P $outer || :)
        echo "$booted" >"$place/booted"
        if [ -n "$booted" ] && live systemctl --quiet is-active basic.target 2>/dev/null; then
            return 0
        fi
        sleep 0.2
    done
    cat "$place/boot.log"
    return 1
}

# Runs a command where systemd runs; never before its root is the throw-away one.
live() {
    [ -n "$booted" ] && [ "/proc/$booted/root/." -ef "$root/." ] || return 1
    nsenter --target "$booted" --all env NIGHTKEEP_PASSPHRASE="$NIGHTKEEP_PASSPHRASE" "$@"
}

# Ends that systemd, and with it all that runs there.
shut_down() {
    [ -n "$booted" ] || return 0
    kill -KILL "$booted" 2>/dev/null || :
    wait 2>/dev/null || :
    booted=
    local kind at
    while read -r kind at; do
        for _ in {1..50}; do
            find "$at/nightkeep-test" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
    done <"$place/hierarchies"
}

refused() {
    if "$@" >"$place/refusal" 2>&1; then
        echo "was not refused: $*"
        cat "$place/refusal"
        return 1
    fi
    cat "$place/refusal"
}

# Like claim, and shows what the command said.
shown() {
    local before=$passed
    claim "$@"
    if [ "$passed" -gt "$before" ]; then
        sed 's/^/        /' "$place/said"
    fi
}
