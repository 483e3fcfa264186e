#!/usr/bin/env bash
# nightkeep.sh as a remote management system runs it: packaging/rmm/linux-test.sh VERSION FOLDER-OF-PACKAGES HOST-PROGRAM FOLDER-OF-PROGRAMS
#
# In a throw-away root where systemd runs, with a network of its own, in which a web server offers signed packages and a
# host takes the machine in. One line per claim; the last line is `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly version=${1/-/\~} given=$1 dist=$(realpath "$2") host=$(realpath "$3") programs=$(realpath "$4") higher=99.0.0 port=8099
readonly place=$PWD/target/linux
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export NIGHTKEEP_PASSPHRASE=only-for-this-test
. packaging/shell.sh
. packaging/linux/roots.sh
readonly site=$place/site
tracer=()

# One folder a release: as signed, signed by another, and changed after it was signed.
releases() {
    local key name
    rm -rf "$site" "$place"/key-*.pem
    for key in publisher next stranger; do
        openssl genpkey -algorithm ed25519 -out "$place/key-$key.pem"
    done
    mkdir -p "$site/first" "$site/second" "$site/bare"
    cp "$dist"/*.deb "$dist"/*.rpm "$site/first/"
    cp "$place"/packages/*"$higher"* "$site/second/"
    packaging/sign.sh "$given" "$site/first" "$place/key-publisher.pem"
    packaging/sign.sh $higher "$site/second" "$place/key-next.pem" "$place/key-publisher.pem"
    for name in stranger changed renamed; do cp -r "$site/first" "$site/$name"; done
    cp -r "$site/second" "$site/poisoned"
    packaging/sign.sh "$given" "$site/stranger" "$place/key-stranger.pem"
    cmp "$site/first/nightkeep.manifest" "$site/stranger/nightkeep.manifest"
    # Of the right length.
    for name in "$site/changed/nightkeep-agent"* "$site/poisoned/nightkeep"-*.*; do
        printf X | dd of="$name" bs=1 seek=5000 conv=notrunc
    done
    # A newer version's name over the signed list of an older one.
    sed -i "s/^version .*/version $higher/" "$site/renamed/nightkeep.manifest"
    cp "$site/first/rmm/nightkeep.sh" "$root/srv/"
}

serve() {
    nsenter --target "$booted" --net python3 -m http.server --bind 127.0.0.1 --directory "$site" $port >"$place/requests" 2>&1 &
    server_pid=$!
    until live curl --silent --output /dev/null http://127.0.0.1:$port/; do sleep 0.1; done
}

# Runs the script in the root: FOLDER ACTION [NAME=VALUE...]. The token comes from the environment, as systems pass it.
script() {
    local folder=$1 action=$2
    shift 2
    cat >"$root/srv/run" <<'SH'
#!/bin/sh
if [ -f /srv/token ]; then
    NIGHTKEEP_TOKEN=$(cat /srv/token)
    export NIGHTKEEP_TOKEN
fi
exec /srv/nightkeep.sh
SH
    chmod 755 "$root/srv/run"
    # Never before its root is the throw-away one.
    live true && "${tracer[@]}" nsenter --target "$booted" --all env NIGHTKEEP_URL="http://127.0.0.1:$port/$folder" \
        NIGHTKEEP_ACTION="$action" NIGHTKEEP_LOCK_SECONDS=2 "$@" /srv/run >"$place/output" 2>"$place/errors"
}

# The same with the exit code and the status that are expected. To be used after `||` as well, where the shell ignores failures.
ends() {
    local expected=$1 word=$2 code=0
    shift 2
    script "$@" || code=$?
    echo "exit code $code"
    cat "$place/errors" "$place/output"
    [ $code -eq "$expected" ] && tail -n 1 "$place/output" | grep -q "^InstallStatus=$word Code=" || return 1
    # A management system takes error output for a failure.
    [ $code -ne 0 ] || [ ! -s "$place/errors" ]
}

unit() {
    live systemctl show --value --property "$1" nightkeep-agent.service
}

installed() {
    live dpkg-query --show --showformat '${Version}' "${1:-nightkeep-agent}" 2>/dev/null || :
}

enrolled() {
    for _ in {1..100}; do
        live nightkeep-agent status --json | grep -q '"customer":"Acme"' && return 0
        sleep 0.2
    done
    return 1
}

# Names, lengths and times of everything a package manager could change.
machine() {
    (cd "$root" && find etc usr var/lib srv ! -path 'var/lib/nightkeep*' ! -path 'srv/run' ! -path 'var/lib/systemd*' \
        -type f -printf '%P %s %T@\n' | sort)
}

