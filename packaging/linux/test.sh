#!/usr/bin/env bash
# The packages as a machine meets them: packaging/linux/test.sh VERSION FOLDER-OF-PACKAGES
#
# Installs, upgrades, downgrades, removes and purges in throw-away roots of Debian below target/linux: one in which nothing
# runs, and one in which systemd runs, in namespaces and control groups of its own. One line per claim; the last line is
# `N passed, M failed`.
#
# Invariant: the machine itself is left alone, but for the Debian packages this script needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly version=${1/-/\~} dist=$(realpath "$2") higher=99.0.0
readonly place=$PWD/target/linux
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export NIGHTKEEP_PASSPHRASE=only-for-this-test
. packaging/shell.sh
. packaging/linux/roots.sh

# Every file of the root with all that can be told of it, but what dpkg remembers.
listing() {
    (
        cd "$root"
        find . -xdev \( -path ./packages -o -path ./proc -o -path ./var/lib/dpkg -o -path ./var/log/dpkg.log \) -prune \
            -o -printf '%P %y %m %U:%G %l %s\n' | sort
        find . -xdev \( -path ./packages -o -path ./proc -o -path ./var/lib/dpkg -o -path ./var/log/dpkg.log \) -prune \
            -o -type f -print0 | sort -z | xargs -0 sha256sum
    )
}

# Names, contents, owners and modes of what an agent has on a machine; a daemon's socket and lock come and go.
kept() {
    (
        cd "$root"
        find etc/nightkeep var/lib/nightkeep ! -name control.sock ! -name daemon.lock ! -type d \
            -printf '%p %m %U:%G %T@ ' -exec sha256sum {} \; | sort
    )
}

same() {
    diff "$1" "$2"
}

# Folders with names and kinds of files that spoil backups.
odd_folder() {
    local at=$1
    mkdir -p "$at/empty" "$at/deep/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})"
    cd "$at"
    echo text >"ä 中文.txt"
    echo minus >./-rf
    echo line >"$(printf 'two\nlines')"
    echo raw >"$(printf 'not-utf8-\377\376')"
    echo quotes >"quotes ' \" \` \$HOME \\ %s"
    echo space >' ends with a space '
    echo below >"deep/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})/file"
    head -c 3000000 /dev/urandom >noise.bin
    truncate -s 20M holes.img
    : >nothing
    ln noise.bin 'second name'
    ln -s 'nowhere at all' dangling
    mkfifo pipe
    mknod null c 1 3
    echo tool >set-user-id
    chown 4321:8765 set-user-id
    chmod 4751 set-user-id
    touch -d '2001-02-03 04:05:06.789' "ä 中文.txt"
    touch -d '1999-12-31 23:59:59' empty
}

equal() {
    # Of a pipe and a device, diff says no more than what they are.
    diff -r --no-dereference --exclude=pipe --exclude=null "$1" "$2"
    rsync --archive --hard-links --acls --xattrs --checksum --dry-run --itemize-changes --delete "$1/" "$2/" \
        >"$place/differences"
    cat "$place/differences"
    [ ! -s "$place/differences" ]
}

# An identity that belongs to no host, a configuration, and a state that a run has left.
lived_in() {
    local key='head -c 32 /dev/urandom | base64'
    install -d -m 700 "$root/etc/nightkeep/identity" "$root/var/lib/nightkeep"
    printf 'log_level = "debug"\n' >"$root/etc/nightkeep/agent.toml"
    printf '{"version":1,"signing_seed":"%s","sealing_seed":"%s","meta_key":"%s","incarnation":"%s"}' \
        "$(eval "$key")" "$(eval "$key")" "$(eval "$key")" "$(cat /proc/sys/kernel/random/uuid)" \
        >"$root/etc/nightkeep/identity/identity.json"
    chmod 600 "$root/etc/nightkeep/identity/identity.json"
    install -d "$root/var/log/nightkeep"
    echo old >"$root/var/log/nightkeep/old.log"
    "$@" nightkeep-agent init --vault file:///srv/vault
    "$@" nightkeep-agent backup --vault file:///srv/vault /srv/source
    [ -n "$(ls "$root/var/lib/nightkeep")" ]
}

