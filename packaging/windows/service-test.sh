#!/usr/bin/env bash
# The agent as a service of Windows, under Wine, against a host of its own on loopback: packaging/windows/service-test.sh AGENT.exe
#
# Installed, enrolled by a token from a file, started by the service manager; a backup ordered over the named pipe; the host
# told of it; stopped and removed. One line per claim; the last line is `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly agent=$(realpath "$1") host=$PWD/target/debug/nightkeep-host
export WINEPREFIX=$PWD/target/windows/wine WINEARCH=win64 WINEDEBUG=-all
unset DISPLAY
readonly drive=$WINEPREFIX/drive_c ours=$WINEPREFIX/drive_c/ProgramData/Nightkeep
readonly place=$(mktemp -d)
passed=0 failed=0

nightkeep() { timeout 120 wine "$agent" "$@"; }

# Runs a command that must succeed for the claim to hold.
claim() {
    local text=$1
    shift
    if "$@" >"$place/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $text"
    else
        failed=$((failed + 1))
        echo "FAILED  $text"
        tail -n 20 "$place/said" | sed 's/^/        | /'
    fi
}

# Whether what the command says has this in it.
says() {
    local expected=$1
    shift
    "$@" 2>&1 | tee /dev/stderr | grep -qF -- "$expected"
}

# The same, within a minute.
comes_to_say() {
    for _ in $(seq 60); do
        says "$@" && return 0
        sleep 1
    done
    return 1
}

not() { ! "$@"; }

end() {
    nightkeep service uninstall >/dev/null 2>&1 || true
    [ -z "${host_pid:-}" ] || kill "$host_pid" 2>/dev/null || true
    rm -rf "$place" "$ours" "$drive/nightkeep-machine" "$drive/nightkeep-token"
}
trap end EXIT

rm -rf "$ours" "$drive/nightkeep-machine"
mkdir -p "$ours" "$drive/nightkeep-machine/Users/ä 中文"
cp -r protocol/rules "$drive/nightkeep-machine/Users/rules"
head -c 3000000 /dev/urandom >"$drive/nightkeep-machine/Users/ä 中文/noise.bin"
printf 'machine_name = "winpc"\nmachine_root = '"'C:\\\\nightkeep-machine'"'\n' | sed 's/\\\\/\\/g' >"$ours/agent.toml"

"$host" serve --json --listen 127.0.0.1:0 --data "$place/host" >"$place/host.log" 2>&1 &
host_pid=$!
for _ in $(seq 100); do grep -q '"event"' "$place/host.log" && break; sleep 0.1; done
"$host" token create --client Acme --location Office --auto-plan --data "$place/host" >"$drive/nightkeep-token"

claim "it is installed" nightkeep service install
claim "it runs" nightkeep service start
claim "the manager says so" says '"running":true' nightkeep service status --json
claim "the daemon answers on its pipe" comes_to_say 'belongs to no host' nightkeep status
claim "a token in a file enrols it" nightkeep enroll --token-file 'C:\nightkeep-token'
claim "the default plan arrives" comes_to_say 'Entire machine' nightkeep status
claim "a backup is ordered over the pipe and done" nightkeep start
claim "the status is OK" comes_to_say '"bucket":"ok"' nightkeep status --json
claim "the service is told to stop and ends in order" nightkeep service stop
claim "its log says nothing of errors" not grep -h ' ERROR ' "$ours/Logs/"*
claim "it starts again with its identity" nightkeep service start
claim "and knows its last backup" comes_to_say '"bucket":"ok"' nightkeep status --json
claim "it is removed while it runs" nightkeep service uninstall
claim "identity and state stay" test -s "$ours/Identity/identity.json"
claim "nobody answers any more" not nightkeep status
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
