#!/usr/bin/env bash
# Makes the installer of finished programs: packaging/windows/build-msi.sh VERSION AGENT.exe FOLDER
#
# The backup monitor lies beside the agent. Programs and installer are signed where sign.sh has a certificate.
set -euo pipefail
readonly version=$1 agent=$(realpath "$2") folder=$(realpath -m "$3")
cd "$(dirname "$0")"
command -v wixl >/dev/null && command -v msibuild >/dev/null || { echo "missing packages: apt-get install wixl msitools" >&2; exit 1; }
mkdir -p "$folder"
msi=$folder/nightkeep-agent-$version.msi
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for program in nightkeep-agent nightkeep-monitor; do
    x86_64-w64-mingw32-strip -o "$stage/$program.exe" "$(dirname "$agent")/$program.exe"
done
./sign.sh "$stage/nightkeep-agent.exe" "$stage/nightkeep-monitor.exe"
# It finds files beside its source alone.
cp nightkeep-agent.wxs "$stage/"
(cd "$stage" && wixl --arch x64 -D "Version=$version" -o "$msi" nightkeep-agent.wxs)
# What wixl cannot say: the older version goes before the newer comes; an ordinary user's elevated install keeps its properties;
# the monitor is a choice that an upgrade remembers.
msibuild "$msi" -q "UPDATE InstallExecuteSequence SET Sequence = 1501 WHERE Action = 'RemoveExistingProducts'"
msibuild "$msi" -q "UPDATE Property SET Value = 'ENROLL_TOKEN_FILE;MONITOR;MONITOR_BEFORE;WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED' WHERE Property = 'SecureCustomProperties'"
msibuild "$msi" -q "CREATE TABLE Condition (Feature_ CHAR(38) NOT NULL, Level SHORT NOT NULL, Condition CHAR(255) PRIMARY KEY Feature_, Level)"
readonly wanted='MONITOR = \"1\" OR (MONITOR_BEFORE = \"#1\" AND NOT MONITOR = \"0\")'
msibuild "$msi" -q "INSERT INTO Condition (Feature_, Level, Condition) VALUES ('Monitor', 1, '${wanted//\\/}')"
./sign.sh "$msi"
echo "$msi $(($(stat -c %s "$msi") / 1024)) KiB"