installed() {
    inside dpkg-query --show --showformat '${Version} ${db:Status-Abbrev}' nightkeep-agent
}

### The packages themselves

packages_are_small() {
    local file
    for file in "$dist"/*.deb "$dist"/*.rpm; do
        printf '%s %s bytes\n' "$(basename "$file")" "$(stat -c %s "$file")"
        [ "$(stat -c %s "$file")" -lt $((15 * 1024 * 1024)) ]
    done
    [ "$(ls "$dist"/*.deb "$dist"/*.rpm | wc -l)" -eq 4 ]
}

packages_are_reproducible() {
    rm -rf "$place/again"
    (umask 077 && TZ=Asia/Tokyo packaging/linux/build.sh "$version" target/release "$place/again")
    (cd "$dist" && sha256sum ./*.deb ./*.rpm) >"$place/sums"
    cat "$place/sums"
    (cd "$place/again" && sha256sum --check --quiet "$place/sums")
}

# No file but the programs holds anything that looks like a secret, and no script takes one.
packages_hold_no_secret() {
    local file
    rm -rf "$place/opened"
    mkdir "$place/opened"
    for file in "$dist"/*.deb; do
        dpkg-deb --raw-extract "$file" "$place/opened/$(basename "$file")"
    done
    for file in "$dist"/*.rpm; do
        rpm --query --package --scripts "$file" >"$place/opened/$(basename "$file").scripts"
        mkdir "$place/opened/$(basename "$file")"
        (cd "$place/opened/$(basename "$file")" && rpm2cpio "$file" | cpio --extract --quiet --make-directories)
    done
    find "$place/opened" -name '*.gz' -exec gunzip {} +
    refused grep -r -I -E 'NIGHTKEEP_TOKEN|PASSPHRASE|PRIVATE KEY|(password|passphrase|token|secret) *=|--token' "$place/opened"
    [ ! -s "$place/refusal" ]
    [ -z "$(find "$place/opened" -name '*identity*' -o -name '*.toml')" ]
}

scripts_are_posix() {
    local script
    for script in packaging/linux/deb/*; do
        [ "$(head -n 1 "$script")" = '#!/bin/sh' ]
        dash -n "$script"
    done
}

### Without systemd: a container, a folder that becomes an image

deb_installs_where_nothing_runs() {
    inside dpkg -i "/packages/nightkeep-agent_${version}_amd64.deb"
    [ "$(installed)" = "$version ii " ]
    inside dpkg --verify nightkeep-agent
    [ ! -e "$root/run/nightkeep-agent.installs" ]
    [ ! -L "$root/etc/systemd/system/multi-user.target.wants/nightkeep-agent.service" ]
    [ ! -e "$root/etc/nightkeep" ]
    [ ! -e "$root/var/lib/nightkeep" ]
}

program_of_the_package_restores_what_it_backed_up() {
    (odd_folder "$root/srv/source")
    lived_in inside
    inside nightkeep-agent restore --vault file:///srv/vault --target /srv/restored latest
    inside nightkeep-agent check --vault file:///srv/vault --read-data
    equal "$root/srv/source" "$root/srv/restored/srv/source"
}

unit_verifies() {
    # The program it names is the root's, so the whole is looked at there.
    systemd-analyze --root "$root" verify nightkeep-agent.service
    systemd-analyze --root "$root" verify nightkeep-agent.service 2>&1 | refused grep nightkeep
}

unit_is_the_repositorys() {
    cmp packaging/linux/nightkeep-agent.service "$root/lib/systemd/system/nightkeep-agent.service"
}

unit_scores() {
    systemd-analyze security --offline=true --no-pager --threshold=50 --root "$root" nightkeep-agent.service >"$place/score"
    tail -n 1 "$place/score"
}

deb_upgrade_keeps() {
    kept >"$place/before"
    inside dpkg -i "/packages/nightkeep-agent_${higher}_amd64.deb"
    [ "$(installed)" = "$higher ii " ]
    kept >"$place/after"
    same "$place/before" "$place/after"
}

deb_downgrade_is_refused() {
    listing >"$place/before"
    refused inside dpkg -i "/packages/nightkeep-agent_${version}_amd64.deb" >/dev/null
    grep -q "refused to replace version $higher by the older $version" "$place/refusal"
    grep -q "apt-get remove nightkeep-agent" "$place/refusal"
    [ "$(installed)" = "$higher ii " ]
    listing >"$place/after"
    same "$place/before" "$place/after"
    grep -A 2 'refused' "$place/refusal"
}

deb_monitor_needs_the_agent() {
    refused inside dpkg --install --no-triggers "/packages/nightkeep-monitor_${version}_amd64.deb"
    grep -q 'depends on nightkeep-agent' "$place/refusal"
    inside dpkg --purge nightkeep-monitor
}

deb_monitor_comes_and_goes() {
    inside dpkg -i "/packages/nightkeep-monitor_${version}_amd64.deb"
    grep -q '^Exec=/usr/bin/nightkeep-monitor$' "$root/etc/xdg/autostart/nightkeep-monitor.desktop"
    [ -x "$root/usr/bin/nightkeep-monitor" ]
    [ "$(inside dpkg-query --show --showformat '${Conffiles}' nightkeep-monitor | grep -c autostart)" -eq 1 ]
    inside dpkg --purge nightkeep-monitor
    [ ! -e "$root/etc/xdg/autostart/nightkeep-monitor.desktop" ]
}

deb_removal_leaves() {
    kept >"$place/before"
    inside dpkg --remove nightkeep-agent
    [ ! -e "$root/usr/bin/nightkeep-agent" ]
    [ ! -e "$root/lib/systemd/system/nightkeep-agent.service" ]
    kept >"$place/after"
    same "$place/before" "$place/after"
    [ -e "$root/var/log/nightkeep/old.log" ]
    (cd "$root" && find . -xdev -path ./packages -prune -o -path ./var/lib/dpkg -prune -o -name '*nightkeep*' -print | sort) |
        diff - <(printf './%s\n' etc/nightkeep var/lib/nightkeep var/log/nightkeep)
}

deb_purge_leaves_nothing() {
    inside dpkg --purge nightkeep-agent >"$place/purged"
    grep 'nightkeep-agent: deletes' "$place/purged"
    [ "$(grep -c 'nightkeep-agent: deletes' "$place/purged")" -eq 3 ]
    rm -rf "$root"/srv/*
    listing >"$place/after"
    same "$place/bare" "$place/after"
}

deb_purge_spares_a_vault() {
    inside dpkg -i "/packages/nightkeep-agent_${version}_amd64.deb"
    inside nightkeep-agent init --vault file:///var/lib/nightkeep/vault
    inside dpkg --purge nightkeep-agent 2>&1 | grep 'stays, as a vault lies in it'
    [ -d "$root/var/lib/nightkeep/vault/keys" ]
}

### With systemd

unit() {
    live systemctl show --value --property "$1" nightkeep-agent.service
}

deb_starts_where_systemd_runs() {
    live dpkg -i "/packages/nightkeep-agent_${version}_amd64.deb"
    [ "$(unit ActiveState)" = active ]
    [ "$(unit UnitFileState)" = enabled ]
    [ ! -e "/proc/$booted/root/run/nightkeep-agent.installs" ]
}

unenrolled_agent_waits() {
    [ "$(unit NRestarts)" = 0 ]
    [ "$(unit ActiveState)" = active ]
    live journalctl --quiet --unit nightkeep-agent
    live nightkeep-agent status --format json >"$place/status" || :
    grep -i 'enrol' "$place/status"
    [ "$(unit NRestarts)" = 0 ]
    [ "$(unit SubState)" = running ]
}

service_install_leaves_the_package_its_unit() {
    echo '# of an earlier installation by hand' >"$root/etc/systemd/system/nightkeep-agent.service"
    live nightkeep-agent service install | grep 'installed by its package'
    [ ! -e "$root/etc/systemd/system/nightkeep-agent.service" ]
    [ "$(unit FragmentPath)" = /lib/systemd/system/nightkeep-agent.service ]
    live nightkeep-agent --state-dir /srv/state service install
    grep -q '^ExecStart="/usr/bin/nightkeep-agent" run --state-dir "/srv/state"$' "$root/etc/systemd/system/nightkeep-agent.service"
    diff -I '^ExecStart=' packaging/linux/nightkeep-agent.service "$root/etc/systemd/system/nightkeep-agent.service"
    live systemd-analyze verify nightkeep-agent.service
    live nightkeep-agent service install
    [ ! -e "$root/etc/systemd/system/nightkeep-agent.service" ]
}

# Runs a command as a unit that has everything of the agent's but what it runs.
closed_in() {
    local name=$1
    shift
    sed -e "s#^ExecStart=.*#ExecStart=$*#" -e '/^Restart/d' -e '/^NotifyAccess/d' \
        -e 's/^Type=.*/Type=oneshot\nEnvironment=NIGHTKEEP_PASSPHRASE=only-for-this-test/' \
        packaging/linux/nightkeep-agent.service >"/proc/$booted/root/run/systemd/system/$name.service"
    live systemctl daemon-reload
    live systemctl start "$name.service" || { live journalctl --quiet --unit "$name"; return 1; }
}

