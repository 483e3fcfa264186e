#!/usr/bin/env bash
# The agent as a service of Windows, under Wine, against a host of its own on loopback: packaging/windows/service-test.sh AGENT.exe
#
# Installed, enrolled by a token from a file, started by the service manager; a backup ordered over the named pipe; the host
# told of it; stopped and removed. One line per claim; the last line is `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly agent=$(realpath "$1")
. packaging/windows/claims.sh

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
cat >"$ours/agent.toml" <<'TOML'
machine_name = "winpc"
machine_root = 'C:\nightkeep-machine'
TOML

start_host
token_file

claim "it is installed" nightkeep service install
claim "it runs" nightkeep service start
claim "the manager says so" says '"running":true' nightkeep service status --json
claim "its events are shown in words" says 'The service started: an example' nightkeep selftest
claim "the daemon answers on its pipe" comes_to_say 'belongs to no host' nightkeep status
claim "a token in a file enrols it" nightkeep enroll --token-file 'C:\nightkeep-token'
claim "the host's scan finds it" scan
claim "the default plan arrives" comes_to_say 'Entire machine' nightkeep status
claim "a backup is ordered over the pipe and done" nightkeep start
claim "the status is OK" comes_to_say '"bucket":"ok"' nightkeep status --json
claim "the service is told to stop and ends in order" nightkeep service stop
claim "it wrote a log" grep -hq ' INFO ' "$ours"/Logs/agent*
for event in 1050 1010 1000 1001 1051; do
    claim "event $event is told and logged" grep -hq "event=$event" "$ours"/Logs/agent*
done
claim "none could not be told" not grep -hq 'event log was not told' "$ours"/Logs/agent*
claim "a run without a change journal looks at everything" grep -hq 'how=full: no filesystem here can be watched' "$ours"/Logs/agent*
claim "which says nothing of errors" not grep -h ' ERROR ' "$ours"/Logs/agent*
claim "it starts again with its identity" nightkeep service start
claim "and knows its last backup" comes_to_say '"bucket":"ok"' nightkeep status --json
nightkeep service stop >/dev/null
cp "$ours/agent.toml" "$place/agent.toml"
echo 'no such key = 1' >>"$ours/agent.toml"
claim "with a broken configuration it does not pretend to run" says 'ended right away' nightkeep service start
cp "$place/agent.toml" "$ours/agent.toml"
claim "mended, it runs again" nightkeep service start
claim "it is removed while it runs" nightkeep service uninstall
claim "identity and state stay" test -s "$ours/Identity/identity.json"
claim "nobody answers any more" says 'no daemon answers' nightkeep status
finish
