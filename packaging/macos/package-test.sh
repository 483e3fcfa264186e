#!/usr/bin/env bash
# The package on Linux: its layout, its property lists, its scripts in a root of their own. As root; packaging/macos/package-test.sh [prepare]
# `prepare` installs what this needs, and does no more.
#
# Stand-ins: the program, and Apple's launchctl, pkgutil, sw_vers, sysctl and wheel group. One line per claim; the last line is
# `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=packaging/shell.sh
. packaging/shell.sh
[ "$(id -u)" -eq 0 ] || { echo "it must be run as root: it changes the root of scripts that it tries" >&2; exit 1; }
require libarchive-tools cpio shellcheck python3
[ "${1:-}" != prepare ] || exit 0
place=$(mktemp -d)
readonly place here=packaging/macos root=$place/root
export SOURCE_DATE_EPOCH=1700000000

end() {
    for folder in usr lib lib64 dev; do
        umount "$root/$folder" 2>/dev/null || true
    done
    rm -rf --one-file-system "$place"
}
trap end EXIT

not() { ! "$@"; }
says() {
    local expected=$1 said
    shift
    said=$("$@" 2>&1) || true
    echo "$said"
    [[ $said == *"$expected"* ]]
}

# A Mac's root, with the programs of this machine behind the stand-ins.
make_root() {
    mkdir -p "$root"/{usr,dev,bin,tmp,Library/LaunchDaemons,"Library/Application Support",Library/Logs,mac/local/bin}
    mkdir -p "$root/etc"
    printf 'root:x:0:0::/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'wheel:x:0:\n' >"$root/etc/group"
    mount --bind /usr "$root/usr"
    for folder in lib lib64; do
        [ -e "/$folder" ] || continue
        mkdir -p "$root/$folder"
        mount --bind "/$folder" "$root/$folder"
    done
    mount --bind /dev "$root/dev"
    # Its own /usr/local, so that nothing of this machine changes.
    mount -t tmpfs none "$root/usr/local"
    for tool in sh rm ln ls cat chmod chown mkdir id readlink cp; do
        ln -sf "/usr/bin/$tool" "$root/bin/$tool"
    done
    # shellcheck disable=SC2016
    stand_in launchctl 'echo "$*" >>/launchctl.log
case "$1" in
    print) [ -e /loaded ] ;;
    bootstrap) [ -s "$3" ] && touch /loaded ;;
    bootout) rm /loaded ;;
esac'
    stand_in pkgutil 'echo "$*" >>/pkgutil.log'
    stand_in sw_vers 'cat /version'
    stand_in sysctl 'cat /arm64'
    echo 14.5 >"$root/version"
    echo 1 >"$root/arm64"
}

stand_in() {
    printf '#!/bin/sh\n%s\n' "$2" >"$root/bin/$1"
    chmod 755 "$root/bin/$1"
}

inside() { chroot "$root" /usr/bin/env -i PATH=/bin:/usr/bin "$@"; }
script() { inside "/scripts/$1" package / "${2:-/}"; }

# The agent: it answers to `enroll` as a host would to a good token.
# shellcheck disable=SC2016
printf '#!/bin/sh\n[ "$1 $2" = "enroll --token-file" ] && cp "$3" /enrolled && grep -q good "$3"\n' >"$place/agent"
build() { "$here/build-pkg.sh" 1.2.3 "$1" "$place/agent" "$place/$2"; }