unit_lets_backup_and_restore_do_all() {
    (odd_folder "$root/srv/source")
    lived_in live
    closed_in closed-backup /usr/bin/nightkeep-agent backup --vault file:///srv/vault /srv/source
    closed_in closed-restore /usr/bin/nightkeep-agent restore --vault file:///srv/vault --target /srv/restored latest
    equal "$root/srv/source" "$root/srv/restored/srv/source"
}

# Whoever may read the link /proc/N/exe may read what the process holds open and mapped, too.
unit_lets_the_journal_see_other_accounts() {
    local other
    live setpriv --reuid 65534 --clear-groups sleep 600 &
    until other=$(live pgrep -u 65534 -x sleep); do sleep 0.1; done
    closed_in closed-look /bin/readlink "/proc/$other/exe"
    live kill "$other"
}

deb_upgrade_restarts_in_order() {
    local before
    before=$(unit MainPID)
    kept >"$place/before"
    live dpkg -i "/packages/nightkeep-agent_${higher}_amd64.deb"
    [ "$(unit MainPID)" -ne "$before" ]
    [ "$(unit ActiveState)" = active ]
    live journalctl --quiet --unit nightkeep-agent | tee "$place/journal"
    grep -q 'nightkeep-agent.service: Deactivated successfully' "$place/journal"
    refused grep -E 'killed|timed out|Failed' "$place/journal"
    kept >"$place/after"
    same "$place/before" "$place/after"
}