# The service and the machine are as before.
unchanged_by() {
    local before
    before=$(unit MainPID)
    machine >"$place/before"
    "$@"
    machine >"$place/after"
    diff "$place/before" "$place/after"
    [ "$(unit MainPID)" -eq "$before" ]
}

nothing_came() {
    [ ! -e "$root/usr/bin/nightkeep-agent" ] && [ -z "$(live dpkg-query --show 'nightkeep*' 2>/dev/null)" ] &&
        [ -z "$(find "$root/tmp" -name 'tmp.*')" ]
}

### Claims

strangers_signature_is_refused() {
    ends 1 SignatureWrong stranger install
    nothing_came
    refused grep '\.deb' "$place/requests"
}

changed_manifest_is_refused() {
    ends 1 SignatureWrong renamed install
    nothing_came
}

changed_package_is_refused() {
    ends 1 HashWrong changed install
    nothing_came
}

without_openssl_it_refuses() {
    local code=0
    mv "$root/usr/bin/openssl" "$root/usr/bin/openssl.away"
    ends 1 SignatureUncheckable first install && nothing_came || code=1
    mv "$root/usr/bin/openssl.away" "$root/usr/bin/openssl"
    [ $code -eq 0 ]
}

without_a_key_it_refuses() {
    local code=0
    cp packaging/rmm/nightkeep.sh "$root/srv/"
    ends 1 SignatureUncheckable first install && nothing_came || code=1
    cp "$site/first/rmm/nightkeep.sh" "$root/srv/"
    [ $code -eq 0 ]
}

# What is in the script stands.
key_from_outside_is_not_taken() {
    local key
    key=$(openssl pkey -in "$place/key-stranger.pem" -pubout -outform DER | tail -c 32 | openssl base64 -A)
    ends 1 SignatureWrong stranger install NIGHTKEEP_PUBLISHER_KEYS="$key"
    nothing_came
}

plain_http_is_refused() {
    ends 1 PropertyError first install NIGHTKEEP_URL=http://192.0.2.1/first
    nothing_came
}

missing_release_is_told() {
    ends 1 DownloadFailed bare install
    nothing_came
}

nothing_to_update_or_remove() {
    ends 0 NotInstalled first update
    ends 0 NotInstalled first uninstall
    nothing_came
}

# Looks at all processes, as everybody may, as often as can be. Environments are root's to read and do not count.
watch_processes() {
    while :; do
        live setpriv --reuid 65534 --clear-groups ps axeww >>"$place/seen" 2>/dev/null || return 0
        cat "/proc/$booted/root/proc"/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' >>"$place/seen" || :
    done
}

installs_and_enrols() {
    local watcher code=0
    "$host" token create --client Acme --location Office --auto-plan --data "$place/host" >"$root/srv/token"
    : >"$place/seen"
    watch_processes &
    watcher=$!
    # Every program that is started, with arguments and environment, those too that live shorter than a look takes.
    local tracer=(strace -f -qq -v -s 100000 -e "trace=execve" -o "$place/executed")
    ends 0 Installed first install || code=1
    kill $watcher
    [ $code -eq 0 ]
    [ "$(installed)" = "$version" ]
    [ -z "$(installed nightkeep-monitor)" ]
    [ "$(unit ActiveState)" = active ]
    enrolled
}