claim "its scripts are clean" shellcheck -x "$here"/*.sh "$here"/scripts/*
claim "it is built" build aarch64 one
readonly pkg=$place/one/nightkeep-agent-1.2.3-aarch64.pkg
sleep 1
build aarch64 two >/dev/null
claim "the same input gives the same bytes" cmp "$pkg" "$place/two/nightkeep-agent-1.2.3-aarch64.pkg"
claim "it is a xar archive of four parts, to another program too" says $'Bom\nPackageInfo\nPayload\nScripts' bsdtar -tf "$pkg"
mkdir -p "$place/parts" "$place/scripts" "$place/payload"
bsdtar -xf "$pkg" -C "$place/parts"
claim "it names itself and its version" python3 - "$place/parts/PackageInfo" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
info = tree.parse(sys.argv[1]).getroot()
assert info.tag == "pkg-info" and info.attrib["identifier"] == "org.nightkeep.agent", info.attrib
assert info.attrib["version"] == "1.2.3" and info.attrib["install-location"] == "/" and info.attrib["auth"] == "root"
assert int(info.find("payload").attrib["numberOfFiles"]) == 8, info.find("payload").attrib
PYTHON
gunzip <"$place/parts/Scripts" | (cd "$place/scripts" && cpio --quiet -idm)
contents() { gunzip <"$place/parts/Payload" | cpio --quiet -itvn | awk '{ print $1, $3, $4, $NF }' | tee "$place/contents"; }
claim "its payload is root's" says '-rwxr-xr-x 0 0 ./Library/Nightkeep/nightkeep-agent' contents
claim "with nothing that anybody may write" not grep -q '^.....w\|^........w' "$place/contents"
# What the payload holds, by another program's reading: path, mode, owner, and of files size and checksum.
unpacked() {
    mkdir -p "$place/payload"
    gunzip <"$place/parts/Payload" | (cd "$place/payload" && cpio --quiet -idm)
    (cd "$place/payload" && find . -print0 | LC_ALL=C sort -z | while IFS= read -r -d '' path; do
        printf '%s\t%o\t%s' "$path" "0x$(stat -c %f "$path")" "$(stat -c %u/%g "$path")"
        [ ! -f "$path" ] || printf '\t%s\t%s' "$(stat -c %s "$path")" "$(cksum <"$path" | cut -d' ' -f1)"
        echo
    done) >"$place/unpacked"
}
bom_lists() {
    python3 "$here/bom.py" list "$1" >"$place/listed"
    diff "$place/unpacked" "$place/listed"
}
unpacked
claim "its bill of materials lists the payload: paths, modes, owners, sizes, checksums" bom_lists "$place/parts/Bom"
printf x >>"$place/payload/Library/Nightkeep/LICENSE"
claim "of other files another is made" python3 "$here/bom.py" make "$place/other.bom" 0 "$place/payload"
claim "which does not list this payload" says 'LICENSE' bom_lists "$place/other.bom"
claim "the service's list holds" python3 "$here/plists.py" daemon "$here/org.nightkeep.agent.plist"
claim "the backup monitor's list holds" python3 "$here/plists.py" daemon "$here/org.nightkeep.monitor.plist"
sed 's/KeepAlive/KeepALive/' "$here/org.nightkeep.agent.plist" >"$place/wrong.plist"
claim "a list with a key that is spelt wrong does not" not python3 "$here/plists.py" daemon "$place/wrong.plist"
python3 "$here/profile.py" ABCDE12345 "Acme & Söhne" >"$place/it.mobileconfig"
claim "the privacy profile holds" python3 "$here/plists.py" profile "$place/it.mobileconfig"
claim "and names the program that the package brings" grep -q '<string>/Library/Nightkeep/nightkeep-agent</string>' "$place/it.mobileconfig"
claim "a profile for nobody's program is refused" says 'is no team' python3 "$here/profile.py" acme

make_root
cp -r "$place/scripts" "$root/scripts"
echo 10.15.7 >"$root/version"
claim "an older macOS is refused" not script preinstall
echo 14.5 >"$root/version"
echo 0 >"$root/arm64"
claim "an Intel Mac is refused by the package for Apple's processors" says 'x86_64.pkg' script preinstall
echo 1 >"$root/arm64"
claim "it may be installed" script preinstall
claim "no service is stopped where none runs" not grep -q bootout "$root/launchctl.log"
gunzip <"$place/parts/Payload" | (cd "$root" && cpio --quiet -idmu)
chown 1000:1000 "$root/Library/LaunchDaemons/org.nightkeep.agent.plist"
mkdir -p "$root/Library/Application Support/Nightkeep"
echo good >"$root/Library/Application Support/Nightkeep/enroll-token"
claim "it is installed" script postinstall
claim "its service is enabled and started" says $'enable system/org.nightkeep.agent\nbootstrap system /Library/LaunchDaemons/org.nightkeep.agent.plist' cat "$root/launchctl.log"
claim "its list is root's" test "$(stat -c %u:%g "$root/Library/LaunchDaemons/org.nightkeep.agent.plist")" = 0:0
claim "the command is in the path" says /Library/Nightkeep/nightkeep-agent readlink "$root/usr/local/bin/nightkeep-agent"
claim "the token that waited was used" grep -q good "$root/enrolled"
claim "and is gone" not test -e "$root/Library/Application Support/Nightkeep/enroll-token"
claim "an upgrade stops the service first" script preinstall
claim "which is told once" test "$(grep -c 'bootout system/org.nightkeep.agent' "$root/launchctl.log")" = 1
echo bad >"$root/Library/Application Support/Nightkeep/enroll-token"
claim "a token that the host refuses makes the installation fail" not script postinstall
claim "and is gone too" not test -e "$root/Library/Application Support/Nightkeep/enroll-token"
mkdir -p "$root/Volumes/other/Library/LaunchDaemons" "$root/Volumes/other/Library/Nightkeep"
cp "$root/Library/LaunchDaemons/"* "$root/Volumes/other/Library/LaunchDaemons/"
cp "$root/Library/Nightkeep/"* "$root/Volumes/other/Library/Nightkeep/"
: >"$root/launchctl.log"
claim "another volume is installed" script postinstall /Volumes/other
claim "without a word to the system that runs" not test -s "$root/launchctl.log"
touch "$root/Library/Application Support/Nightkeep/identity"
cp "$root/Library/Nightkeep/uninstall.sh" "$root/uninstall.sh"
claim "it is uninstalled" inside /Library/Nightkeep/uninstall.sh
claim "its service is gone" not test -e "$root/loaded"
claim "its files are gone" not test -e "$root/Library/Nightkeep" -o -e "$root/Library/LaunchDaemons/org.nightkeep.agent.plist" -o -L "$root/usr/local/bin/nightkeep-agent"
claim "identity and state stay" test -e "$root/Library/Application Support/Nightkeep/identity"
claim "the Installer forgets it" says '--forget org.nightkeep.agent' cat "$root/pkgutil.log"
claim "uninstalled twice is no error" inside /uninstall.sh --everything
claim "and everything is gone when asked for" not test -e "$root/Library/Application Support/Nightkeep"
umount "$root/usr/local"
finish