deb_refused_downgrade_leaves_the_service_running() {
    local before
    before=$(unit MainPID)
    refused live dpkg -i "/packages/nightkeep-agent_${version}_amd64.deb"
    [ "$(unit MainPID)" -eq "$before" ]
    [ "$(unit ActiveState)" = active ]
}

deb_upgrade_leaves_stopped_what_was_stopped() {
    live nightkeep-agent service uninstall | grep 'its package stays'
    live dpkg -i "/packages/nightkeep-agent_${higher}_amd64.deb"
    [ "$(unit ActiveState)" = inactive ]
    [ "$(unit UnitFileState)" = disabled ]
    live nightkeep-agent service install
    live nightkeep-agent service start
    [ "$(unit ActiveState)" = active ]
    [ "$(unit UnitFileState)" = enabled ]
}

deb_removal_stops_in_order() {
    kept >"$place/before"
    live dpkg --remove nightkeep-agent
    [ "$(unit ActiveState)" = inactive ]
    [ "$(unit LoadState)" = not-found ]
    [ ! -L "$root/etc/systemd/system/multi-user.target.wants/nightkeep-agent.service" ]
    live journalctl --quiet --unit nightkeep-agent | tail -n 3 | tee "$place/journal"
    grep -q 'Deactivated successfully' "$place/journal"
    kept >"$place/after"
    same "$place/before" "$place/after"
}

