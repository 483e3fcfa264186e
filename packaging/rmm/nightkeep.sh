#!/bin/sh
# Installs, updates, removes or asks the Nightkeep agent on Linux; made to be run by a remote management system as root:
#
#     nightkeep.sh install | install-with-monitor | update | uninstall | status
#
# Values come from the environment (README.md says how each system passes them):
#   NIGHTKEEP_ACTION         the action, where no argument can be given
#   NIGHTKEEP_URL            the folder with nightkeep.manifest, its signature and the packages; https
#   NIGHTKEEP_TOKEN          the enrolment token, or
#   NIGHTKEEP_TOKEN_FILE     a file that holds it
#   NIGHTKEEP_DURING_BACKUP  1: do it though a backup runs; the backup is interrupted and goes on later
#   NIGHTKEEP_PURGE          1: uninstall deletes identity, state and logs, too
#   NIGHTKEEP_LOCK_SECONDS   how long to wait for another installation; 120
#   NIGHTKEEP_FORMAT         whose words `status` speaks: text, json, nagios, checkmk,
#                            prometheus, datto, ninja, nsight, automate, tactical
#   NIGHTKEEP_PUBLISHER_KEYS the publisher's keys, where this file has none yet (base64, space between)
#
# The last line says what happened, with the code a Windows installer would give. Exit codes: 0 done or nothing to do (0),
# 1 failed (1603), 2 usage, 75 not now, try again (1618).
#
# Invariants: nothing that the publisher did not sign is run or installed; a version is never lowered; the token appears
# in no argument, no output and no file. Doing it again changes nothing.
set +x
set -u

# Where the system has no environment variables, lines such as NIGHTKEEP_URL=https://... go here.

export LC_ALL=C PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
umask 077

# Filled in by `cargo xtask dist`; what is filled in cannot be changed from the environment.
publisher_keys='@PUBLISHER_KEYS@'
case $publisher_keys in
    @*) publisher_keys=${NIGHTKEEP_PUBLISHER_KEYS:-} ;;
esac

# Of what this script starts, only the enrolment gets the token, and that through a pipe.
token=${NIGHTKEEP_TOKEN:-}
unset NIGHTKEEP_TOKEN
action=${1:-${NIGHTKEEP_ACTION:-}}
url=${NIGHTKEEP_URL:-}
url=${url%/}
work=
installed=

### How it ends

# The line that programs read, and the exit code.
finish() {
    status=$1 message=$2 code=$3
    [ -z "$work" ] || rm -rf "$work"
    case $code in
        0) windows=0 ;;
        75) windows=1618 ;;
        *) windows=1603 ;;
    esac
    # A management system takes anything on the error output for a failure.
    [ "$code" -eq 0 ] || echo "nightkeep: $message" >&2
    echo "InstallStatus=$status Code=$windows Version=${installed:-none} Message=$message"
    exit "$code"
}

failed() {
    finish "$1" "$2" 1
}

# What a command said before it failed.
show_log() {
    tail -n 20 "$work/log" >&2
}

### What is there

# deb or rpm: the system's own way. Both programs may be there, but one of them keeps the system itself.
kind_of_packages() {
    if dpkg-query --show dpkg >/dev/null 2>&1 && [ "${NIGHTKEEP_PACKAGES:-deb}" = deb ]; then
        echo deb
    elif command -v rpm >/dev/null 2>&1; then
        echo rpm
    fi
}

# The version of an installed package, or nothing.
version_of() {
    if [ "$kind" = deb ]; then
        dpkg-query --show --showformat '${db:Status-Status} ${Version}' "$1" 2>/dev/null | sed -n 's/^installed //p'
    else
        rpm --query --queryformat '%{VERSION}' "$1" 2>/dev/null | grep -v ' ' || :
    fi
}

