#!/usr/bin/env bash
# Makes the installer of a finished program: packaging/macos/build-pkg.sh VERSION aarch64|x86_64 AGENT FOLDER
#
# A flat component package: a xar archive of Bom, PackageInfo, Payload and Scripts (cpio, gzip). The same input gives the same bytes.
set -euo pipefail
readonly version=$1 architecture=$2
agent=$(realpath "$3")
folder=$(realpath -m "$4")
cd "$(dirname "$0")"
command -v bsdtar >/dev/null || { echo "missing packages: apt-get install libarchive-tools" >&2; exit 1; }
readonly date=@${SOURCE_DATE_EPOCH:-0}
mkdir -p "$folder"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
readonly root=$stage/root scripts=$stage/scripts pkg=$stage/pkg

install -D -m 755 "$agent" "$root/Library/Nightkeep/nightkeep-agent"
install -D -m 755 uninstall.sh "$root/Library/Nightkeep/uninstall.sh"
install -D -m 644 ../../LICENSE "$root/Library/Nightkeep/LICENSE"
install -D -m 644 org.nightkeep.agent.plist "$root/Library/LaunchDaemons/org.nightkeep.agent.plist"
mkdir -p "$scripts" "$pkg"
sed "s/@ARCHITECTURE@/$architecture/" scripts/preinstall >"$scripts/preinstall"
cp scripts/postinstall "$scripts/"
chmod 755 "$scripts"/*
find "$root" "$scripts" -exec touch --no-dereference --date="$date" {} +

# A folder as a sorted cpio, of root's and its group wheel.
archive() {
    (cd "$1" && find . -print0 | LC_ALL=C sort -z |
        bsdtar --null --no-recursion --files-from - --format=odc --uid 0 --gid 0 -cf - | gzip --no-name -9)
}
archive "$root" >"$pkg/Payload"
archive "$scripts" >"$pkg/Scripts"
python3 bom.py make "$pkg/Bom" "${SOURCE_DATE_EPOCH:-0}" "$root"
kilobytes=$(du -sk --apparent-size "$root" | cut -f1)
files=$(find "$root" | wc -l)
cat >"$pkg/PackageInfo" <<XML
<?xml version="1.0" encoding="utf-8"?>
<pkg-info format-version="2" identifier="org.nightkeep.agent" version="$version" install-location="/" auth="root" overwrite-permissions="true" relocatable="false" postinstall-action="none">
    <payload installKBytes="$kilobytes" numberOfFiles="$files"/>
    <scripts>
        <preinstall file="./preinstall"/>
        <postinstall file="./postinstall"/>
    </scripts>
</pkg-info>
XML
name=$folder/nightkeep-agent-$version-$architecture.pkg
python3 xar.py "$name" "${SOURCE_DATE_EPOCH:-0}" "$pkg/Bom" "$pkg/PackageInfo" "$pkg/Payload" "$pkg/Scripts"
echo "$name $(($(stat -c %s "$name") / 1024)) KiB"
