#!/usr/bin/env bash
# Makes the installer of a finished program: packaging/windows/build-msi.sh VERSION AGENT.exe FOLDER
set -euo pipefail
readonly version=$1 agent=$(realpath "$2") folder=$(realpath -m "$3")
cd "$(dirname "$0")"
command -v wixl >/dev/null && command -v msibuild >/dev/null || { echo "missing packages: apt-get install wixl msitools" >&2; exit 1; }
mkdir -p "$folder"
msi=$folder/nightkeep-agent-$version.msi
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
x86_64-w64-mingw32-strip -o "$stage/nightkeep-agent.exe" "$agent"
# It finds files beside its source alone.
cp nightkeep-agent.wxs "$stage/"
(cd "$stage" && wixl --arch x64 -D "Version=$version" -o "$msi" nightkeep-agent.wxs)
# What wixl cannot say: the older version goes before the newer comes, and an ordinary user's elevated install keeps the token's path.
msibuild "$msi" -q "UPDATE InstallExecuteSequence SET Sequence = 1501 WHERE Action = 'RemoveExistingProducts'"
msibuild "$msi" -q "UPDATE Property SET Value = 'ENROLL_TOKEN_FILE;WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED' WHERE Property = 'SecureCustomProperties'"
echo "$msi $(($(stat -c %s "$msi") / 1024)) KiB"