# Whether the first version is newer than the second.
is_newer() {
    if [ "$kind" = deb ]; then
        dpkg --compare-versions "$1" gt "$2"
    else
        [ "$(rpm --eval "%{lua:print(rpm.vercmp('$1', '$2'))}")" = 1 ]
    fi
}

backup_runs() {
    command -v nightkeep-agent >/dev/null 2>&1 &&
        timeout 60 nightkeep-agent status --json 2>/dev/null | grep -q '"running":\[{'
}

not_during_a_backup() {
    if [ "${NIGHTKEEP_DURING_BACKUP:-}" != 1 ] && backup_runs; then
        finish BackupRunning "a backup runs; try again later, or set NIGHTKEEP_DURING_BACKUP=1 to interrupt it" 75
    fi
}

### What the publisher offers

# Downloads a file of the folder: NAME BYTES-AT-MOST
fetch() {
    case $url in
        https://*) protocols='=https' ;;
        # Tests, and a tunnel's end on the machine itself.
        http://127.0.0.1 | http://127.0.0.1[:/]*) protocols='=http,https' ;;
        *) failed PropertyError "NIGHTKEEP_URL must be an https:// address" ;;
    esac
    if command -v curl >/dev/null 2>&1; then
        curl --fail --silent --show-error --location --proto "$protocols" --connect-timeout 30 --max-time 3600 --retry 2 \
            --max-filesize "$2" --output "$work/$1" "$url/$1" 2>"$work/log"
    elif command -v wget >/dev/null 2>&1; then
        wget --quiet --tries=3 --timeout=60 --max-redirect=0 --output-document="$work/$1" "$url/$1" 2>"$work/log"
    else
        failed DownloadFailed "neither curl nor wget is there"
    fi
    code=$?
    if [ $code -ne 0 ] || [ "$(wc -c <"$work/$1")" -gt "$2" ]; then
        show_log
        failed DownloadFailed "$url/$1 could not be had"
    fi
}

# Whether one of the signatures is one of the publisher's keys' over the file.
is_signed() {
    head -n 4 "$2" | while IFS= read -r signature; do
        printf '%s\n' "$signature" | openssl base64 -d -A >"$work/signature" 2>/dev/null || continue
        [ "$(wc -c <"$work/signature")" -eq 64 ] || continue
        for key in $publisher_keys; do
            # The key's 32 bytes behind what says that they are one of Ed25519 (RFC 8410).
            printf -- '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA%s\n-----END PUBLIC KEY-----\n' "$key" >"$work/key"
            openssl pkeyutl -verify -pubin -inkey "$work/key" -rawin -in "$1" -sigfile "$work/signature" \
                >/dev/null 2>&1 && echo signed && break 2
        done
    done | grep -q signed
}

read_manifest() {
    [ -n "$publisher_keys" ] || failed SignatureUncheckable "this script knows no publisher's key; take the one from the release"
    case $(openssl version 2>/dev/null) in
        "OpenSSL "[3-9]*) ;;
        *) failed SignatureUncheckable "openssl 3 or newer is needed to check the publisher's signature; nothing was installed" ;;
    esac
    fetch nightkeep.manifest 65536
    fetch nightkeep.manifest.sig 1024
    is_signed "$work/nightkeep.manifest" "$work/nightkeep.manifest.sig" ||
        failed SignatureWrong "the manifest at $url is not signed by the publisher; nothing was installed"
    [ "$(sed -n 1p "$work/nightkeep.manifest")" = 'nightkeep-manifest 1' ] ||
        failed ManifestUnknown "the manifest at $url is of a kind this script does not know; take a newer script"
    # Debian and rpm sort `~` before the release, as semantic versions sort `-rc.1`.
    offered=$(sed -n 's/^version \([0-9A-Za-z.-]\{1,64\}\)$/\1/p' "$work/nightkeep.manifest" | sed 's/-/~/')
    [ -n "$offered" ] || failed ManifestUnknown "the manifest at $url names no version"
}

