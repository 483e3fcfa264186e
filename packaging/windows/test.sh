#!/usr/bin/env bash
# The agent as a Windows program, under Wine: the platform's tests; a vault made, filled, read back and compared; the service;
# signatures, the installer. The backup monitor in the tray needs a screen and patience: tray-test.sh.
# The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
packaging/windows/build.sh test --lib --tests -p nightkeep-platform 2>&1 | tee target/windows/platform-tests.log
packaging/windows/build.sh build -p nightkeep-agent -p nightkeep-monitor
# As the demo builds it, so that nothing is built twice.
cargo build --locked --bins -p nightkeep-agent -p nightkeep-host -p nightkeep-harness

export WINEPREFIX=$PWD/target/windows/wine WINEARCH=win64 WINEDEBUG=-all NIGHTKEEP_PASSPHRASE=only-for-this-test
unset DISPLAY
readonly agent=$PWD/target/windows/build/x86_64-pc-windows-gnu/debug/nightkeep-agent.exe
readonly place=$WINEPREFIX/drive_c/nightkeep-test
rm -rf "$place"
mkdir -p "$place/source/deep/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})"
cp -r protocol "$place/source/code"
echo text >"$place/source/ä 中文.txt"
head -c 5000000 /dev/urandom >"$place/source/noise.bin"
truncate -s 20M "$place/source/empty.img"
echo below >"$place/source/deep/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})/file"
touch -d '2001-02-03 04:05:06' "$place/source/ä 中文.txt"

readonly at='C:\nightkeep-test'
nightkeep() {
    local command=$1
    shift
    timeout 300 wine "$agent" "$command" --vault "$at\\vault" --state-dir "$at\\state" --identity-dir "$at\\identity" "$@"
}
nightkeep init
# What changed a moment before a run is read again by the next one.
sleep 3
nightkeep backup "$at\\source"
nightkeep backup --json "$at\\source" | tee "$place/second"
grep -q '"files_changed":0,.*"bytes_read":0,"bytes_new":0' "$place/second"
nightkeep restore --target "$at\\restored" latest
nightkeep check --read-data
# Contents, and times to the second, of everything.
rsync --archive --dry-run --itemize-changes --checksum --no-perms --no-owner --no-group \
    "$place/source/" "$place/restored/C/nightkeep-test/source/" | tee "$place/differences"
test ! -s "$place/differences"

# Names that are one to Windows: the first is restored whole, the others are told, and nothing is overwritten.
mkdir -p "$place/case/Folder" "$place/case/folder"
echo first >"$place/case/Name.txt"
echo second >"$place/case/name.txt"
echo first >"$place/case/Folder/file"
echo second >"$place/case/folder/file"
code=0
nightkeep backup "$at\\case"
for overwrite in "" --overwrite; do
    nightkeep restore --target "$at\\cased" $overwrite --json latest >"$place/told" 2>&1 || code=$?
    cat "$place/told"
    test $code -eq 3
    grep -q 'takes its name for .*Name.txt' "$place/told"
    grep -q 'it and all in it are left out' "$place/told"
    test "$(cat "$place/cased/C/nightkeep-test/case/Name.txt")" = first
    test "$(cat "$place/cased/C/nightkeep-test/case/Folder/file")" = first
    test "$(find "$place/cased/C/nightkeep-test/case" | wc -l)" -eq 4
done

# Wine has no shadow copies: required fails and names the volume, when available goes on and records how, never asks nothing.
code=0
nightkeep backup --snapshots required "$at\\case" >"$place/told" 2>&1 || code=$?
cat "$place/told"
test $code -eq 1
grep -q 'a volume snapshot is required, and there is none of C:' "$place/told"
nightkeep backup --snapshots when-available --json "$at\\case" >"$place/told" 2>&1
cat "$place/told"
grep -q 'read without a volume snapshot: this system has no Volume Shadow Copy service' "$place/told"
grep -q '"snapshot_method":"live"' "$place/told"
nightkeep points --json | grep -q '"snapshot_method":"live"'
rm -rf "$place"
code=0
for part in service sign msi; do
    packaging/windows/$part-test.sh "$agent" | tee target/windows/$part-tests.log || code=1
done
awk '/^test result:/ { passed += $4; failed += $6 } /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
    END { print passed + 3 " passed, " failed + 0 " failed" }' target/windows/{platform,service,sign,msi}-tests.log
exit $code