# The word after the dot, of which the secret is a part.
token_is_nowhere() {
    local token
    token=$(sed 's/^nk1\.//' "$root/srv/token")
    [ ${#token} -gt 50 ]
    rm "$root/srv/token"
    # Had somebody looked away, nothing would be seen either.
    grep -q 'nightkeep-agent enroll' "$place/seen"
    grep -q 'execve(.*"nightkeep-agent", "enroll"' "$place/executed"
    # The script itself got it in its environment, and nothing that it started.
    grep -F "$token" "$place/executed" >"$place/given"
    refused grep -v 'execve("/srv/nightkeep.sh", \["/srv/nightkeep.sh"\], \[' "$place/given"
    refused grep -F "$token" "$place/seen" "$place/output" "$place/errors"
    live journalctl --quiet >"$place/journal"
    refused grep -F "$token" "$place/journal"
    refused grep -r -l -a -s -F "$token" "$root/etc" "$root/var" "$root/srv" "$root/usr/bin" "$root/tmp" "/proc/$booted/root/run"
    refused grep -l -a -s -F "$token" "/proc/$booted/root/proc"/[0-9]*/environ
}

second_run_changes_nothing() {
    : >"$place/requests"
    unchanged_by ends 0 AlreadyInstalled first install
    unchanged_by ends 0 AlreadyInstalled first update
    refused grep '\.deb' "$place/requests"
}

bad_token_is_told() {
    local code=0
    echo "nk1.AAAA" >"$root/srv/token"
    ends 1 EnrolmentFailed first install || code=1
    rm "$root/srv/token"
    [ $code -eq 0 ]
    enrolled
}

status_speaks() {
    local code=0
    script first status NIGHTKEEP_FORMAT=datto || code=$?
    cat "$place/output"
    [ $code -eq 1 ]
    [ "$(head -n 1 "$place/output")" = '<-Start Result->' ]
    [ "$(tail -n 1 "$place/output")" = '<-End Result->' ]
    [ ! -s "$place/errors" ]
    code=0
    script first status NIGHTKEEP_FORMAT=nsight || code=$?
    [ $code -eq 233 ]
}

busy_package_manager_is_told() {
    local code=0
    live perl -MFcntl -e 'open F, ">>", "/var/lib/dpkg/lock-frontend"; $l = pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0);
        fcntl(F, F_SETLK, $l) or die; $| = 1; print "held\n"; sleep 100' >"$place/held" &
    until grep -q held "$place/held"; do sleep 0.1; done
    ends 75 Busy second update && grep -q 'Code=1618' "$place/output" || code=1
    live pkill -x perl
    [ $code -eq 0 ]
    [ "$(installed)" = "$version" ]
}

runs() {
    live nightkeep-agent status --json | grep -q '"running":\[{'
}

# A host that holds its breath keeps the backup where it is.
running_backup_is_left_alone() {
    scan
    until live nightkeep-agent status --json | grep -q '"plans":\[{'; do sleep 0.2; done
    head -c 300000000 /dev/urandom >"$root/srv/noise"
    live nightkeep-agent start --no-wait
    until runs; do sleep 0.1; done
    kill -STOP "$host_pid"
    unchanged_by ends 75 BackupRunning second update
    grep -q 'Code=1618' "$place/output"
    unchanged_by ends 75 BackupRunning second install-with-monitor
    unchanged_by ends 75 BackupRunning second uninstall
    runs
}

running_backup_is_interrupted_when_asked() {
    local identity
    runs
    identity=$(sha256sum <"$root/etc/nightkeep/identity/identity.json")
    ends 0 Upgraded second update NIGHTKEEP_DURING_BACKUP=1
    kill -CONT "$host_pid"
    [ "$(installed)" = "$higher" ]
    [ "$(unit ActiveState)" = active ]
    [ "$(sha256sum <"$root/etc/nightkeep/identity/identity.json")" = "$identity" ]
}

poisoned_package_is_refused() {
    live nightkeep-agent stop || :
    unchanged_by ends 1 HashWrong poisoned install-with-monitor NIGHTKEEP_DURING_BACKUP=1
}

older_release_changes_nothing() {
    unchanged_by ends 0 NewerInstalled first install NIGHTKEEP_DURING_BACKUP=1
}

monitor_comes_when_asked() {
    ends 0 Upgraded second install-with-monitor NIGHTKEEP_DURING_BACKUP=1
    [ "$(installed nightkeep-monitor)" = "$higher" ]
    [ -x "$root/usr/bin/nightkeep-monitor" ]
    unchanged_by ends 0 AlreadyInstalled second install
}

uninstalls() {
    ends 0 Uninstalled second uninstall NIGHTKEEP_DURING_BACKUP=1
    [ "$(unit LoadState)" = not-found ]
    [ ! -e "$root/usr/bin/nightkeep-agent" ]
    [ ! -e "$root/usr/bin/nightkeep-monitor" ]
    [ -s "$root/etc/nightkeep/identity/identity.json" ]
    ends 0 NotInstalled second uninstall
}

status_without_an_agent_is_unknown() {
    local code=0
    script first status NIGHTKEEP_FORMAT=nagios || code=$?
    [ $code -eq 3 ]
    grep -q '^UNKNOWN: ' "$place/output"
}

comes_back_with_its_identity() {
    ends 0 Installed first install-with-monitor
    [ "$(installed nightkeep-monitor)" = "$version" ]
    enrolled
}

purges() {
    ends 0 Uninstalled first uninstall NIGHTKEEP_PURGE=1 NIGHTKEEP_DURING_BACKUP=1
    [ -z "$(cd "$root" && find etc usr var/lib/nightkeep var/log/nightkeep -name '*nightkeep*' 2>/dev/null)" ]
}

# No package of Debian's tells rpm what it provides; one that this test makes does.
rpm_provides() {
    local spec=$place/provides.spec need
    {
        printf 'Name: provides\nVersion: 1\nRelease: 1\nSummary: What Debian is\nLicense: none\n'
        rpm --query --package --requires "$site"/first/*.rpm | grep -v -E '^rpmlib|^nightkeep' | sort -u |
            while read -r need; do echo "Provides: $need"; done
        printf '%%description\nWhat Debian is.\n%%files\n'
    } >"$spec"
    rpmbuild -bb --quiet --target x86_64-linux --define "_topdir $place/rpmbuild" --define "_rpmdir $root/srv" "$spec"
    live rpm --install /srv/x86_64/provides-1-1.x86_64.rpm
}

rpm_installs_upgrades_and_removes() {
    local rpm=NIGHTKEEP_PACKAGES=rpm
    rpm_provides
    ends 0 Installed first install $rpm
    [ "$(live rpm --query nightkeep-agent)" = "nightkeep-agent-$version-1.x86_64" ]
    [ "$(unit ActiveState)" = active ]
    ends 0 AlreadyInstalled first update $rpm
    unchanged_by ends 1 HashWrong poisoned update $rpm
    ends 0 Upgraded second install-with-monitor $rpm
    [ "$(live rpm --query nightkeep-monitor)" = "nightkeep-monitor-$higher-1.x86_64" ]
    unchanged_by ends 0 NewerInstalled first update $rpm
    ends 0 Uninstalled second uninstall $rpm NIGHTKEEP_PURGE=1
    ends 0 NotInstalled second uninstall $rpm
    [ ! -e "$root/etc/nightkeep" ]
}

### The way

end() {
    # A stopped process does not end.
    if [ -n "${host_pid:-}" ]; then
        kill -CONT "$host_pid" 2>/dev/null || :
        kill "$host_pid" 2>/dev/null || :
    fi
    [ -z "${server_pid:-}" ] || kill "$server_pid" 2>/dev/null || :
    shut_down
}

require curl openssl python3 shellcheck strace
prepare_roots
trap end EXIT
claim 'shellcheck finds nothing in the script' shellcheck packaging/rmm/nightkeep.sh
# The same programs under a higher version; test.sh made it already.
if [ ! -f "$place/packages/nightkeep-agent_${higher}_amd64.deb" ]; then
    packaging/linux/build.sh $higher "$programs" "$place/packages"
fi
fresh_root scripts
claim 'releases are signed, with one key and with two' releases
claim 'systemd runs in a root of its own' boot
booted=$(cat "$place/booted")
within=(nsenter --target "$booted" --net)
. packaging/host.sh
rm -rf "$place/host"
start_host
serve

claim "a stranger's signature is refused and nothing installed" strangers_signature_is_refused
claim 'a manifest changed after it was signed is refused' changed_manifest_is_refused
claim 'a package changed after it was signed is refused' changed_package_is_refused
claim 'without openssl nothing is installed' without_openssl_it_refuses
claim 'a script without a key installs nothing' without_a_key_it_refuses
claim 'a key from the environment does not stand beside that of the script' key_from_outside_is_not_taken
claim 'an address without encryption is refused' plain_http_is_refused
claim 'a release that is not there is told' missing_release_is_told
claim 'update and uninstall of nothing do nothing' nothing_to_update_or_remove
claim 'install installs, starts and enrols' installs_and_enrols
claim 'the token is in no list of processes, no output, no log and no file' token_is_nowhere
claim 'a second run changes nothing and downloads no package' second_run_changes_nothing
claim 'a token that is none is told, and the machine stays what it was' bad_token_is_told
claim 'the status script speaks the words that are asked for' status_speaks
claim 'while another installation runs it says 1618' busy_package_manager_is_told
claim 'update, install and uninstall leave a running backup alone' running_backup_is_left_alone
claim 'asked to, update interrupts it, upgrades and keeps the identity' running_backup_is_interrupted_when_asked
claim 'a package changed after it was signed changes nothing of a machine with an agent' poisoned_package_is_refused
claim 'an older release changes nothing' older_release_changes_nothing
claim 'the backup monitor comes when asked, and stays' monitor_comes_when_asked
claim 'uninstall removes both, keeps the identity, and may be run again' uninstalls
claim 'the status script without an agent says UNKNOWN' status_without_an_agent_is_unknown
claim 'installed again, an older version too, it has its identity' comes_back_with_its_identity
claim 'with purge nothing of it stays' purges
claim 'rpm: installed, updated, not with a changed package, not lowered, removed' rpm_installs_upgrades_and_removes
finish