# Downloads the package of this name and compares it with the manifest; its path is in $package.
fetch_package() {
    if [ "$kind" = deb ]; then
        name=${1}_${offered}_$(dpkg --print-architecture).deb
    else
        name=$1-$offered-1.$(uname -m).rpm
    fi
    line=$(awk -v name="$name" '$1 == "file" && $4 == name && NF == 4' "$work/nightkeep.manifest" | head -n 1)
    [ -n "$line" ] || failed NoPackage "this release has no $name for this machine; nothing was installed"
    sum=$(echo "$line" | cut -d ' ' -f 2)
    bytes=$(echo "$line" | cut -d ' ' -f 3)
    fetch "$name" "$bytes"
    package=$work/$name
    if [ "$(wc -c <"$package")" -ne "$bytes" ] || [ "$(sha256sum "$package" | cut -d ' ' -f 1)" != "$sum" ]; then
        failed HashWrong "$name is not what the publisher signed; nothing was installed"
    fi
}

### Changing the machine

# Runs the package manager; what it says is shown only when it fails.
manage() {
    if [ "$kind" = deb ] && command -v apt-get >/dev/null 2>&1; then
        how=$1
        shift
        [ "$how" != install ] || set -- --no-remove "$@"
        # The folder is root's alone, so that apt cannot have it read by its own account, and says so.
        DEBIAN_FRONTEND=noninteractive apt-get "$how" -y -q --no-install-recommends \
            -o DPkg::Lock::Timeout="${NIGHTKEEP_LOCK_SECONDS:-120}" -o APT::Sandbox::User=root \
            -o Dpkg::Options::=--force-confold "$@" >"$work/log" 2>&1 </dev/null
    elif [ "$kind" = deb ]; then
        case $1 in install) how=--install ;; remove) how=--remove ;; purge) how=--purge ;; esac
        shift
        dpkg --force-confold "$how" "$@" >"$work/log" 2>&1 </dev/null
    else
        case $1 in install) how=--upgrade ;; *) how=--erase ;; esac
        shift
        rpm "$how" "$@" >"$work/log" 2>&1 </dev/null
    fi
    code=$?
    [ $code -ne 0 ] || return 0
    show_log
    if grep -q -i -E 'could not get lock|locked by another process|transaction lock' "$work/log"; then
        finish Busy "another installation runs; try again later" 75
    fi
    failed InstallFailed "the package manager refused: $(grep -v '^$' "$work/log" | tail -n 1)"
}

enrol() {
    if [ -n "$token" ]; then
        printf '%s' "$token" | nightkeep-agent enroll --token-file - >"$work/log" 2>&1
    elif [ -n "${NIGHTKEEP_TOKEN_FILE:-}" ]; then
        nightkeep-agent enroll --token-file "$NIGHTKEEP_TOKEN_FILE" >"$work/log" 2>&1
    else
        return 0
    fi
    code=$?
    [ $code -eq 0 ] || failed EnrolmentFailed "the agent is installed but not enrolled: $(tail -n 1 "$work/log")"
}

install() {
    read_manifest
    names=nightkeep-agent
    if [ "$1" = with-monitor ] || [ -n "$(version_of nightkeep-monitor)" ]; then
        names="$names nightkeep-monitor"
    fi
    before=$installed
    wanted=
    for name in $names; do
        there=$(version_of "$name")
        if [ -n "$there" ] && is_newer "$there" "$offered"; then
            enrol
            finish NewerInstalled "$name $there stays, as $offered is older" 0
        fi
        [ "$there" = "$offered" ] || wanted="$wanted $name"
    done
    if [ -n "$wanted" ]; then
        [ -z "$before" ] || not_during_a_backup
        set --
        for name in $wanted; do
            fetch_package "$name"
            set -- "$@" "$package"
        done
        # A download takes its time.
        [ -z "$before" ] || not_during_a_backup
        manage install "$@"
        installed=$(version_of nightkeep-agent)
    fi
    case $(nightkeep-agent --version 2>&1) in
        nightkeep-agent*) ;;
        *) failed InstallFailed "the agent is installed but does not run: $(nightkeep-agent --version 2>&1 | tail -n 1)" ;;
    esac
    enrol
    case ${wanted:+changed}${before:+upgrade} in
        changed) finish Installed "installed$wanted" 0 ;;
        changedupgrade) finish Upgraded "upgraded from $before:$wanted" 0 ;;
        *) finish AlreadyInstalled "nothing to do" 0 ;;
    esac
}

