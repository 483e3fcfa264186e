#!/usr/bin/env bash
# The installer under Wine, against a host on loopback: packaging/windows/msi-test.sh AGENT.exe
#
# Installed silently with a token in a file, upgraded, not downgraded, uninstalled. One line per claim; the last line is
# `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly built=$(realpath "$1")
. packaging/windows/claims.sh
readonly programs="$drive/Program Files/Nightkeep"
readonly agent=$programs/nightkeep-agent.exe
readonly monitor=$programs/nightkeep-monitor.exe

readonly run='HKLM\Software\Microsoft\Windows\CurrentVersion\Run'
readonly events='HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\NightkeepAgent'

installer() { timeout 300 wine msiexec "$@" /qn /norestart; }
msi() { printf 'Z:%s' "$place/nightkeep-agent-$1.msi" | tr / '\\'; }

end() {
    for version in 0.3.0 0.2.0 0.1.0; do installer /x "$(msi $version)" >/dev/null 2>&1 || true; done
    [ -z "${host_pid:-}" ] || kill "$host_pid" 2>/dev/null || true
    rm -rf "$place" "$ours" "$drive/nightkeep-token"
}
trap end EXIT

rm -rf "$ours" "$programs"
packaging/windows/build-msi.sh 0.1.0 "$built" "$place"
packaging/windows/build-msi.sh 0.2.0 "$built" "$place"
packaging/windows/build-msi.sh 0.3.0 "$built" "$place"
starts_at_logon() { says nightkeep-monitor.exe timeout 60 wine reg query "$run"; }
start_host
token_file

claim "it installs without a question" installer /i "$(msi 0.1.0)" 'ENROLL_TOKEN_FILE=C:\nightkeep-token'
claim "the manager lists its service" says NightkeepAgent timeout 60 wine sc query NightkeepAgent
claim "its service runs" says '"running":true' nightkeep service status --json
claim "its events are shown in words" says 'The service started: an example' nightkeep selftest
claim "the machine is enrolled" comes_to_say '"customer":"Acme"' nightkeep status --json
claim "no backup monitor comes unasked" not test -e "$monitor"
claim "the token is in no file of ours" not grep -rqFf "$drive/nightkeep-token" "$ours"
cp "$ours/Identity/identity.json" "$place/identity"
claim "a newer one takes its place" installer /i "$(msi 0.2.0)"
claim "its service runs after that" says '"running":true' nightkeep service status --json
claim "identity stays as it was" cmp "$ours/Identity/identity.json" "$place/identity"
claim "and is used" comes_to_say '"customer":"Acme"' nightkeep status --json
claim "an older one is refused" not installer /i "$(msi 0.1.0)"
claim "which disturbs nothing" says '"running":true' nightkeep service status --json
claim "the backup monitor is added to it" installer /i "$(msi 0.2.0)" ADDLOCAL=Monitor
claim "it is there" test -s "$monitor"
claim "and starts when somebody logs on" starts_at_logon
claim "a newer one" installer /i "$(msi 0.3.0)"
claim "keeps the monitor" test -s "$monitor"
claim "and its start" starts_at_logon
claim "the service runs all the while" says '"running":true' nightkeep service status --json
claim "the monitor alone goes" installer /i "$(msi 0.3.0)" REMOVE=Monitor
claim "it is gone" not test -e "$monitor"
claim "it starts no more" not starts_at_logon
claim "the agent stays" says '"running":true' nightkeep service status --json
claim "it is uninstalled" installer /x "$(msi 0.3.0)"
claim "its programs are gone" not test -e "$agent"
claim "its event source is gone" not says EventMessageFile timeout 60 wine reg query "$events"
claim "its service is gone" not says NightkeepAgent timeout 60 wine sc query NightkeepAgent
claim "identity and state stay" test -s "$ours/Identity/identity.json" -a -d "$ours/State"
claim "it is installed with the monitor at once" installer /i "$(msi 0.1.0)" MONITOR=1
claim "which is there" test -s "$monitor"
claim "a newer one that is told so" installer /i "$(msi 0.2.0)" MONITOR=0
claim "takes it away" not test -e "$monitor"
claim "and keeps the agent" says '"running":true' nightkeep service status --json
claim "it is uninstalled again" installer /x "$(msi 0.2.0)"
finish