deb_can_go_back_through_removal() {
    live dpkg -i "/packages/nightkeep-agent_${version}_amd64.deb"
    [ "$(unit ActiveState)" = active ]
    [ "$(unit UnitFileState)" = enabled ]
    kept >"$place/after"
    same "$place/before" "$place/after"
}

deb_purge_stops_and_deletes() {
    live dpkg --purge nightkeep-agent
    [ "$(unit LoadState)" = not-found ]
    [ -z "$(cd "$root" && find etc run var/log var/lib/nightkeep* -name '*nightkeep*' 2>/dev/null)" ]
}

### rpm. No package of Debian's tells rpm what it provides, so dependencies are not asked for.

rpm_query() {
    live rpm --query nightkeep-agent
}

rpm_starts_where_systemd_runs() {
    live rpm --install --nodeps "/packages/nightkeep-agent-$version-1.x86_64.rpm"
    [ "$(rpm_query)" = "nightkeep-agent-$version-1.x86_64" ]
    live rpm --verify --nodeps nightkeep-agent
    [ "$(unit ActiveState)" = active ]
    [ "$(unit UnitFileState)" = enabled ]
    unit FragmentPath | grep -q '^\(/usr\)\?/lib/systemd/system/nightkeep-agent.service$'
    (odd_folder "$root/srv/rpm/source")
    cp -a "$root/srv/rpm/source" "$root/srv/source"
    lived_in live
}

rpm_upgrade_restarts_in_order() {
    local before
    before=$(unit MainPID)
    kept >"$place/before"
    live rpm --upgrade --nodeps "/packages/nightkeep-agent-$higher-1.x86_64.rpm"
    [ "$(rpm_query)" = "nightkeep-agent-$higher-1.x86_64" ]
    [ "$(unit MainPID)" -ne "$before" ]
    [ "$(unit ActiveState)" = active ]
    [ "$(unit UnitFileState)" = enabled ]
    kept >"$place/after"
    same "$place/before" "$place/after"
}

rpm_downgrade_is_refused() {
    local before
    before=$(unit MainPID)
    refused live rpm --upgrade --nodeps "$@" "/packages/nightkeep-agent-$version-1.x86_64.rpm"
    grep -q -F "$higher-1" "$place/refusal"
    grep -q -F "$version-1" "$place/refusal"
    [ "$(rpm_query)" = "nightkeep-agent-$higher-1.x86_64" ]
    live rpm --verify --nodeps nightkeep-agent
    [ "$(unit MainPID)" -eq "$before" ]
    [ "$(unit ActiveState)" = active ]
}

rpm_forced_downgrade_is_refused() {
    rpm_downgrade_is_refused --oldpackage
    grep -q 'rpm -e nightkeep-agent' "$place/refusal"
}

rpm_monitor_needs_the_agent() {
    refused live rpm --install --test "/packages/nightkeep-monitor-$version-1.x86_64.rpm"
    grep -q "nightkeep-agent >= $version is needed by" "$place/refusal"
}

rpm_monitor_comes_and_goes() {
    live rpm --install --nodeps "/packages/nightkeep-monitor-$version-1.x86_64.rpm"
    grep -q '^Exec=/usr/bin/nightkeep-monitor$' "$root/etc/xdg/autostart/nightkeep-monitor.desktop"
    refused live rpm --erase nightkeep-agent
    grep -q 'is needed by (installed) nightkeep-monitor' "$place/refusal"
    live rpm --erase nightkeep-monitor
    [ ! -e "$root/etc/xdg/autostart/nightkeep-monitor.desktop" ]
}

rpm_erasure_leaves() {
    kept >"$place/before"
    live rpm --erase nightkeep-agent
    [ "$(unit LoadState)" = not-found ]
    [ "$(unit ActiveState)" = inactive ]
    kept >"$place/after"
    same "$place/before" "$place/after"
    (cd "$root" && find etc usr var/lib var/log -xdev -name '*nightkeep*' | sort) |
        diff - <(printf '%s\n' etc/nightkeep var/lib/nightkeep var/log/nightkeep)
}

rpm_can_go_back_through_erasure() {
    live rpm --install --nodeps "/packages/nightkeep-agent-$version-1.x86_64.rpm"
    [ "$(unit ActiveState)" = active ]
    kept >"$place/after"
    same "$place/before" "$place/after"
}