uninstall() {
    verb=remove
    [ "${NIGHTKEEP_PURGE:-}" != 1 ] || verb=purge
    set --
    for name in nightkeep-monitor nightkeep-agent; do
        if [ -n "$(version_of $name)" ]; then
            set -- "$@" "$name"
        elif [ "$verb" = purge ] && [ "$kind" = deb ] && dpkg-query --show $name >/dev/null 2>&1; then
            set -- "$@" "$name"
        fi
    done
    if [ $# -gt 0 ]; then
        not_during_a_backup
        manage "$verb" "$@"
    fi
    # rpm knows no purge. A folder with a vault in it is never deleted with the program that filled it.
    if [ "$verb" = purge ] && [ "$kind" = rpm ]; then
        for place in /etc/nightkeep /var/lib/nightkeep /var/log/nightkeep; do
            if [ -d $place ] && [ -z "$(find $place -xdev -path '*/keys/slot-*' -print -quit)" ]; then
                rm -rf --one-file-system $place
            fi
        done
    fi
    installed=$(version_of nightkeep-agent)
    [ $# -gt 0 ] || finish NotInstalled "nothing to do" 0
    finish Uninstalled "removed $*" 0
}

# The agent's own words and exit code; without an agent the same words say that.
status() {
    format=${NIGHTKEEP_FORMAT:-text}
    if command -v nightkeep-agent >/dev/null 2>&1; then
        exec nightkeep-agent status --format "$format"
    fi
    summary='UNKNOWN: the Nightkeep agent is not installed'
    code=1
    case $format in
        datto) printf '<-Start Result->\nSTATUS=%s\n<-End Result->\n' "$summary" ;;
        checkmk) printf '3 "Nightkeep Backup" - %s\n' "$summary"; code=0 ;;
        automate) printf 'Status=UNKNOWN\n%s\n' "$summary"; code=0 ;;
        prometheus) printf '# HELP nightkeep_agent_up Whether the agent answers.\n# TYPE nightkeep_agent_up gauge\nnightkeep_agent_up 0\n'; code=0 ;;
        nagios | tactical) echo "$summary"; code=3 ;;
        # The lowest eight bits of its 1001, as the agent itself gives them here.
        nsight) echo "$summary"; code=233 ;;
        json) echo '{"error":"not-installed"}' ;;
        *) echo "$summary" ;;
    esac
    exit $code
}

### The way

case $action in
    install | install-with-monitor | update | uninstall) ;;
    status) status ;;
    *)
        echo "usage: nightkeep.sh install | install-with-monitor | update | uninstall | status" >&2
        exit 2
        ;;
esac
[ "$(uname -s)" = Linux ] || failed Unsupported "this script is for Linux"
[ "$(id -u)" -eq 0 ] || failed NotRoot "this must run as root"
kind=$(kind_of_packages)
[ -n "$kind" ] || failed Unsupported "this machine has neither dpkg nor rpm"
work=$(mktemp -d) || failed NoSpace "no temporary folder can be made"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
installed=$(version_of nightkeep-agent)
case $action in
    install) install alone ;;
    install-with-monitor) install with-monitor ;;
    update)
        [ -n "$installed" ] || finish NotInstalled "nothing to update" 0
        install alone
        ;;
    uninstall) uninstall ;;
esac