### The way

prepare_roots
trap shut_down EXIT

shown 'each package is smaller than 15 MiB' packages_are_small
shown 'a second packing gives the same bytes, whatever umask and time zone' packages_are_reproducible
claim 'no file of the packages and no script holds or takes a secret' packages_hold_no_secret
claim 'maintainer scripts are POSIX shell' scripts_are_posix
rm -rf "$place/packages"
packaging/linux/build.sh $higher target/release "$place/packages" 2>"$place/said" || cat "$place/said"
cp "$dist"/*.deb "$dist"/*.rpm "$place/packages/"

fresh_root still
listing >"$place/bare"
claim 'deb: the monitor alone is refused' deb_monitor_needs_the_agent
claim 'deb: without systemd an installation brings files and nothing else' deb_installs_where_nothing_runs
claim 'the unit in the package is the one in packaging/linux' unit_is_the_repositorys
claim 'the unit passes systemd-analyze verify' unit_verifies
shown 'the unit is exposed to no more than 5.0 in systemd-analyze security' unit_scores
claim 'deb: a folder with odd names is backed up and restored equal' program_of_the_package_restores_what_it_backed_up
claim 'deb: an upgrade keeps identity, configuration and state, byte for byte' deb_upgrade_keeps
shown 'deb: a downgrade is refused and changes nothing' deb_downgrade_is_refused
claim 'deb: the monitor comes with its autostart entry and goes with it' deb_monitor_comes_and_goes
claim 'deb: a removal leaves identity, configuration, state and logs, and nothing else' deb_removal_leaves
shown 'deb: a purge leaves the root as it was before, and says what it deletes' deb_purge_leaves_nothing
claim 'deb: a purge spares a vault that lies in our folders' deb_purge_spares_a_vault

fresh_root running
claim 'systemd runs in a root of its own' boot
# The claim ran in a shell of its own.
booted=$(cat "$place/booted")
claim 'deb: an installation enables and starts the service' deb_starts_where_systemd_runs
claim 'deb: an agent that belongs to no host waits and is not restarted' unenrolled_agent_waits
claim '`service install` uses the unit of the package, and writes the same for other places' service_install_leaves_the_package_its_unit
claim 'the unit lets a backup and a restore do all they must' unit_lets_backup_and_restore_do_all
claim 'the unit lets the change journal see the processes of other accounts' unit_lets_the_journal_see_other_accounts
claim 'deb: an upgrade restarts the service in order and keeps its files' deb_upgrade_restarts_in_order
claim 'deb: a refused downgrade leaves the service running' deb_refused_downgrade_leaves_the_service_running
claim 'deb: an upgrade leaves stopped and disabled what was so' deb_upgrade_leaves_stopped_what_was_stopped
claim 'deb: a removal stops the service in order and keeps its files' deb_removal_stops_in_order
claim 'deb: an older version after a removal starts again, with the same identity' deb_can_go_back_through_removal
claim 'deb: a purge of what runs stops it and deletes its files' deb_purge_stops_and_deletes
rm -rf "$root"/srv/*
claim 'rpm: the monitor alone is refused' rpm_monitor_needs_the_agent
claim 'rpm: an installation enables and starts the service' rpm_starts_where_systemd_runs
claim 'rpm: an agent that belongs to no host waits and is not restarted' unenrolled_agent_waits
claim 'rpm: an upgrade restarts the service and keeps its files' rpm_upgrade_restarts_in_order
shown 'rpm: a downgrade is refused by rpm itself' rpm_downgrade_is_refused
shown 'rpm: a downgrade with --oldpackage is refused by the package' rpm_forced_downgrade_is_refused
claim 'rpm: the monitor keeps the agent, comes with its autostart entry and goes with it' rpm_monitor_comes_and_goes
claim 'rpm: an erasure stops the service and leaves identity, configuration, state and logs, and nothing else' rpm_erasure_leaves
claim 'rpm: an older version after an erasure starts again, with the same identity' rpm_can_go_back_through_erasure
shut_down

finish
